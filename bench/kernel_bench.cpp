// The memory-bound kernels against our own copy kernel, at the same bytes and in the same state of the
// cache.
//
//   kernel_bench [--device cuda] [--cache cold|warm] [--most-mb 512] [--json FILE]
//
// Bytes are those that the headers state: every operand once. cold: calls go round buffers that are
// several times the L2 together, as in a step of a large model. warm: one set of buffers again and
// again, as in a step of a small one; beyond the cache's size there is no difference.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include "bench/device_timing.h"
#include "bench/kernel_cases.h"
#include "kernels/error.h"

namespace elbo::bench {
namespace {

struct Options {
  std::string device = "cpu", cache = "warm", json;
  double most_mb = 512.0, rotate_mb = 256.0;  // 256 MB are four times an H200's L2
  int samples = 21;
};

std::vector<double> sizes_mb(double most) {
  std::vector<double> sizes;
  for (const double mb : {1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0}) {
    if (mb <= most) sizes.push_back(mb);
  }
  if (sizes.empty()) sizes.push_back(most);
  return sizes;
}

// Enough calls for some milliseconds on a device that moves `bytes_per_us`, and every set of buffers once.
int repeats_for(const Context& context, double bytes, size_t sets) {
  const double bytes_per_us = context.exec().on_cuda() ? 3e6 : 1e4;
  constexpr double kSampleUs = 2000.0;
  const double wanted = kSampleUs * bytes_per_us / bytes;
  return std::max(static_cast<int>(std::clamp(wanted, 4.0, 200.0)), static_cast<int>(sets));
}

double gb_per_s(Context& context, const KernelCase& kernel, double bytes, const Options& options) {
  const int64_t rows = std::max<int64_t>(1, static_cast<int64_t>(bytes / kernel.row_bytes));
  const double moved = kernel.row_bytes * static_cast<double>(rows);
  const size_t sets =
      options.cache == "cold"
          ? std::max<size_t>(2, static_cast<size_t>(std::ceil(1e6 * options.rotate_mb / moved)))
          : 1;
  std::vector<std::unique_ptr<KernelWork>> works;
  for (size_t i = 0; i < sets; ++i) works.push_back(kernel.make(context, rows));
  const auto launch = [&](int i) { works[static_cast<size_t>(i) % sets]->launch(); };
  const double us =
      repeated_us(context, launch, repeats_for(context, moved, sets), options.samples);
  return 1e-3 * moved / us;
}

void run(const Options& options) {
  const DeviceChoice choice = choose_device(options.device);
  const std::string device = device_description(choice);
  Context context(choice);
  std::printf("%s, %s\n%-22s %9s %10s %8s\n", device.c_str(), options.cache.c_str(), "op", "MB",
              "GB/s", "of copy");
  nlohmann::json rows = nlohmann::json::array();
  for (const double mb : sizes_mb(options.most_mb)) {
    double copy = 0.0;
    for (const KernelCase& kernel : kernel_cases()) {
      const double rate = gb_per_s(context, kernel, 1e6 * mb, options);
      if (kernel.name == "copy") copy = rate;
      std::printf("%-22s %9.3f %10.1f %8.3f\n", kernel.name.c_str(), mb, rate, rate / copy);
      std::fflush(stdout);
      rows.push_back({{"op", kernel.name},
                      {"mb", mb},
                      {"cache", options.cache},
                      {"us", 1e3 * mb / rate},
                      {"gb_per_s", rate},
                      {"share_of_copy", rate / copy}});
      save_rows(options.json, device, rows);
    }
  }
}

}  // namespace
}  // namespace elbo::bench

int main(int argc, char** argv) {
  elbo::bench::Options options;
  CLI::App app("Bandwidth of the memory-bound kernels.", "kernel_bench");
  app.add_option("--device", options.device, "cpu or cuda");
  app.add_option("--cache", options.cache)->check(CLI::IsMember({"cold", "warm"}));
  app.add_option("--most-mb", options.most_mb, "largest size")->check(CLI::PositiveNumber);
  app.add_option("--rotate-mb", options.rotate_mb, "cold: all sets of buffers together");
  app.add_option("--samples", options.samples)->check(CLI::PositiveNumber);
  app.add_option("--json", options.json, "also write the figures there");
  CLI11_PARSE(app, argc, argv);
  try {
    elbo::bench::run(options);
  } catch (const elbo::Error& error) {
    std::fprintf(stderr, "kernel_bench: %s\n", error.what());
    return error.exit_status();
  }
}
