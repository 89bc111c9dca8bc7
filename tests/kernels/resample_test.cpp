// Upsampling and pooling against their definition in double, their adjoints against the inner product,
// and both against PyTorch (tests/golden/torch_layers.py); on every device.
#include "kernels/resample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "tests/golden/torch_layers.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

// Windows of up to 49 terms of order one; bf16 rounds the result once.
template <class T>
constexpr double kAbsolute = std::is_same_v<T, double> ? 1e-13 : 5e-6;
template <class T>
constexpr double kRelative = std::is_same_v<T, bf16> ? 0x1p-8 : kAbsolute<T>;

// weights[o][i] of an axis, from the words of the header and nothing else.
std::vector<std::vector<double>> matrix_of(const ResampleAxis& axis) {
  std::vector<std::vector<double>> weights(axis.out, std::vector<double>(axis.in));
  for (int o = 0; o < axis.out; ++o) {
    if (axis.kind == ResampleKind::nearest) {
      weights[o][o * axis.in / axis.out] = 1;
    } else if (axis.kind == ResampleKind::bilinear) {
      const double at = std::max(0.0, (o + 0.5) * axis.in / axis.out - 0.5);
      const int left = std::min(static_cast<int>(at), axis.in - 1);
      weights[o][left] += 1 - (at - left);
      weights[o][std::min(left + 1, axis.in - 1)] += at - left;
    } else {
      std::vector<int> inside;
      for (int k = 0; k < axis.kernel; ++k) {
        const int i = o * axis.stride - axis.padding + k;
        if (i >= 0 && i < axis.in) inside.push_back(i);
      }
      const double count = static_cast<double>(axis.count_padding ? axis.kernel : inside.size());
      for (const int i : inside) weights[o][i] = 1 / count;
    }
  }
  return weights;
}

struct Case {
  int64_t batch, channels;
  ResampleAxis height, width;
};

std::vector<Case> cases() {
  const auto up = [](ResampleKind kind, int64_t in, int64_t out) {
    return upsample_axis(kind, in, out);
  };
  constexpr auto nearest = ResampleKind::nearest, bilinear = ResampleKind::bilinear;
  return {
      {2, 3, up(nearest, 4, 8), up(nearest, 3, 6)},     // a whole factor
      {1, 8, up(nearest, 5, 13), up(nearest, 7, 3)},    // other sizes, smaller ones too
      {1, 1, up(nearest, 1, 4), up(nearest, 1, 1)},     // one position
      {2, 17, up(bilinear, 4, 8), up(bilinear, 3, 9)},  // every output between two inputs
      {1, 4, up(bilinear, 7, 3), up(bilinear, 2, 11)},  // shrinking skips inputs
      {1, 1, up(bilinear, 1, 5), up(bilinear, 6, 1)},   // clamped on both sides
      {1, 70, up(bilinear, 3, 3),
       up(nearest, 2, 4)},  // the identity; more than a strip of channels
      {2, 5, average_axis(6, 2, 2, 0, true), average_axis(7, 2, 2, 0, true)},  // drops a column
      {1, 16, average_axis(5, 3, 2, 1, true),
       average_axis(5, 3, 1, 1, false)},  // overlapping windows
      {1, 3, average_axis(7, 7, 7, 0, true), average_axis(7, 7, 7, 0, true)},   // global
      {1, 2, average_axis(9, 2, 4, 1, false), average_axis(3, 1, 2, 0, true)},  // gaps
  };
}

class ResampleTest : public DeviceTest {
 protected:
  template <class T>
  std::vector<T> run(const Case& c, bool backward, const std::vector<T>& from,
                     const std::vector<T>& old, GradMode mode, size_t shift = 0) {
    DeviceBuffer<T> source(device(), from, shift), to(device(), old, shift);
    const Resample<T> args{c.batch, c.channels, c.height, c.width, source.data(), to.data(), mode};
    backward ? resample_backward(exec(), args) : resample_forward(exec(), args);
    return to.download();
  }

