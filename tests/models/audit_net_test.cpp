#include "models/audit_net.h"

#include <gtest/gtest.h>

#include <cmath>

#include "models/audit_likelihood.h"
#include "tests/support/error_of.h"
#include "tests/support/tensor_map.h"

namespace elbo {
namespace {

// 2 pixels, 2 hidden units, 1 latent.
TensorMap classic() {
  TensorMap map;
  map.layer("fc1", 2, 2, {1, -1, 0.5, 0.5}, {0, -0.25})
      .layer("fc21", 1, 2, {2, -4}, {0.5})
      .layer("fc22", 1, 2, {-1, 2}, {0})
      .layer("fc3", 2, 1, {1, -2}, {0, 1})
      .layer("fc4", 2, 2, {1, 7, -2, 3}, {0.25, 0.5});
  return map;
}

AuditNet net_of(const TensorMap& map, Activation activation = Activation::relu) {
  return AuditNet(map.view(), "x.safetensors", activation);
}

TEST(AuditNet, ForwardIsWhatPencilAndPaperGive) {
  const AuditNet net = net_of(classic());
  EXPECT_TRUE(net.variational());
  EXPECT_EQ(net.image_size(), 2);
  EXPECT_EQ(net.latent_dim(), 1);
  // Row 1: hidden (1, 1/4), mean 2 - 1 + 1/2, logvar -1 + 1/2. Row 2: hidden (0, 1/4).
  const AuditPosterior posterior = net.encode({1, 0, 0, 1});
  EXPECT_EQ(posterior.mean, (AuditRows{1.5, -0.5}));
  EXPECT_EQ(posterior.logvar, (AuditRows{-0.5, 0.5}));
  // z = 3/2: hidden (3/2, 0). z = -1/2: hidden (0, 2).
  EXPECT_EQ(net.decode({1.5, -0.5}), (AuditRows{1.75, -2.5, 14.25, 6.5}));
}

TEST(AuditNet, ReadsDeepNetsAndPlainAutoencoders) {
  TensorMap deep;
  deep.layer("encoder.0", 3, 2, {1, 0, 0, 1, 1, 1}, {0, 0, 0})
      .layer("encoder.2", 1, 3, {1, 1, 1}, {-1})
      .layer("fc_mu", 1, 1, {2}, {0})
      .layer("fc_logvar", 1, 1, {0}, {-1})
      .layer("decoder.0", 1, 1, {1}, {0})
      .layer("decoder.2", 3, 1, {1, -1, 2}, {0, 0, 0})
      .layer("decoder.4", 2, 3, {1, 1, 1, 0, 0, 1}, {0, 0});
  const AuditNet net = net_of(deep);
  EXPECT_EQ(net.encode({1, 2}).mean, (AuditRows{10}));  // (1, 2, 3) -> 5 -> 10
  EXPECT_EQ(net.decode({3}), (AuditRows{9, 6}));        // 3 -> (3, 0, 6) -> (9, 6)

  TensorMap plain;
  plain.layer("encoder.0", 1, 2, {1, 1}, {0})
      .layer("encoder.2", 1, 1, {-1}, {0})
      .layer("decoder.0", 2, 1, {1, 2}, {0, 0});
  const AuditNet autoencoder = net_of(plain);
  EXPECT_FALSE(autoencoder.variational());
  EXPECT_EQ(autoencoder.encode({1, 2}).mean, (AuditRows{-3}));  // the code itself is not activated
}

TEST(AuditNet, LargeLayersGiveTheSumsOfPlainLoops) {
  // Sizes around the blocks of the product: 8 rows, 256 columns.
  const int64_t in = 300, out = 517, rows = 19;
  const auto value = [](int64_t i) { return std::sin(0.37 * static_cast<double>(i)); };
  std::vector<double> weight(out * in), bias(out), back(in * out), input(rows * in);
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = value(i);
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = value(3 * i);
  for (size_t i = 0; i < input.size(); ++i) input[i] = value(7 * i);
  TensorMap map;
  map.layer("encoder.0", out, in, weight, bias)
      .layer("decoder.0", in, out, back, std::vector<double>(in));
  const AuditRows code = net_of(map).encode(input).mean;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < out; ++o) {
      double sum = bias[o];
      for (int64_t i = 0; i < in; ++i) sum += input[r * in + i] * weight[o * in + i];
      ASSERT_EQ(code[r * out + o], sum)
          << "row " << r << ", column " << o;  // same order: same bits
    }
  }
}

