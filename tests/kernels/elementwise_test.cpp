#include "kernels/elementwise.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

constexpr GradMode kModes[] = {GradMode::write, GradMode::add};

class Elementwise : public DeviceTest {
 protected:
  // One rounding per operation and per store leaves nothing to be tolerant of: the reference is the
  // same expression in Compute<T>, and bits must agree.
  template <class T, class Launch, class Expected>
  void check(const char* op, Launch launch, Expected expected) {
    for (const int64_t n : kSizes) {
      for (const size_t shift : {0, 1, 3}) {
        for (const GradMode mode : kModes) {
          const auto a = random_values<T>(n, 1), b = random_values<T>(n, 2);
          const auto old = random_values<T>(n, 3);
          DeviceBuffer<T> da(device(), a, shift), db(device(), b, shift), dy(device(), old, shift);
          launch(n, da.data(), db.data(), dy.data(), mode);
          std::vector<T> want(a.size());
          for (size_t i = 0; i < want.size(); ++i) {
            const Compute<T> value = expected(to_float(a[i]), to_float(b[i]));
            want[i] = from_float<T>(mode == GradMode::add ? to_float(old[i]) + value : value);
          }
          EXPECT_EQ(bytes_of(dy.download()), bytes_of(want))
              << op << " n=" << n << " shift=" << shift << " mode=" << static_cast<int>(mode);
        }
      }
    }
  }

  template <class T>
  void check_arithmetic() {
    using R = Compute<T>;
    const Exec& e = exec();
    using P = const T*;
    check<T>(
        "add", [&](int64_t n, P a, P b, T* y, GradMode m) { add(e, n, a, b, y, m); },
        [](R a, R b) { return a + b; });
    check<T>(
        "sub", [&](int64_t n, P a, P b, T* y, GradMode m) { sub(e, n, a, b, y, m); },
        [](R a, R b) { return a - b; });
    check<T>(
        "mul", [&](int64_t n, P a, P b, T* y, GradMode m) { mul(e, n, a, b, y, m); },
        [](R a, R b) { return a * b; });
    check<T>(
        "scale", [&](int64_t n, P a, P, T* y, GradMode m) { scale<T>(e, n, R(-0.7), a, y, m); },
        [](R a, R) { return R(-0.7) * a; });
  }

  template <class T>
  void check_copy(MatrixShape shape, int64_t src_stride, int64_t dst_stride, size_t src_shift,
                  size_t dst_shift, GradMode mode) {
    const auto src = random_values<T>(shape.rows * src_stride, 4);
    const auto old = random_values<T>(shape.rows * dst_stride, 5);
    DeviceBuffer<T> dsrc(device(), src, src_shift), ddst(device(), old, dst_shift);
    copy_matrix<T>(exec(), shape.rows, shape.cols, dsrc.data(), src_stride, ddst.data(), dst_stride,
                   mode);
    std::vector<T> want = old;
    for (int64_t r = 0; r < shape.rows; ++r) {
      for (int64_t c = 0; c < shape.cols; ++c) {
        T& out = want[static_cast<size_t>(r * dst_stride + c)];
        const T in = src[static_cast<size_t>(r * src_stride + c)];
        out = mode == GradMode::add ? from_float<T>(to_float(out) + to_float(in)) : in;
      }
    }
    EXPECT_EQ(bytes_of(ddst.download()), bytes_of(want))
        << shape.rows << " x " << shape.cols << " strides " << src_stride << " -> " << dst_stride
        << " shifts " << src_shift << " -> " << dst_shift << " mode " << static_cast<int>(mode);
  }
};

TEST_P(Elementwise, FloatArithmeticIsRoundedOnce) { check_arithmetic<float>(); }

TEST_P(Elementwise, Bf16ArithmeticIsDoneInFp32) { check_arithmetic<bf16>(); }

TEST_P(Elementwise, DoubleArithmeticServesTheOracle) {
  if (device() != Device::cpu) expect_no_launch();
  if (device() == Device::cpu) check_arithmetic<double>();
}

