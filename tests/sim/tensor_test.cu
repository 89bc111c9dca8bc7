// What tensor-core kernels need of the simulator: fragments of a warp's product, and copies that arrive
// when they are waited for and not before.
#include <vector>

#include "kernels/gpu_tensor.cuh"
#include "tests/sim/sim_fixture.h"

namespace elbo {
namespace {

class TensorTest : public SimTest {};

// out[16][8] = A B + 1 for A[r][k] and B[k][c] given by element; `Elements` of k per word.
template <class T, int Elements>
__global__ void product_kernel(float* out) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  const auto word = [](int seed, int index) {
    const auto value = [&](int k) { return static_cast<float>((seed * 7 + k * 3) % 11 - 5); };
    if constexpr (Elements == 1) return gpu::to_tf32(value(index));
    const uint32_t low = from_float<bf16>(value(2 * index)).bits;
    const uint32_t high = from_float<bf16>(value(2 * index + 1)).bits;
    return low | high << 16;
  };
  const uint32_t a[4] = {word(g, t), word(g + 8, t), word(g, t + 4), word(g + 8, t + 4)};
  const uint32_t b[2] = {word(100 + g, t), word(100 + g, t + 4)};
  float c[4] = {1, 1, 1, 1};
  gpu::multiply_tile<T>(c, a, b);
  out[g * 8 + 2 * t] = c[0], out[g * 8 + 2 * t + 1] = c[1];
  out[(g + 8) * 8 + 2 * t] = c[2], out[(g + 8) * 8 + 2 * t + 1] = c[3];
}

float expected(int row, int col, int inner) {
  const auto value = [](int seed, int k) { return (seed * 7 + k * 3) % 11 - 5; };
  int sum = 1;
  for (int k = 0; k < inner; ++k) sum += value(row, k) * value(100 + col, k);
  return static_cast<float>(sum);
}

TEST_F(TensorTest, AWarpMultipliesATile) {
  DeviceArray<float> out(128);
  for (const bool half : {false, true}) {
    if (half) {
      gpu::launch(product_kernel<bf16, 2>, 1, 32, 0, nullptr, out.data());
    } else {
      gpu::launch(product_kernel<float, 1>, 1, 32, 0, nullptr, out.data());
    }
    ELBO_CUDA_CHECK(cudaDeviceSynchronize());
    for (int i = 0; i < 128; ++i) {
      EXPECT_EQ(out.get(i), expected(i / 8, i % 8, half ? 16 : 8)) << half << " element " << i;
    }
  }
}

// Two groups of one copy each; what is seen after waiting for all but `Left` of them.
template <int Left>
__global__ void copy_kernel(const float* from, float* out) {
  ELBO_DYN_SHARED(float, shared);
  for (int i = 0; i < 8; ++i) shared[i] = -1.0f;
  gpu::copy_async(shared, from, true);
  gpu::commit_copies();
  gpu::copy_async(shared + 4, from + 4, false);
  gpu::commit_copies();
  gpu::wait_for_copies<Left>();
  for (int i = 0; i < 8; ++i) out[i] = shared[i];
}

TEST_F(TensorTest, CopiesArriveWhenTheyAreWaitedFor) {
  DeviceArray<float> from(8), out(8);
  const float numbers[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  ELBO_CUDA_CHECK(cudaMemcpy(from.data(), numbers, sizeof numbers, cudaMemcpyHostToDevice));
  const auto seen = [&](auto kernel) {
    gpu::launch(kernel, 1, 1, 8 * sizeof(float), nullptr, static_cast<const float*>(from.data()),
                out.data());
    ELBO_CUDA_CHECK(cudaDeviceSynchronize());
    std::vector<float> got;
    for (int i = 0; i < 8; ++i) got.push_back(out.get(i));
    return got;
  };
  EXPECT_EQ(seen(copy_kernel<2>), (std::vector<float>{-1, -1, -1, -1, -1, -1, -1, -1}));
  EXPECT_EQ(seen(copy_kernel<1>), (std::vector<float>{1, 2, 3, 4, -1, -1, -1, -1}));
  EXPECT_EQ(seen(copy_kernel<0>), (std::vector<float>{1, 2, 3, 4, 0, 0, 0, 0}));
}

__global__ void misaligned_copy_kernel(const float* from) {
  ELBO_DYN_SHARED(float, shared);
  gpu::copy_async(shared + 1, from, true);
}

TEST_F(TensorTest, ReportsAMisalignedCopy) {
  DeviceArray<float> from(16);
  EXPECT_REPORT(reports_of([&] {
                  gpu::launch(misaligned_copy_kernel, 1, 1, 64, nullptr,
                              static_cast<const float*>(from.data()));
                }),
                "misaligned copy");
}

}  // namespace
}  // namespace elbo
