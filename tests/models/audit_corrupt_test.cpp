// The auditor's corruptions against those of training: the same where there is no noise, the same in
// distribution where there is.
#include "models/audit_corrupt.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/error.h"
#include "models/audit.h"
#include "models/corruption_text.h"
#include "tests/support/error_of.h"
#include "tests/support/tensor_map.h"

namespace elbo {
namespace {

const ImageSize kImage{9, 7, 3};

std::vector<float> pattern(int64_t images) {
  std::vector<float> x;
  for (int64_t i = 0; i < images * kImage.size(); ++i)
    x.push_back(static_cast<float>(0.5 + 0.4 * std::sin(0.9 * static_cast<double>(i))));
  return x;
}

AuditRows audited(const std::string& chain, const std::vector<float>& x, int64_t first = 0,
                  uint64_t seed = 1) {
  return audit_corrupted({parse_corruptions(chain), kImage}, AuditRows(x.begin(), x.end()), first,
                         seed);
}

std::vector<float> trained_on(const std::string& chain, std::vector<float> x) {
  std::vector<int32_t> sample;
  const auto images = static_cast<int64_t>(x.size()) / kImage.size();
  for (int64_t i = 0; i < images; ++i) sample.push_back(static_cast<int32_t>(i));
  uint32_t number = 0;
  for (const Corruption& link : parse_corruptions(chain)) {
    std::vector<float> y(x.size()), between(x.size());
    Corrupt args;
    args.link = link;
    args.number = number++;
    args.sample = sample.data();
    args.batch = images;
    args.image = kImage;
    args.x = x.data();
    args.y = y.data();
    args.between = between.data();
    corrupt(Exec{}, args);
    x = y;
  }
  return x;
}

TEST(AuditCorrupt, FiltersAreThoseOfTraining) {
  const std::vector<float> x = pattern(2);
  for (const char* chain :
       {"blur:0.7", "blur:2.5", "motion:5", "motion:4:30", "motion:7:-100", "downsample:2",
        "downsample:4", "downsample:3:nearest", "motion:3:45,downsample:2,blur:1"}) {
    const AuditRows found = audited(chain, x);
    const std::vector<float> expected = trained_on(chain, x);
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_NEAR(found[i], expected[i], 2e-6) << chain << " " << i;
  }
}

// Mean and mean square of how far pixels move, each within four standard errors of both samples.
TEST(AuditCorrupt, NoiseIsDistributedAsInTraining) {
  const std::vector<float> x = pattern(300);
  for (const char* chain :
       {"gaussian:0.3:0.1", "mask:0.3", "salt-pepper:0.4", "square:3:2", "gaussian:0.2,blur:1"}) {
    const AuditRows found = audited(chain, x);
    const std::vector<float> expected = trained_on(chain, x);
    double moments[2][4] = {};
    for (size_t i = 0; i < x.size(); ++i) {
      const double moved[2] = {found[i] - x[i], static_cast<double>(expected[i]) - x[i]};
      for (int which = 0; which < 2; ++which) {
        for (int power = 0; power < 4; ++power)
          moments[which][power] +=
              std::pow(moved[which], power + 1) / static_cast<double>(x.size());
      }
    }
    // As if of 4000 independent values: 300 images, of which neighbouring values hang together.
    for (int power = 0; power < 2; ++power) {
      const double spread = 4 * std::sqrt(2 * moments[1][2 * power + 1] / 4000);
      EXPECT_NEAR(moments[0][power], moments[1][power], spread) << chain;
      EXPECT_NE(moments[0][power], moments[1][power]) << chain << ": noise is not to be shared";
    }
  }
}

TEST(AuditCorrupt, NoiseBelongsToTheImage) {
  const std::vector<float> x = pattern(1);
  const char* chain = "gaussian:0.3,square:2";
  std::vector<float> twice = x;
  twice.insert(twice.end(), x.begin(), x.end());
  const AuditRows both = audited(chain, twice, 5), second = audited(chain, x, 6);
  EXPECT_TRUE(std::equal(second.begin(), second.end(), both.begin() + kImage.size()));
  EXPECT_NE(audited(chain, x, 5), second);
  EXPECT_NE(audited(chain, x, 6, 2), second);
  EXPECT_EQ(audited("", x), AuditRows(x.begin(), x.end()));
}

// A network that copies its input: code and reconstruction are the corrupted image, the target is clean.
TEST(AuditCorrupt, TheLikelihoodIsThatOfTheCleanImage) {
  TensorMap tensors;
  const std::vector<double> copy = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
  for (const char* layer : {"encoder.0", "decoder.0"}) {
    tensors.add(std::string(layer) + ".weight", {4, 4}, copy);
    tensors.add(std::string(layer) + ".bias", {4}, {0, 0, 0, 0});
  }
  const AuditNet net(tensors.view(), "copy", Activation::relu);
  const AuditData data(std::vector<uint8_t>{0, 51, 102, 255, 51, 51, 51, 51}, 4, DataVariant::grey);
  AuditOptions options;
  options.damage = {parse_corruptions("downsample:2"), {2, 2, 1}};
  const AuditReport report = audit(net, {Likelihood::gaussian, 0.0}, data, options);
  // The first image becomes its mean, 0.4; the second stays.
  const double squares = 0.16 + 0.04 + 0.0 + 0.36;
  EXPECT_NEAR(report.recon_nats, 2 * std::log(2 * M_PI) + 0.25 * squares, 1e-12);
  options.damage.image = {3, 2, 1};
  EXPECT_EQ(error_of([&] {
              audit(net, {Likelihood::gaussian, 0.0}, data, options);
            }),
            "4: evaluate: images of 4 pixels cannot be corrupted as 3 x 2 x 1");
}

}  // namespace
}  // namespace elbo
