// Convolutions at the edges of what they accept: empty batches, single pixels, windows larger than
// the image or with gaps between them, and broken calls; and what rides on the sums in either
// direction.
#include "kernels/error.h"
#include "tests/kernels/conv_fixture.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

class ConvEdgeTest : public ConvTest {
 protected:
  // y and what backward needs, with bias and activation.
  struct Forward {
    DeviceBuffer<float> y;
    DeviceBuffer<std::byte> aux;
  };

  Forward run_forward(const ConvCase& c, const std::vector<float>& x,
                      const std::vector<float>& weight, const std::vector<float>& bias,
                      Activation activation) {
    const DeviceBuffer<float> xd(device(), x), wd(device(), weight), bd(device(), bias);
    Forward result{
        DeviceBuffer<float>(device(), std::vector<float>(c.y_count(), NAN)),
        DeviceBuffer<std::byte>(device(), conv_aux_bytes<float>(c.y_count(), activation))};
    const ConvForward args{.geometry = c.geometry,
                           .x = xd.data(),
                           .weight = wd.data(),
                           .bias = bd.data(),
                           .y = result.y.data(),
                           .aux = result.aux.size() ? result.aux.data() : nullptr,
                           .activation = activation};
    c.transpose ? conv_transpose2d_forward(exec(), args) : conv2d_forward(exec(), args);
    result.y.download();  // before the operands go
    return result;
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, ConvEdgeTest, testing::ValuesIn(available_devices()),
                         device_name);

ConvCase conv(int64_t batch, const ImageSize& in, int64_t out, const ConvWindow& window) {
  return {conv2d_geometry(batch, in, out, window), false};
}

ConvCase transposed(int64_t batch, const ImageSize& in, int64_t out, const ConvWindow& window,
                    int64_t output_padding = 0) {
  return {conv_transpose2d_geometry(batch, in, out, window, output_padding, output_padding), true};
}

// Wide and thin on either side, with rows that fill vectors and rows that do not.
std::vector<ConvCase> edge_cases() {
  const ConvWindow k1 = ConvWindow::square(1), k3 = ConvWindow::square(3, 1, 1);
  std::vector<ConvCase> cases = {
      conv(3, {1, 1, 5}, 7, k1),                            // a dense layer
      transposed(3, {1, 1, 5}, 3, ConvWindow::square(4)),   // one pixel becomes 4x4
      conv(2, {2, 2, 3}, 20, ConvWindow::square(5, 1, 2)),  // larger than the image
      conv(2, {3, 3, 2}, 2, ConvWindow::square(7, 2, 3)),   // all but the centre outside, at times
      conv(2, {9, 7, 4}, 18, ConvWindow::square(2, 4)),     // pixels that no window meets
      transposed(2, {3, 2, 18}, 4, ConvWindow::square(2, 4)),   // pixels that get nothing
      transposed(2, {3, 2, 18}, 40, ConvWindow::square(1, 3)),  // the same, wide
      transposed(2, {2, 3, 6}, 2, ConvWindow::square(3, 2, 1, 2), 1),
      transposed(1, {5, 17, 33}, 1, k3),
      conv(1, {4, 33, 16}, 4, k3),
      conv(13, {4, 4, 48}, 33, ConvWindow::square(4, 2, 1)),
      transposed(13, {2, 2, 65}, 32, ConvWindow::square(3, 2, 1), 1),
      conv(2, {6, 6, 32}, 3, ConvWindow{3, 2, 1, 2, 1, 0, 2, 1}),
      // Padding that hides a feature behind the border, and one that only cuts.
      transposed(2, {3, 3, 17}, 3, ConvWindow::square(2, 2, 2)),
      transposed(2, {4, 4, 3}, 17, ConvWindow::square(5, 1, 3)),
  };
  return cases;
}

TEST_P(ConvEdgeTest, OddGeometriesAgreeWithTheOracle) {
  uint32_t seed = 0;
  for (const ConvCase& c : edge_cases()) {
    for (const GradMode mode : kModes) expect_right(c, ++seed, mode);
    if (HasFatalFailure()) return;
  }
}

TEST_P(ConvEdgeTest, ActivationsFollowTheSums) {
  for (const ConvCase& c : edge_cases()) {
    Numbers numbers(11);
    const auto x = numbers(c.x_count()), weight = numbers(c.geometry.weight_size());
    const auto bias = numbers(c.y_size().channels);
    oracle::Matrix pre = oracle::convolve(c.geometry, c.transpose, x, weight);
    add(pre, bias);
    for (const Activation activation : kActivations) {
      const std::string what = oracle::to_string(c) + " " + activation_name(activation);
      oracle::Matrix want = pre;
      for (double& v : want.value) v = oracle::activated(activation, v);
      const Forward got = run_forward(c, x, weight, bias, activation);
      oracle::expect_near(got.y.download(), want, what);
      if (!needs_pre_activation(activation)) continue;
      const std::vector<std::byte> aux = got.aux.download();
      std::vector<float> kept(aux.size() / sizeof(float));
      std::memcpy(kept.data(), aux.data(), aux.size());
      oracle::expect_near(kept, pre, what + ", kept");
    }
  }
}

// x is the activated output of a layer below; its pre-activations are drawn.
TEST_P(ConvEdgeTest, BackwardUndoesTheInputsActivation) {
  for (const ConvCase& c : edge_cases()) {
    Numbers numbers(12);
    const auto dy = numbers(c.y_count()), weight = numbers(c.geometry.weight_size());
    const auto below = numbers(c.x_count()), old = numbers(c.x_size().channels);
    const DeviceBuffer<float> dyd(device(), dy), wd(device(), weight), pre(device(), below);
    const oracle::Matrix dx = oracle::convolve(c.geometry, !c.transpose, dy, weight);
    for (const Activation activation : kActivations) {
      for (const GradMode mode : kModes) {
        oracle::Matrix want = dx;
        std::vector<float> y(below);
        for (size_t i = 0; i < y.size(); ++i) {
          y[i] = static_cast<float>(oracle::activated(activation, below[i]));
          want.value[i] *= oracle::slope(activation, below[i]);
        }
        const DeviceBuffer<float> kept(device(), y);
        DeviceBuffer<float> got(device(), std::vector<float>(y.size(), NAN));
        GradBuffer dbias(device(), old, mode);
        const InputActivation input{.activation = activation,
                                    .y = kept.data(),
                                    .aux = needs_pre_activation(activation) ? pre.data() : nullptr,
                                    .dbias = dbias.data(),
                                    .dbias_mode = mode};
        const ConvBackwardData args{.geometry = c.geometry,
                                    .dy = dyd.data(),
                                    .weight = wd.data(),
                                    .dx = got.data(),
                                    .input = &input};
        c.transpose ? conv_transpose2d_backward_data(exec(), args)
                    : conv2d_backward_data(exec(), args);
        const std::string what = oracle::to_string(c) + " " + activation_name(activation);
        oracle::expect_near(got.download(), want, what);
        oracle::Matrix sums = oracle::column_sums(want, c.x_size().channels);
        if (mode == GradMode::add) oracle::add_to(sums, old);
        oracle::expect_near(dbias.buffer.download(), sums, what + ", dbias");
      }
    }
  }
}

TEST_P(ConvEdgeTest, NaNReachesTheOutputThroughRelu) {
  for (const int64_t channels : {3, 32}) {
    const ConvCase c = conv(2, {8, 8, 16}, channels, ConvWindow::square(3, 1, 1));
    Numbers numbers(3);
    auto x = numbers(c.x_count());
    x[5] = NAN;
    const Forward got =
        run_forward(c, x, numbers(c.geometry.weight_size()), numbers(channels), Activation::relu);
    EXPECT_TRUE(std::isnan(got.y.download()[0])) << channels << " channels";
  }
}

TEST_P(ConvEdgeTest, EmptyBatchLeavesDataAloneAndClearsGradients) {
  const ConvCase c = conv(0, {6, 6, 3}, 4, ConvWindow::square(3));
  const WeightGradients old{std::vector<float>(c.geometry.weight_size(), 1),
                            std::vector<float>(4, 1)};
  EXPECT_TRUE(forward(c, {}, std::vector<float>(c.geometry.weight_size()), nullptr).empty());
  EXPECT_TRUE(backward_data(c, {}, old.dweight, GradMode::write, {}).empty());
  for (const GradMode mode : kModes) {
    const WeightGradients got = backward_weight(c, {}, {}, mode, old);
    const float want = mode == GradMode::add ? 1 : 0;
    EXPECT_EQ(got.dweight, std::vector<float>(old.dweight.size(), want));
    EXPECT_EQ(got.dbias, std::vector<float>(4, want));
  }
}

TEST_P(ConvEdgeTest, BrokenCallsSayWhatIsWrong) {
  expect_no_launch();
  const ConvCase c = conv(1, {4, 4, 1}, 1, ConvWindow::square(3));
  DeviceBuffer<float> x(device(), 16), w(device(), 9), y(device(), 4);
  const ConvForward good{.geometry = c.geometry, .x = x.data(), .weight = w.data(), .y = y.data()};
  const auto error = [&](ConvForward args) {
    return error_of([&] { conv2d_forward(exec(), args); });
  };
  ConvForward args = good;
  args.weight = nullptr;
  EXPECT_EQ(error(args), "1: conv2d_forward: weight is null");
  args = good;
  args.geometry.features.height = 9;
  EXPECT_EQ(error(args), "1: conv2d_forward: impossible geometry 1x4x4x1 k3 s1 p0 -> 1x9x2x1");
  const InputActivation input{.activation = Activation::relu, .y = x.data()};
  ConvBackwardData backward{.geometry = c.geometry,
                            .dy = y.data(),
                            .weight = w.data(),
                            .dx = x.data(),
                            .mode = GradMode::add,
                            .input = &input};
  const std::string message = error_of([&] { conv2d_backward_data(exec(), backward); });
  EXPECT_EQ(message.rfind("1: conv2d_backward_data: the input's activation cannot be undone", 0), 0)
      << message;
}

}  // namespace
}  // namespace elbo
