#include "kernels/label_bound.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/pick_labels.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

// A quarter of the way through fp32: sums of some ten terms of up to 30.
template <class T>
constexpr double kTolerance = std::is_same_v<T, double> ? 1e-12 : 3e-6;

struct Sizes {
  int64_t batch, classes, parts;
};
const std::vector<Sizes> kCases = {{1, 1, 1},  {4, 2, 1},  {5, 10, 1},
                                   {9, 10, 3}, {70, 3, 2}, {3, 40, 1}};

// What goes in, and what must come out, by definition and in double.
struct Example {
  Sizes size;
  std::vector<double> logits, nll, kl, row_weight;
  std::vector<int32_t> label;  // empty: all are hidden
  double recon = 0.7, kl_weight = 1.9, label_weight = 2.5;

  Example(const Sizes& sizes, bool labels) : size(sizes) {
    const int64_t cells = size.batch * size.classes;
    logits = random_values<double>(cells, 1, -3.0, 3.0);
    nll = random_values<double>(cells * size.parts, 2, 0.0, 30.0);
    kl = random_values<double>(cells, 3, 0.0, 10.0);
    row_weight = random_values<double>(size.batch, 4, 0.1, 1.0);
    for (int64_t b = 0; labels && b < size.batch; ++b)
      label.push_back(static_cast<int32_t>((3 * b + 1) % (size.classes + 1) - 1));
  }
  int32_t label_of(int64_t b) const { return label.empty() ? -1 : label[static_cast<size_t>(b)]; }
  double nll_at(int64_t b, int64_t c) const {
    double sum = 0;
    for (int64_t part = 0; part < size.parts; ++part)
      sum += nll[static_cast<size_t>((part * size.batch + b) * size.classes + c)];
    return sum;
  }
  double kl_at(int64_t b, int64_t c) const { return kl[static_cast<size_t>(b * size.classes + c)]; }
  double q(int64_t b, int64_t c) const {
    double sum = 0;
    for (int64_t k = 0; k < size.classes; ++k)
      sum += std::exp(logits[static_cast<size_t>(b * size.classes + k)] -
                      logits[static_cast<size_t>(b * size.classes + c)]);
    return 1 / sum;
  }
  double r(int64_t b, int64_t c) const {
    return label_of(b) < 0 ? q(b, c) : label_of(b) == c ? 1 : 0;
  }
  double loss(int64_t b) const {
    const auto cost = [&](int64_t c) {
      return recon * nll_at(b, c) + kl_weight * kl_at(b, c) +
             std::log(static_cast<double>(size.classes));
    };
    const int32_t known = label_of(b);
    if (known >= 0) return cost(known) - label_weight * std::log(q(b, known));
    double sum = 0;
    for (int64_t c = 0; c < size.classes; ++c) sum += q(b, c) * (cost(c) + std::log(q(b, c)));
    return sum;
  }
  // d loss / d logit by fourth-order differences of its definition.
  double slope(int64_t b, int64_t c) const {
    const auto at = [&](double offset) {
      Example moved = *this;
      moved.logits[static_cast<size_t>(b * size.classes + c)] += offset;
      return moved.loss(b);
    };
    constexpr double kStep = 1e-3;
    return (8 * (at(kStep) - at(-kStep)) - (at(2 * kStep) - at(-2 * kStep))) / (12 * kStep);
  }
};

class LabelBoundTest : public DeviceTest {
 protected:
  template <class T>
  struct OnDevice {
    DeviceBuffer<T> logits, log_sum, nll, kl, row_weight, scalars;
    DeviceBuffer<int32_t> label;
    LabelGuess<T> guess;

