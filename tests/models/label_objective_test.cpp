// The bound of images whose labels may be hidden, in double on the CPU: against the sum over labels
// by its definition, made of the ELBO of every label, and where it is another bound in disguise.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "models/objective.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

constexpr int64_t kBatch = 5, kPixels = 12;

struct Outcome {
  double total = 0, nll = 0, kl = 0;  // means over the batch
  std::vector<double> gradients;
};

class Subject {
 public:
  Subject(int64_t classes, std::vector<int32_t> labels, Likelihood likelihood, ModelKind kind,
          double labelled_share = 0.4)
      : params_(context_, DType::f64), labels_(std::move(labels)), share_(labelled_share) {
    config_.kind = kind;
    config_.likelihood = likelihood;
    config_.hidden = {6};
    config_.latent_dim = 3;
    config_.activation = Activation::tanh;
    config_.encoder = {"conv 3 k3 s2 tanh", "linear 5 tanh"};
    config_.decoder = {"linear flat tanh", "convt image k3 s2"};
    config_.condition = Condition::label;
    config_.classes = classes;
    config_.classifier = true;
    model_ = std::make_unique<Autoencoder>(params_, config_, ImageSize{4, 3, 1});
    params_.finalise();
    params_.initialise(5);
    std::mt19937_64 random(1);
    std::uniform_real_distribution<double> pixel(0, 1);
    for (double& value : pixels_) value = pixel(random);
    for (int64_t i = 0; i < params_.span_count(); ++i) values()[i] *= 2.0;
  }

  Outcome run(bool backward = true) {
    Tape tape(context_);
    ObjectiveTerms terms;
    tape.run(1, [&](Tape& t) {
      const Tensor x = external_tensor(pixels_.data(), Shape{kBatch, kPixels}, Device::cpu);
      const Tensor label = external_tensor(labels_.data(), Shape{kBatch}, Device::cpu);
      terms = training_objective(t, *model_, {x, x, label},
                                 {NoiseSource{}, weights(), &objective_, kBatch, share_});
      t.keep(terms.nll);
      t.keep(terms.kl);
      t.keep(terms.total);
      if (backward) t.backward(params_);
    });
    Outcome outcome{*terms.total.as<double>(), 0, 0, {}};
    for (int64_t b = 0; b < kBatch; ++b) {
      outcome.nll += terms.nll.as<double>()[b] / kBatch;
      outcome.kl += terms.kl.as<double>()[b] / kBatch;
    }
    const auto* gradients = static_cast<const double*>(params_.gradients());
    if (backward) outcome.gradients.assign(gradients, gradients + params_.span_count());
    return outcome;
  }

  // The same by its definition, from the ELBO's two terms of every image as every label.
  Outcome expected() {
    const auto classes = static_cast<size_t>(config_.classes);
    std::vector<double> pixels, nll, kl, logits;
    std::vector<int32_t> labels;
    for (int64_t b = 0; b < kBatch; ++b) {
      for (size_t c = 0; c < classes; ++c) {
        pixels.insert(pixels.end(), pixels_.begin() + b * kPixels,
                      pixels_.begin() + (b + 1) * kPixels);
        labels.push_back(static_cast<int32_t>(c));
      }
    }
    Tape tape(context_);
    tape.set_recording(false);
    const auto rows = static_cast<int64_t>(labels.size());
    Tensor guess;
    ObjectiveTerms terms;
    tape.run(1, [&](Tape& t) {
      const Tensor x = external_tensor(pixels.data(), Shape{rows, kPixels}, Device::cpu);
      const Tensor label = external_tensor(labels.data(), Shape{rows}, Device::cpu);
      terms = elbo_objective(t, *model_, {x, x, label}, NoiseSource{}, nullptr);
      guess = model_->classify(t, x);
      for (const Tensor& kept : {terms.nll, terms.kl, guess}) t.keep(kept);
    });
    Outcome outcome;
    for (int64_t b = 0; b < kBatch; ++b) {
      double sum = 0;
      for (size_t c = 0; c < classes; ++c)
        sum += std::exp(guess.as<double>()[static_cast<size_t>(b) * classes * classes + c]);
      for (size_t c = 0; c < classes; ++c) {
        const size_t row = static_cast<size_t>(b) * classes + c;
        const double q = std::exp(guess.as<double>()[row * classes + c]) / sum;
        const bool hidden = labels_[static_cast<size_t>(b)] < 0;
        const double r = hidden ? q : labels_[static_cast<size_t>(b)] == static_cast<int32_t>(c);
        const double row_nll = terms.nll.as<double>()[row], row_kl = terms.kl.as<double>()[row];
        outcome.nll += r * row_nll / kBatch;
        outcome.kl += r * row_kl / kBatch;
        double cost = recon_ * row_nll + kl_weight_ * row_kl + std::log(double(classes));
        cost += hidden ? std::log(q) : -objective_.classification / share_ * std::log(q);
        outcome.total += r * cost / kBatch;
      }
    }
    return outcome;
  }

