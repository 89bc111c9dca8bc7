// Kernels that touch memory they should not, or that nobody has written.
#include <cmath>
#include <vector>

#include "tests/sim/sanitizer.h"
#include "tests/sim/sim_fixture.h"

namespace elbo {
namespace {

#ifdef CUDASIM_ASAN
constexpr bool kAddressSanitizer = true;
#else
constexpr bool kAddressSanitizer = false;
#endif

class MemoryTest : public SimTest {};

__global__ void copy_kernel(const float* in, float* out, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < n) out[i] = in[i];
}

__global__ void write_kernel(float* out, int index) {
  if (threadIdx.x == 0) out[index] = 1;
}

// Runs a write one element past the end. AddressSanitizer stops the program; elsewhere there is a
// report, from the race checker at the access, else from the canary when the memory is freed.
template <class Body>
void expect_overrun(Body body, const std::string& reports) {
  if (kAddressSanitizer) {
    EXPECT_DEATH(body(), "AddressSanitizer");
  } else if (cudasim::race_checker_enabled()) {
    EXPECT_REPORT(reports, "bad address: ");
  } else {
    EXPECT_REPORT(reports, "overrun: ");
  }
}

TEST_F(MemoryTest, ReportsAWriteBehindADeviceAllocation) {
  const auto body = [] {
    DeviceArray<float> out(10);
    gpu::launch(write_kernel, 1, 32, 0, nullptr, out.data(), 10);
  };
  expect_overrun(body, kAddressSanitizer ? "" : reports_of(body));
}

__global__ void dynamic_shared_kernel(float* out, int index) {
  ELBO_DYN_SHARED(float, tile);
  if (threadIdx.x == 0) tile[index] = 1;
  __syncthreads();
  out[0] = tile[0];
}

TEST_F(MemoryTest, ReportsAWriteBehindDynamicSharedMemory) {
  const auto body = [] {
    DeviceArray<float> out(1);
    gpu::launch(dynamic_shared_kernel, 1, 1, 3 * sizeof(float), nullptr, out.data(), 3);
  };
  expect_overrun(body, kAddressSanitizer ? "" : reports_of(body));
}

__global__ void static_shared_kernel(float* out, int index) {
  __shared__ float tile[5];
  tile[0] = 0;
  tile[index] = 1;
  out[0] = tile[0];
}

TEST_F(MemoryTest, ReportsAWriteBehindStaticSharedMemory) {
  if (!kAddressSanitizer) GTEST_SKIP() << "needs AddressSanitizer: build the sim-asan preset";
  const auto body = [] {
    DeviceArray<float> out(1);
    gpu::launch(static_shared_kernel, 1, 1, 0, nullptr, out.data(), 5);
  };
  EXPECT_DEATH(body(), "AddressSanitizer|out of bounds");  // whichever comes first
}

TEST_F(MemoryTest, ReportsAHostPointerAmongTheParameters) {
  DeviceArray<float> out(4);
  std::vector<float> host(4, 1.0f);
  const std::string reports =
      reports_of([&] { gpu::launch(copy_kernel, 1, 4, 0, nullptr, host.data(), out.data(), 4); });
  EXPECT_REPORT(reports, "bad pointer: parameter 1 of");
  EXPECT_REPORT(reports, "copy_kernel");
}

struct Pointers {
  const float* in;
  float* out;
};
__global__ void copy_struct_kernel(Pointers p) { p.out[threadIdx.x] = p.in[threadIdx.x]; }

TEST_F(MemoryTest, ReportsAHostPointerInsideAStructWhenItIsUsed) {
  SKIP_WITHOUT_RACE_CHECKER();
  DeviceArray<float> out(4);
  std::vector<float> host(4, 1.0f);
  EXPECT_REPORT(
      reports_of([&] {
        gpu::launch(copy_struct_kernel, 1, 4, 0, nullptr, Pointers{host.data(), out.data()});
      }),
      "bad address: read of memory that is not the device's");
}

TEST_F(MemoryTest, KernelsMayUsePinnedHostMemory) {
  DeviceArray<float> out(4);
  float* pinned = nullptr;
  ELBO_CUDA_CHECK(cudaMallocHost(reinterpret_cast<void**>(&pinned), 16));
  for (int i = 0; i < 4; ++i) pinned[i] = 2.0f;
  EXPECT_EQ(reports_of([&] { gpu::launch(copy_kernel, 1, 4, 0, nullptr, pinned, out.data(), 4); }),
            "");
  EXPECT_EQ(out.get(3), 2.0f);
  ELBO_CUDA_CHECK(cudaFreeHost(pinned));
}

TEST_F(MemoryTest, ReportsAUseAfterFree) {
  SKIP_WITHOUT_RACE_CHECKER();
  DeviceArray<float> out(4);
  Pointers p{nullptr, out.data()};
  {
    DeviceArray<float> gone(4);
    p.in = gone.data();
  }
  EXPECT_REPORT(reports_of([&] { gpu::launch(copy_struct_kernel, 1, 4, 0, nullptr, p); }),
                "bad address: ");
}

// ---- memory nobody has written ------------------------------------------------------------------

TEST_F(MemoryTest, FreshDeviceMemoryIsNaN) {
  float* fresh = nullptr;
  ELBO_CUDA_CHECK(cudaMalloc(reinterpret_cast<void**>(&fresh), 16));
  float values[4];
  ELBO_CUDA_CHECK(cudaMemcpy(values, fresh, 16, cudaMemcpyDeviceToHost));
  for (const float v : values) EXPECT_TRUE(std::isnan(v));
  ELBO_CUDA_CHECK(cudaFree(fresh));
}

TEST_F(MemoryTest, ReportsAReadOfUnwrittenDeviceMemory) {
  SKIP_WITHOUT_RACE_CHECKER();
  DeviceArray<float> out(8);
  float* fresh = nullptr;
  ELBO_CUDA_CHECK(cudaMalloc(reinterpret_cast<void**>(&fresh), 32));
  ELBO_CUDA_CHECK(cudaMemset(fresh, 0, 16));
  const auto run = [&](int n) {
    return reports_of([&] { gpu::launch(copy_kernel, 1, 8, 0, nullptr, fresh, out.data(), n); });
  };
  EXPECT_EQ(run(4), "");
  EXPECT_REPORT(run(5), "unwritten read: device memory");
  // A copy passes on what was never written.
  EXPECT_EQ(cudaMemcpy(out.data(), fresh, 32, cudaMemcpyDeviceToDevice), cudaSuccess);
  EXPECT_REPORT(
      reports_of([&] { gpu::launch(copy_kernel, 1, 8, 0, nullptr, out.data(), fresh, 5); }),
      "unwritten read");
  cudasim::mark_unwritten(fresh, 32);
  EXPECT_REPORT(run(1), "unwritten read");
  ELBO_CUDA_CHECK(cudaFree(fresh));
}

__global__ void add_in_place_kernel(float* x) { x[threadIdx.x] += 1; }

TEST_F(MemoryTest, ReportsAnUpdateOfUnwrittenMemory) {
  SKIP_WITHOUT_RACE_CHECKER();
  float* fresh = nullptr;
  ELBO_CUDA_CHECK(cudaMalloc(reinterpret_cast<void**>(&fresh), 16));
  EXPECT_REPORT(reports_of([&] { gpu::launch(add_in_place_kernel, 1, 4, 0, nullptr, fresh); }),
                "unwritten read");
  ELBO_CUDA_CHECK(cudaFree(fresh));
}

__global__ void unwritten_shared_kernel(float* out, bool write) {
  __shared__ float tile[4];
  ELBO_DYN_SHARED(float, dynamic);
  if (write) tile[threadIdx.x] = dynamic[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = tile[3 - threadIdx.x] + dynamic[3 - threadIdx.x];
}

TEST_F(MemoryTest, SharedMemoryIsUnwrittenAtTheStartOfEachBlock) {
  DeviceArray<float> out(4);
  const auto run = [&](bool write) {
    return reports_of(
        [&] { gpu::launch(unwritten_shared_kernel, 1, 4, 16, nullptr, out.data(), write); });
  };
  EXPECT_EQ(run(true), "");
  EXPECT_EQ(out.get(0), 2.0f);
  const std::string reports = run(false);
  if (cudasim::race_checker_enabled()) {
    EXPECT_REPORT(reports, "unwritten read: shared memory");
  }
  EXPECT_TRUE(std::isnan(out.get(0))) << "what an earlier block left in shared memory";
}

struct alignas(16) Four {
  float v[4];
};
template <class T>
__global__ void trusting_load_kernel(const float* in, T* out) {
  *out = *static_cast<const T*>(static_cast<const void*>(in));
}

// The compiler splits a vector load of ours into scalar ones before the race checker sees it, so
// misaligned vectors are found by UndefinedBehaviorSanitizer alone.
TEST_F(MemoryTest, ReportsAMisalignedAccess) {
  const auto run = [](auto value) {
    DeviceArray<float> in(8);
    DeviceArray<decltype(value)> out(1);
    gpu::launch(trusting_load_kernel<decltype(value)>, 1, 1, 0, nullptr, in.data() + 1, out.data());
  };
  if (kAddressSanitizer) {
    EXPECT_DEATH(run(Four{}), "misaligned address");
    EXPECT_DEATH(run(double{}), "misaligned address");
  } else {
    SKIP_WITHOUT_RACE_CHECKER();
    EXPECT_REPORT(reports_of([&] { run(double{}); }), "misaligned: ");
  }
}

__global__ void constant_table_kernel(int* out) {
  static constexpr int kTable[4] = {1, 2, 3, 5};
  out[threadIdx.x] = kTable[threadIdx.x];
}

TEST_F(MemoryTest, ConstantTablesMayBeRead) {
  DeviceArray<int> out(4);
  EXPECT_EQ(reports_of([&] { gpu::launch(constant_table_kernel, 1, 4, 0, nullptr, out.data()); }),
            "");
  EXPECT_EQ(out.get(3), 5);
}

}  // namespace
}  // namespace elbo