TEST_P(Elementwise, ConvertsBetweenTypes) {
  const auto check_pair = [&]<class From, class To>(From, To) {
    for (const int64_t n : kSizes) {
      for (const GradMode mode : kModes) {
        auto x = random_values<From>(n, 1);
        if (n > 2) x[n - 1] = from_float<From>(-0.0f);
        const auto old = random_values<To>(n, 3);
        DeviceBuffer<From> dx(device(), x);
        DeviceBuffer<To> dy(device(), old);
        convert(exec(), n, dx.data(), dy.data(), mode);
        std::vector<To> want;
        for (size_t i = 0; i < x.size(); ++i) {
          const float before = to_float(old[i]), value = to_float(x[i]);
          want.push_back(from_float<To>(mode == GradMode::add ? before + value : value));
        }
        EXPECT_EQ(bytes_of(dy.download()), bytes_of(want)) << n;
      }
    }
  };
  check_pair(float{}, bf16{});
  check_pair(bf16{}, float{});
}

TEST_P(Elementwise, FillWritesEveryElementAndNoOther) {
  for (const int64_t n : kSizes) {
    for (const size_t shift : {0, 1}) {
      DeviceBuffer<float> y(device(), static_cast<size_t>(n), shift);
      fill<float>(exec(), n, 1.5f, y.data());
      EXPECT_EQ(y.download(), std::vector<float>(static_cast<size_t>(n), 1.5f)) << n;
    }
  }
}

TEST_P(Elementwise, AnOutputMayBeAnInput) {
  const auto a = random_values(257, 6), b = random_values(257, 7);
  DeviceBuffer<float> da(device(), a), db(device(), b);
  add(exec(), 257, da.data(), db.data(), da.data());
  mul(exec(), 257, da.data(), da.data(), da.data());
  std::vector<float> want(a.size());
  for (size_t i = 0; i < want.size(); ++i) want[i] = (a[i] + b[i]) * (a[i] + b[i]);
  EXPECT_EQ(da.download(), want);
}

TEST_P(Elementwise, CopiesMatricesBetweenStrides) {
  std::vector<MatrixShape> shapes = kMatrixShapes;
  shapes.push_back({2, 2081});  // more columns than 64 blocks of 32 lanes take at a time
  for (const MatrixShape shape : shapes) {
    const int64_t wide = (shape.cols + 7) / 8 * 8;  // whole 16-byte units in float and bf16
    for (const GradMode mode : kModes) {
      check_copy<float>(shape, shape.cols, shape.cols, 0, 0, mode);
      check_copy<float>(shape, wide, wide + 8, 0, 0, mode);
      check_copy<float>(shape, wide, wide, 1, 0, mode);
      check_copy<float>(shape, wide, wide, 0, 1, mode);
      check_copy<float>(shape, shape.cols + 3, wide, 0, 0, mode);
      check_copy<float>(shape, wide, shape.cols + 3, 0, 0, mode);
      check_copy<bf16>(shape, wide, wide + 8, 0, 0, mode);
      check_copy<bf16>(shape, wide, shape.cols + 1, 0, 0, mode);
    }
  }
}

TEST_P(Elementwise, CopiesKeepEveryBitPattern) {
  std::vector<float> odd;
  for (const uint32_t bits : {0x7fc12345u, 0x7f812345u, 0xffc00001u, 0x00000001u, 0x80000000u,
                              0x7f800000u, 0x007fffffu, 0x3f800001u}) {
    odd.push_back(std::bit_cast<float>(bits));  // quiet and signalling NaNs, denormals, -0, inf
  }
  for (const int64_t cols : {8, 7}) {  // 16-byte and 4-byte path
    DeviceBuffer<float> src(device(), odd), dst(device(), odd.size());
    copy_matrix<float>(exec(), 1, cols, src.data(), cols, dst.data(), cols);
    EXPECT_EQ(bytes_of(dst.download()).substr(0, static_cast<size_t>(cols) * 4),
              bytes_of(odd).substr(0, static_cast<size_t>(cols) * 4));
  }
}

TEST_P(Elementwise, ConcatAndSliceAreCopies) {
  const int64_t rows = 33, left = 5, right = 12, both = left + right;
  const auto a = random_values(rows * left, 8), b = random_values(rows * right, 9);
  DeviceBuffer<float> da(device(), a), db(device(), b), joined(device(), rows * both);
  copy_matrix<float>(exec(), rows, left, da.data(), left, joined.data(), both);
  copy_matrix<float>(exec(), rows, right, db.data(), right, joined.data() + left, both);
  const auto all = joined.download();
  EXPECT_EQ(all[static_cast<size_t>(7 * both + left - 1)], a[7 * left + left - 1]);
  EXPECT_EQ(all[static_cast<size_t>(7 * both + left)], b[7 * right]);

  DeviceBuffer<float> a2(device(), a.size()), b2(device(), b.size());
  copy_matrix<float>(exec(), rows, left, joined.data(), both, a2.data(), left);
  copy_matrix<float>(exec(), rows, right, joined.data() + left, both, b2.data(), right);
  EXPECT_EQ(a2.download(), a);
  EXPECT_EQ(b2.download(), b);
}

