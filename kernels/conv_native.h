// What the files conv_native*.cpp share: phases, threads, scratch, and the vector unit's functions.
// Private to them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/conv_backends.h"
#include "kernels/cpu_conv.h"
#include "kernels/parallel.h"

namespace elbo::native {

struct ConvFunctions {
  int lanes;
  decltype(&cpu::baseline::pack_conv_weight) pack_conv_weight;
  decltype(&cpu::baseline::convolve_part) convolve_part;
  decltype(&cpu::baseline::make_conv_planes) make_conv_planes;
  decltype(&cpu::baseline::convolve_thin_part) convolve_thin_part;
  decltype(&cpu::baseline::conv_weight_row) conv_weight_row;
  decltype(&cpu::baseline::conv_weight_patches) conv_weight_patches;
};

const ConvFunctions& conv_functions(cpu::VectorUnit unit);

// The phases of one direction.
struct ConvPhases {
  const ConvGeometry& geometry;
  ConvTowards towards;

  int64_t count_h() const { return towards == ConvTowards::image ? geometry.window.stride_h : 1; }
  int64_t count_w() const { return towards == ConvTowards::image ? geometry.window.stride_w : 1; }
  int64_t count() const { return count_h() * count_w(); }
  cpu::ConvPhase operator[](int64_t i) const;
};

inline cpu::ConvSide conv_side(const ImageSize& size) {
  return {size.height, size.width, size.channels};
}

// Samples, or parts of the rows of a sample where there are few samples, in equal numbers.
struct ConvUnits {
  int64_t batch, parts, threads;

  ConvUnits(int64_t batch, int64_t threads)
      : batch(batch),
        parts(batch % threads == 0 || batch >= 8 * threads ? 1 : threads),
        threads(threads) {}

  // Calls f(sample_begin, sample_end, part) for what `thread` is to do, up to `group` whole samples
  // at a time.
  template <class F>
  void for_each(int64_t thread, int64_t group, F&& f) const {
    const int64_t units = batch * parts;
    const int64_t end = units * (thread + 1) / threads;
    for (int64_t i = units * thread / threads; i < end;) {
      const int64_t next = parts == 1 ? std::min(end, i + group) : i + 1;
      f(i / parts, (next - 1) / parts + 1, i % parts);
      i = next;
    }
  }
  int64_t row(int64_t rows, int64_t part) const { return rows * part / parts; }
};

// Scratch, in floats: workspaces and column sums of all threads, then the packed weight.
struct ConvScratch {
  float* data;
  int64_t threads, packed_floats;
  static constexpr int64_t kPerThread = cpu::kConvWorkspace + 2 * cpu::kConvCols;

  float* workspace(int64_t thread) const { return data + thread * kPerThread; }
  float* sums(int64_t thread) const { return workspace(thread) + cpu::kConvWorkspace; }
  void clear_sums(int64_t thread) const { std::fill_n(sums(thread), 2 * cpu::kConvCols, 0.0f); }
  float* packed() const { return data + threads * kPerThread; }
};

ConvScratch conv_scratch(const Exec& exec, const ConvGeometry& geometry);

// dbias (+)= the column sums of all threads, in their order.
void sum_conv_columns(const ConvScratch& scratch, int64_t cols, GradMode mode, float* dbias);

template <class Body>
void for_each_conv_thread(int64_t threads, Body body) {
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) body(t);
  };
  cpu::parallel_ranges(threads, run, cpu::kParallelThreshold);
}

cpu::ConvSums conv_sums(const ConvProduct<float>& product);

// Rows of the packed weight.
inline int64_t conv_depth(const cpu::ConvPhase& phase, int64_t channels) {
  return phase.h.taps * phase.w.taps * channels;
}

// False, having done nothing, if the sums are not thin or their planes do not fit.
bool convolve_thin(const Exec& exec, const ConvProduct<float>& product,
                   const ConvFunctions& functions);

// Threads that the sums of this geometry are worth, each with `floats` of a scratch of `available`.
int64_t conv_threads(const ConvGeometry& geometry, int64_t floats, int64_t available);

}  // namespace elbo::native
