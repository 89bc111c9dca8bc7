#include "kernels/row_stage.h"

#include <algorithm>
#include <cstring>

#include "kernels/error.h"
#include "kernels/parallel.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/gpu.h"
#endif

namespace elbo {
namespace {

ELBO_HD StepState state_after(const StageRows& args) {
  StepState next = *args.order.state;
  next_batch(next, args.rule);
  return next;
}

ELBO_HD const uint8_t* row_after(const StageRows& args, const StepState& next, int64_t row) {
  const int64_t sample =
      sample_at(args.order, next.epoch, next.position + static_cast<uint64_t>(row));
  return args.data + sample * args.dim;
}

ELBO_HD void write_tag(const StageRows& args, const StepState& next) {
  args.stage.tag[next.step % 2] = {next.epoch, next.position,
                                   static_cast<uint64_t>(args.stage.rows)};
}

#ifdef ELBO_HAS_CUDA

// 256 KiB under way at 16 bytes a thread: more than a bus of 64 GB/s delivers within its latency.
constexpr int64_t kMostBlocks = 64;
constexpr int kThreads = 256;

struct alignas(16) SixteenBytes {
  uint64_t v[2];
};

// One block owns one row (striding over rows). Unit is what a thread moves at a time.
// Traffic: D bytes in and out. Hazard: `from` is overwritten after a barrier only.
template <class Unit>
__global__ void __launch_bounds__(kThreads) stage_rows_kernel(StageRows args) {
  __shared__ const uint8_t* from;
  const StepState next = state_after(args);
  uint8_t* block = args.stage.block[next.step % 2];
  if (blockIdx.x == 0 && threadIdx.x == 0) write_tag(args, next);
  const int64_t units = args.dim / static_cast<int64_t>(sizeof(Unit));
  for (int64_t row = blockIdx.x; row < args.stage.rows; row += gridDim.x) {
    if (threadIdx.x == 0) from = row_after(args, next, row);
    __syncthreads();
    const auto* stored = reinterpret_cast<const Unit*>(from);
    __syncthreads();
    auto* staged = reinterpret_cast<Unit*>(block + row * args.dim);
    for (int64_t i = threadIdx.x; i < units; i += kThreads) staged[i] = stored[i];
  }
}

template <class Unit>
bool can_move(const StageRows& args) {
  const auto is_aligned = [](const void* p) {
    return reinterpret_cast<uintptr_t>(p) % sizeof(Unit) == 0;
  };
  return args.dim % static_cast<int64_t>(sizeof(Unit)) == 0 && is_aligned(args.data) &&
         is_aligned(args.stage.block[0]) && is_aligned(args.stage.block[1]);
}

void stage_rows_cuda(const Exec& exec, const StageRows& args) {
  const auto grid = static_cast<unsigned>(std::min(args.stage.rows, kMostBlocks));
  if (can_move<SixteenBytes>(args)) {
    gpu::launch(stage_rows_kernel<SixteenBytes>, grid, kThreads, 0, exec.stream, args);
  } else if (can_move<uint32_t>(args)) {
    gpu::launch(stage_rows_kernel<uint32_t>, grid, kThreads, 0, exec.stream, args);
  } else {
    gpu::launch(stage_rows_kernel<uint8_t>, grid, kThreads, 0, exec.stream, args);
  }
}

#endif

}  // namespace

void stage_rows([[maybe_unused]] const Exec& exec, const StageRows& args) {
  if (args.stage.rows == 0 || args.dim == 0) return;
  check_step_rule("stage_rows", args.order.state, args.rule);
  ELBO_CHECK(args.data && args.stage.tag && args.stage.block[0] && args.stage.block[1],
             "stage_rows: ", args.data ? "the stage" : "data", " is null");
  ELBO_CHECK(args.order.samples > 0, "stage_rows: the data set has ", args.order.samples,
             " samples; needs at least one");
#ifdef ELBO_HAS_CUDA
  if (exec.on_cuda()) return stage_rows_cuda(exec, args);
#endif
  const StepState next = state_after(args);
  write_tag(args, next);
  cpu::parallel_ranges(
      args.stage.rows,
      [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          std::memcpy(args.stage.block[next.step % 2] + row * args.dim, row_after(args, next, row),
                      static_cast<size_t>(args.dim));
        }
      },
      args.dim);
}

}  // namespace elbo