  // d total / d parameter i by fourth-order differences.
  double difference(int64_t i) {
    constexpr double kStep = 1e-3;
    const double at = values()[i];
    const auto total = [&](double offset) {
      values()[i] = at + offset * kStep;
      return run(false).total;
    };
    const double slope = (8 * (total(1) - total(-1)) - (total(2) - total(-2))) / (12 * kStep);
    values()[i] = at;
    return slope;
  }

  // The plain ELBO of the batch with all labels 0, and its gradients.
  Outcome elbo_of_the_only_class() {
    std::vector<int32_t> zeros(kBatch, 0);
    Tape tape(context_);
    ObjectiveTerms terms;
    tape.run(1, [&](Tape& t) {
      const Tensor x = external_tensor(pixels_.data(), Shape{kBatch, kPixels}, Device::cpu);
      const Tensor label = external_tensor(zeros.data(), Shape{kBatch}, Device::cpu);
      const ObjectiveWeights scalars = weights();
      terms = elbo_objective(t, *model_, {x, x, label}, NoiseSource{}, &scalars);
      t.keep(terms.nll);
      t.keep(terms.kl);
      t.backward(params_);
    });
    Outcome outcome;
    for (int64_t b = 0; b < kBatch; ++b) {
      outcome.nll += terms.nll.as<double>()[b] / kBatch;
      outcome.kl += terms.kl.as<double>()[b] / kBatch;
    }
    outcome.total = recon_ * outcome.nll + kl_weight_ * outcome.kl;
    const auto* gradients = static_cast<const double*>(params_.gradients());
    outcome.gradients.assign(gradients, gradients + params_.span_count());
    return outcome;
  }

  void set_classification(float weight) { objective_.classification = weight; }
  void set_weights(double recon, double kl) {
    recon_ = recon;
    kl_weight_ = kl;
  }
  int64_t count() const { return params_.span_count(); }
  // [begin, end) of the classifier's parameters, which come last.
  int64_t classifier_offset() const {
    for (const ParamStore::Piece& piece : params_.pieces())
      if (piece.name.starts_with("classifier.")) return piece.offset;
    return count();
  }

 private:
  double* values() { return static_cast<double*>(params_.values()); }
  ObjectiveWeights weights() {
    const auto scalar = [](double& value) {
      return external_tensor(&value, Shape{1}, Device::cpu);
    };
    return {scalar(recon_), scalar(kl_weight_), scalar(capacity_), scalar(one_)};
  }

  ObjectiveConfig objective_;
  Context context_;
  ModelConfig config_;
  ParamStore params_;
  std::unique_ptr<Autoencoder> model_;
  std::vector<double> pixels_ = std::vector<double>(kBatch * kPixels);
  std::vector<int32_t> labels_;
  double share_;
  double recon_ = 0.8, kl_weight_ = 2.5, capacity_ = 0, one_ = 1;
};

const std::vector<int32_t> kMixed = {2, -1, -1, 0, -1};

struct Cell {
  Likelihood likelihood;
  ModelKind kind;
};

class LabelObjective : public testing::TestWithParam<Cell> {};

