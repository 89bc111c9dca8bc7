// The tile product that our tensor-core kernels are made of: C[M,N] = sum_k A(m,k) B(k,n).
//
// Reading guide. A block owns one tile of C; run_tile() walks over k in slices of kSliceWords words,
// keeping Stages - 1 slices on their way into shared memory (OperandTile::request), and hands the
// accumulators to an epilogue, a functor that sees every element of C once:
//
//   static constexpr bool kSumsRows     whether its results are summed along rows
//   float operator()(row, col, count, v0, v1)
//                                       C[row, col] = v0 and, if count == 2, C[row, col+1] = v1;
//                                       returns what the row sums
//   void finish_row(row, part, sum)     with kSumsRows: the sum over one warp's columns, `part` counts
//                                       warps along N across the grid, row_parts() of them
//
// Operands are dense matrices that are contiguous along k (Major::inner) or along m or n (Major::outer):
// with row-major tensors the three products of a linear layer need no transposition in memory.
//
// Numerics  operands float: rounded to TF32 when read from shared memory; bf16: as they are. Sums fp32,
//           in an order that depends on the tile configuration only: with WarpsK > 1 each group of
//           warps sums every WarpsK-th step of k, and the groups are added in order.
// Traffic   A is read N/kCols times, B M/kRows times, mostly from L2; 16 bytes per access where extents
//           and pointers allow it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/gpu_tensor.cuh"
#include "kernels/storage.h"

namespace elbo::cuda {

enum class Major { inner, outer };

template <class T>
struct Operand {
  const T* data;
  int64_t outer;  // M of A, N of B
  int64_t inner;  // K
  bool vectors;   // rows start at multiples of 16 bytes
};

template <Major M, class T>
Operand<T> make_operand(const T* data, int64_t outer, int64_t inner) {
  const int64_t row = M == Major::inner ? inner : outer;
  const bool vectors = row % kVector<T> == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
  return {data, outer, inner, vectors};
}

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

inline constexpr int kSliceWords = 32;  // of k: 128 bytes, one line of the L1 cache
static_assert(kSliceWords % gpu::kTileWords == 0);

// One operand's slice in shared memory, rows as they lie in global memory. The padding makes the 32
// words of a fragment fall into 32 banks: rows of inner-major tiles are 4 banks apart modulo 32, those
// of outer-major float tiles 8.
template <class T, int Outer, Major M>
struct OperandTile {
  static constexpr int kInner = kSliceWords * 4 / static_cast<int>(sizeof(T));
  static constexpr int kLength = M == Major::inner ? kInner : Outer;
  static constexpr int kCount = M == Major::inner ? Outer : kInner;
  static constexpr int kStride = kLength + (M == Major::inner ? kVector<T> : 8);
  static constexpr int kElements = kStride * kCount;
  static_assert(kStride * sizeof(T) % 16 == 0 && kLength % kVector<T> == 0);

  // Asks for the slice at (outer, inner); what lies outside of the matrix becomes zero.
  template <int Threads>
  __device__ static void request(const Operand<T>& from, int64_t outer, int64_t inner, T* tile) {
    const int64_t first_row = M == Major::inner ? outer : inner;
    const int64_t first_col = M == Major::inner ? inner : outer;
    const int64_t rows = M == Major::inner ? from.outer : from.inner;
    const int64_t cols = M == Major::inner ? from.inner : from.outer;
    constexpr int kPieces = kLength / kVector<T>;
    for (int i = threadIdx.x; i < kCount * kPieces; i += Threads) {
      const int r = i / kPieces, c = i % kPieces * kVector<T>;
      const int64_t row = first_row + r, col = first_col + c;
      const T* source = from.data + row * cols + col;
      T* target = tile + r * kStride + c;
      if (from.vectors) {
        const bool valid = row < rows && col < cols;
        gpu::copy_async(target, valid ? source : from.data, valid);
      } else {
#pragma unroll
        for (int e = 0; e < kVector<T>; ++e) {
          target[e] = row < rows && col + e < cols ? source[e] : T{};
        }
      }
    }
  }

  __device__ static uint32_t word(const T* tile, int outer, int index) {
    if constexpr (sizeof(T) == sizeof(float)) {
      return gpu::to_tf32(
          tile[M == Major::inner ? outer * kStride + index : index * kStride + outer]);
    } else if constexpr (M == Major::inner) {
      return *reinterpret_cast<const uint32_t*>(tile + outer * kStride + 2 * index);
    } else {
      const uint32_t low = tile[2 * index * kStride + outer].bits;
      const uint32_t high = tile[(2 * index + 1) * kStride + outer].bits;
      return low | high << 16;
    }
  }
};

template <class T, class Config, Major MA, Major MB>
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

