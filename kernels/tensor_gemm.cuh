// The tile product that our tensor-core kernels are made of: C[M,N] = sum_k A(m,k) B(k,n).
//
// Reading guide. A block owns one tile of C; accumulate() walks over k in slices of kSliceWords words,
// keeping Stages - 1 slices on their way into shared memory (OperandTile::Share), and finish() hands
// the accumulators to an epilogue, a functor that sees every element of C once:
//
//   static constexpr bool kSumsRows     whether its results are summed along rows
//   float operator()(row, col, count, v0, v1)
//                                       C[row, col] = v0 and, if count == 2, C[row, col+1] = v1;
//                                       returns what is summed; finish() returns the thread's sum
//   void finish_row(row, part, sum)     with kSumsRows: the sum over one warp's columns, `part` counts
//                                       warps along N across the grid, row_parts() of them
//
// Operands are sources of kernels/tensor_operand.cuh. Dense ones are contiguous along k (Major::inner)
// or along m or n (Major::outer): with row-major tensors the three products of a linear layer need no
// transposition in memory.
//
// Numerics  operands float: rounded to TF32 when read from shared memory (Unit::tensor_cores) or as they
//           are (Unit::fp32); bf16: as they are. Sums fp32, in an order that depends on the tile
//           configuration only: with WarpsK > 1 each group of warps sums every WarpsK-th step of k,
//           and the groups are added in order.
// Traffic   A is read N/kCols times, B M/kRows times, mostly from L2; 16 bytes per access where extents
//           and pointers allow it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/gpu_tensor.cuh"
#include "kernels/storage.h"
#include "kernels/tensor_operand.cuh"

namespace elbo::cuda {

// What multiplies: tensor cores, which take TF32 (rounded from float) or bf16, or fp32 arithmetic on the
// operands as they are.
enum class Unit { tensor_cores, fp32 };

template <int Rows, int Cols, int WarpsM, int WarpsN, int WarpsK, int Stages>
struct TileConfig {
  static constexpr int kRows = Rows, kCols = Cols;
  static constexpr int kWarpsM = WarpsM, kWarpsN = WarpsN, kWarpsK = WarpsK;
  static constexpr int kStages = Stages;
  static constexpr int kGroupThreads = 32 * WarpsM * WarpsN;  // that share one part of k
  static constexpr int kThreads = kGroupThreads * WarpsK;
  static constexpr int kWarpRows = Rows / WarpsM, kWarpCols = Cols / WarpsN;
  static constexpr int kTilesM = kWarpRows / gpu::kTileRows, kTilesN = kWarpCols / gpu::kTileCols;
  static_assert(kTilesM * gpu::kTileRows * WarpsM == Rows);
  static_assert(kTilesN * gpu::kTileCols * WarpsN == Cols);
};

// Enough blocks for a GPU from a small product: 128 x 400 is 52 tiles, whose k is split over 4 warps.
using SmallTile = TileConfig<32, 32, 2, 1, 4, 4>;
// Twice the arithmetic per byte, where there are enough tiles.
using LargeTile = TileConfig<64, 64, 2, 2, 2, 2>;

template <class T, class Config, Major MA, Major MB, Unit U = Unit::tensor_cores>
struct TileProduct {
  using TileA = OperandTile<T, Config::kRows, MA>;
  using TileB = OperandTile<T, Config::kCols, MB>;
  static constexpr int kStageElements = TileA::kElements + TileB::kElements;
  static constexpr int kAccumulators = Config::kTilesM * Config::kTilesN * 4;
  static constexpr size_t kSharedBytes =
      std::max(size_t{Config::kStages} * kStageElements * sizeof(T),
               size_t{Config::kWarpsK - 1} * kAccumulators * Config::kGroupThreads * sizeof(float));
  static_assert(kSharedBytes <= 48 * 1024,
                "more needs cudaFuncAttributeMaxDynamicSharedMemorySize");

  using Accumulators = float[Config::kTilesM][Config::kTilesN][4];

  // Where a warp stands in the block's tile.
  struct Place {
    int lane, group, row, col;

    __device__ Place() {
      const int warp = threadIdx.x / 32;
      lane = threadIdx.x % 32;
      group = warp / (Config::kWarpsM * Config::kWarpsN);
      row = warp / Config::kWarpsN % Config::kWarpsM * Config::kWarpRows;
      col = warp % Config::kWarpsN * Config::kWarpCols;
    }
  };

  // Both operands as one thread asks for their slices.
  template <class A, class B>
  struct Requests {
    const A& a;
    const B& b;
    typename TileA::template Share<Config::kThreads, A> share_a;
    typename TileB::template Share<Config::kThreads, B> share_b;

    __device__ Requests(const A& from_a, const B& from_b, int64_t row, int64_t col)
        : a(from_a), b(from_b), share_a(from_a, row), share_b(from_b, col) {}

