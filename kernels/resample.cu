#include "kernels/resample.h"

#include <algorithm>

#include "kernels/channel_passes.h"
#include "kernels/error.h"
#include "kernels/math.h"

namespace elbo {
namespace {

// One position of `to` and the window of `from` that it sums; forward and backward differ here only.
template <class T, bool Transposed>
struct Window {
  using R = Compute<T>;
  Resample<T> args;
  int64_t row, col, sample;
  IndexRange rows, cols;

  ELBO_HD Window(const Resample<T>& a, int64_t position) : args(a) {
    const int64_t width = Transposed ? a.width.in : a.width.out;
    const int64_t height = Transposed ? a.height.in : a.height.out;
    col = position % width;
    row = position / width % height;
    sample = position / width / height;
    rows = range(a.height, row);
    cols = range(a.width, col);
  }
  ELBO_HD static IndexRange range(const ResampleAxis& axis, int64_t at) {
    if constexpr (Transposed) return axis.outputs_of(at);
    return axis.template inputs_of<R>(at);
  }
  ELBO_HD static R weight(const ResampleAxis& axis, int64_t to, int64_t from) {
    return Transposed ? axis.weight<R>(from, to) : axis.weight<R>(to, from);
  }
  ELBO_HD R row_weight(int64_t i) const { return weight(args.height, row, i); }
  ELBO_HD R col_weight(int64_t j) const { return weight(args.width, col, j); }
  // Of channel 0 at row i and column j.
  ELBO_HD const T* source(int64_t i, int64_t j) const {
    const int64_t height = Transposed ? args.height.out : args.height.in;
    const int64_t width = Transposed ? args.width.out : args.width.in;
    return args.from + ((sample * height + i) * width + j) * args.channels;
  }
};

template <class T, bool Transposed>
ELBO_CLONES void resample_range(Resample<T> args, int64_t begin, int64_t end) {
  using R = Compute<T>;
  constexpr int64_t kStrip = cpu::kChannelStrip;
  for (int64_t position = begin; position < end; ++position) {
    const Window<T, Transposed> window(args, position);
    T* to = args.to + position * args.channels;
    for (int64_t strip = 0; strip < args.channels; strip += kStrip) {
      const int64_t width = std::min(kStrip, args.channels - strip);
      R sums[kStrip] = {};
      for (int64_t i = window.rows.begin; i < window.rows.end; ++i) {
        for (int64_t j = window.cols.begin; j < window.cols.end; ++j) {
          const R weight = window.row_weight(i) * window.col_weight(j);
          const T* from = window.source(i, j) + strip;
          for (int64_t lane = 0; lane < width; ++lane) {
            sums[lane] = math::fma(weight, to_float(from[lane]), sums[lane]);
          }
        }
      }
      if (args.mode == GradMode::add) {
        for (int64_t lane = 0; lane < width; ++lane) sums[lane] += to_float(to[strip + lane]);
      }
      for (int64_t lane = 0; lane < width; ++lane) to[strip + lane] = from_float<T>(sums[lane]);
    }
  }
}

#ifdef ELBO_HAS_CUDA

// A thread owns one vector of channels at a time, neighbours taking neighbouring vectors, and strides
// over vectors of the whole output by the grid. Traffic: the window from caches, the output once.
template <bool Vectorised, class T, bool Transposed>
__global__ void __launch_bounds__(cuda::kBlock) resample_kernel(Resample<T> args, int64_t vectors) {
  gpu::wait_for_previous();
  constexpr int kStep = Vectorised ? kVector<T> : 1;
  const int64_t per_position = args.channels / kStep;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t v = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; v < vectors; v += stride) {
    const int64_t position = v / per_position, channel = v % per_position * kStep;
    const Window<T, Transposed> window(args, position);
    float sums[kStep] = {};
    const auto add = [&](float weight, const T* from) {
      const auto step = [&](int64_t e, const float* x, float*) {
        sums[e] = math::fma(weight, x[0], sums[e]);
      };
      if constexpr (Vectorised) {
        cuda::with_vector<T, 1, 0>(PointerPack{from}, NoPointers<T>{}, 0, step);
      } else {
        cuda::with_element<T, 1, 0>(PointerPack{from}, NoPointers<T>{}, 0, step);
      }
    };
    for (int64_t i = window.rows.begin; i < window.rows.end; ++i) {
      const float row_weight = window.row_weight(i);
      for (int64_t j = window.cols.begin; j < window.cols.end; ++j) {
        add(row_weight * window.col_weight(j), window.source(i, j) + channel);
      }
    }
    T* to = args.to + position * args.channels + channel;
    const T* old = to;
    if (args.mode == GradMode::add) add(1.0f, old);
    const auto store = [&](int64_t e, const float*, float* y) { y[0] = sums[e]; };
    if constexpr (Vectorised) {
      cuda::with_vector<T, 0, 1>(NoPointers<const T>{}, PointerPack{to}, 0, store);
    } else {
      cuda::with_element<T, 0, 1>(NoPointers<const T>{}, PointerPack{to}, 0, store);
    }
  }
}

template <class T, bool Transposed>
void resample_on_cuda(const Exec& exec, const Resample<T>& args, int64_t positions) {
  const bool vectorised = args.channels % kVector<T> == 0 &&
                          cuda::is_vector_aligned(PointerPack{args.from}) &&
                          cuda::is_vector_aligned(PointerPack{args.to});
  const int64_t vectors = positions * args.channels / (vectorised ? kVector<T> : 1);
  if (vectorised) {
    gpu::launch(resample_kernel<true, T, Transposed>, cuda::blocks_for(vectors), cuda::kBlock, 0,
                gpu::overlapping(exec), args, vectors);
  } else {
    gpu::launch(resample_kernel<false, T, Transposed>, cuda::blocks_for(vectors), cuda::kBlock, 0,
                gpu::overlapping(exec), args, vectors);
  }
}

#endif

template <bool Transposed, class T>
void resample([[maybe_unused]] const Exec& exec, const char* op, const Resample<T>& args) {
  const int64_t positions =
      args.batch * (Transposed ? args.height.in * args.width.in : args.height.out * args.width.out);
  if (positions * args.channels == 0) return;
  ELBO_CHECK(args.from && args.to, op, ": null operand");
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) return resample_on_cuda<T, Transposed>(exec, args, positions);
  }
