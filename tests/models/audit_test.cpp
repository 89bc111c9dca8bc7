// The auditor against integrals that can be done by hand or by quadrature.
#include "models/audit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>

#include "tests/support/error_of.h"
#include "tests/support/tensor_map.h"

namespace elbo {
namespace {

AuditNet net_of(const TensorMap& map) {
  return AuditNet(map.view(), "x.safetensors", Activation::relu);
}

AuditData copies(const std::vector<uint8_t>& image, int64_t count,
                 DataVariant variant = DataVariant::fixed) {
  std::vector<uint8_t> pixels;
  for (int64_t i = 0; i < count; ++i) pixels.insert(pixels.end(), image.begin(), image.end());
  return AuditData(pixels, static_cast<int64_t>(image.size()), variant);
}

// A constant network: encoder and decoder ignore what they read.
TensorMap constant_net(double mean, double logvar, const std::vector<double>& logits) {
  const auto size = static_cast<int64_t>(logits.size());
  TensorMap map;
  map.layer("fc_mu", 1, size, std::vector<double>(logits.size()), {mean})
      .layer("fc_logvar", 1, size, std::vector<double>(logits.size()), {logvar})
      .layer("decoder.0", size, 1, std::vector<double>(logits.size()), logits);
  return map;
}

// One latent, four pixels, and a posterior that is not the true one: wider, so that importance weights
// stay bounded.
TensorMap one_latent() {
  TensorMap map;
  map.layer("fc_mu", 1, 4, {0.8, -0.5, 0.3, 0}, {0.1})
      .layer("fc_logvar", 1, 4, {-0.2, 0.2, 0, -0.1}, {0.6})
      .layer("decoder.0", 3, 1, {1, -1, 2}, {0.2, 0.1, -0.5})
      .layer("decoder.2", 4, 3, {1.5, 0, -1, 0, 2, 0.5, -1, 0.3, 0.4, 0.7, -0.2, 1},
             {-0.2, 0.1, 0.4, -0.6});
  return map;
}
const std::vector<uint8_t> kImage = {255, 0, 255, 255};
const AuditRows kImageRow = {1, 0, 1, 1};

double normal_density(double z, double mean, double logvar) {
  return std::exp(-0.5 * (z - mean) * (z - mean) * std::exp(-logvar)) /
         std::sqrt(2 * std::numbers::pi * std::exp(logvar));
}

// -log p(x|z) of one_latent(), through probabilities, as nobody should implement it.
double plain_nll(const AuditNet& net, const AuditLikelihood& likelihood, double z) {
  const AuditRows output = net.decode({z});
  double nats = 0;
  for (size_t d = 0; d < output.size(); ++d) {
    const double p = 1 / (1 + std::exp(-output[d]));
    nats -= std::log(likelihood.kind == Likelihood::bernoulli
                         ? (kImageRow[d] > 0.5 ? p : 1 - p)
                         : normal_density(kImageRow[d], output[d], likelihood.log_variance));
  }
  return nats;
}

double integral(const std::function<double(double)>& f) {
  // The trapezoid rule converges faster than any power for what decays at both ends.
  const int steps = 4000;
  const double low = -9, width = 18.0 / steps;  // nine standard deviations of the prior: 1e-18
  double sum = 0;
  for (int i = 0; i <= steps; ++i) sum += f(low + i * width);
  return sum * width;
}

struct Exact {
  double neg_elbo, kl, nll;
};

Exact by_quadrature(const AuditNet& net, const AuditLikelihood& likelihood) {
  const AuditPosterior posterior = net.encode(kImageRow);
  const double mu = posterior.mean[0], v = posterior.logvar[0];
  const double recon =
      integral([&](double z) { return normal_density(z, mu, v) * plain_nll(net, likelihood, z); });
  const double kl = integral([&](double z) {
    const double q = normal_density(z, mu, v);
    return q > 0 ? q * std::log(q / normal_density(z, 0, 0)) : 0.0;
  });
  const double evidence = integral(
      [&](double z) { return normal_density(z, 0, 0) * std::exp(-plain_nll(net, likelihood, z)); });
  return {recon + kl, kl, -std::log(evidence)};
}

class AuditQuadrature : public ::testing::TestWithParam<Likelihood> {
 protected:
  const AuditLikelihood likelihood_{GetParam(), 0.5};
  const TensorMap tensors_ = one_latent();
  const AuditNet net_ = net_of(tensors_);
  const Exact exact_ = by_quadrature(net_, likelihood_);
};

TEST_P(AuditQuadrature, TheBoundIsTheIntegral) {
  const AuditReport report = audit(net_, likelihood_, copies(kImage, 40000), {});
  EXPECT_NEAR(*report.kl_nats, exact_.kl, 1e-9);
  ASSERT_GT(*report.neg_elbo_stderr, 0);
  EXPECT_LT(*report.neg_elbo_stderr, 0.05);
  EXPECT_NEAR(*report.neg_elbo_nats, exact_.neg_elbo, 4 * *report.neg_elbo_stderr);
  EXPECT_GT(exact_.neg_elbo, exact_.nll + 0.5);  // the posterior is wrong enough for a gap
}

TEST_P(AuditQuadrature, ImportanceSamplingWithOneDrawIsTheBound) {
  AuditOptions options;
  options.nll_samples = 1;
  const AuditReport report = audit(net_, likelihood_, copies(kImage, 40000), options);
  // Its spread is that of the bound's draws and of log p(z)/q(z) besides.
  EXPECT_NEAR(*report.nll_nats, exact_.neg_elbo, 8 * *report.neg_elbo_stderr);
}

TEST_P(AuditQuadrature, ImportanceSamplingFindsTheEvidence) {
  AuditOptions options;
  options.nll_samples = 5003;  // no multiple of the batch
  const AuditReport report = audit(net_, likelihood_, copies(kImage, 64), options);
  EXPECT_NEAR(*report.nll_nats, exact_.nll, 0.01);  // 320,000 draws of weights of order 1: 0.002
  EXPECT_LT(*report.nll_nats, exact_.neg_elbo - 0.5);
}

// Of K draws from r, (sum w)^2 / sum w^2 tends to K E[w]^2 / E[w^2] with w = p(x|z) p(z) / r(z).
TEST_P(AuditQuadrature, DrawsOfThePriorFindTheEvidenceWithFewerThatCount) {
  const AuditPosterior posterior = net_.encode(kImageRow);
  const auto share = [&](double mean, double logvar) {
    const double squares = integral([&](double z) {
      const double joint = normal_density(z, 0, 0) * std::exp(-plain_nll(net_, likelihood_, z));
      return joint * joint / normal_density(z, mean, logvar);
    });
    return std::exp(-2 * exact_.nll) / squares;
  };
  AuditOptions options;
  options.nll_samples = 5003;
  const AuditReport best = audit(net_, likelihood_, copies(kImage, 64), options);
  EXPECT_NEAR(*best.effective_samples, 5003 * share(posterior.mean[0], posterior.logvar[0]), 50);
  options.proposal = NllProposal::prior;
  const AuditReport naive = audit(net_, likelihood_, copies(kImage, 64), options);
  EXPECT_NEAR(*naive.nll_nats, exact_.nll, 0.01);
  EXPECT_NEAR(*naive.effective_samples, 5003 * share(0, 0), 50);
  EXPECT_NE(*naive.nll_nats, *best.nll_nats);
}

INSTANTIATE_TEST_SUITE_P(Both, AuditQuadrature,
                         ::testing::Values(Likelihood::bernoulli, Likelihood::gaussian),
                         [](const auto& info) {
                           return info.param == Likelihood::bernoulli ? "Bernoulli" : "Gaussian";
                         });

// x = w z + b + noise has p(x) and p(z|x) in closed form. With the true posterior every single
// importance weight is p(x), so the estimate must be exact, draw by draw.
TEST(Audit, TheTruePosteriorMakesEveryWeightTheEvidence) {
  const std::vector<double> w = {0.9, -0.4, 0.3}, b = {0.2, 0.5, -0.1};
  const double log_variance = -1.2, variance = std::exp(log_variance);
  double precision = 1, offset = 0;
  for (int d = 0; d < 3; ++d) precision += w[d] * w[d] / variance;
  std::vector<double> encoder(3);
  for (int d = 0; d < 3; ++d) {
    encoder[d] = w[d] / variance / precision;
    offset -= encoder[d] * b[d];
  }
  TensorMap map;
  map.layer("fc_mu", 1, 3, encoder, {offset})
      .layer("fc_logvar", 1, 3, {0, 0, 0}, {-std::log(precision)})
      .layer("decoder.0", 3, 1, w, b);
  const AuditNet net = net_of(map);
  const AuditLikelihood likelihood{Likelihood::gaussian, log_variance};

  // Sherman-Morrison for the covariance w w' + variance I; its determinant is variance^3 precision.
  const std::vector<double> x = {1, 0, 1};
  double square = 0, along = 0;
  for (int d = 0; d < 3; ++d) {
    square += (x[d] - b[d]) * (x[d] - b[d]);
    along += w[d] * (x[d] - b[d]);
  }
  const double mahalanobis = square / variance - along * along / (variance * variance * precision);
  const double exact = 0.5 * (3 * std::log(2 * std::numbers::pi) + 3 * log_variance +
                              std::log(precision) + mahalanobis);
  for (const int64_t draws : {1, 2, 33}) {
    AuditOptions options;
    options.nll_samples = draws;
    const AuditReport report = audit(net, likelihood, copies({255, 0, 255}, 1), options);
    EXPECT_NEAR(*report.nll_nats, exact, 1e-12) << draws << " draws";
  }
}

TEST(Audit, AFairCoinCostsOneBitPerPixel) {
  const AuditReport report =
      audit(net_of(constant_net(0, 0, {0, 0, 0, 0, 0})), {}, copies({0, 255, 255, 0, 255}, 3), {});
  EXPECT_DOUBLE_EQ(report.recon_nats, 5 * std::numbers::ln2);
  EXPECT_EQ(*report.kl_nats, 0);
  EXPECT_DOUBLE_EQ(*report.bits_per_dim, 1);
  EXPECT_EQ(report.images, 3);
  EXPECT_EQ(report.variant, DataVariant::fixed);
  EXPECT_FALSE(report.entropy_floor_nats);
  EXPECT_FALSE(report.nll_nats);
}

TEST(Audit, KlIsTheClosedFormPerLatent) {
  TensorMap map;
  map.layer("fc_mu", 3, 2, std::vector<double>(6), {0, 2, 1})
      .layer("fc_logvar", 3, 2, std::vector<double>(6), {0, 0, 30})
      .layer("decoder.0", 2, 3, std::vector<double>(6), {0, 0});
  const AuditReport report = audit(net_of(map), {}, copies({0, 255}, 2), {});
  ASSERT_EQ(report.kl_per_latent.size(), 3u);
  EXPECT_EQ(report.kl_per_latent[0], 0);
  EXPECT_DOUBLE_EQ(report.kl_per_latent[1], 2);
  const double bounded = 20 - 100.0 / 30;
  EXPECT_DOUBLE_EQ(report.kl_per_latent[2], 0.5 * (1 + std::exp(bounded) - 1 - bounded));
  EXPECT_DOUBLE_EQ(*report.kl_nats, report.kl_per_latent[1] + report.kl_per_latent[2]);
}

TEST(Audit, GreyTargetsHaveAFloorAndNoBits) {
  const double p = 64 / 255.0, logit = std::log(p / (1 - p));
  const double entropy = -p * std::log(p) - (1 - p) * std::log(1 - p);
  const AuditData data({64, 0, 64, 0, 64, 0}, 2, DataVariant::grey);
  const AuditReport report = audit(net_of(constant_net(0, 0, {logit, -800})), {}, data, {});
  EXPECT_NEAR(*report.entropy_floor_nats, entropy, 1e-15);
  EXPECT_NEAR(report.recon_nats, entropy, 1e-12);  // this decoder reaches it
  EXPECT_FALSE(report.bits_per_dim);
  EXPECT_FALSE(report.iou);
}

TEST(Audit, CountsLatentsWhoseMeanMoves) {
  // Means alternate between 0 and a: their variance is a^2 / 4.
  TensorMap map;
  map.layer("fc_mu", 3, 1, {0.19, 0.21, -5}, {0, 7, 0})
      .layer("fc_logvar", 3, 1, {0, 0, 0}, {0, 0, 0})
      .layer("decoder.0", 1, 3, {0, 0, 0}, {0});
  const AuditData data({0, 255, 0, 255}, 1, DataVariant::fixed);
  EXPECT_EQ(*audit(net_of(map), {}, data, {}).active_units, 2);
}

TEST(Audit, IntersectionOverUnionIsOfTheMeanReconstruction) {
  const AuditNet net = net_of(constant_net(0, 20, {3, -3, 0.1, -0.1}));  // noise changes nothing
  EXPECT_DOUBLE_EQ(*audit(net, {}, copies({255, 255, 255, 0}, 2), {}).iou, 2.0 / 3);
  EXPECT_DOUBLE_EQ(*audit(net, {}, copies({255, 0, 255, 0}, 2), {}).iou, 1);
  EXPECT_DOUBLE_EQ(*audit(net, {}, copies({0, 255, 0, 255}, 2), {}).iou, 0);
}

TEST(Audit, APlainAutoencoderHasOnlyItsReconstruction) {
  TensorMap map;
  map.layer("encoder.0", 1, 2, {1, 1}, {0}).layer("decoder.0", 2, 1, {0, 0}, {0, 0});
  const AuditReport report = audit(net_of(map), {}, copies({255, 0}, 2), {});
  EXPECT_DOUBLE_EQ(report.recon_nats, 2 * std::numbers::ln2);
  EXPECT_FALSE(report.kl_nats || report.neg_elbo_nats || report.nll_nats || report.active_units);
}

TEST(Audit, RefusesImagesOfAnotherSizeAndFiguresThatAreNotFinite) {
  EXPECT_EQ(
      error_of([] {
        audit(net_of(constant_net(0, 0, {0, 0})), {}, copies({0}, 1), {});
      }),
      "4: evaluate: the model takes images of 2 pixels, the data set has 1; is --data the set "
      "it was trained on?");
  EXPECT_EQ(error_of([] {
              audit(net_of(constant_net(NAN, 0, {0, 0})), {}, copies({0, 255}, 1), {});
            }).substr(0, 24),
            "5: evaluate: image 0 has");
}

TEST(AuditData, DynamicPixelsAreDrawnFromTheGreyValue) {
  const int64_t count = 20000;
  const AuditData data = copies({64, 0, 255}, count, DataVariant::dynamic);
  const AuditRows x = data.images(0, count, 7);
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += x[3 * i];
    ASSERT_TRUE(x[3 * i] == 0 || x[3 * i] == 1);
    ASSERT_EQ(x[3 * i + 1], 0);
    ASSERT_EQ(x[3 * i + 2], 1);
  }
  const double p = 64 / 255.0;
  EXPECT_NEAR(sum / count, p, 4 * std::sqrt(p * (1 - p) / count));

