// What the tile product of kernels/tensor_gemm.cuh multiplies: sources, which know where the numbers of
// an operand lie in global memory, and slices of them in shared memory.
//
// An operand is a matrix of lines, A's (m, k) or B's (n, k), that is contiguous along k (Major::inner:
// lines are rows m or n) or along m or n (Major::outer: lines are k). A source has
//
//   kMajor, outer, inner    its direction and extents: M of A or N of B, and K
//   Line line(int64_t), Along along(int64_t)
//                           what a number's address takes from its line, and from its place in the line:
//                           whichever of the two a thread keeps from slice to slice is found once
//   const T* at(const Line&, const Along&)
//                           where the number lies; null where the matrix is zero or ends
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

// Of matrices whose lines are contiguous in memory.
template <class T>
struct DenseLine {
  const T* start;  // null: outside
};
struct DenseAlong {
  int64_t offset;  // -1: outside
};
template <class T>
__device__ const T* dense_at(const DenseLine<T>& line, const DenseAlong& along) {
  return line.start && along.offset >= 0 ? line.start + along.offset : nullptr;
}

template <class T, Major M>
struct Operand {
  static constexpr Major kMajor = M;
  const T* data;
  int64_t outer;  // M of A, N of B
  int64_t inner;  // K
  bool vectors;   // rows start at multiples of 16 bytes

  using Line = DenseLine<T>;
  using Along = DenseAlong;
  __device__ int64_t lines() const { return M == Major::inner ? outer : inner; }
  __device__ int64_t length() const { return M == Major::inner ? inner : outer; }
  __device__ Line line(int64_t i) const { return {i < lines() ? data + i * length() : nullptr}; }
  __device__ Along along(int64_t i) const { return {i < length() ? i : -1}; }
  __device__ const T* at(const Line& line, const Along& along) const {
    return dense_at(line, along);
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

  // Of a slice, a thread asks for every Threads-th piece of 16 bytes: the same place in their lines, as
  // lines are whole numbers of pieces. What lies outside of the matrix becomes zero.
  template <int Threads, class Source>
  struct Share {
    static constexpr int kPieces = kLength / kVector<T>;
    static constexpr int kMost = (kCount * kPieces + Threads - 1) / Threads;
    static constexpr bool kInnerMajor = M == Major::inner;
    static_assert(Source::kMajor == M && Threads % kPieces == 0);

    int64_t outer;
    typename Source::Line lines[kInnerMajor ? kMost : 1];  // the rows, if they stay
    typename Source::Along along;                          // the place in the row, if that stays

    __device__ Share(const Source& from, int64_t first_outer) : outer(first_outer) {
      if constexpr (kInnerMajor) {
#pragma unroll
        for (int j = 0; j < kMost; ++j) lines[j] = from.line(outer + line_of(j));
      } else {
        along = from.along(outer + place());
      }
    }

    __device__ static int place() { return threadIdx.x % kPieces * kVector<T>; }
    __device__ static int line_of(int j) { return (threadIdx.x + j * Threads) / kPieces; }

    __device__ void request(const Source& from, int64_t inner, T* tile) const {
      const typename Source::Along here = kInnerMajor ? from.along(inner + place()) : along;
#pragma unroll
      for (int j = 0; j < kMost; ++j) {
        if (kCount * kPieces % Threads != 0 && line_of(j) >= kCount) break;
        const typename Source::Line line = kInnerMajor ? lines[j] : from.line(inner + line_of(j));
        T* target = tile + line_of(j) * kStride + place();
        if (from.vectors) {
          const T* source = from.at(line, here);
          gpu::copy_async(target, source ? source : from.data, source != nullptr);
        } else {
          copy_elements(from, line, (kInnerMajor ? inner : outer) + place(), target);
        }
      }
    }

    __device__ static void copy_elements(const Source& from, const typename Source::Line& line,
                                         int64_t first, T* target) {
#pragma unroll 4  // eight addresses at once would not fit into registers
      for (int e = 0; e < kVector<T>; ++e) {
        const T* source = from.at(line, from.along(first + e));
        target[e] = source ? *source : T{};
      }
    }
  };

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