    __device__ void slice(int slice, int end, T* shared) const {
      if (slice < end) {
        T* stage = shared + slice % Config::kStages * kStageElements;
        const int64_t inner = int64_t{slice} * TileA::kInner;
        share_a.request(a, inner, stage);
        share_b.request(b, inner, stage + TileA::kElements);
      }
      gpu::commit_copies();  // an empty group too, so that the count of groups is that of slices
    }
  };

  // sums += A B over the words from `first` on that one tile of a tensor core takes.
  __device__ static void multiply_step(const Place& place, const T* a, const T* b, int first,
                                       Accumulators& sums) {
    const int g = place.lane / 4, word = first + place.lane % 4;
    uint32_t right[Config::kTilesN][2];
#pragma unroll
    for (int n = 0; n < Config::kTilesN; ++n) {
      const int col = place.col + n * gpu::kTileCols + g;
      right[n][0] = TileB::word(b, col, word);
      right[n][1] = TileB::word(b, col, word + 4);
    }
#pragma unroll
    for (int m = 0; m < Config::kTilesM; ++m) {
      const int row = place.row + m * gpu::kTileRows + g;
      const uint32_t left[4] = {TileA::word(a, row, word), TileA::word(a, row + 8, word),
                                TileA::word(a, row, word + 4), TileA::word(a, row + 8, word + 4)};
#pragma unroll
      for (int n = 0; n < Config::kTilesN; ++n) {
        gpu::multiply_tile<T>(sums[m][n], left, right[n]);
      }
    }
  }

  // The same without rounding: a thread has the sums of a tensor core's fragment and makes them from
  // the whole of its rows of A and columns of B.
  __device__ static void multiply_step_fp32(const Place& place, const T* a, const T* b, int first,
                                            Accumulators& sums) {
    const int g = place.lane / 4, t = place.lane % 4;
#pragma unroll
    for (int k = first; k < first + gpu::kTileWords; ++k) {
      float right[Config::kTilesN][2];
#pragma unroll
      for (int n = 0; n < Config::kTilesN; ++n) {
        const int col = place.col + n * gpu::kTileCols + 2 * t;
        right[n][0] = *TileB::address(b, col, k), right[n][1] = *TileB::address(b, col + 1, k);
      }
#pragma unroll
      for (int m = 0; m < Config::kTilesM; ++m) {
        const int row = place.row + m * gpu::kTileRows + g;
        const float left[2] = {*TileA::address(a, row, k), *TileA::address(a, row + 8, k)};
#pragma unroll
        for (int n = 0; n < Config::kTilesN; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            sums[m][n][i] = fmaf(left[i / 2], right[n][i % 2], sums[m][n][i]);
          }
        }
      }
    }
  }

  __device__ static void multiply_slice(const Place& place, const T* a, const T* b,
                                        Accumulators& sums) {
#pragma unroll
    for (int step = 0; step < kSliceWords / gpu::kTileWords; ++step) {
      if (step % Config::kWarpsK != place.group) continue;
      if constexpr (U == Unit::fp32) {
        multiply_step_fp32(place, a, b, step * gpu::kTileWords, sums);
      } else {
        multiply_step(place, a, b, step * gpu::kTileWords, sums);
      }
    }
  }

  // Adds the sums of groups 1, 2, ... to those of group 0, through shared memory that no copy uses
  // any more.
  __device__ static void add_groups(const Place& place, float* shared, Accumulators& sums) {
    float* flat = &sums[0][0][0];
    const int thread = threadIdx.x % Config::kGroupThreads;
    __syncthreads();
    if (place.group > 0) {
      float* mine = shared + (place.group - 1) * kAccumulators * Config::kGroupThreads;
#pragma unroll
      for (int i = 0; i < kAccumulators; ++i) mine[i * Config::kGroupThreads + thread] = flat[i];
    }
    __syncthreads();
    if (place.group > 0) return;
    for (int group = 1; group < Config::kWarpsK; ++group) {
      const float* theirs = shared + (group - 1) * kAccumulators * Config::kGroupThreads;
#pragma unroll
      for (int i = 0; i < kAccumulators; ++i) flat[i] += theirs[i * Config::kGroupThreads + thread];
    }
  }