  template <class T>
  void check(const Case& c, GradMode mode, size_t shift = 0) {
    const auto v = matrix_of(c.height), u = matrix_of(c.width);
    const int64_t ins = c.batch * c.height.in * c.width.in * c.channels;
    const int64_t outs = c.batch * c.height.out * c.width.out * c.channels;
    const auto x = random_values<T>(ins, 1), old_x = random_values<T>(ins, 2);
    const auto dy = random_values<T>(outs, 3), old_y = random_values<T>(outs, 4);
    std::vector<double> y(static_cast<size_t>(outs)), dx(static_cast<size_t>(ins));
    const auto each = [&](auto f) {
      for (int64_t b = 0; b < c.batch; ++b)
        for (int64_t h = 0; h < c.height.out; ++h)
          for (int64_t w = 0; w < c.width.out; ++w)
            for (int64_t i = 0; i < c.height.in; ++i)
              for (int64_t j = 0; j < c.width.in; ++j)
                for (int64_t k = 0; k < c.channels; ++k)
                  f(((b * c.height.out + h) * c.width.out + w) * c.channels + k,
                    ((b * c.height.in + i) * c.width.in + j) * c.channels + k, v[h][i] * u[w][j]);
    };
    each([&](int64_t out, int64_t in, double weight) {
      y[out] += weight * to_float(x[in]);
      dx[in] += weight * to_float(dy[out]);
    });
    if (mode == GradMode::add) {
      for (int64_t i = 0; i < outs; ++i) y[i] += to_float(old_y[i]);
      for (int64_t i = 0; i < ins; ++i) dx[i] += to_float(old_x[i]);
    }
    const std::string what = concat(static_cast<int>(c.height.kind), ": ", c.height.in, "x",
                                    c.width.in, " to ", c.height.out, "x", c.width.out);
    expect_close(run(c, false, x, old_y, mode, shift), y, kAbsolute<T>, kRelative<T>, what);
    expect_close(run(c, true, dy, old_x, mode, shift), dx, kAbsolute<T>, kRelative<T>,
                 "dx " + what);
  }
};

TEST_P(ResampleTest, MatchesItsDefinitionAndItsAdjoint) {
  for (const Case& c : cases()) {
    check<float>(c, GradMode::write);
    check<float>(c, GradMode::add, 1);  // not 16-byte aligned
    check<bf16>(c, GradMode::write);
    check<bf16>(c, GradMode::add);
    if (device() == Device::cpu) check<double>(c, GradMode::add);
  }
}

// Every size against every other: where windows end, and what an adjoint must not miss.
TEST_P(ResampleTest, EverySmallSizeIsRight) {
  const ResampleAxis one = upsample_axis(ResampleKind::nearest, 1, 1);
  for (int64_t in = 1; in <= 9; ++in) {
    for (int64_t out = 1; out <= (device() == Device::cpu ? 40 : 11); ++out) {
      check<float>({1, 1, one, upsample_axis(ResampleKind::bilinear, in, out)}, GradMode::write);
      check<float>({1, 1, upsample_axis(ResampleKind::nearest, in, out), one}, GradMode::write);
    }
    for (int64_t kernel = 1; kernel <= in; ++kernel) {
      for (const int64_t stride : {1, 2, 3, 5}) {
        const int64_t padding = stride % (kernel / 2 + 1);
        check<float>({1, 1, one, average_axis(in, kernel, stride, padding, stride != 2)},
                     GradMode::write);
      }
    }
  }
}

// More outputs than a grid has threads, which then take several.
TEST_P(ResampleTest, ReachesEveryOutputOfAManyTimesLargerPicture) {
  const Case c{1, 1, upsample_axis(ResampleKind::nearest, 2, 600),
               upsample_axis(ResampleKind::nearest, 1, 1000)};
  const std::vector<float> y =
      run(c, false, {3.0f, 5.0f}, std::vector<float>(600000), GradMode::write);
  for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], i < 300000 ? 3.0f : 5.0f) << i;
}

TEST_P(ResampleTest, UpsamplesAsPyTorch) {
  namespace g = golden::upsample;
  const auto check = [&](ResampleKind kind, int64_t height, int64_t width, const auto& y,
                         const auto& dx) {
    const Case c{1, 1, upsample_axis(kind, 3, height), upsample_axis(kind, 2, width)};
    const std::vector<float> x(std::begin(g::x), std::end(g::x));
    const auto count = static_cast<size_t>(height * width);
    const std::vector<float> dy(std::begin(g::dy), std::begin(g::dy) + count);
    expect_close(run(c, false, x, std::vector<float>(count), GradMode::write),
                 {std::begin(y), std::end(y)}, 1e-6, 1e-6, "y");
    expect_close(run(c, true, dy, x, GradMode::write), {std::begin(dx), std::end(dx)}, 1e-6, 1e-6,
                 "dx");
  };
  check(ResampleKind::nearest, 5, 3, g::nearest_5x3, g::nearest_5x3_dx);
  check(ResampleKind::bilinear, 4, 7, g::bilinear_4x7, g::bilinear_4x7_dx);
  check(ResampleKind::bilinear, 2, 1, g::bilinear_2x1, g::bilinear_2x1_dx);
}