TEST_P(Elementwise, RepeatsRowsAndSumsThemBack) {
  for (const MatrixShape shape : kMatrixShapes) {
    for (const int64_t times : {1, 3}) {
      for (const GradMode mode : kModes) {
        const int64_t cells = shape.rows * shape.cols;
        const auto x = random_values(cells, 10), old_y = random_values(cells * times, 11);
        const auto dy = random_values(cells * times, 12), old_dx = random_values(cells, 13);
        DeviceBuffer<float> dev_x(device(), x), dev_y(device(), old_y), dev_dy(device(), dy),
            dev_dx(device(), old_dx);
        repeat_rows<float>(exec(), shape.rows, shape.cols, times, dev_x.data(), dev_y.data(), mode);
        sum_repeated_rows<float>(exec(), shape.rows, shape.cols, times, dev_dy.data(),
                                 dev_dx.data(), mode);
        std::vector<float> y = old_y, dx = old_dx;
        for (int64_t r = 0; r < shape.rows; ++r) {
          for (int64_t c = 0; c < shape.cols; ++c) {
            const auto i = static_cast<size_t>(r * shape.cols + c);
            float sum = 0.0f;
            for (int64_t k = 0; k < times; ++k) {
              const auto j = static_cast<size_t>((r * times + k) * shape.cols + c);
              y[j] = mode == GradMode::add ? old_y[j] + x[i] : x[i];
              sum += dy[j];
            }
            dx[i] = mode == GradMode::add ? old_dx[i] + sum : sum;
          }
        }
        EXPECT_EQ(dev_y.download(), y) << shape.rows << " x " << shape.cols << " x " << times;
        EXPECT_EQ(dev_dx.download(), dx) << shape.rows << " x " << shape.cols << " x " << times;
      }
    }
  }
}

TEST_P(Elementwise, PixelsBecomeTheirExactFractions) {
  std::vector<uint8_t> all(256);
  std::iota(all.begin(), all.end(), 0);
  for (const size_t shift : {0, 1}) {
    DeviceBuffer<uint8_t> x(device(), all, shift);
    DeviceBuffer<float> y(device(), all.size(), shift);
    convert_u8(exec(), 256, x.data(), y.data());
    const auto got = y.download();
    for (size_t i = 0; i < 256; ++i) EXPECT_EQ(got[i], static_cast<float>(i) / 255.0f);
    convert_u8(exec(), 256, x.data(), y.data(), 2.0f);
    EXPECT_EQ(y.download()[255], 2.0f);
  }
}

TEST_P(Elementwise, EveryThreadOrderGivesTheSameBits) {
  const auto a = random_values(999, 14), b = random_values(999, 15);
  for_each_order(device(), [&] {
    DeviceBuffer<float> da(device(), a), db(device(), b), y(device(), 999), z(device(), 999);
    add(exec(), 999, da.data(), db.data(), y.data());
    copy_matrix<float>(exec(), 27, 37, y.data(), 37, z.data(), 37);
    repeat_rows<float>(exec(), 3, 37, 9, z.data(), y.data());
    sum_repeated_rows<float>(exec(), 3, 37, 9, y.data(), z.data(), GradMode::add);
    return std::vector<std::vector<float>>{y.download(), z.download()};
  });
}

TEST_P(Elementwise, RefusesWhatItCannotDo) {
  expect_no_launch();
  DeviceBuffer<float> x(device(), 8);
  EXPECT_EQ(error_of([&] { add<float>(exec(), 8, x.data(), nullptr, x.data()); }),
            "1: add: a pointer is null, with 8 elements");
  EXPECT_EQ(error_of([&] { copy_matrix<float>(exec(), 2, 4, x.data(), 3, x.data(), 4); }),
            "1: copy_matrix: rows of 4 elements do not fit strides 3 and 4");
}

INSTANTIATE_TEST_SUITE_P(Devices, Elementwise, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
