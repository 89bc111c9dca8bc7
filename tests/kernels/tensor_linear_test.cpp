// Our tensor-core products against brute-force double. The operands are numbers that the storage format
// holds exactly (TF32 or bf16), so the products are exact and only sums and stored results are rounded.
#ifdef ELBO_HAS_CUDA

#include <gtest/gtest.h>

#include "kernels/likelihood_layer.h"
#include "kernels/linear.h"
#include "tests/kernels/linear_oracle.h"
#include "tests/kernels/storage_format.h"
#include "tests/support/device.h"

namespace elbo {
namespace {

using oracle::LinearShape;
using oracle::Matrix;
using oracle::Numbers;

constexpr GradMode kModes[] = {GradMode::write, GradMode::add};

// Around the edges of tiles, slices and vectors; batches of one; narrow layers; and two that have
// enough tiles for the large configuration: 15 x 9 forward and 10 x 14 for weights.
const std::vector<LinearShape> kShapes = {
    {1, 1, 1},     {3, 7, 5},     {31, 33, 32},  {33, 64, 31},  {32, 32, 32},
    {65, 130, 66}, {20, 257, 40}, {129, 20, 72}, {905, 9, 530}, {9, 840, 636}};

// The simulator is slow, and which activation it is has nothing to do with the number of tiles.
std::vector<Activation> activations(const LinearShape& s) {
  if (s.batch * s.in * s.out > 1'000'000) return {Activation::silu};
  return {std::begin(kActivations), std::end(kActivations)};
}

class TensorLinearTest : public DeviceTest {
 protected:
  Exec tensor_exec() {
    Exec copy = exec();
    copy.products = ProductPrecision::tf32;
    copy.product_kernels = ProductKernels::own;
    return copy;
  }

