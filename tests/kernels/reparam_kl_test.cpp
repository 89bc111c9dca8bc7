#include "kernels/reparam_kl.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "tests/kernels/loss_oracle.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

constexpr uint64_t kSeed = 0x123456789abcdefu, kStep = 41;
constexpr int64_t kFirstRow = 1000;
constexpr uint32_t kDraw = 3;

// How mu and logvar lie in memory.
struct Layout {
  int64_t row_stride;
  int64_t logvar_offset;  // from mu, elements
};

Layout packed(int64_t dim) { return {2 * dim, dim}; }                 // [mu | logvar]
Layout separate(MatrixShape s) { return {s.cols, s.rows * s.cols}; }  // two matrices
Layout padded(int64_t dim) { return {2 * dim + 3, dim + 1}; }         // gaps, nothing aligned

double noise_at(int64_t row, int64_t col) {
  const NoiseAddress at{NoisePurpose::latent, kStep, static_cast<uint32_t>(kFirstRow + row), kDraw};
  return normal1(NoiseKey{kSeed}, at, static_cast<uint64_t>(col));
}

class ReparamKlTest : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped()) return;
    state_ = std::make_unique<DeviceBuffer<StepState>>(device(), 1);
    StepState state;
    state.step = kStep;
    state_->upload({state});
  }

  NoiseSource noise() const {
    return {kSeed, state_->data(), NoisePurpose::latent, kDraw, kFirstRow};
  }

  // Elements of a buffer with this layout, and where (row, col) of mu is in it.
  static int64_t extent(MatrixShape s, Layout layout) {
    return s.rows == 0 ? 0 : (s.rows - 1) * layout.row_stride + layout.logvar_offset + s.cols;
  }

  template <class T>
  void check_forward(MatrixShape s, Layout layout, size_t shift, bool with_kl) {
    const auto posterior = random_values<T>(extent(s, layout), 1, -3, 3);
    DeviceBuffer<T> p(device(), posterior, shift), z(device(), s.rows * s.cols, shift);
    DeviceBuffer<Compute<T>> kl(device(), s.rows);
    reparam_kl_forward<T>(exec(),
                          {p.data(), p.data() + layout.logvar_offset, layout.row_stride, z.data(),
                           with_kl ? kl.data() : nullptr, s.rows, s.cols, noise()});
    std::vector<double> expected_z, expected_kl(s.rows, 0.0);
    for (int64_t row = 0; row < s.rows; ++row) {
      for (int64_t col = 0; col < s.cols; ++col) {
        const double mu = to_float(posterior[row * layout.row_stride + col]);
        const double v = to_float(posterior[row * layout.row_stride + layout.logvar_offset + col]);
        expected_z.push_back(mu + std::exp(v / 2) * noise_at(row, col));
        expected_kl[row] += oracle::gaussian_kl(mu, v);
      }
    }
    const std::string what = concat(s.rows, "x", s.cols, " stride ", layout.row_stride, " shift ",
                                    shift, " kl ", with_kl);
    // sigma < 5 and |eps| < 7 with 3 roundings in front of the sum, then the store.
    expect_close(z.download(), expected_z, 35 * 3 * 0x1p-24, oracle::kStore<T>, what + " z");
    if (with_kl) {
      // All terms are positive, so relative; each is 4 ulp at worst.
      expect_close(kl.download(), expected_kl, 1e-30, oracle::sum_tolerance<T>(s.cols),
                   what + " kl");
    }
  }

  template <class T>
  void check_backward(MatrixShape s, Layout layout, size_t shift, GradMode mode, bool with_dz,
                      bool with_dkl) {
    using R = Compute<T>;
    const int64_t size = extent(s, layout);
    const auto posterior = random_values<T>(size, 1, -3, 3), old = random_values<T>(size, 2);
    const auto dz = random_values<T>(s.rows * s.cols, 3);
    const auto weights = random_values<R>(s.rows, 4);
    DeviceBuffer<T> p(device(), posterior, shift), g(device(), old, shift), d(device(), dz, shift);
    DeviceBuffer<R> w(device(), weights);
    const R scale = R(0.5);
    ReparamKlBackward<T> args{};
    args.mu = p.data();
    args.logvar = p.data() + layout.logvar_offset;
    args.row_stride = layout.row_stride;
    args.dz = with_dz ? d.data() : nullptr;
    if (with_dkl) args.dkl = {w.data(), 1, scale};
    args.dmu = g.data();
    args.dlogvar = g.data() + layout.logvar_offset;
    args.grad_row_stride = layout.row_stride;
    args.mode = mode;
    args.batch = s.rows;
    args.dim = s.cols;
    args.noise = noise();
    reparam_kl_backward(exec(), args);

    std::vector<double> expected(size);  // gaps between rows keep what they held
    for (int64_t i = 0; i < size; ++i) expected[i] = to_float(old[i]);
    for (int64_t row = 0; row < s.rows; ++row) {
      for (int64_t col = 0; col < s.cols; ++col) {
        const int64_t m = row * layout.row_stride + col, v = m + layout.logvar_offset;
        const double mu = to_float(posterior[m]), logvar = to_float(posterior[v]);
        const double up = with_dz ? to_float(dz[row * s.cols + col]) : 0.0;
        const double weight = with_dkl ? scale * weights[row] : 0.0;
        const double sigma_eps = std::exp(logvar / 2) * noise_at(row, col);
        const double keep = mode == GradMode::add ? 1.0 : 0.0;
        expected[m] = keep * expected[m] + up + weight * mu;
        expected[v] = keep * expected[v] + 0.5 * (up * sigma_eps + weight * std::expm1(logvar));
      }
    }
    // Parts are below 2 * 5 * 7 / 2 + 10 with a few roundings each, then the store.
    expect_close(g.download(), expected, 45 * 4 * 0x1p-24, oracle::kStore<T>,
                 concat(s.rows, "x", s.cols, " stride ", layout.row_stride, " shift ", shift,
                        " mode ", static_cast<int>(mode), " dz ", with_dz, " dkl ", with_dkl));
  }

  // Shapes of the shared list, and rows long enough for a block each and for several CPU tiles.
  std::vector<MatrixShape> shapes() const {
    std::vector<MatrixShape> all = kMatrixShapes;
    all.insert(all.end(), {{2, 4100}, {129, 20}, {70, 6}});
    for (const int64_t size : kSizes) all.push_back({3, size});
    return all;
  }

  template <class T>
  void check_forward_all() {
    for (const MatrixShape s : shapes()) {
      for (const size_t shift : {0, 1, 3}) check_forward<T>(s, packed(s.cols), shift, true);
      check_forward<T>(s, separate(s), 0, true);
      check_forward<T>(s, padded(s.cols), 0, true);
      check_forward<T>(s, packed(s.cols), 0, false);
    }
  }

  template <class T>
  void check_backward_all() {
    for (const MatrixShape s : shapes()) {
      for (const size_t shift : {0, 1, 3}) {
        check_backward<T>(s, packed(s.cols), shift, GradMode::write, true, true);
      }
      check_backward<T>(s, separate(s), 0, GradMode::add, true, true);
      check_backward<T>(s, padded(s.cols), 0, GradMode::add, true, true);
      check_backward<T>(s, padded(s.cols), 0, GradMode::write, false, true);
      check_backward<T>(s, packed(s.cols), 0, GradMode::write, true, false);
    }
  }

  std::unique_ptr<DeviceBuffer<StepState>> state_;
};

