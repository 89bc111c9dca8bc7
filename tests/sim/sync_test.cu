// Kernels that are wrong about barriers and warps, and the reports they must cause.
#include <set>
#include <vector>

#include "tests/sim/sim_fixture.h"

namespace elbo {
namespace {

class SyncTest : public SimTest {};

__global__ void barrier_in_half_the_block_kernel(int* out) {
  if (threadIdx.x < 32) __syncthreads();
  out[threadIdx.x] = 1;
}

TEST_F(SyncTest, ReportsABarrierThatHalfTheBlockSkips) {
  DeviceArray<int> out(64);
  const std::string reports = reports_of(
      [&] { gpu::launch(barrier_in_half_the_block_kernel, 1, 64, 0, nullptr, out.data()); });
  EXPECT_REPORT(reports, "divergent barrier: block (0,0,0) thread ");
  EXPECT_REPORT(reports, "sim/sync_test.cu:");
  EXPECT_REPORT(reports, "barrier_in_half_the_block_kernel");
}

__global__ void waits_first_kernel(int* out) {
  gpu::wait_for_previous();
  out[threadIdx.x] = 1;
}
__global__ void waits_late_kernel(int* out) {
  out[threadIdx.x] = 1;
  gpu::wait_for_previous();
}
__global__ void half_of_it_waits_kernel(int* out) {
  if (threadIdx.x < 32) gpu::wait_for_previous();
  out[threadIdx.x] = 1;
}

TEST_F(SyncTest, ReportsAnOverlappingKernelThatDoesNotWait) {
  DeviceArray<int> out(64);
  gpu::LaunchOrder order(nullptr);
  const auto launch = [&](auto kernel) {
    return reports_of([&] { gpu::launch(kernel, 1, 64, 0, order, out.data()); });
  };
  EXPECT_EQ(launch(half_of_it_waits_kernel), "") << "launched plainly it need not";
  order.overlaps = true;
  EXPECT_EQ(launch(waits_first_kernel), "");
  EXPECT_REPORT(launch(half_of_it_waits_kernel), "no wait: block (0,0,0) thread ");
  if (cudasim::race_checker_enabled()) {
    EXPECT_REPORT(launch(waits_late_kernel), "early access: ");
  }
}

__global__ void two_barriers_kernel() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST_F(SyncTest, ReportsThreadsThatWaitAtDifferentBarriers) {
  for (const char* order : {"forward", "reverse", "random:7"}) {
    use_order(order);
    EXPECT_REPORT(reports_of([] { gpu::launch(two_barriers_kernel, 1, 64, 0, nullptr); }),
                  "others wait at");
  }
}

__global__ void early_exit_kernel(int n) {
  if (static_cast<int>(threadIdx.x) >= n) return;
  __syncthreads();
}

TEST_F(SyncTest, ReportsThreadsThatExitBeforeABarrier) {
  EXPECT_REPORT(reports_of([] { gpu::launch(early_exit_kernel, 1, 64, 0, nullptr, 40); }),
                "divergent barrier");
  EXPECT_EQ(reports_of([] { gpu::launch(early_exit_kernel, 1, 64, 0, nullptr, 64); }), "");
}

__global__ void barrier_against_shuffle_kernel(float* out) {
  float v = 1;
  if (threadIdx.x == 0) {
    __syncthreads();
  } else {
    v = __shfl_xor_sync(0xffffffffu, v, 1);
  }
  out[threadIdx.x] = v;
}

TEST_F(SyncTest, ReportsADeadlockWithTheLinesWhereThreadsWait) {
  DeviceArray<float> out(32);
  const std::string reports = reports_of(
      [&] { gpu::launch(barrier_against_shuffle_kernel, 1, 32, 0, nullptr, out.data()); });
  EXPECT_REPORT(reports, "deadlock: ");
  EXPECT_REPORT(reports, "1 at barrier sim/sync_test.cu:");
  EXPECT_REPORT(reports, "31 at warp operation sim/sync_test.cu:");
}

__global__ void shuffle_kernel(unsigned mask, int source, int* out) {
  const int lane = threadIdx.x;
  if (lane < 16) out[lane] = __shfl_sync(mask, lane, source);
}

TEST_F(SyncTest, ReportsAMaskThatNamesLanesWhichDoNotCome) {
  DeviceArray<int> out(32);
  const auto run = [&](unsigned mask, int source) {
    return reports_of(
        [&] { gpu::launch(shuffle_kernel, 1, 32, 0, nullptr, mask, source, out.data()); });
  };
  EXPECT_EQ(run(0x0000ffffu, 3), "");
  EXPECT_EQ(out.get(15), 3);
  // Whether the other half has exited already or not depends on the order; both are errors.
  EXPECT_REPORT(run(0xffffffffu, 3), "warp");
  use_order("reverse");
  EXPECT_REPORT(run(0xffffffffu, 3), "which has exited");
}

TEST_F(SyncTest, ReportsAReadFromALaneOutsideTheMask) {
  DeviceArray<int> out(32);
  EXPECT_REPORT(reports_of([&] {
                  gpu::launch(shuffle_kernel, 1, 32, 0, nullptr, 0x0000ffffu, 20, out.data());
                }),
                "reads lane 20, which is not in the mask");
}

TEST_F(SyncTest, ReportsALaneOutsideOfItsOwnMask) {
  DeviceArray<int> out(32);
  EXPECT_REPORT(reports_of([&] {
                  gpu::launch(shuffle_kernel, 1, 32, 0, nullptr, 0x00ff00ffu, 0, out.data());
                }),
                "is not in its own mask");
}

TEST_F(SyncTest, ReportsAMaskWiderThanThePartialWarp) {
  DeviceArray<int> out(32);
  EXPECT_REPORT(reports_of([&] {
                  gpu::launch(shuffle_kernel, 1, 16, 0, nullptr, 0xffffffffu, 0, out.data());
                }),
                "which does not exist");
}

__global__ void mixed_operations_kernel(int* out) {
  if (threadIdx.x == 0) {
    out[0] = __any_sync(0xffffffffu, 1);
  } else {
    out[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0);
  }
}

TEST_F(SyncTest, ReportsLanesThatRunDifferentWarpOperations) {
  DeviceArray<int> out(32);
  EXPECT_REPORT(
      reports_of([&] { gpu::launch(mixed_operations_kernel, 1, 32, 0, nullptr, out.data()); }),
      "others in the mask run another operation");
}

__global__ void trap_kernel() {
  if (threadIdx.x == 5) __trap();
}

TEST_F(SyncTest, ReportsATrap) {
  EXPECT_REPORT(reports_of([] { gpu::launch(trap_kernel, 1, 32, 0, nullptr); }),
                "trap: block (0,0,0) thread 5");
}

TEST_F(SyncTest, FailedKernelsMakeEveryLaterCallFail) {
  EXPECT_THROW(gpu::launch(trap_kernel, 1, 32, 0, nullptr), Error);
  void* pointer = nullptr;
  EXPECT_EQ(cudaMalloc(&pointer, 4), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
  cudasim::clear_reports();
  EXPECT_EQ(cudaMalloc(&pointer, 4), cudaSuccess);
  EXPECT_EQ(cudaFree(pointer), cudaSuccess);
}

// ---- right kernels ------------------------------------------------------------------------------

__global__ void votes_kernel(unsigned* out) {
  const unsigned lane = threadIdx.x % 32;
  const unsigned ballot = __ballot_sync(0xffffffffu, lane % 3 == 0);
  const int any = __any_sync(0xffffffffu, lane == 31), all = __all_sync(0xffffffffu, lane < 31);
  const int count = __syncthreads_count(lane == 0), every = __syncthreads_and(lane < 32);
  const int some = __syncthreads_or(threadIdx.x == 40);
  if (threadIdx.x == 63) {
    out[0] = ballot;
    out[1] = any * 100 + all * 10;
    out[2] = count * 100 + every * 10 + some;
  }
}

TEST_F(SyncTest, VotesAndCountingBarriersAgreeWithTheirDefinitions) {
  DeviceArray<unsigned> out(3);
  for (const char* order : {"forward", "reverse", "random:3"}) {
    use_order(order);
    gpu::launch(votes_kernel, 1, 64, 0, nullptr, out.data());
    EXPECT_EQ(out.get(0), 0x49249249u);
    EXPECT_EQ(out.get(1), 100u);
    EXPECT_EQ(out.get(2), 211u);
  }
}

__global__ void shuffles_kernel(int* out) {
  const int lane = threadIdx.x;
  out[lane] = __shfl_up_sync(0xffffffffu, lane, 3, 8);
  out[32 + lane] = __shfl_down_sync(0xffffffffu, lane, 3, 8);
  out[64 + lane] = __shfl_xor_sync(0xffffffffu, lane, 12, 8);
  out[96 + lane] = __shfl_sync(0xffffffffu, lane, 10, 8);
}

TEST_F(SyncTest, ShufflesStayInsideTheirSegment) {
  DeviceArray<int> out(128);
  gpu::launch(shuffles_kernel, 1, 32, 0, nullptr, out.data());
  for (int lane = 0; lane < 32; ++lane) {
    const int first = lane / 8 * 8, last = first + 7;
    EXPECT_EQ(out.get(lane), lane - 3 < first ? lane : lane - 3);
    EXPECT_EQ(out.get(32 + lane), lane + 3 > last ? lane : lane + 3);
    EXPECT_EQ(out.get(64 + lane), (lane ^ 12) > last ? lane : lane ^ 12);
    EXPECT_EQ(out.get(96 + lane), first + 2);
  }
}

__global__ void block_sum_kernel(const float* x, float* out) {
  __shared__ float scratch[gpu::kBlockSumScratch];
  const float sum = gpu::block_sum(x[threadIdx.x], scratch);
  const float sum_of_squares = gpu::block_sum(x[threadIdx.x] * x[threadIdx.x], scratch);
  if (threadIdx.x == blockDim.x - 1) out[0] = sum, out[1] = sum_of_squares;
}

TEST_F(SyncTest, BlockSumMayBeCalledTwiceOnTheSameScratch) {
  for (const unsigned threads : {32u, 64u, 96u, 256u, 1024u}) {
    DeviceArray<float> x(threads), out(2);
    std::vector<float> values(threads);
    for (unsigned i = 0; i < threads; ++i) values[i] = static_cast<float>(i % 7);
    cudaMemcpy(x.data(), values.data(), threads * sizeof(float), cudaMemcpyHostToDevice);
    float sum = 0, squares = 0;
    for (const float v : values) sum += v, squares += v * v;
    for (const char* order : {"forward", "reverse", "random:1", "random:2"}) {
      use_order(order);
      gpu::launch(block_sum_kernel, 1, threads, 0, nullptr, x.data(), out.data());
      EXPECT_EQ(out.get(0), sum);
      EXPECT_EQ(out.get(1), squares);
    }
  }
}

__global__ void float_atomic_kernel(const float* x, float* out) {
  atomicAdd(out, x[blockIdx.x * blockDim.x + threadIdx.x]);
}

// The control of the bit-identity check: a sum whose order is left to chance must be seen to vary.
TEST_F(SyncTest, FloatAtomicsGiveOtherBitsInOtherOrders) {
  DeviceArray<float> x(1024);
  std::vector<float> values(1024);
  for (int i = 0; i < 1024; ++i) values[i] = 1.0f / static_cast<float>(1 + i);
  cudaMemcpy(x.data(), values.data(), 4096, cudaMemcpyHostToDevice);
  std::set<float> results;
  for (const char* order : {"forward", "reverse", "random:1", "random:2", "random:3"}) {
    use_order(order);
    DeviceArray<float> out(1);
    gpu::launch(float_atomic_kernel, 8, 128, 0, nullptr, x.data(), out.data());
    results.insert(out.get(0));
  }
  EXPECT_GT(results.size(), 1u);
}

__global__ void index_kernel(unsigned* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] = 1 + 100 * block + thread;
}

TEST_F(SyncTest, EveryThreadOfAThreeDimensionalGridRunsOnce) {
  DeviceArray<unsigned> out(24 * 30);
  for (const char* order : {"forward", "reverse", "random:5"}) {
    use_order(order);
    gpu::launch(index_kernel, dim3(2, 3, 4), dim3(5, 3, 2), 0, nullptr, out.data());
    for (unsigned i = 0; i < 24 * 30; ++i) ASSERT_EQ(out.get(i), 1 + 100 * (i / 30) + i % 30);
  }
}

}  // namespace
}  // namespace elbo
