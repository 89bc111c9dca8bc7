// The last convolution with its likelihood against brute-force double, fused (CUDA) and in two steps.
#include "kernels/conv_likelihood.h"

#include "tests/kernels/loss_oracle.h"
#include "tests/kernels/tensor_conv_fixture.h"

namespace elbo {
namespace {

constexpr float kLogvar = -0.5f, kScale = 0.25f;

// -log p and its slope at an output, in double.
struct Loss {
  double value, slope;
};
Loss loss_at(Likelihood likelihood, double output, double target) {
  if (likelihood == Likelihood::bernoulli) {
    return {oracle::bernoulli_nll(output, target), oracle::sigmoid(output) - target};
  }
  const double error = output - target, precision = std::exp(-double{kLogvar});
  return {0.5 * (std::log(2 * M_PI) + kLogvar + error * error * precision), error * precision};
}

template <class Target>
std::vector<Target> random_targets(Numbers& source, int64_t count) {
  std::vector<Target> targets;
  for (const float v : source(count)) {
    const float grey = std::min(std::abs(v) / 3, 1.0f);
    targets.push_back(static_cast<Target>(sizeof(Target) == 1 ? grey * 255 : grey));
  }
  return targets;
}

template <class T>
int64_t parts_of(const Exec& e, const ConvCase& c) {
  return c.transpose ? conv_transpose2d_likelihood_parts<T>(e, c.geometry)
                     : conv2d_likelihood_parts<T>(e, c.geometry);
}

class ConvLikelihoodTest : public DeviceTest {
 protected:
  Exec with(ProductPrecision precision) {
    Exec copy = exec();
    copy.products = precision;
    return copy;
  }

  template <class T, class Target>
  struct Operands : ConvOperands<T> {
    Operands(Device device, Numbers& source, const ConvCase& c)
        : ConvOperands<T>(device, source, c),
          targets(random_targets<Target>(source, c.y_count())),
          weights(source(c.geometry.batch)),
          targetd(device, targets),
          weightsd(device, weights) {}

    std::vector<Target> targets;
    std::vector<float> weights;
    DeviceBuffer<Target> targetd;
    DeviceBuffer<float> weightsd;
  };

  struct Results {
    std::vector<float> doutput, nll;  // nll by part and sample
  };

  template <class T, class Target>
  Results run(const Exec& e, Likelihood likelihood, const ConvCase& c,
              const Operands<T, Target>& o) {
    const int64_t parts = parts_of<T>(e, c);
    DeviceBuffer<T> doutput(device(), o.targets.size());
    DeviceBuffer<float> nll(device(), static_cast<size_t>(parts * c.geometry.batch));
    const ConvLikelihood<T, Target> args{.geometry = c.geometry,
                                         .likelihood = likelihood,
                                         .log_variance = kLogvar,
                                         .x = o.xd.data(),
                                         .weight = o.weightd.data(),
                                         .bias = o.biasd.data(),
                                         .target = o.targetd.data(),
                                         .doutput = doutput.data(),
                                         .nll = nll.data(),
                                         .loss_weight = {o.weightsd.data(), 1, kScale}};
    c.transpose ? conv_transpose2d_likelihood(e, args) : conv2d_likelihood(e, args);
    return {floats(doutput.download()), nll.download()};
  }

  template <class T, class Target>
  void check(const Exec& e, Likelihood likelihood) {
    Numbers source(4);
    for (const ConvCase& c : cases()) {
      const Operands<T, Target> o(device(), source, c);
      const Results got = run(e, likelihood, c, o);
      Matrix output = oracle::convolve(c.geometry, c.transpose, o.x, o.weight);
      Matrix slopes(c.y_count()), losses(c.geometry.batch);
      for (int64_t i = 0; i < c.y_count(); ++i) {
        oracle::add_term(output, i, o.bias[i % o.bias.size()], 1.0f);
        const double target = sizeof(Target) == 1 ? o.targets[i] / 255.0 : o.targets[i];
        const Loss loss = loss_at(likelihood, output.value[i], target);
        const int64_t sample = i / c.y_size().size();
        const double weight = double{kScale} * o.weights[sample];
        slopes.value[i] = weight * loss.slope;
        // A slope moves with its output by at most 1 / variance = 1.65.
        slopes.magnitude[i] = std::abs(weight) * (1.65 * output.magnitude[i] + 1);
        losses.value[sample] += loss.value;
        losses.magnitude[sample] +=
            std::abs(loss.value) + output.magnitude[i] * std::abs(loss.slope);
      }
      const std::string what = to_string(c);
      expect_stored_near<T>(got.doutput, slopes, what + ", doutput");
      std::vector<float> sums(c.geometry.batch, 0.0f);
      for (size_t i = 0; i < got.nll.size(); ++i) sums[i % sums.size()] += got.nll[i];
      oracle::expect_near(sums, losses, what + ", nll");
    }
  }

