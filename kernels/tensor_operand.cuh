// What the tile product of kernels/tensor_gemm.cuh multiplies: sources, which know where the numbers of
// an operand lie in global memory, and slices of them in shared memory.
//
// An operand is a matrix of lines, A's (m, k) or B's (n, k), that is contiguous along k (Major::inner:
// lines are rows m or n) or along m or n (Major::outer: lines are k). A source has
//
//   kMajor, outer, inner    its direction and extents: M of A or N of B, and K
//   const T* at(line, along)
//                           where that number lies; null where the matrix is zero or ends
//   bool vectors            from every multiple of kVector on, kVector numbers along a line lie side by
//                           side, aligned to 16 bytes, all inside or all outside
//   const T* data           any readable address
//
// Operand is the dense one; kernels/conv_gather.cuh has those of convolutions.
#pragma once

#include <cstdint>

#include "kernels/gpu_tensor.cuh"
#include "kernels/storage.h"

namespace elbo::cuda {

enum class Major { inner, outer };

template <class T, Major M>
struct Operand {
  static constexpr Major kMajor = M;
  const T* data;
  int64_t outer;  // M of A, N of B
  int64_t inner;  // K
  bool vectors;   // rows start at multiples of 16 bytes

  __device__ const T* at(int64_t line, int64_t along) const {
    const int64_t lines = M == Major::inner ? outer : inner;
    const int64_t length = M == Major::inner ? inner : outer;
    return line < lines && along < length ? data + line * length + along : nullptr;
  }
};

template <class T>
bool is_vector_aligned(const T* data, int64_t row_length) {
  return row_length % kVector<T> == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

template <Major M, class T>
Operand<T, M> make_operand(const T* data, int64_t outer, int64_t inner) {
  const int64_t row = M == Major::inner ? inner : outer;
  return {data, outer, inner, is_vector_aligned(data, row)};
}

inline constexpr int kSliceWords = 32;  // of k: 128 bytes, one line of the L1 cache
static_assert(kSliceWords % gpu::kTileWords == 0);

// One operand's slice in shared memory, lines as they lie in global memory. The padding makes the 32
// words of a fragment fall into 32 banks: rows of inner-major tiles are 4 banks apart modulo 32, those
// of outer-major float tiles 8 or 24.
template <class T, int Outer, Major M>
struct OperandTile {
  static constexpr int kInner = kSliceWords * 4 / static_cast<int>(sizeof(T));
  static constexpr int kLength = M == Major::inner ? kInner : Outer;
  static constexpr int kCount = M == Major::inner ? Outer : kInner;
  static constexpr int kPadding = M == Major::inner ? kVector<T> : Outer % 16 == 8 ? 0 : 8;
  static constexpr int kStride = kLength + kPadding;
  static constexpr int kElements = kStride * kCount;
  static_assert(kStride * sizeof(T) % 16 == 0 && kLength % kVector<T> == 0);

  // Asks for the slice at (outer, inner); what lies outside of the matrix becomes zero.
  template <int Threads, class Source>
  __device__ static void request(const Source& from, int64_t outer, int64_t inner, T* tile) {
    static_assert(Source::kMajor == M);
    const int64_t first_line = M == Major::inner ? outer : inner;
    const int64_t first = M == Major::inner ? inner : outer;
    constexpr int kPieces = kLength / kVector<T>;
    for (int i = threadIdx.x; i < kCount * kPieces; i += Threads) {
      const int line = i / kPieces, along = i % kPieces * kVector<T>;
      T* target = tile + line * kStride + along;
      if (from.vectors) {
        const T* source = from.at(first_line + line, first + along);
        gpu::copy_async(target, source ? source : from.data, source != nullptr);
      } else {
#pragma unroll
        for (int e = 0; e < kVector<T>; ++e) {
          const T* source = from.at(first_line + line, first + along + e);
          target[e] = source ? *source : T{};
        }
      }
    }
  }

  __device__ static const T* address(const T* tile, int outer, int k) {
    return tile + (M == Major::inner ? outer * kStride + k : k * kStride + outer);
  }

  // The index-th word along k, as tensor cores take it.
  __device__ static uint32_t word(const T* tile, int outer, int index) {
    if constexpr (sizeof(T) == sizeof(float)) {
      return gpu::to_tf32(*address(tile, outer, index));
    } else if constexpr (M == Major::inner) {
      return *reinterpret_cast<const uint32_t*>(address(tile, outer, 2 * index));
    } else {
      const uint32_t low = address(tile, outer, 2 * index)->bits;
      const uint32_t high = address(tile, outer, 2 * index + 1)->bits;
      return low | high << 16;
    }
  }
};

}  // namespace elbo::cuda