  template <class T>
  void check_forward();
  template <class T>
  void check_backward_data();
  template <class T>
  void check_backward_weights();
  template <class T, class Target>
  void check_likelihood(Likelihood likelihood);
};

template <class T>
void TensorLinearTest::check_forward() {
  Numbers source(1);
  for (const LinearShape& s : kShapes) {
    const auto x = exact_numbers<T>(source, s.batch * s.in),
               w = exact_numbers<T>(source, s.in * s.out);
    const auto bias = source(s.out);
    const DeviceBuffer<T> xd(device(), stored<T>(x)), wd(device(), stored<T>(w));
    const DeviceBuffer<float> bd(device(), bias);
    for (const Activation activation : activations(s)) {
      const bool with_bias = activation != Activation::tanh;
      Matrix want = oracle::forward(s, x, w, with_bias ? &bias : nullptr);
      const Matrix pre = want;
      for (double& v : want.value) v = oracle::activated(activation, v);
      DeviceBuffer<T> y(device(), want.value.size());
      const size_t aux_bytes = linear_aux_bytes<T>(tensor_exec(), s.batch, s.out, activation);
      ASSERT_EQ(aux_bytes, needs_pre_activation(activation) ? y.size() * sizeof(T) : 0);
      DeviceBuffer<T> aux(device(), aux_bytes / sizeof(T));
      BasicLinearForward<T> args{};
      args.x = xd.data();
      args.weight = wd.data();
      args.bias = with_bias ? bd.data() : nullptr;
      args.y = y.data();
      args.aux = aux_bytes ? aux.data() : nullptr;
      args.batch = s.batch;
      args.in = s.in;
      args.out = s.out;
      args.activation = activation;
      linear_forward(tensor_exec(), args);
      const std::string what = oracle::to_string(s) + " " + activation_name(activation);
      // With a rounded pre-activation, y moves by its slope (at most 1.13) times that rounding.
      if (aux_bytes) {
        for (size_t i = 0; i < want.value.size(); ++i) {
          want.magnitude[i] +=
              1.13 * std::abs(pre.value[i]) * Format<T>::kStored / oracle::kTolerance;
        }
        expect_stored_near<T>(floats(aux.download()), pre, what + ", kept");
      }
      expect_stored_near<T>(floats(y.download()), want, what);
    }
  }
}

template <class T>
void TensorLinearTest::check_backward_data() {
  Numbers source(2);
  for (const LinearShape& s : kShapes) {
    const auto dy = exact_numbers<T>(source, s.batch * s.out),
               w = exact_numbers<T>(source, s.in * s.out);
    const auto kept = exact_numbers<T>(source, s.batch * s.in),
               old = exact_numbers<T>(source, s.batch * s.in);
    const DeviceBuffer<T> dyd(device(), stored<T>(dy)), wd(device(), stored<T>(w));
    const DeviceBuffer<T> keptd(device(), stored<T>(kept));
    const Matrix plain = oracle::backward_data(s, dy, w);
    const auto run = [&](GradMode mode, const BasicInputActivation<T>* input) {
      DeviceBuffer<T> dx(
          device(), stored<T>(mode == GradMode::add ? old : std::vector<float>(old.size(), NAN)));
      BasicLinearBackwardData<T> args{};
      args.dy = dyd.data();
      args.weight = wd.data();
      args.dx = dx.data();
      args.mode = mode;
      args.batch = s.batch;
      args.in = s.in;
      args.out = s.out;
      args.input = input;
      linear_backward_data(tensor_exec(), args);
      return floats(dx.download());
    };
    const std::string what = oracle::to_string(s);
    expect_stored_near<T>(run(GradMode::write, nullptr), plain, what);
    Matrix sum = plain;
    oracle::add_to(sum, old);
    expect_stored_near<T>(run(GradMode::add, nullptr), sum, what + ", added");
    for (const Activation activation : activations(s)) {
      BasicInputActivation<T> input{};
      input.activation = activation;
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
      expect_stored_near<T>(run(GradMode::write, &input), want,
                            what + " " + activation_name(activation));
    }
  }
}

template <class T>
void TensorLinearTest::check_backward_weights() {
  Numbers source(3);
  for (const GradMode mode : kModes) {
    // All of them in two launches, as there are more than fit into one.
    std::vector<LinearShape> shapes = kShapes;
    shapes.insert(shapes.end(), kShapes.begin(), kShapes.end() - 2);
    std::vector<DeviceBuffer<T>> operands;
    std::vector<DeviceBuffer<float>> results;
    std::vector<Matrix> want;
    std::vector<BasicLinearBackwardWeight<T>> layers;
    for (const LinearShape& s : shapes) {
      const auto x = exact_numbers<T>(source, s.batch * s.in),
                 dy = exact_numbers<T>(source, s.batch * s.out);
      const auto old = source(s.in * s.out), old_bias = source(s.out);
      operands.emplace_back(device(), stored<T>(x));
      operands.emplace_back(device(), stored<T>(dy));
      const bool add = mode == GradMode::add;
      results.emplace_back(device(), add ? old : std::vector<float>(old.size(), NAN));
      results.emplace_back(device(), add ? old_bias : std::vector<float>(old_bias.size(), NAN));
      want.push_back(oracle::backward_weight(s, x, dy));
      if (add) oracle::add_to(want.back(), old);
      want.push_back(oracle::column_sums(oracle::matrix_of(dy), s.out));
      if (add) oracle::add_to(want.back(), old_bias);
      const bool with_bias = layers.size() % 3 != 1;
      BasicLinearBackwardWeight<T> layer{};
      layer.x = operands[operands.size() - 2].data();
      layer.dy = operands.back().data();
      layer.dweight = results[results.size() - 2].data();
      layer.mode = mode;
      layer.dbias = with_bias ? results.back().data() : nullptr;
      layer.dbias_mode = mode;
      layer.batch = s.batch;
      layer.in = s.in;
      layer.out = s.out;
      layers.push_back(layer);
    }
    linear_backward_weights<T>(tensor_exec(), layers.data(), static_cast<int64_t>(layers.size()));
    for (size_t i = 0; i < layers.size(); ++i) {
      const std::string what = oracle::to_string(shapes[i]);
      oracle::expect_near(results[2 * i].download(), want[2 * i], what + ", dW");
      if (layers[i].dbias) {
        oracle::expect_near(results[2 * i + 1].download(), want[2 * i + 1], what + ", dbias");
      }
    }
  }
}

// Four groups of warps add their sums, and copies arrive when they are waited for.
TEST_P(TensorLinearTest, BitsDoNotDependOnTheOrderOfThreads) {
  const LinearShape s{33, 70, 40};
  Numbers source(5);
  const auto x = source(s.batch * s.in), w = source(s.in * s.out), dy = source(s.batch * s.out);
  const DeviceBuffer<float> xd(device(), x), wd(device(), w), dyd(device(), dy);
  for_each_order(device(), [&] {
    DeviceBuffer<float> y(device(), dy.size()), dx(device(), x.size()), dw(device(), w.size());
    DeviceBuffer<float> db(device(), static_cast<size_t>(s.out));
    const Exec e = tensor_exec();
    linear_forward(e, {.x = xd.data(),
                       .weight = wd.data(),
                       .y = y.data(),
                       .batch = s.batch,
                       .in = s.in,
                       .out = s.out});
    linear_backward_data(e, {.dy = dyd.data(),
                             .weight = wd.data(),
                             .dx = dx.data(),
                             .batch = s.batch,
                             .in = s.in,
                             .out = s.out});
    linear_backward_weight(e, LinearBackwardWeight{.x = xd.data(),
                                                   .dy = dyd.data(),
                                                   .dweight = dw.data(),
                                                   .dbias = db.data(),
                                                   .batch = s.batch,
                                                   .in = s.in,
                                                   .out = s.out});
    return std::vector{y.download(), dx.download(), dw.download(), db.download()};
  });
}

TEST_P(TensorLinearTest, EmptyInnerDimensionsGiveWhatASumOverNothingIs) {
  const DeviceBuffer<float> bias(device(), {1, -2, 3});
  DeviceBuffer<bf16> y(device(), 6), dx(device(), 6);
  DeviceBuffer<float> dw(device(), std::vector<float>(6, NAN)), db(device(), 3);
  BasicLinearForward<bf16> forward{};
  forward.bias = bias.data();
  forward.y = y.data();
  forward.batch = 2;
  forward.out = 3;
  forward.activation = Activation::relu;
  linear_forward(exec(), forward);
  EXPECT_EQ(floats(y.download()), (std::vector<float>{1, 0, 3, 1, 0, 3}));
  BasicLinearBackwardData<bf16> data{};
  data.dx = dx.data();
  data.batch = 2;
  data.in = 3;
  linear_backward_data(exec(), data);
  EXPECT_EQ(floats(dx.download()), std::vector<float>(6, 0.0f));
  BasicLinearBackwardWeight<bf16> weight{};
  weight.dweight = dw.data();
  weight.dbias = db.data();
  weight.in = 2;
  weight.out = 3;
  linear_backward_weight(exec(), weight);
  EXPECT_EQ(dw.download(), std::vector<float>(6, 0.0f));
  EXPECT_EQ(db.download(), std::vector<float>(3, 0.0f));
}

// A NaN or infinity in an operand must reach the results that depend on it, rounding or not.
TEST_P(TensorLinearTest, NanAndInfinityPassThrough) {
  for (const float bad : {NAN, INFINITY}) {
    std::vector<float> x(2 * 40, 1.0f), w(3 * 40, 1.0f);
    x[40 + 7] = bad;
    const DeviceBuffer<float> xd(device(), x), wd(device(), w);
    DeviceBuffer<float> y(device(), 6);
    linear_forward(tensor_exec(), {.x = xd.data(),
                                   .weight = wd.data(),
                                   .y = y.data(),
                                   .batch = 2,
                                   .in = 40,
                                   .out = 3,
                                   .activation = Activation::relu});
    const std::vector<float> got = y.download();
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(got[i], 40.0f);
      EXPECT_FALSE(std::isfinite(got[3 + i])) << bad;
    }
  }
}

TEST(TensorLinearOnCpu, Bf16IsRefused) {
  const auto exec = make_exec(Device::cpu);
  EXPECT_THROW(linear_forward(exec->exec(), BasicLinearForward<bf16>{}), Error);
}

TEST_P(TensorLinearTest, ForwardWithTf32) { check_forward<float>(); }
TEST_P(TensorLinearTest, ForwardWithBf16) { check_forward<bf16>(); }
TEST_P(TensorLinearTest, BackwardDataWithTf32) { check_backward_data<float>(); }
TEST_P(TensorLinearTest, BackwardDataWithBf16) { check_backward_data<bf16>(); }
TEST_P(TensorLinearTest, BackwardWeightsWithTf32) { check_backward_weights<float>(); }
TEST_P(TensorLinearTest, BackwardWeightsWithBf16) { check_backward_weights<bf16>(); }

// -log p and its slope at an output, in double and by another way than the kernels'.
struct Loss {
  double value, slope;
};
Loss likelihood_loss(Likelihood likelihood, double output, double target, double logvar) {
  if (likelihood == Likelihood::bernoulli) {
    const double p = 1 / (1 + std::exp(-output));
    return {-(target * std::log(p) + (1 - target) * std::log1p(-p)), p - target};
  }
  const double error = output - target;
  return {0.5 * (std::log(2 * M_PI) + logvar + error * error / std::exp(logvar)),
          error / std::exp(logvar)};
}

template <class T, class Target>
void TensorLinearTest::check_likelihood(Likelihood likelihood) {
  constexpr float kLogvar = -0.5f, kScale = 0.25f;
  Numbers source(4);
  for (const LinearShape& s : kShapes) {
    // Outputs of unit size: at 30 the oracle's logarithm of a sigmoid would have no digit left.
    auto x = exact_numbers<T>(source, s.batch * s.in), w = exact_numbers<T>(source, s.in * s.out);
    for (float& v : w) v = Format<T>::round(v / std::sqrt(static_cast<float>(s.in)));
    const auto bias = source(s.out), raw = source(s.batch * s.out), weights = source(s.batch);
    std::vector<Target> targets;
    for (const float v : raw) {
      const float grey = std::min(std::abs(v) / 3, 1.0f);
      targets.push_back(static_cast<Target>(sizeof(Target) == 1 ? grey * 255 : grey));
    }
    const DeviceBuffer<T> xd(device(), stored<T>(x)), wd(device(), stored<T>(w));
    const DeviceBuffer<float> bd(device(), bias), weightsd(device(), weights);
    const DeviceBuffer<Target> targetd(device(), targets);
    const int64_t parts = likelihood_layer_parts<T>(tensor_exec(), s.batch, s.out);
    ASSERT_GE(parts, 1);
    DeviceBuffer<T> doutput(device(), raw.size());
    DeviceBuffer<float> nll(device(), static_cast<size_t>(parts * s.batch));
    LikelihoodLayer<T, Target> args{};
    args.likelihood = likelihood;
    args.log_variance = kLogvar;
    args.x = xd.data();
    args.weight = wd.data();
    args.bias = bd.data();
    args.target = targetd.data();
    args.doutput = doutput.data();
    args.nll = nll.data();
    args.loss_weight = {weightsd.data(), 1, kScale};
    args.batch = s.batch;
    args.in = s.in;
    args.out = s.out;
    likelihood_layer(tensor_exec(), args);
    const Matrix output = oracle::forward(s, x, w, &bias);
    Matrix slopes(s.batch * s.out), losses(s.batch);
    for (int64_t i = 0; i < s.batch * s.out; ++i) {
      const double target = sizeof(Target) == 1 ? targets[i] / 255.0 : targets[i];
      const Loss loss = likelihood_loss(likelihood, output.value[i], target, kLogvar);
      const int64_t row = i / s.out;
      slopes.value[i] = kScale * weights[row] * loss.slope;
      // A slope moves with its output by at most 1 / variance = 1.65.
      slopes.magnitude[i] = std::abs(kScale * weights[row]) * (1.65 * output.magnitude[i] + 1);
      losses.value[row] += loss.value;
      losses.magnitude[row] += std::abs(loss.value) + output.magnitude[i] * std::abs(loss.slope);
    }
    const std::string what = oracle::to_string(s);
    expect_stored_near<T>(floats(doutput.download()), slopes, what + ", doutput");
    std::vector<float> sums(s.batch, 0.0f);
    const std::vector<float> partial = nll.download();
    for (int64_t i = 0; i < parts * s.batch; ++i) sums[i % s.batch] += partial[i];
    oracle::expect_near(sums, losses, what + ", nll");
  }
}

TEST_P(TensorLinearTest, BernoulliLayerOfFloatTargets) {
  check_likelihood<float, float>(Likelihood::bernoulli);
  check_likelihood<bf16, float>(Likelihood::bernoulli);
}
TEST_P(TensorLinearTest, BernoulliLayerOfByteTargets) {
  check_likelihood<float, uint8_t>(Likelihood::bernoulli);
  check_likelihood<bf16, uint8_t>(Likelihood::bernoulli);
}
TEST_P(TensorLinearTest, GaussianLayer) {
  check_likelihood<float, float>(Likelihood::gaussian);
  check_likelihood<bf16, uint8_t>(Likelihood::gaussian);
}

INSTANTIATE_TEST_SUITE_P(Devices, TensorLinearTest, testing::Values(Device::cuda), device_name);

}  // namespace
}  // namespace elbo

#endif  // ELBO_HAS_CUDA
