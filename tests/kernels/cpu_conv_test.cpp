// Convolutions on the CPU by every implementation: our kernels on each vector unit, and oneDNN,
// against the oracle at widths, depths and sizes where their paths change, and on the layers of
// image models.
#include <cstdlib>

#include "bench/conv_layers.h"
#include "kernels/conv_backends.h"
#include "kernels/gemm_handles.h"
#include "tests/kernels/conv_fixture.h"

namespace elbo {
namespace {

using bench::ConvLayer, bench::conv_layers;
using cpu::VectorUnit;

ConvCase conv(int64_t batch, const ImageSize& in, int64_t out, const ConvWindow& window) {
  return {conv2d_geometry(batch, in, out, window), false};
}

// Sums and gradients of one geometry in both directions, by whatever `convolve` and `gradient` are.
template <class Convolve, class Gradient>
void expect_sums(const ConvGeometry& g, GradMode mode, Convolve convolve, Gradient gradient) {
  const std::string name = g.to_string();
  Numbers numbers(static_cast<uint32_t>(g.image.size() + g.features.size()));
  const auto image = numbers(g.batch * g.image.size());
  const auto features = numbers(g.batch * g.features.size());
  const auto weight = numbers(g.weight_size());
  for (const ConvTowards towards : {ConvTowards::features, ConvTowards::image}) {
    const bool to_image = towards == ConvTowards::image;
    const auto old = numbers(static_cast<int64_t>((to_image ? image : features).size()));
    std::vector<float> out = mode == GradMode::add ? old : std::vector<float>(old.size(), NAN);
    oracle::Matrix want = oracle::convolve(g, to_image, to_image ? features : image, weight);
    if (mode == GradMode::add) oracle::add_to(want, old);
    convolve(ConvProduct<float>{.geometry = g,
                                .towards = towards,
                                .in = to_image ? features.data() : image.data(),
                                .weight = weight.data(),
                                .out = out.data(),
                                .mode = mode});
    oracle::expect_near(out, want, name + (to_image ? " towards image" : " towards features"));
  }
  const auto old = numbers(g.weight_size());
  std::vector<float> dweight = mode == GradMode::add ? old : std::vector<float>(old.size(), NAN);
  oracle::Matrix want = oracle::weight_gradient(g, image, features);
  if (mode == GradMode::add) oracle::add_to(want, old);
  gradient(ConvWeightProduct<float>{.geometry = g,
                                    .image = image.data(),
                                    .features = features.data(),
                                    .dweight = dweight.data(),
                                    .mode = mode});
  oracle::expect_near(dweight, want, name + " dW");
}

// Around strips of 32 columns, tiles of 12 and blocks of 48 pixels, patches deeper than 1024 and
// columns beyond 512, a weight of more than a megabyte; thin sums with rows that fill vectors and
// rows that do not, and planes too large for their work space.
std::vector<ConvGeometry> path_cases() {
  const ConvWindow k3 = ConvWindow::square(3, 1, 1), k4 = ConvWindow::square(4, 2, 1);
  const ConvWindow k1 = ConvWindow::square(1);
  return {conv(2, {9, 16, 16}, 31, k3).geometry,  conv(1, {8, 30, 17}, 33, k4).geometry,
          conv(7, {4, 4, 64}, 48, k4).geometry,   conv(3, {5, 5, 144}, 20, k3).geometry,
          conv(2, {2, 3, 1100}, 6, k1).geometry,  conv(2, {2, 2, 6}, 530, k1).geometry,
          conv(2, {4, 3, 350}, 8, k3).geometry,   conv(1, {3, 70, 3}, 32, k3).geometry,
          conv(1, {6, 40, 32}, 3, k3).geometry,   conv(2, {16, 16, 4}, 16, k4).geometry,
          conv(5, {7, 7, 2}, 1, k3).geometry,     conv(1, {50, 34, 2}, 40, k3).geometry,
          conv(1, {13, 64, 16}, 4, k1).geometry,  conv(60, {1, 2, 32}, 13, k1).geometry,
          conv(2, {3, 3, 160}, 200, k3).geometry, conv(1, {3, 256, 128}, 3, k3).geometry};
}

class CpuConvTest : public testing::TestWithParam<VectorUnit> {
 protected:
  void SetUp() override {
    if (!vector_unit_available(GetParam())) {
      GTEST_SKIP() << "NOT TESTED: this machine has no " << vector_unit_name(GetParam());
    }
    scratch_.resize(kGemmWorkspaceBytes);
    exec_.scratch.data = scratch_.data();
    exec_.scratch.bytes = scratch_.size();
  }