TEST(AuditNet, KnowsEveryActivation) {
  const auto at = [](Activation activation, double x) {
    TensorMap map;
    map.layer("encoder.0", 1, 1, {1}, {0})
        .layer("encoder.2", 1, 1, {1}, {0})
        .layer("decoder.0", 1, 1, {1}, {0});
    return net_of(map, activation).encode({x}).mean[0];
  };
  EXPECT_DOUBLE_EQ(at(Activation::identity, -2), -2);
  EXPECT_DOUBLE_EQ(at(Activation::relu, -2), 0);
  EXPECT_DOUBLE_EQ(at(Activation::leaky_relu, -2), -0.02);
  EXPECT_NEAR(at(Activation::tanh, 1), 0.76159415595576489, 1e-15);
  EXPECT_NEAR(at(Activation::sigmoid, 1), 0.73105857863000488, 1e-15);
  EXPECT_NEAR(at(Activation::silu, 1), 0.73105857863000488, 1e-15);
  EXPECT_NEAR(at(Activation::gelu, 1), 0.84134474606854293, 1e-15);
  EXPECT_NEAR(at(Activation::softplus, 0), 0.69314718055994531, 1e-15);
}

TEST(AuditNet, BoundsTheLogVariance) {
  EXPECT_EQ(audit_bounded_logvar(-3.5), -3.5);
  EXPECT_EQ(audit_bounded_logvar(10), 10);
  EXPECT_EQ(audit_bounded_logvar(-10), -10);
  EXPECT_EQ(audit_bounded_logvar(20), 15);
  EXPECT_EQ(audit_bounded_logvar(-50), -18);
  EXPECT_NEAR(audit_bounded_logvar(10.001), 10.001, 2e-7);  // slope 1 at the knee
  EXPECT_LT(audit_bounded_logvar(1e30), 20.0 + 1e-12);
}

TEST(AuditNet, NamesWhatIsWrongWithAFile) {
  const auto error = [](const TensorMap& map) { return error_of([&] { net_of(map); }); };
  EXPECT_EQ(
      error(classic().remove("fc22.bias")),
      "4: x.safetensors: no tensor \"fc22.bias\"; expected PyTorch's names of an MLP autoencoder");
  EXPECT_EQ(error(classic().add("conv.weight", {1, 1}, {0})),
            "4: x.safetensors: tensor \"conv.weight\" is not part of an MLP autoencoder; is this "
            "another model's checkpoint?");
  EXPECT_EQ(error(classic().add("fc3.bias", {3}, {0, 0, 0})),
            "4: x.safetensors: fc3.bias has shape [3]; expected [2] as fc3.weight is [2, 1]");
  EXPECT_EQ(error(classic().add("fc3.weight", {2}, {0, 0})),
            "4: x.safetensors: fc3.weight has shape [2]; expected 2 dimension(s)");
  EXPECT_EQ(
      error(classic().layer("fc3", 2, 2, {1, 2, 3, 4}, {0, 0})),
      "4: x.safetensors: the layers do not fit together; each must take what the one before it "
      "gives, and the last give what the first takes");
  EXPECT_EQ(error(TensorMap()),
            "4: x.safetensors: no encoder and decoder in it; expected tensors fc1.weight, ... or "
            "encoder.0.weight, ..., decoder.0.weight, ...");

  const TensorMap map = classic();
  SafetensorsView halves = map.view();
  for (NamedBlob& tensor : halves.tensors) tensor.type = StoredType::f16;
  EXPECT_EQ(error_of([&] { AuditNet(halves, "x.safetensors", Activation::relu); }),
            "4: x.safetensors: fc1.bias is F16; expected F32 or F64");
}

}  // namespace
}  // namespace elbo