TEST_P(ReparamKlTest, ForwardInFloatAgainstBruteForce) { check_forward_all<float>(); }
TEST_P(ReparamKlTest, ForwardInBf16AgainstBruteForce) { check_forward_all<bf16>(); }
TEST_P(ReparamKlTest, BackwardInFloatAgainstBruteForce) { check_backward_all<float>(); }
TEST_P(ReparamKlTest, BackwardInBf16AgainstBruteForce) { check_backward_all<bf16>(); }

// More threads than a grid of 1056 blocks has, and more rows than it has blocks.
TEST_P(ReparamKlTest, WhatIsBeyondTheGridIsTakenInTurns) {
  const MatrixShape many{1056 * 256 + 300, 1}, wide{1056 + 4, 1028};
  check_forward<float>(many, packed(1), 0, true);
  check_forward<float>(wide, packed(wide.cols), 0, true);
  check_backward<float>(many, packed(1), 0, GradMode::write, true, true);
  DeviceBuffer<float> drawn(device(), many.rows);
  gaussian_noise(exec(), drawn.data(), many.rows, 1, noise());
  const auto got = drawn.download();
  for (int64_t row = 0; row < many.rows; ++row) {
    ASSERT_EQ(got[row], static_cast<float>(noise_at(row, 0))) << row;
  }
}

TEST(ReparamKlOracle, DoubleAgainstBruteForce) {
  const int64_t rows = 3, cols = 7;
  const auto posterior = random_values<double>(2 * rows * cols, 1);
  const double* mu = posterior.data();
  const double* logvar = mu + rows * cols;
  StepState state;
  state.step = kStep;
  std::vector<double> z(rows * cols), kl(rows);
  reparam_kl_forward<double>(Exec{}, {mu,
                                      logvar,
                                      cols,
                                      z.data(),
                                      kl.data(),
                                      rows,
                                      cols,
                                      {kSeed, &state, NoisePurpose::latent, kDraw, kFirstRow}});
  for (int64_t row = 0; row < rows; ++row) {
    double expected = 0;
    for (int64_t i = row * cols; i < (row + 1) * cols; ++i) {
      expected += oracle::gaussian_kl(mu[i], logvar[i]);
      EXPECT_NEAR(z[i], mu[i] + std::exp(logvar[i] / 2) * noise_at(row, i - row * cols), 1e-14);
    }
    EXPECT_NEAR(kl[row], expected, 1e-14 * expected);  // a dozen roundings
  }
}