TEST_P(ResampleTest, PoolsAsPyTorch) {
  namespace g = golden::avg_pool;
  const auto check = [&](int64_t kernel, int64_t stride, int64_t padding, bool padded,
                         const auto& y, const auto& dx) {
    const Case c{1, 1, average_axis(5, kernel, stride, padding, padded),
                 average_axis(4, kernel, stride, padding, padded)};
    const std::vector<float> x(std::begin(g::x), std::end(g::x));
    const std::vector<float> dy(std::begin(g::dy), std::begin(g::dy) + std::size(y));
    ASSERT_EQ(static_cast<size_t>(c.height.out * c.width.out), std::size(y));
    expect_close(run(c, false, x, std::vector<float>(std::size(y)), GradMode::write),
                 {std::begin(y), std::end(y)}, 1e-6, 1e-6, "y");
    expect_close(run(c, true, dy, x, GradMode::write), {std::begin(dx), std::end(dx)}, 1e-6, 1e-6,
                 "dx");
  };
  check(3, 2, 1, true, g::k3_s2_p1_padded, g::k3_s2_p1_padded_dx);
  check(3, 2, 1, false, g::k3_s2_p1_inside, g::k3_s2_p1_inside_dx);
  check(2, 1, 0, true, g::k2_s1_p0_padded, g::k2_s1_p0_padded_dx);
  check(4, 3, 2, false, g::k4_s3_p2_inside, g::k4_s3_p2_inside_dx);
}

// What lies outside of a window must not count, not even as zero times infinity.
TEST_P(ResampleTest, WindowsEndWhereTheirWeightsDo) {
  const Case c{1, 1, upsample_axis(ResampleKind::bilinear, 4, 8),
               upsample_axis(ResampleKind::bilinear, 1, 1)};
  const std::vector<float> ones(8, 1.0f);
  for (int64_t bad = 0; bad < 8; ++bad) {
    std::vector<float> dy = ones;
    dy[bad] = HUGE_VALF;
    const std::vector<float> dx = run(c, true, dy, std::vector<float>(4), GradMode::write);
    const auto weights = matrix_of(c.height);
    for (int64_t i = 0; i < 4; ++i) {
      EXPECT_EQ(std::isfinite(dx[i]), weights[bad][i] == 0) << "output " << bad << ", input " << i;
    }
  }
}

TEST_P(ResampleTest, NothingToDoLaunchesNothing) {
  expect_no_launch();
  const ResampleAxis twice = upsample_axis(ResampleKind::nearest, 2, 4);
  for (const bool backward : {false, true}) {
    run<float>({0, 3, twice, twice}, backward, {}, {}, GradMode::write);
    run<float>({2, 0, twice, twice}, backward, {}, {}, GradMode::write);
  }
}

TEST_P(ResampleTest, RefusesWhatDoesNotFit) {
  expect_no_launch();
  const ResampleAxis twice = upsample_axis(ResampleKind::nearest, 2, 4);
  DeviceBuffer<float> a(device(), 16);
  Resample<float> args{1, 1, twice, twice, nullptr, a.data()};
  EXPECT_EQ(error_of([&] { resample_forward(exec(), args); }), "1: resample_forward: null operand");
  args.from = a.data();
  args.to = nullptr;
  EXPECT_EQ(error_of([&] { resample_backward(exec(), args); }),
            "1: resample_backward: null operand");
  EXPECT_NE(error_of([&] { upsample_axis(ResampleKind::nearest, 0, 4); }).find("an axis of 0"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              upsample_axis(ResampleKind::nearest, 2, 32768);
            }).find("expected at most 32767"),
            std::string::npos);
  EXPECT_NE(error_of([&] { average_axis(3, 4, 1, 0, true); }).find("does not fit"),
            std::string::npos);
  EXPECT_EQ(average_axis(3, 4, 1, 1, true).out, 2);
  for (const auto& [kernel, stride, padding] :
       {std::array<int64_t, 3>{0, 1, 0}, {2, 0, 0}, {2, 1, -1}, {2, 1, 2}}) {
    EXPECT_NE(error_of([&] { average_axis(9, kernel, stride, padding, true); }).find("expected"),
              std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, ResampleTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