  __device__ static void request(const Operand<T>& a, const Operand<T>& b, int64_t row, int64_t col,
                                 int slice, int slices, T* shared) {
    if (slice < slices) {
      T* stage = shared + slice % Config::kStages * kStageElements;
      const int64_t inner = int64_t{slice} * TileA::kInner;
      TileA::template request<Config::kThreads>(a, row, inner, stage);
      TileB::template request<Config::kThreads>(b, col, inner, stage + TileA::kElements);
    }
    gpu::commit_copies();  // an empty group too, so that the count of groups is that of slices
  }

  __device__ static void multiply_slice(const Place& place, const T* a, const T* b,
                                        Accumulators& sums) {
    const int g = place.lane / 4, t = place.lane % 4;
#pragma unroll
    for (int step = 0; step < kSliceWords / gpu::kTileWords; ++step) {
      if (step % Config::kWarpsK != place.group) continue;
      const int word = step * gpu::kTileWords + t;
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
  __device__ static void finish(const Place& place, int64_t rows, int64_t cols, int64_t first_row,
                                int64_t first_col, const Accumulators& sums,
                                const Epilogue& epilogue) {
    if (place.group > 0) return;
    const int g = place.lane / 4, t = place.lane % 4;
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
        if constexpr (Epilogue::kSumsRows) {
          row_sum += __shfl_xor_sync(0xffffffffu, row_sum, 1);
          row_sum += __shfl_xor_sync(0xffffffffu, row_sum, 2);
          const int64_t part =
              first_col / Config::kCols * Config::kWarpsN + place.col / Config::kWarpCols;
          if (t == 0 && row < rows) epilogue.finish_row(row, part, row_sum);
        }
      }
    }
  }

  // `on_slice(a_tile)` is called for every slice of A once it has arrived, by all threads.
  template <class Epilogue, class OnSlice>
  __device__ static void run_tile(const Operand<T>& a, const Operand<T>& b, int64_t first_row,
                                  int64_t first_col, const Epilogue& epilogue, OnSlice&& on_slice) {
    ELBO_DYN_SHARED(T, shared);
    const Place place;
    Accumulators sums = {};
    const int slices = static_cast<int>((a.inner + TileA::kInner - 1) / TileA::kInner);
#pragma unroll
    for (int slice = 0; slice < Config::kStages - 1; ++slice) {
      request(a, b, first_row, first_col, slice, slices, shared);
    }
    for (int slice = 0; slice < slices; ++slice) {
      gpu::wait_for_copies<Config::kStages - 2>();
      __syncthreads();  // this slice is there, and all have read the one whose place is taken next
      request(a, b, first_row, first_col, slice + Config::kStages - 1, slices, shared);
      const T* stage = shared + slice % Config::kStages * kStageElements;
      on_slice(stage);
      multiply_slice(place, stage, stage + TileA::kElements, sums);
    }
    gpu::wait_for_copies<0>();
    if constexpr (Config::kWarpsK > 1) add_groups(place, reinterpret_cast<float*>(shared), sums);
    finish(place, a.outer, b.outer, first_row, first_col, sums, epilogue);
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

// Block i owns tile (i / tiles along N, i % tiles along N).
template <class T, class Config, Major MA, Major MB, class Epilogue>
__global__ void __launch_bounds__(Config::kThreads)
    tensor_gemm_kernel(Operand<T> a, Operand<T> b, Epilogue epilogue) {
  gpu::wait_for_previous();
  const int64_t across = (b.outer + Config::kCols - 1) / Config::kCols;
  TileProduct<T, Config, MA, MB>::run_tile(a, b, blockIdx.x / across * Config::kRows,
                                           blockIdx.x % across * Config::kCols, epilogue,
                                           [](const T*) {});
}

template <Major MA, Major MB, class T, class Epilogue>
void tensor_gemm(const Exec& exec, const Operand<T>& a, const Operand<T>& b,
                 const Epilogue& epilogue) {
  const auto run = [&]<class Config>(Config) {
    gpu::launch(tensor_gemm_kernel<T, Config, MA, MB, Epilogue>,
                static_cast<unsigned>(tiles_of<Config>(a.outer, b.outer)), Config::kThreads,
                TileProduct<T, Config, MA, MB>::kSharedBytes, gpu::overlapping(exec), a, b,
                epilogue);
  };
  use_large_tiles(a.outer, b.outer) ? run(LargeTile{}) : run(SmallTile{});
}

}  // namespace elbo::cuda
