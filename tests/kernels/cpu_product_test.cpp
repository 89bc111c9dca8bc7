// Products of our own against brute force in double, by every vector unit that this machine has.
#include "kernels/cpu_product.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/kernels/linear_oracle.h"

namespace elbo::cpu {
namespace {

using oracle::Matrix;
using oracle::Numbers;

constexpr VectorUnit kUnits[] = {VectorUnit::baseline, VectorUnit::avx2, VectorUnit::avx512};

struct Shape {
  int64_t rows, cols, inner;
};

// At and around the widths of vectors (4, 8, 16), strips (8, 16, 32) and tiles (6, 12); rows beyond
// the 192 whose steps are listed at a time, an inner dimension beyond a block of 1024, and rows of A
// 4 KiB apart.
const std::vector<Shape> kShapes = {{1, 1, 1},     {1, 17, 3},    {3, 1, 785},    {5, 4, 4},
                                    {6, 8, 5},     {7, 9, 15},    {12, 16, 16},   {13, 33, 17},
                                    {20, 31, 50},  {24, 32, 31},  {25, 49, 100},  {131, 40, 33},
                                    {205, 50, 20}, {3, 33, 2049}, {13, 17, 1024}, {14, 200, 1025}};

std::string describe(const Shape& s, VectorUnit unit) {
  return std::to_string(s.rows) + "x" + std::to_string(s.inner) + "x" + std::to_string(s.cols) +
         " by " + vector_unit_name(unit);
}

// How A and B lie in memory: in the forward, data and weight products of a layer.
enum class Layout : int { forward, data, weight };
constexpr Layout kLayouts[] = {Layout::forward, Layout::data, Layout::weight};

class CpuProductTest : public testing::TestWithParam<VectorUnit> {
 protected:
  void SetUp() override {
    if (!vector_unit_available(GetParam())) {
      GTEST_SKIP() << "NOT TESTED: this machine has no " << vector_unit_name(GetParam());
    }
  }

  // Operands one float past an aligned address, so that no vector is aligned.
  struct Operands {
    std::vector<float> a, b, c;
    CpuProduct product;
    Matrix want;

    Operands(const Shape& s, Layout layout, uint32_t seed) : want(s.rows * s.cols) {
      Numbers numbers(seed);
      a = numbers(s.rows * s.inner + 1);
      b = numbers(s.inner * s.cols + 1);
      c = numbers(s.rows * s.cols + 1);
      product.rows = s.rows;
      product.cols = s.cols;
      product.inner = s.inner;
      product.a = a.data() + 1;
      product.a_row = layout == Layout::weight ? 1 : s.inner;
      product.a_col = layout == Layout::weight ? s.rows : 1;
      product.b = b.data() + 1;
      product.b_row = layout == Layout::forward ? 1 : s.cols;
      product.b_col = layout == Layout::forward ? s.inner : 1;
      product.c = c.data() + 1;
    }

    float& a_at(int64_t r, int64_t k) { return a[1 + r * product.a_row + k * product.a_col]; }

    void compute_want() {
      const CpuProduct& p = product;
      want = oracle::product(
          p.rows, p.cols, p.inner,
          [&](int64_t r, int64_t k) { return p.a[r * p.a_row + k * p.a_col]; },
          [&](int64_t k, int64_t n) { return p.b[k * p.b_row + n * p.b_col]; });
    }

    std::vector<float> result() const { return {c.begin() + 1, c.end()}; }

    // Zeros as in pictures: whole steps of all rows, and most of the rest.
    void make_sparse() {
      for (int64_t k = 0; k < product.inner; ++k) {
        for (int64_t r = 0; r < product.rows; ++r) {
          if (k % 3 == 0 || (r / 12 + k) % 2 == 0) a_at(r, k) = r % 2 == 0 ? 0.0f : -0.0f;
        }
      }
    }
  };