  const AuditRows part = data.images(100, 50, 7);  // the same draws however images are grouped
  EXPECT_TRUE(std::equal(part.begin(), part.end(), x.begin() + 3 * 100));
  EXPECT_NE(part, data.images(100, 50, 8));
}

TEST(AuditData, VariantsAreNamedAndBlackAndWhiteIsFixed) {
  EXPECT_EQ(copies({0, 255}, 1, DataVariant::grey).variant(), DataVariant::fixed);
  EXPECT_EQ(copies({1, 255}, 1, DataVariant::grey).variant(), DataVariant::grey);
  EXPECT_EQ(copies({127, 128}, 1, DataVariant::fixed).images(0, 1, 0), (AuditRows{0, 1}));
  EXPECT_EQ(copies({51, 128}, 1, DataVariant::grey).images(0, 1, 0)[0], 0.2);
  EXPECT_EQ(parse_data_variant("dynamic"), DataVariant::dynamic);
  EXPECT_EQ(error_of([] { parse_data_variant("gray"); }),
            "2: --variant is 'gray'; expected grey, dynamic, fixed or dequantised");
}

TEST(AuditData, SpritesAreBlackAndWhiteAndAllDifferent) {
  const AuditData data = AuditData::sprites(32, 1000, 50);
  EXPECT_EQ(data.count(), 50);
  EXPECT_EQ(data.variant(), DataVariant::fixed);
  const AuditRows first = data.images(0, 1, 0);
  double ink = 0;
  for (const double value : first) ink += value;
  EXPECT_GT(ink, 10);   // the smallest sprite covers more of 32 x 32
  EXPECT_LT(ink, 130);  // the largest covers at most a circle of radius 6.4
  EXPECT_NE(first, data.images(1, 1, 0));
}

}  // namespace
}  // namespace elbo
