// Convolutions by cuDNN, and who is chosen: the library, or our own kernels.
#ifdef ELBO_HAS_CUDNN

#include "kernels/conv_likelihood.h"
#include "kernels/gemm_handles.h"
#include "tests/kernels/conv_fixture.h"
#ifdef ELBO_SIM
#include "tests/sim/control.h"
#endif

namespace elbo {
namespace {

class ConvCudnnTest : public ConvTest {
 protected:
#ifdef ELBO_SIM
  void TearDown() override {
    cudasim::config().broken_promises = 0;
    ConvTest::TearDown();
  }
#endif
  const Exec& conv_exec() override { return chosen_ = choose(precision_, kernels_); }

  Exec choose(ProductPrecision precision, ProductKernels kernels) {
    Exec copy = exec();
    copy.products = precision;
    copy.product_kernels = kernels;
    return copy;
  }
  // Plans of convolutions made so far, those that the library refused apart.
  struct Plans {
    int64_t made = 0, refused = 0;
    int64_t asked() const { return made + refused; }
  };
  Plans plans() {
    Plans count;
    for (const std::string& line : describe_gemm_plans(exec().gemm)) {
      if (line.find("cuDNN algorithm") != std::string::npos) ++count.made;
      if (line.find(": refused") != std::string::npos) ++count.refused;
    }
    return count;
  }

  ProductPrecision precision_ = ProductPrecision::fp32;
  ProductKernels kernels_ = ProductKernels::vendor;