  // Samples of more than one tile, and of less.
  static std::vector<ConvCase> cases() {
    std::vector<ConvCase> all = edge_cases();
    all.push_back(conv_case(2, {13, 11, 4}, 3, ConvWindow::square(3, 1, 1)));
    // All phases in one product, also with two phases in a pair of columns.
    all.push_back(transposed_case(2, {5, 4, 8}, 3, ConvWindow::square(3, 2, 1), 1));
    all.push_back(transposed_case(2, {3, 4, 6}, 4, ConvWindow::square(3, 2, 1)));
    all.push_back(transposed_case(3, {13, 11, 16}, 1, ConvWindow::square(4, 2, 1)));
    return all;
  }
};

TEST_P(ConvLikelihoodTest, BernoulliInFp32) {
  check<float, float>(with(ProductPrecision::fp32), Likelihood::bernoulli);
  check<float, uint8_t>(with(ProductPrecision::fp32), Likelihood::bernoulli);
}
TEST_P(ConvLikelihoodTest, GaussianInFp32) {
  check<float, float>(with(ProductPrecision::fp32), Likelihood::gaussian);
  check<float, uint8_t>(with(ProductPrecision::fp32), Likelihood::gaussian);
}
TEST_P(ConvLikelihoodTest, InTf32) {
  check<float, uint8_t>(with(ProductPrecision::tf32), Likelihood::bernoulli);
  check<float, float>(with(ProductPrecision::tf32), Likelihood::gaussian);
}
TEST_P(ConvLikelihoodTest, InBf16) {
  if (device() == Device::cpu) {
    const ConvCase c = cases()[1];
    const ConvLikelihood<bf16, float> args{.geometry = c.geometry,
                                           .x = nullptr,
                                           .weight = nullptr,
                                           .target = nullptr,
                                           .doutput = nullptr,
                                           .nll = nullptr};
    EXPECT_THROW(conv2d_likelihood(exec(), args), Error);
    return;
  }
  check<bf16, float>(exec(), Likelihood::bernoulli);
  check<bf16, uint8_t>(exec(), Likelihood::gaussian);
}

// What two samples of one batch have in common is not shared: each one's parts are its own.
TEST_P(ConvLikelihoodTest, SamplesDoNotSeeEachOther) {
  ConvCase c = cases().back();
  Numbers source(7);
  const Operands<float, float> all(device(), source, c);
  const Results together = run(exec(), Likelihood::bernoulli, c, all);
  const int64_t batch = c.geometry.batch, parts = parts_of<float>(exec(), c);
  const auto sample_of = [&](const std::vector<float>& from, int64_t sample) {
    const auto size = static_cast<int64_t>(from.size()) / batch;
    return std::vector<float>(from.begin() + sample * size, from.begin() + (sample + 1) * size);
  };
  for (int64_t sample = 0; sample < batch; ++sample) {
    ConvCase one = c;
    one.geometry.batch = 1;
    Numbers again(7);
    Operands<float, float> o(device(), again, one);
    o.xd.upload(sample_of(all.x, sample));
    o.weightd.upload(all.weight);
    o.biasd.upload(all.bias);
    o.targetd.upload(sample_of(all.targets, sample));
    o.weightsd.upload({all.weights[sample]});
    const Results alone = run(exec(), Likelihood::bernoulli, one, o);
    EXPECT_EQ(alone.doutput, sample_of(together.doutput, sample));
    ASSERT_EQ(static_cast<int64_t>(alone.nll.size()), parts);
    for (int64_t part = 0; part < parts; ++part) {
      EXPECT_EQ(alone.nll[part], together.nll[part * batch + sample]) << part;
    }
  }
}

TEST_P(ConvLikelihoodTest, BitsDoNotDependOnTheOrderOfThreadsAndBlocks) {
  const ConvCase c = cases().back();
  Numbers source(8);
  const Operands<float, float> o(device(), source, c);
  for_each_order(device(), [&] {
    const Results got = run(exec(), Likelihood::gaussian, c, o);
    return std::vector{got.doutput, got.nll};
  });
}

TEST_P(ConvLikelihoodTest, AnEmptyBatchIsNothing) {
  const ConvCase c = transposed_case(0, {4, 4, 8}, 3, ConvWindow::square(4, 2, 1));
  EXPECT_GE(parts_of<float>(exec(), c), 1);
  ConvLikelihood<float, float> args{};
  args.geometry = c.geometry;
  conv_transpose2d_likelihood(exec(), args);
  expect_no_launch();
}

TEST_P(ConvLikelihoodTest, NamesWhatIsMissing) {
  const ConvCase c = conv_case(1, {4, 4, 1}, 1, ConvWindow::square(3));
  Numbers source(9);
  const Operands<float, float> o(device(), source, c);
  DeviceBuffer<float> doutput(device(), o.targets.size()), nll(device(), 64);
  const ConvLikelihood<float, float> whole{.geometry = c.geometry,
                                           .x = o.xd.data(),
                                           .weight = o.weightd.data(),
                                           .target = o.targetd.data(),
                                           .doutput = doutput.data(),
                                           .nll = nll.data(),
                                           .loss_weight = {o.weightsd.data()}};
  const auto expect_named = [&](const char* name, auto&& remove) {
    ConvLikelihood<float, float> args = whole;
    remove(args);
    try {
      conv2d_likelihood(exec(), args);
      ADD_FAILURE() << "no error without " << name;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  };
  expect_named("x is null", [](auto& a) { a.x = nullptr; });
  expect_named("weight is null", [](auto& a) { a.weight = nullptr; });
  expect_named("doutput is null", [](auto& a) { a.doutput = nullptr; });
  expect_named("target is null", [](auto& a) { a.target = nullptr; });
  expect_named("nll is null", [](auto& a) { a.nll = nullptr; });
  expect_named("weight of the loss is null", [](auto& a) { a.loss_weight = {}; });
  expect_named("impossible geometry", [](auto& a) { a.geometry.features.height = 9; });
  expect_no_launch();
}

INSTANTIATE_TEST_SUITE_P(Devices, ConvLikelihoodTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