    static std::vector<T> as(const std::vector<double>& values) {
      return {values.begin(), values.end()};
    }
    static std::vector<T> log_sums(const Example& e) {
      std::vector<T> sums;
      for (int64_t b = 0; b < e.size.batch; ++b)
        sums.push_back(static_cast<T>(e.logits[static_cast<size_t>(b * e.size.classes)] -
                                      std::log(e.q(b, 0))));
      return sums;
    }
    OnDevice(Device device, const Example& e)
        : logits(device, as(e.logits)),
          log_sum(device, log_sums(e)),
          nll(device, as(e.nll)),
          kl(device, as(e.kl)),
          row_weight(device, as(e.row_weight)),
          scalars(device, as({e.recon, e.kl_weight})),
          label(device, e.label) {
      guess.batch = e.size.batch;
      guess.classes = e.size.classes;
      guess.logits = logits.data();
      guess.log_sum = log_sum.data();
      guess.label = e.label.empty() ? nullptr : label.data();
      guess.recon = scalars.data();
      guess.kl_weight = scalars.data() + 1;
    }
  };

  template <class T>
  void check(const Example& e) {
    const auto rows = static_cast<size_t>(e.size.batch), cells = e.logits.size();
    OnDevice<T> on(device(), e);
    DeviceBuffer<T> recon_rows(device(), cells), kl_rows(device(), cells);
    DeviceBuffer<int32_t> class_rows(device(), cells);
    label_weights<T>(exec(), {on.guess, recon_rows.data(), kl_rows.data(), class_rows.data()});
    DeviceBuffer<T> loss(device(), rows), mean_nll(device(), rows), mean_kl(device(), rows);
    LabelBound<T> args{
        on.guess,    on.nll.data(),   e.size.parts,  on.kl.data(), static_cast<T>(e.label_weight),
        loss.data(), mean_nll.data(), mean_kl.data()};
    label_bound<T>(exec(), args);
    const std::vector<T> old = random_values<T>(static_cast<int64_t>(cells), 5);
    DeviceBuffer<T> written(device(), old), added(device(), old);
    const BasicLossWeight<T> weight{on.row_weight.data(), 1, T(0.5)};
    label_bound_backward<T>(exec(), args, weight, written.data(), GradMode::write);
    label_bound_backward<T>(exec(), args, weight, added.data(), GradMode::add);
    std::vector<double> recon, kl, losses, nlls, kls, slopes, sums;
    const auto labels = class_rows.download();
    for (int64_t b = 0; b < e.size.batch; ++b) {
      losses.push_back(e.loss(b));
      nlls.push_back(0);
      kls.push_back(0);
      for (int64_t c = 0; c < e.size.classes; ++c) {
        const auto i = static_cast<size_t>(b * e.size.classes + c);
        EXPECT_EQ(labels[i], c);
        recon.push_back(e.recon * e.r(b, c));
        kl.push_back(e.kl_weight * e.r(b, c));
        nlls.back() += e.r(b, c) * e.nll_at(b, c);
        kls.back() += e.r(b, c) * e.kl_at(b, c);
        slopes.push_back(0.5 * e.row_weight[static_cast<size_t>(b)] * e.slope(b, c));
        sums.push_back(slopes.back() + static_cast<double>(old[i]));
      }
    }
    // Differences are good to 1e-11 of losses up to 100.
    constexpr double kOf = kTolerance<T>, kSlope = 30 * kOf + 1e-9;
    expect_close(recon_rows.download(), recon, kOf, kOf, "weights of nll");
    expect_close(kl_rows.download(), kl, kOf, kOf, "weights of kl");
    expect_close(loss.download(), losses, kOf, kOf, "loss");
    expect_close(mean_nll.download(), nlls, kOf, kOf, "mean nll");
    expect_close(mean_kl.download(), kls, kOf, kOf, "mean kl");
    expect_close(written.download(), slopes, kSlope, kSlope, "gradient");
    expect_close(added.download(), sums, kSlope, kSlope, "gradient added");
  }
};

TEST_P(LabelBoundTest, IsTheSumOverLabelsThatItSays) {
  for (const Sizes& size : kCases) {
    for (const bool labels : {false, true}) {
      SCOPED_TRACE(testing::Message() << size.batch << " x " << size.classes << ", " << labels);
      const Example example(size, labels);
      check<float>(example);
      if (device() == Device::cpu) check<double>(example);
    }
  }
}

