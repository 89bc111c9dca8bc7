// The auditor's likelihoods: SciPy's values, the trainer's losses, and where bits per dimension
// exist.
#include "models/audit_likelihood.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "models/audit.h"
#include "models/likelihood.h"
#include "tests/models/likelihood_fixture.h"
#include "tests/support/error_of.h"
#include "tests/support/tensor_map.h"

namespace elbo {
namespace {

using likelihood_test::toy_config;
using likelihood_test::toy_images;
using likelihood_test::ToySession;

Likelihood likelihood_of(const std::string& name) {
  for (const Likelihood likelihood : kLikelihoods) {
    if (name == likelihood_name(likelihood)) return likelihood;
  }
  throw Error("no likelihood " + name);
}

TEST(AuditLikelihoods, MatchSciPy) {
  std::ifstream file(ELBO_SOURCE_DIR "/tests/golden/likelihoods.json");
  const auto golden = nlohmann::json::parse(file);
  for (const auto& row : golden["cases"]) {
    AuditLikelihood likelihood{likelihood_of(row["likelihood"])};
    likelihood.log_scale = row["second"];
    const double x = row["level"].get<double>() / 255, output[] = {row["first"], row["second"]};
    const double nll = row["nll"];
    EXPECT_NEAR(audit_nll(likelihood, 1, 1, &x, output), nll, 1e-6 + 1e-9 * std::abs(nll)) << row;
  }
}

class AuditedTraining : public testing::TestWithParam<std::tuple<Likelihood, bool>> {};

// Without a posterior there is no noise, so that the two must agree image by image.
TEST_P(AuditedTraining, AuditorAndTrainerAgreeOnAPlainAutoencoder) {
  const auto [likelihood, convolutional] = GetParam();
  RunConfig config = toy_config(likelihood, convolutional);
  config.model.kind = convolutional ? ModelKind::conv_ae : ModelKind::mlp_ae;
  if (likelihood != Likelihood::bernoulli) config.model.code_activation = Activation::tanh;
  config.train.max_steps = 30;
  ToySession session(config);
  trainer_test::Recorder recorder;
  session.trainer.run(recorder);
  const LossMeans trained = session.trainer.evaluate(session.test);

  SafetensorsView weights;
  weights.tensors = session.trainer.snapshot().model;
  std::sort(weights.tensors.begin(), weights.tensors.end(),
            [](const NamedBlob& a, const NamedBlob& b) { return a.name < b.name; });
  const AuditNet net(weights, "x.safetensors", config.model, session.test.shape().as_size());
  const AuditData data = AuditData::from_split(toy_images(20), DataVariant::grey, 0);
  const AuditLikelihood subject{likelihood, config.model.log_variance, config.model.log_scale};
  const AuditReport report = audit(net, subject, data, {});
  // Of 192 values in fp32, some with scales of a few grey levels.
  EXPECT_NEAR(report.recon_nats, trained.recon, 2e-3 + 1e-5 * std::abs(trained.recon));
  EXPECT_FALSE(report.bits_per_dim) << "no bound, no bits";
}

INSTANTIATE_TEST_SUITE_P(All, AuditedTraining,
                         testing::Combine(testing::ValuesIn(kLikelihoods), testing::Bool()),
                         [](const auto& info) {
                           std::string name = likelihood_name(std::get<0>(info.param));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name + (std::get<1>(info.param) ? "_conv" : "_mlp");
                         });

// One latent that nothing depends on, and the decoder's biases as outputs.
AuditNet constant_net(const TensorMap& map) {
  return AuditNet(map.view(), "x.safetensors", Activation::relu);
}
TensorMap constant_tensors(int64_t values, const std::vector<double>& outputs) {
  const auto width = static_cast<int64_t>(outputs.size());
  const std::vector<double> zeros(static_cast<size_t>(values));
  TensorMap map;
  map.layer("fc_mu", 1, values, zeros, {0})
      .layer("fc_logvar", 1, values, zeros, {0})
      .layer("decoder.0", width, 1, std::vector<double>(outputs.size()), outputs);
  return map;
}

TEST(AuditBits, ExistWhereTheDataAreDiscrete) {
  const TensorMap one = constant_tensors(2, {0, 0}), two = constant_tensors(2, {0, 0, -3, -3});
  const AuditNet single = constant_net(one), pair = constant_net(two);
  const std::vector<uint8_t> grey = {0, 90, 255, 17}, binary = {0, 255, 255, 0};
  const auto bits = [&](Likelihood likelihood, const std::vector<uint8_t>& pixels,
                        DataVariant variant) {
    const AuditNet& net = audit_outputs(likelihood) == 2 ? pair : single;
    return audit(net, {likelihood}, AuditData(pixels, 2, variant), {});
  };
  for (const Likelihood likelihood : kLikelihoods) {
    const LikelihoodMeasure measure = likelihood_measure(likelihood);
    const AuditReport on_grey = bits(likelihood, grey, DataVariant::grey);
    EXPECT_EQ(on_grey.bits_per_dim.has_value(), measure == LikelihoodMeasure::bytes);
    const AuditReport on_binary = bits(likelihood, binary, DataVariant::grey);
    EXPECT_EQ(on_binary.variant, DataVariant::fixed);
    EXPECT_EQ(on_binary.bits_per_dim.has_value(), measure != LikelihoodMeasure::density);
    const AuditReport noisy = bits(likelihood, grey, DataVariant::dequantised);
    EXPECT_EQ(noisy.bits_per_dim.has_value(), measure == LikelihoodMeasure::density);
    const double per_bit = 2 * std::log(2.0);
    if (noisy.bits_per_dim) {
      EXPECT_NEAR(*noisy.bits_per_dim, *noisy.neg_elbo_nats / per_bit + 8, 1e-12);
    }
    if (on_grey.bits_per_dim) {
      EXPECT_NEAR(*on_grey.bits_per_dim, *on_grey.neg_elbo_nats / per_bit, 1e-12);
    }
  }
  // A continuous Bernoulli of logit 0 is uniform: bytes cost 8 bits.
  EXPECT_NEAR(*bits(Likelihood::continuous_bernoulli, grey, DataVariant::dequantised).bits_per_dim,
              8, 1e-12);
}

// The trainer's rule for its log is the auditor's.
TEST(AuditBits, AreThoseOfTheLog) {
  DataConfig grey, binary, noisy;
  binary.binarise = Binarise::dynamic;
  noisy.dequantise = true;
  for (const Likelihood likelihood : kLikelihoods) {
    const LikelihoodMeasure measure = likelihood_measure(likelihood);
    EXPECT_EQ(bits_per_dim(likelihood, grey, 10, 5).has_value(),
              measure == LikelihoodMeasure::bytes);
    EXPECT_EQ(bits_per_dim(likelihood, binary, 10, 5).has_value(),
              measure != LikelihoodMeasure::density);
    EXPECT_EQ(bits_per_dim(likelihood, noisy, 10, 5).has_value(),
              measure == LikelihoodMeasure::density);
  }
  EXPECT_NEAR(*bits_per_dim(Likelihood::logistic, grey, 10, 5), 2 / std::log(2.0), 1e-12);
  EXPECT_NEAR(*bits_per_dim(Likelihood::beta, noisy, 10, 5), 2 / std::log(2.0) + 8, 1e-12);
}

TEST(AuditData, DequantisedValuesLieInTheirBins) {
  const std::vector<uint8_t> pixels = {0, 255, 17, 200};
  const AuditData data(pixels, 2, DataVariant::dequantised);
  const std::vector<double> x = data.images(0, 2, 3);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_GE(x[i], pixels[i] / 256.0);
    EXPECT_LT(x[i], (pixels[i] + 1) / 256.0);
  }
  EXPECT_EQ(x, data.images(0, 2, 3));
  EXPECT_NE(x, data.images(0, 2, 4));
  EXPECT_EQ(AuditData({0, 255}, 2, DataVariant::dequantised).variant(), DataVariant::dequantised);
  EXPECT_EQ(parse_data_variant("dequantised"), DataVariant::dequantised);
}

TEST(AuditLikelihoods, TakeTheModelsOwnVariance) {
  TensorMap map = constant_tensors(1, {0.5});
  map.add("log_variance", {1}, {20});
  const AuditNet learned = constant_net(map);
  EXPECT_EQ(learned.log_variance(), 15);  // bounded
  map.remove("log_variance").add("running_variance", {1}, {0.25});
  const AuditNet optimal = constant_net(map);
  EXPECT_DOUBLE_EQ(*optimal.log_variance(), std::log(0.25));
  const AuditData data({255}, 1, DataVariant::grey);
  EXPECT_NEAR(audit(optimal, {Likelihood::gaussian_optimal, 7}, data, {}).recon_nats,
              0.5 * (std::log(2 * M_PI * 0.25) + 1), 1e-12);
  map.add("running_variance", {1}, {-1});
  EXPECT_EQ(error_of([&] { constant_net(map); }),
            "4: x.safetensors: running_variance is -1; expected a number from 0 on");
}

TEST(AuditLikelihoods, RefuseADecoderOfAnotherLikelihood) {
  const TensorMap map = constant_tensors(1, {0, 0});
  const AuditNet net = constant_net(map);
  EXPECT_EQ(error_of([&] {
              audit(net, {Likelihood::bernoulli}, AuditData({9}, 1, DataVariant::grey), {});
            }),
            "4: evaluate: the decoder has 2 outputs per value and its likelihood takes 1; is this "
            "the checkpoint of another configuration?");
}

}  // namespace
}  // namespace elbo