  template <class Epilogue>
  __device__ static float finish(const Place& place, int64_t rows, int64_t cols, int64_t first_row,
                                 int64_t first_col, const Accumulators& sums,
                                 const Epilogue& epilogue) {
    if (place.group > 0) return 0.0f;
    const int g = place.lane / 4, t = place.lane % 4;
    float total = 0.0f;
#pragma unroll
    for (int m = 0; m < Config::kTilesM; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t row = first_row + place.row + m * gpu::kTileRows + half * 8 + g;
        float row_sum = 0.0f;
#pragma unroll
        for (int n = 0; n < Config::kTilesN; ++n) {
          const int64_t col = first_col + place.col + n * gpu::kTileCols + 2 * t;
          if (row >= rows || col >= cols) continue;
          const int count = col + 1 < cols ? 2 : 1;
          row_sum += epilogue(row, col, count, sums[m][n][2 * half], sums[m][n][2 * half + 1]);
        }
        total += row_sum;
        if constexpr (Epilogue::kSumsRows) {
          row_sum += __shfl_xor_sync(0xffffffffu, row_sum, 1);
          row_sum += __shfl_xor_sync(0xffffffffu, row_sum, 2);
          const int64_t part =
              first_col / Config::kCols * Config::kWarpsN + place.col / Config::kWarpCols;
          if (t == 0 && row < rows) epilogue.finish_row(row, part, row_sum);
        }
      }
    }
    return total;
  }

  // A part of k: slices of TileA::kInner numbers.
  struct Slices {
    int first, end;

    __device__ explicit Slices(int64_t inner)
        : first(0), end(static_cast<int>((inner + TileA::kInner - 1) / TileA::kInner)) {}
    __device__ Slices(int first_slice, int end_slice) : first(first_slice), end(end_slice) {}
  };

  // The sums over these slices, in the first group of warps. `on_slice(a_tile)` is called for every
  // slice of A once it has arrived, by all threads.
  template <class A, class B, class OnSlice>
  __device__ static void accumulate(const Place& place, const A& a, const B& b, int64_t first_row,
                                    int64_t first_col, const Slices& slices, Accumulators& sums,
                                    OnSlice&& on_slice) {
    ELBO_DYN_SHARED(T, shared);
    const Requests<A, B> requests(a, b, first_row, first_col);
#pragma unroll
    for (int ahead = 0; ahead < Config::kStages - 1; ++ahead) {
      requests.slice(slices.first + ahead, slices.end, shared);
    }
    for (int slice = slices.first; slice < slices.end; ++slice) {
      gpu::wait_for_copies<Config::kStages - 2>();
      __syncthreads();  // this slice is there, and all have read the one whose place is taken next
      requests.slice(slice + Config::kStages - 1, slices.end, shared);
      const T* stage = shared + slice % Config::kStages * kStageElements;
      on_slice(stage);
      multiply_slice(place, stage, stage + TileA::kElements, sums);
    }
    gpu::wait_for_copies<0>();
    if constexpr (Config::kWarpsK > 1) add_groups(place, reinterpret_cast<float*>(shared), sums);
  }

  // Returns the sum of what the epilogue returned to this thread.
  template <class A, class B, class Epilogue, class OnSlice>
  __device__ static float run_tile(const A& a, const B& b, int64_t first_row, int64_t first_col,
                                   const Epilogue& epilogue, OnSlice&& on_slice) {
    const Place place;
    Accumulators sums = {};
    accumulate(place, a, b, first_row, first_col, Slices(a.inner), sums, on_slice);
    return finish(place, a.outer, b.outer, first_row, first_col, sums, epilogue);
  }
};

template <class Config>
int64_t tiles_of(int64_t rows, int64_t cols) {
  return (rows + Config::kRows - 1) / Config::kRows * ((cols + Config::kCols - 1) / Config::kCols);
}

// Blocks that a large GPU runs at once (132 SMs of an H100): from there on larger tiles pay.
inline constexpr int64_t kManyTiles = 132;

inline bool use_large_tiles(int64_t rows, int64_t cols) {
  return tiles_of<LargeTile>(rows, cols) >= kManyTiles;
}

// Partial sums per row that an epilogue with kSumsRows gets.
template <class Config>
int64_t row_parts(int64_t cols) {
  return (cols + Config::kCols - 1) / Config::kCols * Config::kWarpsN;
}

// That a multiprocessor has room for, said to the compiler: left to itself it keeps to 64 registers,
// and spills where it would have 128.
inline constexpr int kResidentBlocks = 2;

// Block i owns tile (i / tiles along N, i % tiles along N).
template <class T, class Config, class A, class B, class Epilogue>
__global__ void __launch_bounds__(Config::kThreads, kResidentBlocks)
    tensor_gemm_kernel(A a, B b, Epilogue epilogue) {
  gpu::wait_for_previous();
  const int64_t across = (b.outer + Config::kCols - 1) / Config::kCols;
  TileProduct<T, Config, A::kMajor, B::kMajor>::run_tile(a, b, blockIdx.x / across * Config::kRows,
                                                         blockIdx.x % across * Config::kCols,
                                                         epilogue, [](const T*) {});
}

template <class T, Major MA, Major MB, class Epilogue>
void tensor_gemm(const Exec& exec, const Operand<T, MA>& a, const Operand<T, MB>& b,
                 const Epilogue& epilogue) {
  const auto run = [&]<class Config>(Config) {
    gpu::launch(tensor_gemm_kernel<T, Config, Operand<T, MA>, Operand<T, MB>, Epilogue>,
                static_cast<unsigned>(tiles_of<Config>(a.outer, b.outer)), Config::kThreads,
                TileProduct<T, Config, MA, MB>::kSharedBytes, gpu::overlapping(exec), a, b,
                epilogue);
  };
  use_large_tiles(a.outer, b.outer) ? run(LargeTile{}) : run(SmallTile{});
}

}  // namespace elbo::cuda
