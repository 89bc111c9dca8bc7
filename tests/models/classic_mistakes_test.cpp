// A falling training loss detects none of the classic mistakes, and some make it look better. The
// auditor, which shares no formula with training, must tell each from the right code.
#include "tests/support/classic_mistakes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/image_data.h"
#include "engine/ops/likelihood_op.h"
#include "kernels/optimizer.h"
#include "kernels/step_state.h"
#include "models/audit.h"
#include "models/autoencoder.h"

namespace elbo {
namespace {

constexpr int kResolution = 16;
constexpr int64_t kTrainImages = 4000, kTestImages = 400, kBatch = 100;
constexpr int kSteps = 1200;

struct Outcome {
  double reported = 0;  // what the program would print as its loss at the end: mean of 100 steps
  bool finite = true;
  AuditReport audit;
};

SafetensorsView view_of(const ParamStore& params) {
  SafetensorsView view;
  const auto* values = static_cast<const float*>(params.values());
  for (const ParamStore::Piece& piece : params.pieces()) {
    NamedBlob blob;
    blob.name = piece.name;
    for (int axis = 0; axis < piece.shape.rank(); ++axis) blob.shape.push_back(piece.shape[axis]);
    blob.bytes = std::as_bytes(std::span(values + piece.offset, static_cast<size_t>(piece.count)));
    view.tensors.push_back(blob);
  }
  std::sort(view.tensors.begin(), view.tensors.end(),
            [](const NamedBlob& a, const NamedBlob& b) { return a.name < b.name; });
  return view;
}

// A short training run of a small VAE on sprites, with a mistake in its objective.
class MistakenTraining {
 public:
  explicit MistakenTraining(Mistake mistake)
      : mistake_(mistake), tape_(context_), params_(context_) {
    config_.hidden = {128};
    config_.latent_dim = 8;
    params_.add_group("all");
    model_ = std::make_unique<Autoencoder>(params_, config_, data_.shape().as_size());
    params_.finalise();
    params_.initialise(1);
    params_.allocate_moments();
    rule_.learning_rate = {ScheduleKind::constant, 2e-3f};
    rule_.samples = kTrainImages;
    rule_.batch = kBatch;
    state_.recon_weight = recon_weight(mistake, data_.shape().size());
    prepare_step(context_.exec(), &state_, rule_);
  }

  Outcome run() {
    Outcome outcome;
    for (int step = 0; step < kSteps && outcome.finite; ++step) {
      tape_.run(1, [&](Tape& tape) { body(tape); });
      const double loss = state_.recon_weight * mean(nll_) + mean(kl_);
      outcome.finite = std::isfinite(loss);
      if (step >= kSteps - 100) outcome.reported += loss / 100;
    }
    if (!outcome.finite) return outcome;
    const AuditNet net(view_of(params_), "test", config_.activation);
    const AuditData held_out = AuditData::sprites(kResolution, kTrainImages, kTestImages);
    outcome.audit = audit(net, {}, held_out, {});
    return outcome;
  }

 private:
  void body(Tape& tape) {
    BatchOrder order;
    order.seed = 1;
    order.state = &state_;
    order.shuffle = true;
    const Tensor x = data_.gather(tape, order, kBatch, Binarise::none).input;
    NoiseSource noise{};
    noise.seed = 1;
    noise.state = &state_;
    const auto weight = [&](float* value) {
      return RowWeight{external_tensor(value, Shape{1}, Device::cpu), 1.0 / kBatch};
    };
    const LatentSample latent = mistaken_reparam_kl(tape, model_->encode(tape, x), noise,
                                                    weight(&state_.kl_weight), mistake_);
    nll_ = bernoulli_nll(tape, model_->decode(tape, latent.z), x, weight(&state_.recon_weight));
    kl_ = latent.kl;
    tape.keep(nll_);
    tape.keep(kl_);
    tape.backward(params_);
    tape.op("optimizer", {}, {}, [&](const Exec& exec) {
      optimizer_step(exec, {{},
                            static_cast<float*>(params_.values()),
                            static_cast<const float*>(params_.gradients()),
                            params_.moment(0),
                            params_.moment(1),
                            params_.span_count(),
                            &state_});
      advance_step(exec, &state_, rule_);
    });
  }

  static double mean(const Tensor& rows) {
    double sum = 0;
    for (int64_t i = 0; i < rows.size(); ++i) sum += rows.as<float>()[i];
    return sum / static_cast<double>(rows.size());
  }

  Mistake mistake_;
  Context context_;
  ImageData data_ = ImageData::sprites(kResolution, kTrainImages, 0);
  ModelConfig config_;
  Tape tape_;
  ParamStore params_;
  std::unique_ptr<Autoencoder> model_;
  StepRule rule_;
  StepState state_;
  Tensor nll_, kl_;
};

TEST(ClassicMistakes, UnitPropertiesCatchEachOfThem) {
  EXPECT_TRUE(violated_properties(Mistake::none).empty());
  for (Mistake mistake : kMistakes) {
    EXPECT_FALSE(violated_properties(mistake).empty()) << mistake_name(mistake);
  }
}

TEST(ClassicMistakes, TheAuditorTellsEachFromTheRightCode) {
  const Outcome right = MistakenTraining(Mistake::none).run();
  const double elbo = *right.audit.neg_elbo_nats, kl = *right.audit.kl_nats;
  const auto show = [](const char* name, const Outcome& o) {
    std::printf("%-20s reported %8.2f  audited -ELBO %8.2f  KL %6.2f  active %lld\n", name,
                o.reported, o.audit.neg_elbo_nats.value_or(NAN), o.audit.kl_nats.value_or(NAN),
                static_cast<long long>(o.audit.active_units.value_or(-1)));
  };
  show("right", right);
  EXPECT_NEAR(right.reported, elbo, 0.1 * elbo) << "the right code reports what the auditor finds";

  const auto run = [&](Mistake mistake) {
    const Outcome outcome = MistakenTraining(mistake).run();
    show(mistake_name(mistake), outcome);
    return outcome;
  };
  const Outcome doubled = run(Mistake::kl_without_half);
  EXPECT_LT(*doubled.audit.kl_nats, 0.9 * kl);
  EXPECT_GT(*doubled.audit.neg_elbo_nats, elbo + 0.5);

  const Outcome averaged = run(Mistake::mean_bce);
  EXPECT_LT(averaged.reported, 0.05 * right.reported) << "looks much better";
  EXPECT_LT(*averaged.audit.kl_nats, 0.05) << "the posterior has collapsed";
  EXPECT_EQ(*averaged.audit.active_units, 0);
  EXPECT_GT(*averaged.audit.neg_elbo_nats, 1.3 * elbo);

  const Outcome uniform = run(Mistake::uniform_noise);
  EXPECT_LT(uniform.reported, right.reported) << "looks better";
  EXPECT_GT(*uniform.audit.neg_elbo_nats, elbo + 2);

  const Outcome mixed = run(Mistake::sigma_for_variance);
  EXPECT_LT(mixed.reported, right.reported) << "looks better";
  EXPECT_GT(*mixed.audit.neg_elbo_nats, elbo + 1);

  // Without bound from below the objective runs away: not finite, or nothing like a bound.
  const Outcome flipped = run(Mistake::flipped_kl);
  EXPECT_TRUE(!flipped.finite || *flipped.audit.neg_elbo_nats > 2 * elbo);
}

}  // namespace
}  // namespace elbo