TEST_P(LabelObjective, IsTheSumOverLabelsAndItsGradient) {
  Subject subject(3, kMixed, GetParam().likelihood, GetParam().kind);
  const Outcome found = subject.run(), expected = subject.expected();
  EXPECT_NEAR(found.total, expected.total, 1e-11 * std::abs(expected.total));
  EXPECT_NEAR(found.nll, expected.nll, 1e-11 * std::abs(expected.nll));
  EXPECT_NEAR(found.kl, expected.kl, 1e-11 * expected.kl);
  double largest = 0;
  for (const double gradient : found.gradients) largest = std::max(largest, std::abs(gradient));
  for (int64_t i = 0; i < subject.count(); i += 7) {
    ASSERT_NEAR(found.gradients[static_cast<size_t>(i)], subject.difference(i), 1e-7 * largest)
        << "parameter " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Cells, LabelObjective,
                         testing::Values(Cell{Likelihood::bernoulli, ModelKind::mlp_vae},
                                         Cell{Likelihood::gaussian, ModelKind::mlp_vae},
                                         Cell{Likelihood::gaussian_learned, ModelKind::mlp_vae},
                                         Cell{Likelihood::logistic, ModelKind::mlp_vae},
                                         Cell{Likelihood::bernoulli, ModelKind::conv_vae},
                                         Cell{Likelihood::gaussian_diagonal, ModelKind::conv_vae}));

// Nothing of the classifier is left but its prior.
TEST(LabelObjectiveIdentities, AllLabelsKnownIsTheConditionalElboAndTheLogarithmOfTheClasses) {
  Subject subject(3, {2, 1, 1, 0, 2}, Likelihood::bernoulli, ModelKind::mlp_vae, 1.0);
  subject.set_classification(0);
  subject.set_weights(1, 1);
  const Outcome outcome = subject.run();
  EXPECT_NEAR(outcome.total, outcome.nll + outcome.kl + std::log(3.0), 1e-12 * outcome.total);
  EXPECT_NEAR(outcome.total, subject.expected().total, 1e-12 * outcome.total);
  for (int64_t i = subject.classifier_offset(); i < subject.count(); ++i)
    EXPECT_EQ(outcome.gradients[static_cast<size_t>(i)], 0) << i;
}

TEST(LabelObjectiveIdentities, OneClassIsTheElboWhetherItsLabelIsHiddenOrNot) {
  for (const std::vector<int32_t>& labels :
       {std::vector<int32_t>(kBatch, -1), std::vector<int32_t>(kBatch, 0),
        std::vector<int32_t>{0, -1, 0, -1, -1}}) {
    Subject subject(1, labels, Likelihood::bernoulli, ModelKind::mlp_vae);
    const Outcome found = subject.run(), plain = subject.elbo_of_the_only_class();
    EXPECT_NEAR(found.total, plain.total, 1e-12 * plain.total);
    for (size_t i = 0; i < found.gradients.size(); ++i)
      ASSERT_NEAR(found.gradients[i], plain.gradients[i], 1e-12) << i;
  }
}

TEST(LabelObjectiveItself, RefusesWhatHasNoSumOverLabels) {
  ModelConfig model;
  model.condition = Condition::label;
  model.classes = 3;
  model.classifier = true;
  TrainConfig train;
  check_objective(train, model, false);
  TrainConfig iwae = train, mmd = train;
  iwae.objective.bound = Bound::iwae;
  mmd.objective.mmd = 1;
  for (const TrainConfig& other : {iwae, mmd}) {
    EXPECT_EQ(error_of([&] { check_objective(other, model, false); }),
              "2: model.classifier goes with the ELBO alone, which is summed over labels; leave "
              "out train.objective.bound, free_bits, capacity_weight, dip_*, mmd and factor");
  }
  ModelConfig optimal = model, plain = model;
  optimal.likelihood = Likelihood::gaussian_optimal;
  EXPECT_EQ(error_of([&] { check_objective(train, optimal, false); }),
            "2: model.classifier weighs labels image by image, and the optimal variance is that "
            "of all of them; use model.likelihood gaussian-learned");
  plain.kind = ModelKind::mlp_ae;
  EXPECT_EQ(error_of([&] { check_objective(train, plain, false); }),
            "2: model.classifier: a hidden label needs a bound on log p(x), and model.kind is a "
            "plain autoencoder; use a VAE");
  model.condition = Condition::none;
  EXPECT_EQ(error_of([&] {
              Context context;
              ParamStore params(context);
              Autoencoder(params, model, ImageSize{4, 3, 1});
            }),
            "2: model.classifier guesses the label that a conditional model is told; add "
            "--condition label");
}

}  // namespace
}  // namespace elbo