// One weight for all rows.
TEST_P(LabelBoundTest, AScalarWeighsAllImages) {
  Example e({6, 3, 1}, true);
  OnDevice<float> on(device(), e);
  DeviceBuffer<float> loss(device(), 6), nll(device(), 6), kl(device(), 6), dlogits(device(), 18);
  const LabelBound<float> args{
      on.guess,    on.nll.data(), 1,        on.kl.data(), static_cast<float>(e.label_weight),
      loss.data(), nll.data(),    kl.data()};
  label_bound<float>(exec(), args);
  label_bound_backward<float>(exec(), args, {on.scalars.data(), 0, 3.0f}, dlogits.data(),
                              GradMode::write);
  const auto found = dlogits.download();
  for (int64_t i = 0; i < 18; ++i)
    EXPECT_NEAR(found[static_cast<size_t>(i)], 3 * e.recon * e.slope(i / 3, i % 3), 1e-3);
}

TEST_P(LabelBoundTest, ALabelThatThereIsNotIsNotANumber) {
  Example e({2, 3, 1}, true);
  e.label = {3, 2};
  OnDevice<float> on(device(), e);
  DeviceBuffer<float> loss(device(), 2), nll(device(), 2), kl(device(), 2), dlogits(device(), 6);
  const LabelBound<float> args{
      on.guess,    on.nll.data(), 1,        on.kl.data(), static_cast<float>(e.label_weight),
      loss.data(), nll.data(),    kl.data()};
  label_bound<float>(exec(), args);
  label_bound_backward<float>(exec(), args, {on.scalars.data(), 0, 1.0f}, dlogits.data(),
                              GradMode::write);
  EXPECT_TRUE(std::isnan(loss.download()[0]));
  EXPECT_NEAR(loss.download()[1], e.loss(1), 1e-4);
  for (int i = 0; i < 6; ++i)
    EXPECT_EQ(std::isnan(dlogits.download()[static_cast<size_t>(i)]), i < 3);
}

TEST_P(LabelBoundTest, NothingToDoAndNothingToDoItWith) {
  expect_no_launch();
  LabelBound<float> none;
  none.guess.classes = 3;
  label_bound<float>(exec(), none);
  label_bound_backward<float>(exec(), none, {}, nullptr, GradMode::write);
  LabelWeights<float> weights;
  weights.guess.classes = 3;
  label_weights<float>(exec(), weights);
  pick_labels(exec(), 0, nullptr, nullptr, nullptr);
  weights.guess.batch = 1;
  EXPECT_EQ(error_of([&] { label_weights<float>(exec(), weights); }),
            "1: label_bound: logits, log_sum or a weight is null");
  weights.guess.classes = 0;
  EXPECT_EQ(error_of([&] { label_weights<float>(exec(), weights); }),
            "1: label_bound: 1 images and 0 classes");
  EXPECT_EQ(error_of([&] { pick_labels(exec(), 1, nullptr, nullptr, nullptr); }),
            "1: pick_labels: index, table or y is null");
}

TEST_P(LabelBoundTest, LabelsArePickedByIndex) {
  const std::vector<int32_t> table = {7, -1, 3, 250, 0};
  for (const size_t count : {1, 31, 300}) {
    std::vector<int32_t> index, expected;
    for (size_t i = 0; i < count; ++i) {
      index.push_back(static_cast<int32_t>((i * 3 + 1) % table.size()));
      expected.push_back(table[static_cast<size_t>(index.back())]);
    }
    DeviceBuffer<int32_t> from(device(), table), at(device(), index), y(device(), count);
    pick_labels(exec(), static_cast<int64_t>(count), at.data(), from.data(), y.data());
    EXPECT_EQ(y.download(), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, LabelBoundTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