  void run(const CpuProduct& product) { multiply(product, GetParam()); }
};

TEST_P(CpuProductTest, StoresAndAdds) {
  uint32_t seed = 1;
  for (const Shape& s : kShapes) {
    for (const Layout layout : kLayouts) {
      for (const bool add : {false, true}) {
        Operands o(s, layout, seed++);
        o.compute_want();
        o.product.add = add;
        if (add) oracle::add_to(o.want, o.result());
        run(o.product);
        oracle::expect_near(o.result(), o.want, describe(s, GetParam()));
      }
    }
  }
}

TEST_P(CpuProductTest, StoresTheTransposed) {
  uint32_t seed = 1;
  for (const Shape& s : kShapes) {
    for (const bool add : {false, true}) {
      Operands o(s, Layout::weight, seed++);
      o.compute_want();
      o.product.finish = Finish::store_transposed;
      o.product.add = add;
      const std::vector<float> old = o.result();
      run(o.product);
      std::vector<float> got(old.size());
      for (int64_t r = 0; r < s.rows; ++r) {
        for (int64_t n = 0; n < s.cols; ++n) {
          got[r * s.cols + n] = o.result()[n * s.rows + r];
          if (add) o.want.value[r * s.cols + n] += old[n * s.rows + r];
        }
      }
      oracle::expect_near(got, o.want, describe(s, GetParam()));
    }
  }
}

TEST_P(CpuProductTest, ActivatesTheProductPlusBias) {
  uint32_t seed = 1;
  for (const Shape& s : kShapes) {
    for (const Activation activation : kActivations) {
      for (const bool biased : {false, true}) {
        Operands o(s, Layout::forward, seed++);
        o.compute_want();
        const std::vector<float> bias = Numbers(seed)(s.cols);
        std::vector<float> pre(s.rows * s.cols, NAN);
        o.product.finish = Finish::activate;
        o.product.activation = activation;
        o.product.bias = biased ? bias.data() : nullptr;
        o.product.pre = needs_pre_activation(activation) ? pre.data() : nullptr;
        for (size_t i = 0; biased && i < o.want.value.size(); ++i) {
          o.want.value[i] += bias[i % s.cols];
          o.want.magnitude[i] += std::abs(bias[i % s.cols]);
        }
        run(o.product);
        const std::string what = describe(s, GetParam()) + " " + activation_name(activation);
        if (o.product.pre) oracle::expect_near(pre, o.want, what + ", kept");
        for (double& v : o.want.value) v = oracle::activated(activation, v);
        oracle::expect_near(o.result(), o.want, what);
      }
    }
  }
}

TEST_P(CpuProductTest, UndoesTheActivationAndSumsColumns) {
  uint32_t seed = 1;
  for (const Shape& s : kShapes) {
    for (const Activation activation : kActivations) {
      for (const bool add : {false, true}) {
        Operands o(s, Layout::data, seed++);
        o.compute_want();
        Numbers numbers(seed);
        const std::vector<float> inputs = numbers(s.rows * s.cols), old = numbers(s.cols);
        std::vector<float> kept = inputs, sums = old;
        for (size_t i = 0; i < kept.size(); ++i) {
          if (!needs_pre_activation(activation)) {
            kept[i] = static_cast<float>(oracle::activated(activation, inputs[i]));
          }
          o.want.value[i] *= oracle::slope(activation, inputs[i]);
        }
        o.product.finish = Finish::undo;
        o.product.activation = activation;
        o.product.kept = activation == Activation::identity ? nullptr : kept.data();
        o.product.sums = sums.data();
        o.product.add_sums = add;
        run(o.product);
        const std::string what = describe(s, GetParam()) + " " + activation_name(activation);
        oracle::expect_near(o.result(), o.want, what);
        Matrix want_sums = oracle::column_sums(o.want, s.cols);
        if (add) oracle::add_to(want_sums, old);
        oracle::expect_near(sums, want_sums, what + ", sums");
      }
    }
  }
}

TEST_P(CpuProductTest, LeavingOutZerosChangesNoBit) {
  uint32_t seed = 1;
  for (const Shape& s : kShapes) {
    for (const Layout layout : {Layout::forward, Layout::weight}) {
      Operands dense(s, layout, seed++);
      dense.make_sparse();
      Operands sparse = dense;
      sparse.product.a = sparse.a.data() + 1;
      sparse.product.b = sparse.b.data() + 1;
      sparse.product.c = sparse.c.data() + 1;
      sparse.product.a_zeros = true;
      run(dense.product);
      run(sparse.product);
      EXPECT_EQ(dense.result(), sparse.result()) << describe(s, GetParam());
    }
  }
}

TEST_P(CpuProductTest, BitsDoNotDependOnTheVectorUnitWhereBothHaveFma) {
  if (GetParam() == VectorUnit::baseline || !vector_unit_available(VectorUnit::avx2)) return;
  for (const Shape& s : kShapes) {
    Operands o(s, Layout::forward, 5);
    run(o.product);
    const std::vector<float> got = o.result();
    multiply(o.product, VectorUnit::avx2);
    EXPECT_EQ(got, o.result()) << describe(s, GetParam());
  }
}

// A number that is not finite must show, also behind a zero whose step is left out.
TEST_P(CpuProductTest, NonFiniteElementsReachTheResult) {
  const Shape s{13, 33, 40};
  for (const float bad : {NAN, INFINITY}) {
    for (const bool zeros : {false, true}) {
      Operands o(s, Layout::forward, 9);
      if (zeros) std::fill(o.a.begin(), o.a.end(), 0.0f);
      o.product.a_zeros = zeros;
      o.b[1 + 7 * s.inner + 11] = bad;  // k = 11 of column 7
      run(o.product);
      for (int64_t r = 0; r < s.rows; ++r) {
        EXPECT_FALSE(std::isfinite(o.result()[r * s.cols + 7])) << bad << " row " << r;
        EXPECT_TRUE(std::isfinite(o.result()[r * s.cols + 8])) << bad << " row " << r;
      }
      Operands in_a(s, Layout::forward, 9);
      if (zeros) std::fill(in_a.a.begin(), in_a.a.end(), 0.0f);
      in_a.product.a_zeros = zeros;
      in_a.a_at(3, 11) = bad;
      in_a.product.finish = Finish::activate;
      in_a.product.activation = Activation::relu;
      run(in_a.product);
      const int64_t shown = std::count_if(in_a.c.begin() + 1, in_a.c.end(),
                                          [](float v) { return !std::isfinite(v); });
      EXPECT_GE(shown, std::isnan(bad) ? s.cols : 1) << bad;
    }
  }
}

std::string unit_name(const testing::TestParamInfo<VectorUnit>& unit) {
  return vector_unit_name(unit.param);
}

INSTANTIATE_TEST_SUITE_P(Units, CpuProductTest, testing::ValuesIn(kUnits), unit_name);

TEST(ShareOfZeroSteps, CountsStepsAtWhichATileIsZero) {
  std::vector<float> a(24 * 100, 1.0f);
  CpuProduct product{};
  product.rows = 24;
  product.inner = 100;
  product.cols = 1;
  product.a = a.data();
  product.a_row = 100;
  product.a_col = 1;
  EXPECT_EQ(share_of_zero_steps(product), 0);
  for (int64_t r = 0; r < 24; ++r) std::fill_n(a.begin() + r * 100, 50, 0.0f);
  EXPECT_NEAR(share_of_zero_steps(product), 0.5, 0.02);
  for (int64_t r = 0; r < 12; ++r) a[r * 100] = 1.0f;
  std::fill(a.begin(), a.end(), 0.0f);
  EXPECT_EQ(share_of_zero_steps(product), 1);
}

}  // namespace
}  // namespace elbo::cpu
