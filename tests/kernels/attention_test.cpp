// Attention and its gradients against their definition in double, on every device.
#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

struct Size {
  int64_t batch, positions, channels;
  int64_t count() const { return batch * positions * channels; }
};
const std::vector<Size> kSizes = {{1, 1, 1},  {2, 3, 5},   {1, 2, 17},
                                  {2, 16, 8}, {1, 33, 40}, {1, 70, 3}};

// Scores of up to +-20 keep some rows nearly one-hot. bf16: gradients are rounded once, and so are
// operands, before the test sees them.
template <class T>
constexpr double kTolerance = std::is_same_v<T, double> ? 1e-12 : 2e-5;

struct Wanted {
  std::vector<double> y, dq, dk, dv;
};

template <class T>
Wanted oracle(const Size& s, const std::vector<T>& q, const std::vector<T>& k,
              const std::vector<T>& v, const std::vector<T>& dy) {
  const auto n = static_cast<size_t>(s.count());
  Wanted w{std::vector<double>(n), std::vector<double>(n), std::vector<double>(n),
           std::vector<double>(n)};
  const double scale = 1 / std::sqrt(static_cast<double>(s.channels));
  const auto dot = [&](const std::vector<T>& a, int64_t i, const std::vector<T>& b, int64_t j) {
    double sum = 0;
    for (int64_t c = 0; c < s.channels; ++c) {
      sum += static_cast<double>(to_float(a[i * s.channels + c])) * to_float(b[j * s.channels + c]);
    }
    return sum;
  };
  for (int64_t i = 0; i < s.batch * s.positions; ++i) {
    const int64_t first = i / s.positions * s.positions;
    std::vector<double> p, dp;
    double total = 0, mean = 0;
    for (int64_t j = first; j < first + s.positions; ++j) {
      p.push_back(std::exp(scale * dot(q, i, k, j)));
      dp.push_back(dot(dy, i, v, j));
      total += p.back();
    }
    for (double& value : p) value /= total;
    for (size_t j = 0; j < p.size(); ++j) mean += p[j] * dp[j];
    for (int64_t j = 0; j < s.positions; ++j) {
      const double ds = p[j] * (dp[j] - mean);
      for (int64_t c = 0; c < s.channels; ++c) {
        const int64_t here = i * s.channels + c, there = (first + j) * s.channels + c;
        w.y[here] += p[j] * to_float(v[there]);
        w.dq[here] += scale * ds * to_float(k[there]);
        w.dk[there] += scale * ds * to_float(q[here]);
        w.dv[there] += p[j] * to_float(dy[here]);
      }
    }
  }
  return w;
}

class AttentionTest : public DeviceTest {
 protected:
  template <class T>
  struct Result {
    std::vector<T> y, dq, dk, dv;
  };

  template <class T>
  Result<T> run(const Size& s, const std::vector<T>& q, const std::vector<T>& k,
                const std::vector<T>& v, const std::vector<T>& dy, const std::vector<T>& old,
                GradMode mode) {
    using R = Compute<T>;
    const auto scores = static_cast<size_t>(s.batch * s.positions * s.positions);
    DeviceBuffer<T> dev_q(device(), q), dev_k(device(), k), dev_v(device(), v),
        dev_dy(device(), dy), y(device(), q.size()), dq(device(), old), dk(device(), old),
        dv(device(), old);
    DeviceBuffer<R> p(device(), scores), work(device(), scores);
    attention_forward(exec(), AttentionForward<T>{s.batch, s.positions, s.channels, dev_q.data(),
                                                  dev_k.data(), dev_v.data(), p.data(), y.data()});
    attention_backward(
        exec(), AttentionBackward<T>{s.batch, s.positions, s.channels, dev_q.data(), dev_k.data(),
                                     dev_v.data(), dev_dy.data(), p.data(), work.data(), dq.data(),
                                     dk.data(), dv.data(), mode, mode, mode});
    return {y.download(), dq.download(), dk.download(), dv.download()};
  }

  template <class T>
  void check(const Size& s, double range, GradMode mode) {
    const auto q = random_values<T>(s.count(), 1, -range, range),
               k = random_values<T>(s.count(), 2, -range, range),
               v = random_values<T>(s.count(), 3), dy = random_values<T>(s.count(), 4),
               old = random_values<T>(s.count(), 5);
    const Result<T> got = run(s, q, k, v, dy, old, mode);
    Wanted want = oracle(s, q, k, v, dy);
    for (auto* grad : {&want.dq, &want.dk, &want.dv}) {
      for (size_t i = 0; mode == GradMode::add && i < old.size(); ++i) {
        (*grad)[i] += to_float(old[i]);
      }
    }
    const auto near = [&](const std::vector<T>& a, const std::vector<double>& b, const char* name) {
      double largest = 1;
      for (const double value : b) largest = std::max(largest, std::abs(value));
      expect_close(a, b, kTolerance<Compute<T>> * largest, std::is_same_v<T, bf16> ? 0x1p-8 : 0.0,
                   concat(name, " of [", s.batch, ", ", s.positions, ", ", s.channels, "]"));
    };
    near(got.y, want.y, "y");
    near(got.dq, want.dq, "dq");
    near(got.dk, want.dk, "dk");
    near(got.dv, want.dv, "dv");
  }
};

