// Models that are told attributes by hand, beside the auditor.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/sprites.h"
#include "tests/models/told_model.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

using namespace told_model_test;

TEST(AuditAttributes, AgreesWithTheEngine) {
  const std::vector<float> rows = {24, -3.2f, 0.5f, 17, -3, 80, 20, -2.5f, 0, 31, -3.3f, 1};
  std::vector<float> other = rows;
  other[9] = 30;
  expect_agreement(Condition::attributes, Told::attributes(rows), Told::attributes(other));
}

TEST(AuditAttributes, ForwardIsWhatPencilAndPaperGive) {
  PencilModel model(Condition::attributes);
  model.file.add("attributes.mean", {2}, {50, 1}).add("attributes.deviation", {2}, {4, 0});
  const AuditNet net = model.net();
  // 3 + 2 * 4 + 10 * 2 + 1000 and 5 + 2 * 6 + 10 * -0.5 + 1000.
  EXPECT_EQ(net.encode({3, 4, 5, 6}, {{}, {58, 7, 48, 1}}).mean, (AuditRows{1031, 1012}));
  EXPECT_EQ(net.decode({7, 8}, {{}, {54, 2, 50, 3}}), (AuditRows{17, 49, 8, 21}));
  model.file.remove("attributes.mean");
  EXPECT_EQ(error_of([&] { model.net(); }),
            "4: x.safetensors: no tensor \"attributes.mean\"; expected PyTorch's names of an MLP "
            "autoencoder");
}

TEST(AuditAttributes, CountInEveryFigure) {
  ToldAudit two(told_config(ModelKind::mlp_vae, Condition::attributes));
  const auto audited = [&](std::vector<float> rows) {
    two.data.set_attributes({"a", "b", "c"}, std::move(rows));
    return two.report();
  };
  const AuditReport one = audited({20, -3, 0, 24, -3, 0}), other = audited({20, -3, 0, 25, -3, 0});
  expect_other_figures(one, other);
  // The first image is told the same, and so has the same figures.
  EXPECT_EQ(one.per_image[0].nll_nats, other.per_image[0].nll_nats);
  EXPECT_EQ(one.recon_nats, audited({20, -3, 5, 24, -3, 6}).recon_nats);
  two.data.set_attributes({}, {});
  EXPECT_EQ(error_of([&] { two.report(); }),
            "4: evaluate: the images have 0 attributes, and the model was trained with 3");
}

TEST(AuditAttributes, OfSpritesAreThoseOfTheirFactors) {
  const AuditData data = AuditData::sprites(8, 100, 5, {"orientation", "y"});
  const std::vector<double> found = data.attributes(1, 3);
  ASSERT_EQ(found.size(), 6u);
  for (int64_t i = 0; i < 3; ++i) {
    const SpriteFactors factors = sprite_factors(sprite_of_item(0, 101 + i));
    EXPECT_NEAR(found[static_cast<size_t>(2 * i)], 2 * std::acos(-1) * factors.orientation / 40,
                1e-6);
    EXPECT_NEAR(found[static_cast<size_t>(2 * i + 1)], factors.pos_y / 31.0, 1e-6);
  }
}

}  // namespace
}  // namespace elbo
