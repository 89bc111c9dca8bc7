// A whole training step against its bare products, in one run.
//
//   step_bench [workload] [batch] [blocks]     defaults: mlp-mnist 128 25
//
// Blocks of steps and of bare products alternate, so that a machine that slows down slows both; what is
// printed are medians over blocks, and the ratio is the median of the blocks' ratios.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "bench/bare_gemms.h"
#include "bench/timing.h"
#include "bench/workloads.h"
#include "models/trainer.h"

namespace elbo::bench {
namespace {

constexpr int kStepsPerBlock = 40;

void run(const std::string& name, int64_t batch, int blocks) {
  if (name != "burda" && name != "mlp-mnist") {
    throw_error(ErrorCode::usage, "workload ", name,
                " has convolutions; expected mlp-mnist or burda");
  }
  const RunConfig config = workload_config(name, batch);
  Context context;
  const ImageData data = ImageData::from_split(context, drawn_images(name));
  Trainer trainer(context, config, data, nullptr);
  BareGemms gemms(name == "burda" ? burda(batch) : mlp_mnist(batch));
  const auto step = [&] { trainer.train_step(); };
  const auto products = [&] { gemms.run(); };
  time_us(step, kStepsPerBlock);
  time_us(products, kStepsPerBlock);
  std::vector<double> steps, bare, ratios;
  for (int block = 0; block < blocks; ++block) {
    steps.push_back(time_us(step, kStepsPerBlock));
    bare.push_back(time_us(products, kStepsPerBlock));
    ratios.push_back(steps.back() / bare.back());
  }
  const double step_us = quantile(steps, 0.5);
  std::printf(
      "%s batch %lld, %d threads: step %.0f us, bare products %.0f us, ratio %.3f "
      "(10-90 %%: %.3f-%.3f), %.0f images/s, activations %.2f MB\n",
      name.c_str(), static_cast<long long>(batch), cpu::thread_count(), step_us,
      quantile(bare, 0.5), quantile(ratios, 0.5), quantile(ratios, 0.1), quantile(ratios, 0.9),
      1e6 * static_cast<double>(batch) / step_us,
      static_cast<double>(context.memory(Role::activations).high_water) / 1e6);
}

}  // namespace
}  // namespace elbo::bench

int main(int argc, char** argv) {
  try {
    elbo::bench::run(argc > 1 ? argv[1] : "mlp-mnist", argc > 2 ? std::atoll(argv[2]) : 128,
                     argc > 3 ? std::atoi(argv[3]) : 25);
  } catch (const elbo::Error& error) {
    std::fprintf(stderr, "step_bench: %s\n", error.what());
    return error.exit_status();
  }
}