TEST_P(AttentionTest, MatchesItsDefinition) {
  for (const Size& size : kSizes) {
    check<float>(size, 1.0, GradMode::write);
    check<float>(size, 4.0, GradMode::add);
    check<bf16>(size, 2.0, GradMode::write);
    check<bf16>(size, 2.0, GradMode::add);
    if (device() == Device::cpu) check<double>(size, 2.0, GradMode::add);
  }
}

// The exponential of 1000 is no number, the softmax of such scores is.
TEST_P(AttentionTest, LargeScoresDoNotOverflow) {
  const Size size{1, 2, 1};
  const std::vector<float> q = {1000, -1000}, k = {1, -1}, v = {2, 3}, one = {1, 1};
  const Result<float> got = run(size, q, k, v, one, one, GradMode::write);
  EXPECT_EQ(got.y, (std::vector<float>{2, 3}));
  EXPECT_EQ(got.dv, (std::vector<float>{1, 1}));
  EXPECT_EQ(got.dq, (std::vector<float>{0, 0}));
}

// The largest score stands where only a second look of a warp along its row finds it.
TEST_P(AttentionTest, TheLargestScoreIsFoundAnywhereInARow) {
  constexpr int64_t kPositions = 70;
  for (const int64_t at : {int64_t{40}, int64_t{66}}) {
    std::vector<float> q(kPositions, 1000.0f), k(kPositions, 0.0f), v(kPositions);
    k[static_cast<size_t>(at)] = 1.0f;
    for (int64_t i = 0; i < kPositions; ++i) v[static_cast<size_t>(i)] = static_cast<float>(i);
    const std::vector<float> zeros(kPositions, 0.0f);
    const Result<float> got = run({1, kPositions, 1}, q, k, v, zeros, zeros, GradMode::write);
    EXPECT_EQ(got.y, std::vector<float>(kPositions, static_cast<float>(at)));
  }
}

// More rows than a grid has warps, so that warps take several.
TEST_P(AttentionTest, ManyRows) { check<float>({133, 64, 1}, 1.0, GradMode::write); }

TEST_P(AttentionTest, NaNComesOut) {
  const Size size{1, 40, 2};
  auto q = random_values<float>(80, 1);
  const auto k = random_values<float>(80, 2);
  q[7] = NAN;
  const Result<float> got = run(size, q, k, k, k, k, GradMode::write);
  for (size_t i = 0; i < 80; ++i) EXPECT_EQ(std::isnan(got.y[i]), i / 2 == 3) << i;
}

TEST_P(AttentionTest, RepeatsBitForBit) {
  const Size size{2, 40, 6};
  const auto q = random_values<float>(480, 1), k = random_values<float>(480, 2),
             v = random_values<float>(480, 3);
  for_each_order(device(), [&] {
    const Result<float> r = run(size, q, k, v, q, k, GradMode::add);
    return std::vector{r.y, r.dq, r.dk, r.dv};
  });
}

TEST_P(AttentionTest, SkipsGradientsThatNobodyWants) {
  const Size size{1, 3, 2};
  const auto x = random_values<float>(6, 1);
  const Result<float> all = run(size, x, x, x, x, x, GradMode::write);
  DeviceBuffer<float> dev(device(), x), p(device(), 9), y(device(), 6), dv(device(), 6),
      dk(device(), 6);
  attention_forward(exec(), AttentionForward<float>{1, 3, 2, dev.data(), dev.data(), dev.data(),
                                                    p.data(), y.data()});
  AttentionBackward<float> args{1,          3,          2,        dev.data(), dev.data(),
                                dev.data(), dev.data(), p.data(), p.data()};
  args.dv = dv.data();
  attention_backward(exec(), args);
  EXPECT_EQ(dv.download(), all.dv);
  DeviceBuffer<float> work(device(), 9);
  args.dv = nullptr;
  args.dk = dk.data();
  args.work = work.data();
  attention_backward(exec(), args);
  EXPECT_EQ(dk.download(), all.dk);
}

TEST_P(AttentionTest, NothingToDoLaunchesNothing) {
  expect_no_launch();
  for (const Size& size : {Size{0, 4, 3}, Size{2, 0, 3}}) {
    run<float>(size, {}, {}, {}, {}, {}, GradMode::write);
  }
  EXPECT_EQ(error_of([&] {
              run<float>({1, 2, 0}, {}, {}, {}, {}, {}, GradMode::write);
            }),
            "1: attention: no channels to compare");
  AttentionForward<float> forward{};
  forward.batch = forward.positions = forward.channels = 1;
  EXPECT_EQ(error_of([&] { attention_forward(exec(), forward); }),
            "1: attention_forward: null operand");
  AttentionBackward<float> backward{};
  backward.batch = backward.positions = backward.channels = 1;
  EXPECT_EQ(error_of([&] { attention_backward(exec(), backward); }),
            "1: attention_backward: null operand");
}

INSTANTIATE_TEST_SUITE_P(Devices, AttentionTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