#endif
  cpu::parallel_ranges(
      positions,
      [&](int64_t begin, int64_t end) { resample_range<T, Transposed>(args, begin, end); },
      args.channels);
}

}  // namespace

ResampleAxis upsample_axis(ResampleKind kind, int64_t in, int64_t out) {
  ELBO_CHECK(in > 0 && out >= 0, "upsample: an axis of ", in, " cannot become one of ", out);
  return {.kind = kind, .in = in, .out = out};
}

ResampleAxis average_axis(int64_t in, int64_t kernel, int64_t stride, int64_t padding,
                          bool count_padding) {
  ELBO_CHECK(kernel > 0 && stride > 0 && padding >= 0 && 2 * padding <= kernel, "avg_pool: kernel ",
             kernel, ", stride ", stride, ", padding ", padding,
             "; expected positive ones, and a padding of at most half the kernel");
  ELBO_CHECK(in > 0 && in + 2 * padding >= kernel, "avg_pool: a kernel of ", kernel,
             " does not fit an axis of ", in, " padded by ", padding);
  return {.kind = ResampleKind::average,
          .in = in,
          .out = (in + 2 * padding - kernel) / stride + 1,
          .kernel = kernel,
          .stride = stride,
          .padding = padding,
          .count_padding = count_padding};
}

template <class T>
void resample_forward(const Exec& exec, const Resample<T>& args) {
  resample<false>(exec, "resample_forward", args);
}

template <class T>
void resample_backward(const Exec& exec, const Resample<T>& args) {
  resample<true>(exec, "resample_backward", args);
}

#define ELBO_INSTANTIATE(T)                                        \
  template void resample_forward(const Exec&, const Resample<T>&); \
  template void resample_backward(const Exec&, const Resample<T>&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(bf16)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
