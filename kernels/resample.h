// Upsampling, average pooling, and the adjoints of both: weighted sums over a window of positions.
//
//   y[b,h,w,c]  = sum_{i,j} v(h,i) u(w,j) x[b,i,j,c]          v, u: kernels/resample_axis.h
//   dx[b,i,j,c] = sum_{h,w} v(h,i) u(w,j) dy[b,h,w,c]
//
// Shapes    x, dx [B, height.in, width.in, C], y, dy [B, height.out, width.out, C] row-major (NHWC)
// Gradient  backward gathers: every dx is summed by one thread in the order of h, then w. No atomics.
// Work      one launch. Upsampling by s reads x from caches s^2 times and writes y once; average pooling
//           and its adjoint read windows that overlap as often as they do. CUDA moves 16 bytes per access
//           where pointers and C allow it.
// Numerics  fp32 (double for double) weights and sums. Average weighs by 1/kernel_h * 1/kernel_w.
// Errors    elbo::Error for a null operand, an axis without inputs or longer than kLongestAxis, or more than
//           2^31 - 1 positions on CUDA; B, C or outputs == 0 is a no-op
//           (dx is written all the same)
// Source    torch.nn.functional.interpolate (align_corners=False, antialias=False) and avg_pool2d
//           (ceil_mode=False). nearest is exact here: PyTorch rounds in/out to fp32 first, which
//           for some odd ratios (2 -> 82) gives one output the neighbour's input.
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/resample_axis.h"
#include "kernels/storage.h"

namespace elbo {

// Checked axes. Upsampling may also shrink; kernel is cut by no ceil_mode: out = (in + 2 padding -
// kernel) / stride + 1, rounded down.
ResampleAxis upsample_axis(ResampleKind kind, int64_t in, int64_t out);
ResampleAxis average_axis(int64_t in, int64_t kernel, int64_t stride, int64_t padding,
                          bool count_padding);

// T is float, bf16 or double (CPU only).
template <class T>
struct Resample {
  int64_t batch, channels;
  ResampleAxis height, width;
  const T* from;  // x, or dy going backward
  T* to;          // y, or dx
  GradMode mode = GradMode::write;
};

template <class T>
void resample_forward(const Exec& exec, const Resample<T>& args);

template <class T>
void resample_backward(const Exec& exec, const Resample<T>& args);

}  // namespace elbo
