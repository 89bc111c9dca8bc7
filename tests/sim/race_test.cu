// Kernels with data races, and others that only look like it.
#include <random>

#include "tests/sim/sim_fixture.h"

namespace elbo {
namespace {

class RaceTest : public SimTest {
  void SetUp() override { SKIP_WITHOUT_RACE_CHECKER(); }
};

template <bool Barrier>
__global__ void exchange_kernel(float* out) {
  __shared__ float tile[64];
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (Barrier) __syncthreads();
  out[threadIdx.x] = tile[63 - threadIdx.x];
}

TEST_F(RaceTest, ReportsAMissingBarrierInAnyOrder) {
  DeviceArray<float> out(64);
  for (const char* order : {"forward", "reverse", "random:1"}) {
    use_order(order);
    const std::string reports =
        reports_of([&] { gpu::launch(exchange_kernel<false>, 1, 64, 0, nullptr, out.data()); });
    EXPECT_REPORT(reports, "race: read after write");
    EXPECT_REPORT(reports, "sim/race_test.cu:");
    EXPECT_EQ(
        reports_of([&] { gpu::launch(exchange_kernel<true>, 1, 64, 0, nullptr, out.data()); }), "");
  }
}

// A shuffle makes lanes wait for each other on most hardware, but does not order memory.
template <bool SyncWarp>
__global__ void warp_exchange_kernel(float* out) {
  __shared__ float tile[32];
  const int lane = threadIdx.x;
  tile[lane] = static_cast<float>(lane);
  if (SyncWarp) {
    __syncwarp();
  } else {
    out[32 + lane] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
  }
  out[lane] = tile[31 - lane];
}

TEST_F(RaceTest, OnlySyncwarpOrdersTheMemoryOfAWarp) {
  DeviceArray<float> out(64);
  EXPECT_EQ(
      reports_of([&] { gpu::launch(warp_exchange_kernel<true>, 1, 32, 0, nullptr, out.data()); }),
      "");
  EXPECT_REPORT(
      reports_of([&] { gpu::launch(warp_exchange_kernel<false>, 1, 32, 0, nullptr, out.data()); }),
      "race: ");
}

template <bool Barrier>
__global__ void reuse_kernel(float* out) {
  __shared__ float tile[64];
  for (int round = 0; round < 2; ++round) {
    tile[threadIdx.x] = static_cast<float>(threadIdx.x + round);
    __syncthreads();
    out[threadIdx.x] = tile[63 - threadIdx.x];
    if (Barrier) __syncthreads();
  }
}

TEST_F(RaceTest, ReportsMemoryThatIsReusedTooEarly) {
  DeviceArray<float> out(64);
  EXPECT_REPORT(
      reports_of([&] { gpu::launch(reuse_kernel<false>, 1, 64, 0, nullptr, out.data()); }),
      "race: write after read");
  EXPECT_EQ(reports_of([&] { gpu::launch(reuse_kernel<true>, 1, 64, 0, nullptr, out.data()); }),
            "");
}

__global__ void dynamic_shared_race_kernel(float* out) {
  ELBO_DYN_SHARED(float, tile);
  tile[threadIdx.x] = 1;
  out[threadIdx.x] = tile[threadIdx.x ^ 1];
}

TEST_F(RaceTest, WatchesDynamicSharedMemory) {
  DeviceArray<float> out(64);
  EXPECT_REPORT(reports_of([&] {
                  gpu::launch(dynamic_shared_race_kernel, 1, 64, 64 * sizeof(float), nullptr,
                              out.data());
                }),
                "race: read after write");
}

__global__ void same_element_kernel(float* out) { out[0] = static_cast<float>(threadIdx.x); }
__global__ void neighbours_kernel(uint16_t* out) { out[threadIdx.x] = 1; }

TEST_F(RaceTest, ReportsTwoWritersOfOneElementButNotOfNeighbours) {
  DeviceArray<float> out(1);
  DeviceArray<uint16_t> halves(64);
  EXPECT_REPORT(reports_of([&] { gpu::launch(same_element_kernel, 2, 1, 0, nullptr, out.data()); }),
                "race: write after write");
  EXPECT_EQ(reports_of([&] { gpu::launch(neighbours_kernel, 1, 64, 0, nullptr, halves.data()); }),
            "");
}

__global__ void mixed_atomic_kernel(unsigned* counter, unsigned* out) {
  if (threadIdx.x == 0) {
    atomicAdd(counter, 1u);
  } else {
    out[threadIdx.x] = *counter;
  }
}

TEST_F(RaceTest, ReportsAPlainReadBesideAnAtomic) {
  DeviceArray<unsigned> counter(1), out(32);
  EXPECT_REPORT(reports_of([&] {
                  gpu::launch(mixed_atomic_kernel, 1, 32, 0, nullptr, counter.data(), out.data());
                }),
                "race: atomic and plain access");
}

// ---- the last block sums up ---------------------------------------------------------------------

enum class Fences { both, no_release, no_acquire, by_each_thread, release_before_write };

template <Fences Kind>
__global__ void last_block_kernel(float* partials, unsigned* ticket, float* out) {
  __shared__ bool is_last;
  if (threadIdx.x == 0) {
    if (Kind == Fences::release_before_write) __threadfence();
    partials[blockIdx.x] = static_cast<float>(blockIdx.x);
    if (Kind == Fences::both || Kind == Fences::no_acquire) __threadfence();
  }
  if (Kind == Fences::by_each_thread) {
    __threadfence();
    __syncthreads();
  }
  if (threadIdx.x == 0) is_last = atomicAdd(ticket, 1u) == gridDim.x - 1;
  __syncthreads();
  if (!is_last) return;
  if (Kind != Fences::no_acquire) __threadfence();
  if (threadIdx.x != 0) return;
  float sum = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += partials[i];
  *out = sum;
  *ticket = 0;
}

class LastBlockTest : public RaceTest {
 protected:
  std::string run(void (*kernel)(float*, unsigned*, float*)) {
    DeviceArray<float> partials(5), out(1);
    DeviceArray<unsigned> ticket(1);
    const std::string reports = reports_of([&] {
      gpu::launch(kernel, 5, 64, 0, nullptr, partials.data(), ticket.data(), out.data());
    });
    EXPECT_EQ(out.get(0), 10.0f);
    return reports;
  }
};

TEST_F(LastBlockTest, AcceptsFencesOnBothSides) {
  for (const char* order : {"forward", "reverse", "random:1", "random:2"}) {
    use_order(order);
    EXPECT_EQ(run(last_block_kernel<Fences::both>), "");
    EXPECT_EQ(run(last_block_kernel<Fences::by_each_thread>), "");
  }
}

TEST_F(LastBlockTest, ReportsAMissingFence) {
  for (const char* order : {"forward", "reverse", "random:1", "random:2"}) {
    use_order(order);
    EXPECT_REPORT(run(last_block_kernel<Fences::no_release>), "race: read after write");
    EXPECT_REPORT(run(last_block_kernel<Fences::no_acquire>), "race: read after write");
    EXPECT_REPORT(run(last_block_kernel<Fences::release_before_write>), "race: read after write");
  }
}

template <bool Fences>
__global__ void last_block_overwrites_kernel(float* state, unsigned* ticket, float* out) {
  out[blockIdx.x] = state[0];
  if (Fences) __threadfence();
  if (atomicAdd(ticket, 1u) != gridDim.x - 1) return;
  if (Fences) __threadfence();
  state[0] = 2.0f;
  *ticket = 0;
}

// The last block has read the place itself, later than all others.
TEST_F(RaceTest, ReportsAWriteOverWhatOtherBlocksRead) {
  DeviceArray<float> state(1), out(5);
  DeviceArray<unsigned> ticket(1);
  const auto run = [&](void (*kernel)(float*, unsigned*, float*)) {
    return reports_of(
        [&] { gpu::launch(kernel, 5, 1, 0, nullptr, state.data(), ticket.data(), out.data()); });
  };
  for (const char* order : {"forward", "reverse", "random:1"}) {
    use_order(order);
    EXPECT_EQ(run(last_block_overwrites_kernel<true>), "");
    EXPECT_REPORT(run(last_block_overwrites_kernel<false>), "race: write after read");
  }
}

__global__ void fill_kernel(float* out, float value) { out[threadIdx.x] = value; }

// The scheduler draws its random orders from this template too, and the linker keeps one copy of
// it: maybe this file's, which is instrumented.
TEST_F(RaceTest, LeavesOutLibraryCodeThatTheSimulatorShares) {
  std::mt19937_64 bits(1);
  EXPECT_EQ(bits(), 2469588189546311528u);
  DeviceArray<float> out(64);
  use_order("random:1");
  EXPECT_EQ(reports_of([&] { gpu::launch(exchange_kernel<true>, 1, 64, 0, nullptr, out.data()); }),
            "");
}

TEST_F(RaceTest, LaunchesOfOneStreamAreOrdered) {
  DeviceArray<float> out(64);
  EXPECT_EQ(reports_of([&] {
              gpu::launch(fill_kernel, 1, 64, 0, nullptr, out.data(), 1.0f);
              gpu::launch(fill_kernel, 1, 32, 0, nullptr, out.data() + 32, 2.0f);
            }),
            "");
}

}  // namespace
}  // namespace elbo
