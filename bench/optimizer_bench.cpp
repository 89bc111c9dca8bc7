// What a training step does beside its products and losses: update, gradient norm, next batch.
//
//   build/cpu/bench/optimizer_bench            OMP_NUM_THREADS=1 for figures of one core
//
// One line per case: median time, bytes moved as the headers state them, and the rate.
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "bench/timing.h"
#include "kernels/gather.h"
#include "kernels/grad_norm.h"
#include "kernels/optimizer.h"
#include "kernels/sprites.h"

namespace elbo {
namespace {

constexpr int64_t kParams = 652'824;  // of 784-400-20
constexpr int64_t kBatch = 128, kDim = 784, kSamples = 60'000;

void report(const std::string& name, double bytes, double us) {
  std::printf("%-28s %8.1f us %8.2f MB %8.1f GB/s\n", name.c_str(), us, bytes * 1e-6,
              bytes * 1e-3 / us);
}

struct Spans {
  std::vector<float> param = std::vector<float>(kParams, 1.0f);
  std::vector<float> grad = std::vector<float>(kParams, 0.1f);
  std::vector<float> moment1 = std::vector<float>(kParams);
  std::vector<float> moment2 = std::vector<float>(kParams);
};

void time_optimizers(const Exec& exec, StepState& state) {
  struct Case {
    const char* name;
    OptimizerKind kind;
    float momentum;
    double spans_moved;
  };
  for (const Case& c :
       {Case{"adam", OptimizerKind::adam, 0.0f, 7}, Case{"adamw", OptimizerKind::adamw, 0.0f, 7},
        Case{"sgd", OptimizerKind::sgd, 0.0f, 3}, Case{"sgd momentum", OptimizerKind::sgd, 0.9f, 5},
        Case{"adagrad", OptimizerKind::adagrad, 0.0f, 5}}) {
    Spans spans;
    OptimizerHyper hyper;
    hyper.kind = c.kind;
    hyper.momentum = c.momentum;
    const OptimizerStep args{hyper,
                             spans.param.data(),
                             spans.grad.data(),
                             spans.moment1.data(),
                             spans.moment2.data(),
                             kParams,
                             &state};
    report(c.name, c.spans_moved * 4 * kParams,
           bench::median_us([&] { optimizer_step(exec, args); }));
  }
  const Spans spans;
  report("grad_norm", 4.0 * kParams,
         bench::median_us([&] { grad_norm(exec, spans.grad.data(), kParams, 1.0f, &state); }));
}

void time_batches(const Exec& exec, StepState& state) {
  const std::vector<uint8_t> data(kSamples * kDim, 100);
  std::vector<float> x(kBatch * kDim);
  const auto advance = [&state](int64_t batch) {
    state.position = (state.position + static_cast<uint64_t>(batch)) % kSamples;
  };
  for (const auto& [name, kind] : {std::pair{"gather 128x784 grey", Binarise::none},
                                   std::pair{"gather 128x784 threshold", Binarise::threshold},
                                   std::pair{"gather 128x784 dynamic", Binarise::dynamic}}) {
    Gather args;
    args.data = data.data();
    args.dim = kDim;
    args.batch = kBatch;
    args.order = {1, &state, kSamples, true, 0};
    args.binarise = kind;
    args.x = x.data();
    report(name, 5.0 * kBatch * kDim,
           bench::median_us([&] { gather(exec, args), advance(kBatch); }));
  }
  for (const int resolution : {32, 64}) {
    const int64_t batch = 64, pixels = int64_t{resolution} * resolution;
    x.resize(static_cast<size_t>(batch * pixels));
    SpriteGather args;
    args.resolution = resolution;
    args.batch = batch;
    args.order = {1, &state, kSamples, true, 0};
    args.x = x.data();
    report("sprites 64x" + std::to_string(resolution) + "x" + std::to_string(resolution),
           4.0 * static_cast<double>(batch * pixels),
           bench::median_us([&] { gather_sprites(exec, args), advance(batch); }));
  }
}

}  // namespace
}  // namespace elbo

int main() {
  std::vector<std::byte> scratch(size_t{1} << 20);
  elbo::Exec exec;
  exec.scratch.data = scratch.data();
  exec.scratch.bytes = scratch.size();
  elbo::StepState state;
  state.learning_rate = 1e-3f;
  elbo::time_optimizers(exec, state);
  elbo::time_batches(exec, state);
  return 0;
}
