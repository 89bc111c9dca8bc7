// A transposed convolution with its phases apart and in one product, each against brute-force double:
// strides of 1 to 3, phases without taps, pixels that the grid of phases has and the image has not.
#ifdef ELBO_HAS_CUDA

#include "kernels/tensor_conv.h"
#include "tests/kernels/tensor_conv_fixture.h"

namespace elbo {
namespace {

using tensor_core::Phases;

// Up to 16 columns of phases and channels. Odd numbers of channels let pairs of columns fall into two
// phases; 33 features are more than a slice; 2 x 9 x 9 positions more than a tile.
std::vector<ConvCase> joint_cases() {
  using W = ConvWindow;
  return {transposed_case(2, {4, 3, 5}, 3, W::square(4, 2, 1)),
          transposed_case(1, {3, 4, 8}, 4, W::square(4, 2, 1)),
          transposed_case(2, {9, 9, 4}, 1, W::square(4, 2, 1)),
          transposed_case(1, {3, 4, 33}, 2, W::square(3, 2, 1), 1),
          transposed_case(2, {3, 5, 6}, 1, W::square(3, 3)),
          transposed_case(2, {3, 2, 4}, 1, W::square(5, 3, 1), 2),
          transposed_case(2, {2, 3, 4}, 5, W{3, 2, 2, 1, 1, 0, 1, 1}),
          transposed_case(1, {4, 2, 3}, 7, W{2, 5, 1, 2, 0, 2, 1, 1}),
          transposed_case(2, {4, 3, 3}, 2, W::square(3, 2, 2, 2)),
          transposed_case(1, {3, 4, 5}, 3, W::square(2, 2, 1, 3)),
          transposed_case(2, {3, 3, 2}, 3, W::square(1, 2)),
          transposed_case(1, {3, 2, 2}, 1, W::square(1, 3, 1), 1),
          transposed_case(2, {1, 1, 3}, 3, W::square(2, 3)),
          conv_case(2, {9, 7, 3}, 6, W::square(4, 2, 1)),
          conv_case(1, {7, 8, 1}, 4, W{3, 2, 3, 2, 1, 0, 1, 1})};
}

class JointPhasesTest : public DeviceTest {
 protected:
  Exec with(ProductPrecision precision) {
    Exec copy = exec();
    copy.products = precision;
    return copy;
  }

  // Features to image, whichever of the two ops has that as its forward.
  template <class T>
  struct Operands {
    ConvGeometry g;
    std::vector<float> in, weight, bias, old, kept;
    DeviceBuffer<T> ind, weightd, keptd;
    DeviceBuffer<float> biasd;
    Matrix sums;

    Operands(Device device, const ConvGeometry& geometry, Numbers source)
        : g(geometry),
          in(exact_numbers<T>(source, g.batch * g.features.size())),
          weight(exact_numbers<T>(source, g.weight_size())),
          bias(source(g.image.channels)),
          old(exact_numbers<T>(source, g.batch * g.image.size())),
          kept(exact_numbers<T>(source, g.batch * g.image.size())),
          ind(device, stored<T>(in)),
          weightd(device, stored<T>(weight)),
          keptd(device, stored<T>(kept)),
          biasd(device, bias),
          sums(oracle::convolve(g, true, in, weight)) {}

    ConvProduct<T> product(T* out) const {
      return {.geometry = g,
              .towards = ConvTowards::image,
              .in = ind.data(),
              .weight = weightd.data(),
              .out = out};
    }
  };

  template <class T>
  void check_forward(const Exec& e, const Operands<T>& o, Phases phases, const std::string& what) {
    DeviceBuffer<T> y(device(), o.old.size()), pre(device(), o.old.size());
    ConvProduct<T> p = o.product(y.data());
    p.bias = o.biasd.data();
    p.activation = Activation::silu;
    p.pre = pre.data();
    tensor_core::convolve(e, p, phases);
    Matrix before = o.sums;
    for (size_t i = 0; i < before.value.size(); ++i) {
      oracle::add_term(before, static_cast<int64_t>(i), o.bias[i % o.bias.size()], 1.0f);
    }
    Matrix want = before;
    for (size_t i = 0; i < want.value.size(); ++i) {
      want.value[i] = oracle::activated(Activation::silu, before.value[i]);
      // y moves with the stored pre-activation by its slope, at most 1.13.
      want.magnitude[i] +=
          1.13 * std::abs(before.value[i]) * Format<T>::kStored / oracle::kTolerance;
    }
    expect_stored_near<T>(floats(pre.download()), before, what + ", kept");
    expect_stored_near<T>(floats(y.download()), want, what);
  }

