// doctor's self-test: one matrix product, compared with plain double loops and timed.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "apps/doctor_facts.h"
#include "engine/context.h"
#include "kernels/linear.h"

#ifdef ELBO_HAS_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

namespace elbo {
namespace {

// The largest product of the mlp-mnist preset.
constexpr int64_t kBatch = 128, kIn = 784, kOut = 400;

struct Product {
  std::vector<float> x, weight, y;

  Product() : x(kBatch * kIn), weight(kOut * kIn), y(kBatch * kOut) {
    // Multiples of 1/8 in [-1, 1): exact in fp32, so is every product, and sums nearly so.
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7 % 16) / 8.0f - 1.0f;
    for (size_t i = 0; i < weight.size(); ++i)
      weight[i] = static_cast<float>(i * 5 % 16) / 8.0f - 1.0f;
  }

  void run(const Exec& exec) {
    LinearForward args{};
    args.x = x.data();
    args.weight = weight.data();
    args.y = y.data();
    args.batch = kBatch;
    args.in = kIn;
    args.out = kOut;
    linear_forward(exec, args);
  }

  double largest_error() const {
    double worst = 0;
    for (int64_t b = 0; b < kBatch; ++b) {
      for (int64_t o = 0; o < kOut; ++o) {
        double sum = 0;
        for (int64_t i = 0; i < kIn; ++i)
          sum += static_cast<double>(x[static_cast<size_t>(b * kIn + i)]) *
                 static_cast<double>(weight[static_cast<size_t>(o * kIn + i)]);
        worst = std::max(worst,
                         std::abs(sum - static_cast<double>(y[static_cast<size_t>(b * kOut + o)])));
      }
    }
    return worst;
  }
};

double seconds_of_fastest(Product& product, const Exec& exec) {
  constexpr int kRepeats = 15;  // the fastest of so many is little disturbed by other programs
  using Clock = std::chrono::steady_clock;
  double fastest = 1e9;
  for (int i = 0; i < kRepeats; ++i) {
    const auto begin = Clock::now();
    product.run(exec);
    fastest = std::min(fastest, std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return fastest;
}

}  // namespace

std::vector<Fact> product_facts() {
  std::vector<Fact> facts;
#ifdef ELBO_HAS_ONEDNN
  const dnnl_version_t* version = dnnl_version();
  facts.push_back(
      {"onednn", fmt::format("{}.{}.{}", version->major, version->minor, version->patch)});
#else
  facts.push_back({"onednn", "not built in", Health::note,
                   "install libdnnl-dev and build again: training gets several times faster"});
#endif
  const Context context;
  Product product;
  const double seconds = seconds_of_fastest(product, context.exec());
  const double error = product.largest_error();
  const double gflops = 2.0 * kBatch * kIn * kOut / seconds / 1e9;
  constexpr double kTolerance = 1e-3;  // sums of 784 exact products of size up to 1, in fp32
  Fact fact{"matrix_product",
            fmt::format("{:.0f} GFLOP/s at {} x {} x {} on {}, largest error {:.1e}", gflops,
                        kBatch, kIn, kOut, device_description(DeviceChoice{}), error)};
  if (!(error <= kTolerance)) {
    fact.health = Health::trouble;
    fact.hint = "the CPU's products are wrong; try another oneDNN, or build with ELBO_ONEDNN=OFF";
  }
  facts.push_back(std::move(fact));
  return facts;
}

}  // namespace elbo
