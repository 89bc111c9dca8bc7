// Our convolution kernels against brute-force double, in strict fp32, TF32 and bf16. The operands are
// numbers that the format holds exactly, so only sums and stored results are rounded.
#ifdef ELBO_HAS_CUDA

#include "tests/kernels/tensor_conv_fixture.h"

namespace elbo {
namespace {

constexpr GradMode kModes[] = {GradMode::write, GradMode::add};

class TensorConvTest : public DeviceTest {
 protected:
  Exec with(ProductPrecision precision) {
    Exec copy = exec();
    copy.products = precision;
    copy.product_kernels = ProductKernels::own;
    return copy;
  }

  template <class T>
  void check_forward(const Exec& e, const ConvCase& c, const std::vector<Activation>& activations);
  template <class T>
  void check_backward_data(const Exec& e, const ConvCase& c,
                           const std::vector<Activation>& activations);
  template <class T>
  void check_backward_weight(const Exec& e, const ConvCase& c);

  // All activations at one geometry; at the others one with and one without a kept pre-activation.
  template <class T>
  void check_all(const Exec& e) {
    const std::vector<ConvCase> cases = edge_cases();
    for (size_t i = 0; i < cases.size(); ++i) {
      std::vector<Activation> activations = {Activation::silu, Activation::leaky_relu};
      if (i == 3) activations = {std::begin(kActivations), std::end(kActivations)};
      check_forward<T>(e, cases[i], activations);
      check_backward_data<T>(e, cases[i], activations);
      check_backward_weight<T>(e, cases[i]);
    }
    for (ConvCase c : large_cases()) {
      check_forward<T>(e, c, {Activation::relu});
      c.transpose = !c.transpose;  // backward into the same tiles
      check_backward_data<T>(e, c, {});
    }
    check_backward_weight<T>(e, large_weight_case());
  }
};

template <class T>
void TensorConvTest::check_forward(const Exec& e, const ConvCase& c,
                                   const std::vector<Activation>& activations) {
  Numbers source(1);
  const ConvOperands<T> o(device(), source, c);
  const Matrix sums = oracle::convolve(c.geometry, c.transpose, o.x, o.weight);
  for (const Activation activation : activations) {
    const bool with_bias = activation != Activation::tanh;
    Matrix pre = sums;
    for (size_t i = 0; with_bias && i < pre.value.size(); ++i) {
      oracle::add_term(pre, static_cast<int64_t>(i), o.bias[i % o.bias.size()], 1.0f);
    }
    Matrix want = pre;
    for (double& v : want.value) v = oracle::activated(activation, v);
    const size_t aux_bytes = conv_aux_bytes<T>(c.y_count(), activation);
    ASSERT_EQ(aux_bytes, needs_pre_activation(activation) ? c.y_count() * sizeof(T) : 0);
    DeviceBuffer<T> y(device(), static_cast<size_t>(c.y_count())),
        aux(device(), aux_bytes / sizeof(T));
    run_forward(e, c,
                BasicConvForward<T>{.geometry = c.geometry,
                                    .x = o.xd.data(),
                                    .weight = o.weightd.data(),
                                    .bias = with_bias ? o.biasd.data() : nullptr,
                                    .y = y.data(),
                                    .aux = aux_bytes ? aux.data() : nullptr,
                                    .activation = activation});
    const std::string what = to_string(c) + " " + activation_name(activation);
    if (aux_bytes) {
      // With a rounded pre-activation, y moves by its slope (at most 1.13) times that rounding.
      for (size_t i = 0; i < want.value.size(); ++i) {
        want.magnitude[i] +=
            1.13 * std::abs(pre.value[i]) * Format<T>::kStored / oracle::kTolerance;
      }
      expect_stored_near<T>(floats(aux.download()), pre, what + ", kept");
    }
    expect_stored_near<T>(floats(y.download()), want, what);
  }
}

template <class T>
void TensorConvTest::check_backward_data(const Exec& e, const ConvCase& c,
                                         const std::vector<Activation>& activations) {
  Numbers source(2);
  const ConvOperands<T> o(device(), source, c);
  const auto kept = exact_numbers<T>(source, c.x_count());
  const auto old = exact_numbers<T>(source, c.x_count());
  const auto old_bias = source(c.x_size().channels);
  const DeviceBuffer<T> keptd(device(), stored<T>(kept));
  const Matrix plain = oracle::convolve(c.geometry, !c.transpose, o.dy, o.weight);
  const auto run = [&](GradMode mode, const BasicInputActivation<T>* input) {
    const std::vector<float> nan(old.size(), NAN);
    DeviceBuffer<T> dx(device(), stored<T>(mode == GradMode::add ? old : nan));
    run_backward_data(e, c,
                      BasicConvBackwardData<T>{.geometry = c.geometry,
                                               .dy = o.dyd.data(),
                                               .weight = o.weightd.data(),
                                               .dx = dx.data(),
                                               .mode = mode,
                                               .input = input});
    return floats(dx.download());
  };
  const std::string what = to_string(c) + " dx";
  expect_stored_near<T>(run(GradMode::write, nullptr), plain, what);
  Matrix sum = plain;
  oracle::add_to(sum, old);
  expect_stored_near<T>(run(GradMode::add, nullptr), sum, what + ", added");
  for (const Activation activation : activations) {
    DeviceBuffer<float> dbias(device(), old_bias);
    BasicInputActivation<T> input{};
    input.activation = activation;
    input.dbias = dbias.data();
    input.dbias_mode = GradMode::add;
    (needs_pre_activation(activation) ? input.aux : *reinterpret_cast<const void**>(&input.y)) =
        keptd.data();
    Matrix want = plain;
    for (size_t i = 0; i < want.value.size(); ++i) {
      // `kept` is y or the pre-activation, as each derivative reads it (activation.h).
      const double k = kept[i];
      const double slope = activation == Activation::tanh       ? 1 - k * k
                           : activation == Activation::sigmoid  ? k * (1 - k)
                           : activation == Activation::softplus ? 1 - std::exp(-k)
                                                                : oracle::slope(activation, k);
      want.value[i] *= slope;
      want.magnitude[i] *= std::max(1.0, std::abs(slope));
    }
    const std::vector<float> got = run(GradMode::write, &input);
    expect_stored_near<T>(got, want, what + " " + activation_name(activation));
    // Of what is stored: that is what the bias' gradient must agree with.
    Matrix bias = oracle::column_sums(oracle::matrix_of(got), c.x_size().channels);
    oracle::add_to(bias, old_bias);
    oracle::expect_near(dbias.download(), bias, what + " dbias");
  }
}

template <class T>
void TensorConvTest::check_backward_weight(const Exec& e, const ConvCase& c) {
  Numbers source(3);
  const ConvOperands<T> o(device(), source, c);
  const auto old = source(c.geometry.weight_size()), old_bias = source(c.y_size().channels);
  const Matrix dw = c.transpose ? oracle::weight_gradient(c.geometry, o.dy, o.x)
                                : oracle::weight_gradient(c.geometry, o.x, o.dy);
  for (const GradMode mode : kModes) {
    const bool add = mode == GradMode::add;
    DeviceBuffer<float> dweight(device(), add ? old : std::vector<float>(old.size(), NAN));
    DeviceBuffer<float> dbias(device(), add ? old_bias : std::vector<float>(old_bias.size(), NAN));
    run_backward_weight(e, c,
                        BasicConvBackwardWeight<T>{.geometry = c.geometry,
                                                   .x = o.xd.data(),
                                                   .dy = o.dyd.data(),
                                                   .dweight = dweight.data(),
                                                   .mode = mode,
                                                   .dbias = dbias.data(),
                                                   .dbias_mode = mode});
    Matrix want = dw, bias = oracle::column_sums(oracle::matrix_of(o.dy), c.y_size().channels);
    if (add) oracle::add_to(want, old), oracle::add_to(bias, old_bias);
    oracle::expect_near(dweight.download(), want, to_string(c) + " dW");
    oracle::expect_near(dbias.download(), bias, to_string(c) + " dbias");
  }
}

TEST_P(TensorConvTest, Fp32) { check_all<float>(with(ProductPrecision::fp32)); }
TEST_P(TensorConvTest, Tf32) { check_all<float>(with(ProductPrecision::tf32)); }
TEST_P(TensorConvTest, Bf16) { check_all<bf16>(with(ProductPrecision::tf32)); }

TEST_P(TensorConvTest, Tf32RoundsItsOperandsAndFp32DoesNot) {
  for (const ConvCase& c : {edge_cases()[3], edge_cases()[9]}) {
    Numbers source(4);
    const auto x = source(c.x_count()), weight = source(c.geometry.weight_size());
    const DeviceBuffer<float> xd(device(), x), wd(device(), weight);
    const Matrix want = oracle::convolve(c.geometry, c.transpose, x, weight);
    const auto run = [&](ProductPrecision precision) {
      DeviceBuffer<float> y(device(), want.value.size());
      run_forward(
          with(precision), c,
          ConvForward{.geometry = c.geometry, .x = xd.data(), .weight = wd.data(), .y = y.data()});
      return y.download();
    };
    oracle::expect_near(run(ProductPrecision::fp32), want, to_string(c));
    const std::vector<float> rounded = run(ProductPrecision::tf32);
    // Each operand is off by 2^-11 of itself at most, so each term by 2^-10.
    oracle::expect_near(rounded, want, to_string(c) + " tf32", 0x1p-10 + oracle::kTolerance);
    double worst = 0;
    for (size_t i = 0; i < rounded.size(); ++i) {
      worst = std::max(worst, std::abs(rounded[i] - want.value[i]) / want.magnitude[i]);
    }
    EXPECT_GT(worst, 1e-5) << "nothing was rounded";
  }
}

// Groups of warps and parts of k are added, and copies arrive, in whichever order: the bits stay.
TEST_P(TensorConvTest, BitsDoNotDependOnTheOrderOfThreadsAndBlocks) {
  for (const ConvCase& c : {conv_case(3, {10, 6, 8}, 16, ConvWindow::square(4, 2, 1)),
                            transposed_case(4, {8, 8, 9}, 3, ConvWindow::square(3, 2, 1))}) {
    Numbers source(5);
    const ConvOperands<float> o(device(), source, c);
    for (const ProductPrecision precision : {ProductPrecision::fp32, ProductPrecision::tf32}) {
      const Exec e = with(precision);
      for_each_order(device(), [&] {
        DeviceBuffer<float> y(device(), o.dy.size()), dx(device(), o.x.size());
        DeviceBuffer<float> dw(device(), o.weight.size()), db(device(), o.bias.size());
        run_forward(e, c,
                    ConvForward{.geometry = c.geometry,
                                .x = o.xd.data(),
                                .weight = o.weightd.data(),
                                .y = y.data()});
        run_backward_data(e, c,
                          ConvBackwardData{.geometry = c.geometry,
                                           .dy = o.dyd.data(),
                                           .weight = o.weightd.data(),
                                           .dx = dx.data()});
        run_backward_weight(e, c,
                            ConvBackwardWeight{.geometry = c.geometry,
                                               .x = o.xd.data(),
                                               .dy = o.dyd.data(),
                                               .dweight = dw.data(),
                                               .dbias = db.data()});
        return std::vector{y.download(), dx.download(), dw.download(), db.download()};
      });
    }
  }
}

// A weight gradient with few tiles sums parts of k in scratch, and one part where there is no room.
TEST_P(TensorConvTest, WeightGradientIsSplitWhereThereIsScratch) {
  const ConvCase c = conv_case(4, {16, 12, 4}, 20, ConvWindow::square(3, 1, 1));
  Numbers source(6);
  const ConvOperands<float> o(device(), source, c);
  const Matrix want = oracle::weight_gradient(c.geometry, o.x, o.dy);
  const auto run = [&](const Exec& e) {
    DeviceBuffer<float> dw(device(), o.weight.size()), db(device(), o.bias.size());
    run_backward_weight(e, c,
                        ConvBackwardWeight{.geometry = c.geometry,
                                           .x = o.xd.data(),
                                           .dy = o.dyd.data(),
                                           .dweight = dw.data(),
                                           .dbias = db.data()});
    oracle::expect_near(dw.download(), want, "dW");
    oracle::expect_near(db.download(),
                        oracle::column_sums(oracle::matrix_of(o.dy), c.y_size().channels), "db");
    return dw.download();
  };
  const Exec split = with(ProductPrecision::fp32);
  Exec whole = split, little = split, no_tickets = split;
  whole.scratch = {};
  little.scratch.bytes = 3 * (32 * 32 + 32) * sizeof(float);  // of one tile's three parts
  no_tickets.scratch.tickets = nullptr;
  const std::vector<float> in_one = run(whole), in_parts = run(split);
  EXPECT_NE(in_parts, in_one) << "other sums, other bits: it was not split";
  EXPECT_EQ(run(little), in_one) << "two tiles have no room for two parts each";
  EXPECT_EQ(run(no_tickets), in_one);
}

TEST_P(TensorConvTest, NanAndInfinityPassThrough) {
  const ConvCase c = conv_case(1, {4, 4, 4}, 3, ConvWindow::square(2, 2));
  for (const ProductPrecision precision : {ProductPrecision::fp32, ProductPrecision::tf32}) {
    for (const float bad : {NAN, INFINITY}) {
      std::vector<float> x(c.x_count(), 1.0f);
      // Of pixel (2, 0): in the window of the features' third pixel only, and where the first one's would
      // have a tap more.
      x[2 * 4 * 4] = bad;
      const DeviceBuffer<float> xd(device(), x),
          wd(device(), std::vector<float>(c.geometry.weight_size(), 1.0f));
      DeviceBuffer<float> y(device(), static_cast<size_t>(c.y_count()));
      conv2d_forward(with(precision), ConvForward{.geometry = c.geometry,
                                                  .x = xd.data(),
                                                  .weight = wd.data(),
                                                  .y = y.data(),
                                                  .activation = Activation::relu});
      const std::vector<float> got = y.download();
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(std::isfinite(got[i]), i / 3 != 2) << bad << " at " << i;
        EXPECT_EQ(i / 3 == 2 ? 16.0f : got[i], 16.0f);
      }
    }
  }
}

TEST_P(TensorConvTest, RefusesWhatIndicesCannotReach) {
  const ConvCase c = conv_case(int64_t{1} << 29, {2, 2, 1}, 1, ConvWindow::square(1));
  alignas(16) float word[4] = {};  // never read
  EXPECT_THROW(
      conv2d_forward(exec(),
                     ConvForward{.geometry = c.geometry, .x = word, .weight = word, .y = word}),
      Error);
  expect_no_launch();
}

TEST_P(TensorConvTest, EmptyBatchesLeaveDataAloneAndMakeGradientsZero) {
  for (const bool transpose : {false, true}) {
    ConvCase c = edge_cases()[transpose ? 8 : 1];
    c.geometry.batch = 0;
    DeviceBuffer<float> dw(device(), std::vector<float>(c.geometry.weight_size(), NAN));
    DeviceBuffer<float> db(device(), std::vector<float>(c.y_size().channels, NAN));
    BasicConvForward<bf16> forward{};
    BasicConvBackwardData<bf16> data{};
    BasicConvBackwardWeight<bf16> weight{};
    forward.geometry = data.geometry = weight.geometry = c.geometry;
    weight.dweight = dw.data();
    weight.dbias = db.data();
    run_forward(exec(), c, forward);
    run_backward_data(exec(), c, data);
    run_backward_weight(exec(), c, weight);
    EXPECT_EQ(dw.download(), std::vector<float>(dw.size(), 0.0f));
    EXPECT_EQ(db.download(), std::vector<float>(db.size(), 0.0f));
  }
}

TEST(TensorConvOnCpu, Bf16IsRefused) {
  const auto exec = make_exec(Device::cpu);
  EXPECT_THROW(conv2d_forward(exec->exec(), BasicConvForward<bf16>{}), Error);
}

INSTANTIATE_TEST_SUITE_P(Devices, TensorConvTest, testing::Values(Device::cuda), device_name);

}  // namespace
}  // namespace elbo

#endif  // ELBO_HAS_CUDA