  template <class T>
  void check_gradient(const Exec& e, const Operands<T>& o, Phases phases, const std::string& what) {
    DeviceBuffer<T> added(device(), stored<T>(o.old)), undone(device(), o.old.size());
    ConvProduct<T> p = o.product(added.data());
    p.mode = GradMode::add;
    tensor_core::convolve(e, p, phases);
    Matrix want = o.sums;
    oracle::add_to(want, o.old);
    expect_stored_near<T>(floats(added.download()), want, what + ", added");

    const BasicInputActivation<T> input{.activation = Activation::tanh, .y = o.keptd.data()};
    p = o.product(undone.data());
    p.input = &input;
    tensor_core::convolve(e, p, phases);
    want = o.sums;
    for (size_t i = 0; i < want.value.size(); ++i) {
      const double slope = 1 - double{o.kept[i]} * o.kept[i];
      want.value[i] *= slope;
      want.magnitude[i] *= std::max(1.0, std::abs(slope));
    }
    expect_stored_near<T>(floats(undone.download()), want, what + ", undone");
  }

  template <class T>
  void check(const Exec& e) {
    for (const ConvCase& c : joint_cases()) {
      ASSERT_TRUE(tensor_core::can_join_phases(c.geometry, ConvTowards::image)) << to_string(c);
      const Operands<T> o(device(), c.geometry, Numbers(3));
      for (const Phases phases : {Phases::apart, Phases::joint}) {
        const std::string what =
            to_string(c) + (phases == Phases::joint ? " in one" : " by phases");
        check_forward(e, o, phases, what);
        check_gradient(e, o, phases, what);
        if (HasFatalFailure()) return;
      }
    }
  }
};

TEST_P(JointPhasesTest, Fp32) { check<float>(with(ProductPrecision::fp32)); }
TEST_P(JointPhasesTest, Tf32) { check<float>(with(ProductPrecision::tf32)); }
TEST_P(JointPhasesTest, Bf16) { check<bf16>(with(ProductPrecision::tf32)); }

TEST_P(JointPhasesTest, BitsDoNotDependOnTheOrderOfThreadsAndBlocks) {
  const Exec e = with(ProductPrecision::fp32);
  const Operands<float> o(device(), joint_cases()[2].geometry, Numbers(5));
  for_each_order(device(), [&] {
    DeviceBuffer<float> y(device(), o.old.size());
    tensor_core::convolve(e, o.product(y.data()), Phases::joint);
    return y.download();
  });
}

// Multiply-adds per position of the grid with 64 features, apart and in one, in units of 8 x 64.
TEST_P(JointPhasesTest, TheRuleTakesWhatMultipliesNoMore) {
  struct Case {
    int64_t kernel, stride, padding, channels;
    bool possible, by_rule;
  };
  for (const Case& c : {Case{4, 2, 1, 1, true, true},       // 16, 9
                        Case{4, 2, 1, 2, true, true},       // 16, 9
                        Case{4, 2, 1, 3, true, false},      // 16, 18
                        Case{4, 2, 0, 3, true, true},       // 16, 8: both phases need the same
                        Case{3, 2, 1, 3, true, true},       // 9, 8
                        Case{3, 2, 1, 4, true, true},       // 9, 8
                        Case{5, 2, 2, 3, true, true},       // 25, 18
                        Case{1, 2, 0, 4, true, false},      // 1, 2
                        Case{2, 2, 0, 4, true, true},       // 4, 2
                        Case{3, 2, 1, 5, false, false},     // 20 columns
                        Case{3, 3, 0, 1, true, true},       // 9, 2
                        Case{3, 3, 0, 2, false, false},     // 18 columns
                        Case{3, 1, 1, 1, false, false}}) {  // one phase
    const ConvGeometry g = conv_transpose2d_geometry(
        1, {4, 4, 64}, c.channels, ConvWindow::square(c.kernel, c.stride, c.padding));
    EXPECT_EQ(tensor_core::can_join_phases(g, ConvTowards::image), c.possible) << g.to_string();
    EXPECT_EQ(tensor_core::rule_joins_phases(g, ConvTowards::image), c.by_rule) << g.to_string();
    EXPECT_FALSE(tensor_core::can_join_phases(g, ConvTowards::features));
    EXPECT_FALSE(tensor_core::rule_joins_phases(g, ConvTowards::features));
  }
  // 3 features: slices of 32 numbers are filled up, so that four phases of 12 make as many as 27.
  const ConvGeometry few = conv_transpose2d_geometry(1, {4, 4, 3}, 3, ConvWindow::square(4, 2, 1));
  EXPECT_TRUE(tensor_core::rule_joins_phases(few, ConvTowards::image));
  expect_no_launch();
}

TEST_P(JointPhasesTest, WhatDoesNotFitIsAnError) {
  const ConvGeometry g = transposed_case(1, {4, 4, 3}, 5, ConvWindow::square(4, 2, 1)).geometry;
  const Operands<float> o(device(), g, Numbers(6));
  DeviceBuffer<float> y(device(), o.old.size());
  EXPECT_THROW(tensor_core::convolve(exec(), o.product(y.data()), Phases::joint), Error);
  expect_no_launch();
}

INSTANTIATE_TEST_SUITE_P(Devices, JointPhasesTest, testing::Values(Device::cuda), device_name);

}  // namespace
}  // namespace elbo

#endif  // ELBO_HAS_CUDA