  void expect_right(const ConvGeometry& g, GradMode mode) {
    expect_sums(
        g, mode, [&](const ConvProduct<float>& p) { native::convolve(exec_, p, GetParam()); },
        [&](const ConvWeightProduct<float>& p) {
          native::conv_weight_gradient(exec_, p, GetParam());
        });
  }

  std::vector<std::byte> scratch_;
  Exec exec_;
};

std::string unit_name(const testing::TestParamInfo<VectorUnit>& unit) {
  return vector_unit_name(unit.param);
}
INSTANTIATE_TEST_SUITE_P(Units, CpuConvTest,
                         testing::Values(VectorUnit::baseline, VectorUnit::avx2,
                                         VectorUnit::avx512),
                         unit_name);

TEST_P(CpuConvTest, PathsAgreeWithTheOracle) {
  for (const ConvGeometry& g : path_cases()) {
    for (const GradMode mode : kModes) expect_right(g, mode);
    if (HasFatalFailure()) return;
  }
}

TEST_P(CpuConvTest, RandomShapesAgreeWithTheOracle) {
  for (const ConvCase& c : oracle::random_conv_cases(7, 120)) {
    if (c.geometry.batch > 0) expect_right(c.geometry, GradMode::write);
    if (HasFatalFailure()) return;
  }
}

// With a megabyte the columns of the largest weight go in groups.
TEST_P(CpuConvTest, LittleScratchChangesNoBit) {
  for (const ConvGeometry& g : path_cases()) {
    for (const ConvTowards towards : {ConvTowards::features, ConvTowards::image}) {
      Numbers numbers(5);
      const bool to_image = towards == ConvTowards::image;
      const auto in = numbers(g.batch * (to_image ? g.features.size() : g.image.size()));
      const auto weight = numbers(g.weight_size());
      std::vector<float> out[2];
      for (int i = 0; i < 2; ++i) {
        exec_.scratch.bytes = i == 0 ? scratch_.size() : size_t{1} << 20;
        out[i].resize(
            static_cast<size_t>(g.batch * (to_image ? g.image.size() : g.features.size())));
        native::convolve(exec_,
                         ConvProduct<float>{.geometry = g,
                                            .towards = towards,
                                            .in = in.data(),
                                            .weight = weight.data(),
                                            .out = out[i].data()},
                         GetParam());
      }
      EXPECT_EQ(out[0], out[1]) << g.to_string();
    }
  }
}

// Tenths do not add up in fp32: in a chain of 130 000 the sum would be off by 1e-3.
TEST_P(CpuConvTest, ColumnSumsOfManyPixelsAreExact) {
  for (const int64_t channels : {3, 32}) {
    const ConvGeometry g = conv(32, {64, 64, channels}, 1, ConvWindow::square(1)).geometry;
    const auto pixels = static_cast<size_t>(g.image_rows());
    const std::vector<float> features(pixels, 0.1f), weight(static_cast<size_t>(channels), 1.0f);
    std::vector<float> image(pixels * static_cast<size_t>(channels));
    std::vector<float> dbias(static_cast<size_t>(channels), NAN);
    const InputActivation input{.activation = Activation::identity, .dbias = dbias.data()};
    native::convolve(exec_,
                     ConvProduct<float>{.geometry = g,
                                        .towards = ConvTowards::image,
                                        .in = features.data(),
                                        .weight = weight.data(),
                                        .out = image.data(),
                                        .input = &input},
                     GetParam());
    const double want = static_cast<double>(pixels) * double{0.1f};
    for (const float sum : dbias) EXPECT_NEAR(sum, want, 2e-6 * want) << channels;
  }
}

TEST_P(CpuConvTest, SaysThatScratchIsMissing) {
  exec_.scratch = {};
  const ConvGeometry g = path_cases()[0];
  std::vector<float> in(static_cast<size_t>(g.batch * g.image.size())),
      weight(static_cast<size_t>(g.weight_size())),
      out(static_cast<size_t>(g.batch * g.features.size()));
  EXPECT_THROW(native::convolve(exec_,
                                ConvProduct<float>{.geometry = g,
                                                   .towards = ConvTowards::features,
                                                   .in = in.data(),
                                                   .weight = weight.data(),
                                                   .out = out.data()},
                                GetParam()),
               Error);
}

class CpuConvLayersTest : public ConvTest {};
INSTANTIATE_TEST_SUITE_P(Cpu, CpuConvLayersTest, testing::Values(Device::cpu), device_name);

// What ever serves a call, it is not the reference loops of oneDNN: those take a thousand times as
// long.
TEST_P(CpuConvLayersTest, NothingIsServedByReferenceLoops) {
  std::vector<ConvCase> cases = oracle::random_conv_cases(2024, 320);
  for (const ConvLayer& layer : conv_layers(1)) cases.push_back({layer.geometry, layer.transpose});
  for (const ConvCase& c : cases) {
    if (c.geometry.batch == 0) continue;
    const std::vector<float> x(c.x_count(), 0.5f), dy(c.y_count(), 0.25f);
    const std::vector<float> weight(c.geometry.weight_size(), 0.1f);
    forward(c, x, weight, nullptr);
    backward_data(c, dy, weight, GradMode::write, x);
    backward_weight(c, x, dy, GradMode::write, {weight, std::vector<float>(c.y_size().channels)});
  }
  int convolutions = 0;
  for (const std::string& line : describe_gemm_plans(exec().gemm)) {
    EXPECT_EQ(line.find(": ref"), std::string::npos) << line;
    convolutions += line.find(" -> ") != std::string::npos;
  }
  const bool has_onednn = exec().gemm->conv != nullptr, free_choice = !std::getenv("ELBO_CONV");
  EXPECT_GT(convolutions, has_onednn && free_choice ? 100 : -1);
}

// <conv(x), y> = <x, conv_T(y)> for the layers of models, where the oracle would take minutes.
TEST_P(CpuConvLayersTest, ConvolutionAndTransposeAreAdjoint) {
  for (const ConvLayer& layer : conv_layers(2)) {
    if (layer.model == "c1") continue;
    ConvCase c{layer.geometry, false};
    Numbers numbers(21);
    const auto x = numbers(c.x_count()), y = numbers(c.y_count());
    const auto weight = numbers(c.geometry.weight_size());
    const auto dot = [](const std::vector<float>& a, const std::vector<float>& b) {
      double sum = 0, magnitude = 0;
      for (size_t i = 0; i < a.size(); ++i) {
        sum += double{a[i]} * double{b[i]};
        magnitude += std::abs(double{a[i]} * double{b[i]});
      }
      return std::pair(sum, magnitude);
    };
    const auto [over_features, magnitude] = dot(forward(c, x, weight, nullptr), y);
    c.transpose = true;
    const auto [over_image, unused] = dot(x, forward(c, y, weight, nullptr));
    // And the weight's gradient is the third side of the same form: <W, dW(x, y)>.
    c.transpose = false;
    const auto [over_weight, unused2] =
        dot(weight, backward_weight(c, x, y, GradMode::write, {weight, y}).dweight);
    EXPECT_NEAR(over_features, over_image, 1e-5 * magnitude) << layer.model << " " << layer.name;
    EXPECT_NEAR(over_features, over_weight, 1e-5 * magnitude) << layer.model << " " << layer.name;
  }
}

TEST_P(CpuConvLayersTest, RepetitionGivesTheSameBits) {
  for (const ConvLayer& layer : conv_layers(3)) {
    if (layer.model != "d1" && layer.model + layer.name != "d2c4") continue;
    const ConvCase c{layer.geometry, layer.transpose};
    Numbers numbers(22);
    const auto x = numbers(c.x_count()), dy = numbers(c.y_count());
    const auto weight = numbers(c.geometry.weight_size());
    for_each_order(device(), [&] {
      const WeightGradients gradients = backward_weight(
          c, x, dy, GradMode::write, {weight, std::vector<float>(c.y_size().channels)});
      return std::vector<std::vector<float>>{forward(c, x, weight, nullptr),
                                             backward_data(c, dy, weight, GradMode::write, x),
                                             gradients.dweight, gradients.dbias};
    });
  }
}

}  // namespace
}  // namespace elbo
