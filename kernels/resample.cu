#include "kernels/resample.h"

#include <algorithm>
#include <limits>

#include "kernels/channel_passes.h"
#include "kernels/error.h"
#include "kernels/math.h"

namespace elbo {
namespace {

// Along one axis, a position of `to` and those of `from` that it sums; forward and backward differ here
// only.
template <class R, bool Transposed>
struct AxisWindow {
  ResampleAxis axis;
  int to;
  IndexRange from;

  ELBO_HD AxisWindow(const ResampleAxis& a, int at) : axis(a), to(at), from(range()) {}
  ELBO_HD IndexRange range() const {
    if constexpr (Transposed) return axis.template outputs_of<R>(to);
    return axis.template inputs_of<R>(to);
  }
  ELBO_HD R weight(int at) const {
    return Transposed ? axis.weight<R>(at, to) : axis.weight<R>(to, at);
  }
};

template <bool Transposed>
ELBO_HD int size_to(const ResampleAxis& axis) {
  return Transposed ? axis.in : axis.out;
}
template <bool Transposed>
ELBO_HD int size_from(const ResampleAxis& axis) {
  return Transposed ? axis.out : axis.in;
}

// Weights of a window, of which the first few are computed once and not once per row of it.
template <class R, bool Transposed>
struct KnownWeights {
  static constexpr int kKnown = 8;  // bilinear by 3 and back
  AxisWindow<R, Transposed> window;
  R known[kKnown];

  ELBO_HD explicit KnownWeights(const AxisWindow<R, Transposed>& w) : window(w) {
    for (int i = 0; i < kKnown && w.from.begin + i < w.from.end; ++i) {
      known[i] = w.weight(w.from.begin + i);
    }
  }
  ELBO_HD R operator()(int at) const {
    const int i = at - window.from.begin;
    return i < kKnown ? known[i] : window.weight(at);
  }
};

// Rows [begin, end) of `to`, counted over all samples.
template <class T, bool Transposed>
ELBO_CLONES void resample_rows(Resample<T> args, int64_t begin, int64_t end) {
  using R = Compute<T>;
  constexpr int64_t kStrip = cpu::kChannelStrip;
  const int height = size_to<Transposed>(args.height), width = size_to<Transposed>(args.width);
  const int64_t from_height = size_from<Transposed>(args.height);
  const int64_t from_row = size_from<Transposed>(args.width) * args.channels;
  for (int64_t line = begin; line < end; ++line) {
    const KnownWeights<R, Transposed> rows({args.height, static_cast<int>(line % height)});
    const T* sample = args.from + line / height * from_height * from_row;
    for (int col = 0; col < width; ++col) {
      const KnownWeights<R, Transposed> cols({args.width, col});
      T* to = args.to + (line * width + col) * args.channels;
      for (int64_t strip = 0; strip < args.channels; strip += kStrip) {
        const int64_t lanes = std::min(kStrip, args.channels - strip);
        R sums[kStrip] = {};
        for (int i = rows.window.from.begin; i < rows.window.from.end; ++i) {
          for (int j = cols.window.from.begin; j < cols.window.from.end; ++j) {
            const R weight = rows(i) * cols(j);
            const T* from = sample + i * from_row + j * args.channels + strip;
            for (int64_t lane = 0; lane < lanes; ++lane) {
              sums[lane] = math::fma(weight, to_float(from[lane]), sums[lane]);
            }
          }
        }
        if (args.mode == GradMode::add) {
          for (int64_t lane = 0; lane < lanes; ++lane) sums[lane] += to_float(to[strip + lane]);
        }
        for (int64_t lane = 0; lane < lanes; ++lane) to[strip + lane] = from_float<T>(sums[lane]);
      }
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
  const int height = size_to<Transposed>(args.height), width = size_to<Transposed>(args.width);
  const int64_t from_row = size_from<Transposed>(args.width) * args.channels;
  const int64_t from_sample = size_from<Transposed>(args.height) * from_row;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t v = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; v < vectors; v += stride) {
    const int64_t position = v / per_position, channel = (v - position * per_position) * kStep;
    const int row = static_cast<int>(position) / width, col = static_cast<int>(position) % width;
    const int sample = row / height;
    const AxisWindow<float, Transposed> rows(args.height, row - sample * height);
    const AxisWindow<float, Transposed> cols(args.width, col);
    const T* from = args.from + sample * from_sample + channel;
    float sums[kStep] = {};
    const auto add = [&](float weight, const T* vector) {
      const auto step = [&](int64_t e, const float* x, float*) {
        sums[e] = math::fma(weight, x[0], sums[e]);
      };
      if constexpr (Vectorised) {
        cuda::with_vector<T, 1, 0>(PointerPack{vector}, NoPointers<T>{}, 0, step);
      } else {
        cuda::with_element<T, 1, 0>(PointerPack{vector}, NoPointers<T>{}, 0, step);
      }
    };
    for (int i = rows.from.begin; i < rows.from.end; ++i) {
      const float row_weight = rows.weight(i);
      for (int j = cols.from.begin; j < cols.from.end; ++j) {
        add(row_weight * cols.weight(j), from + i * from_row + j * args.channels);
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
  const int64_t lines = args.batch * size_to<Transposed>(args.height);
  const int64_t width = size_to<Transposed>(args.width);
  if (lines * width * args.channels == 0) return;
  ELBO_CHECK(args.from && args.to, op, ": null operand");
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) {
      ELBO_CHECK(lines * width <= std::numeric_limits<int>::max(), op, ": ", lines * width,
                 " positions are more than a launch takes; use a smaller batch");
      return resample_on_cuda<T, Transposed>(exec, args, lines * width);
    }
  }
#endif
  cpu::parallel_ranges(
      lines, [&](int64_t begin, int64_t end) { resample_rows<T, Transposed>(args, begin, end); },
      width * args.channels);
}

int checked_axis(const char* op, int64_t size) {
  ELBO_CHECK(size >= 0 && size <= kLongestAxis, op, ": an axis of ", size,
             " positions; expected at most ", kLongestAxis);
  return static_cast<int>(size);
}

}  // namespace

ResampleAxis upsample_axis(ResampleKind kind, int64_t in, int64_t out) {
  ELBO_CHECK(in > 0 && out >= 0, "upsample: an axis of ", in, " cannot become one of ", out);
  return {.kind = kind, .in = checked_axis("upsample", in), .out = checked_axis("upsample", out)};
}

ResampleAxis average_axis(int64_t in, int64_t kernel, int64_t stride, int64_t padding,
                          bool count_padding) {
  ELBO_CHECK(kernel > 0 && stride > 0 && padding >= 0 && 2 * padding <= kernel, "avg_pool: kernel ",
             kernel, ", stride ", stride, ", padding ", padding,
             "; expected positive ones, and a padding of at most half the kernel");
  ELBO_CHECK(in > 0 && in + 2 * padding >= kernel, "avg_pool: a kernel of ", kernel,
             " does not fit an axis of ", in, " padded by ", padding);
  return {.kind = ResampleKind::average,
          .in = checked_axis("avg_pool", in),
          .out = checked_axis("avg_pool", (in + 2 * padding - kernel) / stride + 1),
          .kernel = checked_axis("avg_pool", kernel),
          .stride = checked_axis("avg_pool", stride),
          .padding = checked_axis("avg_pool", padding),
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