// Both devices must draw the same epsilon. At mu = 0, logvar = 0 the sample is the epsilon, and the
// expected bits are computed here, on the host.
TEST_P(ReparamKlTest, TheNoiseHasTheSameBitsOnBothDevices) {
  const int64_t rows = 9, cols = 37;
  DeviceBuffer<float> zero(device(), std::vector<float>(rows * cols, 0.0f));
  DeviceBuffer<float> z(device(), rows * cols), drawn(device(), rows * cols), kl(device(), rows);
  reparam_kl_forward<float>(
      exec(), {zero.data(), zero.data(), cols, z.data(), kl.data(), rows, cols, noise()});
  gaussian_noise(exec(), drawn.data(), rows, cols, noise());
  std::vector<float> expected;
  for (int64_t i = 0; i < rows * cols; ++i) {
    expected.push_back(static_cast<float>(noise_at(i / cols, i % cols)));
  }
  EXPECT_EQ(z.download(), expected);
  EXPECT_EQ(drawn.download(), expected);
  EXPECT_EQ(kl.download(), std::vector<float>(rows, 0.0f));  // exactly zero at N(0, 1)
}

TEST_P(ReparamKlTest, NoiseOfOddShapesAndPlacesIsWhereItsAddressSays) {
  for (const MatrixShape s : shapes()) {
    for (const size_t shift : {0, 1}) {
      DeviceBuffer<float> out(device(), s.rows * s.cols, shift);
      gaussian_noise(exec(), out.data(), s.rows, s.cols, noise());
      std::vector<float> expected;
      for (int64_t i = 0; i < s.rows * s.cols; ++i) {
        expected.push_back(static_cast<float>(noise_at(i / s.cols, i % s.cols)));
      }
      EXPECT_EQ(out.download(), expected) << s.rows << "x" << s.cols << " shift " << shift;
    }
  }
}

TEST_P(ReparamKlTest, EveryPartOfTheAddressChangesTheNoise) {
  const auto draw = [&](const NoiseSource& source) {
    DeviceBuffer<float> out(device(), 8);
    gaussian_noise(exec(), out.data(), 1, 8, source);
    return out.download();
  };
  const std::vector<float> base = draw(noise());
  NoiseSource other = noise();
  other.seed += 1;
  EXPECT_NE(draw(other), base) << "seed";
  other = noise();
  other.state = nullptr;
  EXPECT_NE(draw(other), base) << "step";
  other = noise();
  other.purpose = NoisePurpose::prior;
  EXPECT_NE(draw(other), base) << "purpose";
  other = noise();
  other.draw += 1;
  EXPECT_NE(draw(other), base) << "draw";
  other = noise();
  other.first_row += 1;
  EXPECT_NE(draw(other), base) << "row";
}

// A batch cut in two at any row sees the noise it would have seen whole.
TEST_P(ReparamKlTest, NoiseDoesNotDependOnHowBatchesAreCut) {
  DeviceBuffer<float> whole(device(), 6 * 5), part(device(), 2 * 5);
  gaussian_noise(exec(), whole.data(), 6, 5, noise());
  NoiseSource tail = noise();
  tail.first_row += 4;
  gaussian_noise(exec(), part.data(), 2, 5, tail);
  const auto all = whole.download();
  EXPECT_EQ(part.download(), std::vector<float>(all.begin() + 20, all.end()));
}

TEST_P(ReparamKlTest, ExtremeLogVariancesGiveFiniteValuesAndGradients) {
  const std::vector<float> logvar = {1e4f, -1e4f, 1e30f, -1e30f};
  const std::vector<float> mu = {0, 0, 0, 0};
  DeviceBuffer<float> m(device(), mu), v(device(), logvar), z(device(), 4), kl(device(), 1);
  DeviceBuffer<float> w(device(), std::vector{1.0f}), dm(device(), 4), dv(device(), 4);
  reparam_kl_forward<float>(exec(), {m.data(), v.data(), 4, z.data(), kl.data(), 1, 4, noise()});
  reparam_kl_backward<float>(exec(), {m.data(),
                                      v.data(),
                                      4,
                                      z.data(),
                                      {w.data(), 0},
                                      dm.data(),
                                      dv.data(),
                                      4,
                                      GradMode::write,
                                      1,
                                      4,
                                      noise()});
  double expected = 0;
  for (const float raw : logvar) expected += oracle::gaussian_kl(0, raw);
  // exp near 20 carries half an ulp of 20, 1e-6, into the result.
  EXPECT_NEAR(kl.download()[0] / expected, 1.0, 3e-6);
  for (const auto& values : {z.download(), dm.download(), dv.download()}) {
    for (const float value : values) EXPECT_TRUE(std::isfinite(value)) << value;
  }
}