 private:
  Exec chosen_;
};

TEST_P(ConvCudnnTest, RandomShapesAgreeWithTheOracle) {
  uint32_t seed = 0;
  int64_t products = 0;
  for (const ConvCase& c : oracle::random_conv_cases(2025, 160)) {
    if (++seed % kCaseStep != 0) continue;
    products += c.geometry.batch > 0 ? 3 : 0;
    expect_right(c, seed, seed % 3 == 0 ? GradMode::add : GradMode::write);
    if (HasFatalFailure()) return;
  }
  // Refused: features that are not all that a convolution of the image makes.
  const Plans count = plans();
  EXPECT_EQ(count.asked(), products);
  EXPECT_GT(count.made, products / 2);
}

TEST_P(ConvCudnnTest, Tf32RoundsAndFp32DoesNot) {
  const ConvCase c{conv2d_geometry(2, {9, 8, 12}, 16, ConvWindow::square(4, 2, 1)), false};
  expect_right(c, 1, GradMode::write);
  oracle::Numbers numbers(1);
  const auto x = numbers(c.x_count()), weight = numbers(c.geometry.weight_size());
  const std::vector<float> exact = forward(c, x, weight, nullptr);
  precision_ = ProductPrecision::tf32;
  // The library may drop the last bits of both operands rather than round them.
  expect_right(c, 1, GradMode::write, 0x1p-9 + oracle::kTolerance);
  EXPECT_NE(forward(c, x, weight, nullptr), exact);
}

TEST_P(ConvCudnnTest, TheLibraryIsChosenForManyChannelsOnly) {
  kernels_ = ProductKernels::automatic;
  const auto plans_after = [&](int64_t in, int64_t out) {
    const ConvCase c{conv2d_geometry(1, {3, 3, in}, out, ConvWindow::square(3)), false};
    const std::vector<float> x(c.x_count(), 1.0f), weight(c.geometry.weight_size(), 1.0f);
    forward(c, x, weight, nullptr);
    return plans().asked();  // a GPU's library may refuse
  };
  EXPECT_EQ(plans_after(64, 80), 0);
  EXPECT_EQ(plans_after(80, 64), 0);
  EXPECT_EQ(plans_after(65, 65), 1);
  kernels_ = ProductKernels::own;
  EXPECT_EQ(plans_after(66, 66), 1);
}

// A last layer that is the library's is not fused: forward, then the likelihood, in one part.
TEST_P(ConvCudnnTest, LikelihoodFollowsTheChoice) {
  // An image is several tiles, also with all phases in one product; the library is one part.
  const ConvGeometry g = conv_transpose2d_geometry(2, {14, 14, 5}, 3, ConvWindow::square(4, 2, 1));
  EXPECT_EQ(conv_transpose2d_likelihood_parts<float>(conv_exec(), g), 1);
  EXPECT_GT(conv_transpose2d_likelihood_parts<bf16>(conv_exec(), g), 1) << "bf16 is ours";
  const Exec own = choose(ProductPrecision::fp32, ProductKernels::own);
  const int64_t parts = conv_transpose2d_likelihood_parts<float>(own, g);
  EXPECT_GT(parts, 1);
  oracle::Numbers numbers(3);
  const DeviceBuffer<float> x(device(), numbers(g.feature_rows() * 5));
  const DeviceBuffer<float> weight(device(), numbers(g.weight_size()));
  const DeviceBuffer<float> target(device(), numbers(g.image_rows() * 3));
  const DeviceBuffer<float> upstream(device(), std::vector<float>{1.0f});
  const auto run = [&](const Exec& e) {
    DeviceBuffer<float> doutput(device(), target.size()), nll(device(), 2 * parts);
    conv_transpose2d_likelihood(e, ConvLikelihood<float, float>{.geometry = g,
                                                                .likelihood = Likelihood::gaussian,
                                                                .x = x.data(),
                                                                .weight = weight.data(),
                                                                .target = target.data(),
                                                                .doutput = doutput.data(),
                                                                .nll = nll.data(),
                                                                .loss_weight = {upstream.data()}});
    return doutput.download();
  };
  const std::vector<float> fused = run(own), apart = run(conv_exec());
  EXPECT_EQ(plans().asked(), 1);
  for (size_t i = 0; i < fused.size(); ++i) ASSERT_NEAR(fused[i], apart[i], 1e-4f);
}

TEST_P(ConvCudnnTest, OwnKernelsDoWhatTheLibraryRefuses) {
  // Without output padding the image would have other features.
  const ConvCase c{conv_transpose2d_geometry(2, {4, 3, 6}, 4, ConvWindow::square(3, 1, 0, 2), 1, 1),
                   true};
  expect_right(c, 5, GradMode::add);
  EXPECT_EQ(plans().refused, 3);
#ifdef ELBO_SIM
  cudasim::config().no_library_convolutions = true;
  const ConvCase other{conv2d_geometry(2, {5, 6, 3}, 7, ConvWindow::square(3, 2, 1)), false};
  expect_right(other, 6, GradMode::write);
  cudasim::config().no_library_convolutions = false;
  EXPECT_EQ(plans().refused, 6);
#endif
}

#ifdef ELBO_SIM
// What the heuristic offers is not always what runs. Of its answers two repeat their bits and fit.
TEST_P(ConvCudnnTest, AnAlgorithmThatRefusesWhenItIsRunMakesRoomForTheNext) {
  const ConvCase c{conv2d_geometry(2, {5, 6, 3}, 7, ConvWindow::square(3, 2, 1)), false};
  const auto lines_with = [&](const std::string& text) {
    int64_t count = 0;
    for (const std::string& line : describe_gemm_plans(exec().gemm)) {
      count += line.find(text) != std::string::npos;
    }
    return count;
  };
  cudasim::config().broken_promises = 1;
  expect_right(c, 6, GradMode::write);
  EXPECT_EQ(cudasim::config().broken_promises, 0);
  EXPECT_EQ(lines_with("algorithm 3"), 1) << "the one that refused is not asked again";
  EXPECT_EQ(lines_with("algorithm 2"), 2);
  cudasim::config().broken_promises = 1 + 2 + 2;  // all that forward has left; new plans that add
  expect_right(c, 6, GradMode::add);
  EXPECT_EQ(cudasim::config().broken_promises, 0);
  EXPECT_EQ(plans().refused, 3) << "left to our own kernels";
}
#endif

TEST_P(ConvCudnnTest, TooLittleScratchIsAnError) {
  const ConvGeometry g = conv2d_geometry(1, {4, 4, 8}, 8, ConvWindow::square(3, 1, 1));
  const DeviceBuffer<float> x(device(), std::vector<float>(g.image.size(), 1.0f)),
      weight(device(), std::vector<float>(g.weight_size(), 1.0f));
  DeviceBuffer<float> y(device(), static_cast<size_t>(g.features.size()));
  const ConvForward args{.geometry = g, .x = x.data(), .weight = weight.data(), .y = y.data()};
#ifdef ELBO_SIM
  Exec small = conv_exec();
  small.scratch.bytes = 16;
  EXPECT_THROW(conv2d_forward(small, args), Error);
#endif
  conv2d_forward(conv_exec(), args);
}

INSTANTIATE_TEST_SUITE_P(Devices, ConvCudnnTest, testing::Values(Device::cuda), device_name);

}  // namespace
}  // namespace elbo

#endif  // ELBO_HAS_CUDNN