TEST_P(ReparamKlTest, NanStaysInItsRowAndElement) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  DeviceBuffer<float> m(device(), {0, nan, 0, 0}), v(device(), {0, 0, 0, nan});
  DeviceBuffer<float> z(device(), 4), kl(device(), 4), w(device(), std::vector{1.0f});
  DeviceBuffer<float> dm(device(), 4), dv(device(), 4);
  reparam_kl_forward<float>(exec(), {m.data(), v.data(), 1, z.data(), kl.data(), 4, 1, noise()});
  reparam_kl_backward<float>(exec(), {m.data(),
                                      v.data(),
                                      1,
                                      nullptr,
                                      {w.data(), 0},
                                      dm.data(),
                                      dv.data(),
                                      1,
                                      GradMode::write,
                                      4,
                                      1,
                                      noise()});
  const auto z_of = z.download(), kl_of = kl.download(), dmu = dm.download(),
             dlogvar = dv.download();
  for (int row = 0; row < 4; ++row) {
    const bool bad_mu = row == 1, bad_logvar = row == 3;
    EXPECT_EQ(std::isnan(z_of[row]), bad_mu || bad_logvar) << row;
    EXPECT_EQ(std::isnan(kl_of[row]), bad_mu || bad_logvar) << row;
    EXPECT_EQ(std::isnan(dmu[row]), bad_mu) << row;
    EXPECT_EQ(std::isnan(dlogvar[row]), bad_logvar) << row;
  }
}

TEST_P(ReparamKlTest, EveryOrderOfThreadsGivesTheSameBits) {
  for (const MatrixShape s : {MatrixShape{33, 20}, {5, 130}, {3, 1100}}) {
    const auto posterior = random_values<float>(2 * s.rows * s.cols, 1);
    const auto run = [&] {
      DeviceBuffer<float> p(device(), posterior), z(device(), s.rows * s.cols);
      DeviceBuffer<float> kl(device(), s.rows), w(device(), std::vector{1.0f}),
          g(device(), posterior.size());
      const int64_t stride = 2 * s.cols;
      reparam_kl_forward<float>(exec(), {p.data(), p.data() + s.cols, stride, z.data(), kl.data(),
                                         s.rows, s.cols, noise()});
      reparam_kl_backward<float>(exec(), {p.data(),
                                          p.data() + s.cols,
                                          stride,
                                          z.data(),
                                          {w.data(), 0},
                                          g.data(),
                                          g.data() + s.cols,
                                          stride,
                                          GradMode::write,
                                          s.rows,
                                          s.cols,
                                          noise()});
      return bytes_of(z.download()) + bytes_of(kl.download()) + bytes_of(g.download());
    };
    for_each_order(device(), run);
    if (device() == Device::cpu) oracle::expect_same_bits_for_any_thread_count(run);
  }
}

TEST_P(ReparamKlTest, AnEmptyBatchLaunchesNothing) {
  expect_no_launch();
  ReparamKlForward<float> forward{};
  forward.dim = forward.row_stride = 20;
  reparam_kl_forward(exec(), forward);
  ReparamKlBackward<float> backward{};
  backward.dim = backward.row_stride = backward.grad_row_stride = 20;
  reparam_kl_backward(exec(), backward);
  gaussian_noise<float>(exec(), nullptr, 0, 20, noise());
}

TEST_P(ReparamKlTest, MissingPointersAndShortStridesAreNamed) {
  expect_no_launch();
  DeviceBuffer<float> x(device(), {1.0f, 2.0f});
  ReparamKlForward<float> forward{x.data(), nullptr, 2, x.data(), nullptr, 1, 2, noise()};
  EXPECT_EQ(error_of([&] { reparam_kl_forward(exec(), forward); }),
            "1: reparam_kl_forward: logvar is null");
  forward.logvar = x.data();
  forward.row_stride = 1;
  EXPECT_EQ(
      error_of([&] { reparam_kl_forward(exec(), forward); }),
      "1: reparam_kl_forward: rows of 2 elements are 1 apart; the stride must be at least the "
      "length");
  EXPECT_EQ(error_of([&] { gaussian_noise<float>(exec(), nullptr, 1, 1, noise()); }),
            "1: gaussian_noise: out is null");
}

INSTANTIATE_TEST_SUITE_P(Devices, ReparamKlTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
