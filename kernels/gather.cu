#include "kernels/gather.h"

#include <algorithm>
#include <limits>

#include "kernels/error.h"
#include "kernels/grey.h"
#include "kernels/noise.h"
#include "kernels/parallel.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/gpu.h"
#endif

namespace elbo {
namespace {

enum class Pixel { grey, threshold, dynamic, dequantised };

constexpr bool is_noisy(Pixel kind) { return kind == Pixel::dynamic || kind == Pixel::dequantised; }

// What a stored pixel becomes. `uniform` matters to the noisy kinds only.
template <Pixel Kind>
ELBO_HD float pixel_value(uint8_t stored, float uniform) {
  if constexpr (Kind == Pixel::threshold) return stored >= 128 ? 1.0f : 0.0f;
  if constexpr (Kind == Pixel::dequantised) {
    // 8 bits and 16 below the point: all of this is exact.
    const auto part = static_cast<float>(static_cast<int32_t>(uniform * 65536.0f)) * 0x1p-16f;
    return (static_cast<float>(stored) + part) * 0x1p-8f;
  }
  const float grey = grey_value<float>(stored);
  if constexpr (Kind == Pixel::dynamic) return uniform < grey ? 1.0f : 0.0f;
  return grey;
}

template <Pixel Kind>
ELBO_HD Four uniforms_for(const BatchOrder& order, uint64_t step, int64_t sample, int64_t quad) {
  if constexpr (!is_noisy(Kind)) return {};
  constexpr NoisePurpose kPurpose =
      Kind == Pixel::dynamic ? NoisePurpose::binarise : NoisePurpose::dequantise;
  const NoiseAddress at{kPurpose, step, static_cast<uint32_t>(sample), 0};
  return uniform4(NoiseKey{order.seed}, at, static_cast<uint32_t>(quad));
}

// Without a state there is no training to augment.
ELBO_HD bool is_mirrored(const Gather& args, uint64_t step, int64_t sample) {
  if (!args.flip || !args.order.state) return false;
  const NoiseAddress at{NoisePurpose::flip, step, static_cast<uint32_t>(sample), 0};
  return uniform1(NoiseKey{args.order.seed}, at, 0) < 0.5f;
}

// Where row `row` of the batch, which is `sample`, is stored. `staged` is what staged_rows() gives.
ELBO_HD const uint8_t* stored_row(const Gather& args, const uint8_t* staged, int64_t row,
                                  int64_t sample) {
  return staged ? staged + row * args.dim : args.data + sample * args.dim;
}

// What a row says about itself beside its pixels.
ELBO_HD void note_sample(const Gather& args, int64_t row, int64_t sample) {
  if (args.index) args.index[row] = static_cast<int32_t>(sample);
  if (args.labels) args.label_out[row] = args.labels[sample];
}

// The part of a row's attributes that falls to one of `stride` threads.
ELBO_HD void copy_attributes(const Gather& args, int64_t row, int64_t sample, int64_t first,
                             int64_t stride) {
  const int64_t count = args.attribute_count;
  for (int64_t k = first; k < count; k += stride)
    args.attribute_out[row * count + k] = args.attributes[sample * count + k];
}

// The rounded copy of `count` pixels at `at`, if one is wanted.
ELBO_HD void round_pixels(bf16* rounded, const float* x, int64_t at, int64_t count) {
  if (!rounded) return;
  for (int64_t i = at; i < at + count; ++i) rounded[i] = from_float<bf16>(x[i]);
}

// Rows are found this far ahead, so that they are on their way from memory while others are converted.
constexpr int64_t kAhead = 16;

inline void prefetch_row(const uint8_t* row, int64_t bytes) {
  constexpr int64_t kLine = 64;
  for (int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(row + i);
}

// A row whose pixels stand in reverse order within each line of the image.
template <Pixel Kind>
inline void mirror_row(const Gather& args, uint64_t step, int64_t sample, const uint8_t* stored,
                       float* x) {
  const int64_t width = args.width, channels = args.channels, line = width * channels;
  Four u{};
  int64_t d = 0;
  for (const uint8_t* at = stored; at < stored + args.dim; at += line) {
    for (int64_t column = width - 1; column >= 0; --column) {
      for (int64_t c = 0; c < channels; ++c, ++d) {
        if (d % 4 == 0) u = uniforms_for<Kind>(args.order, step, sample, d / 4);
        x[d] = pixel_value<Kind>(at[column * channels + c], lane_of(u, static_cast<uint32_t>(d)));
      }
    }
  }
}

template <Pixel Kind>
ELBO_CLONES void gather_range(Gather args, int64_t begin, int64_t end) {
  const uint64_t step = order_step(args.order);
  const uint8_t* staged = staged_rows(args.stage, args.order, args.batch);
  const int64_t quads = args.dim / 4;
  int64_t samples[kAhead];
  for (int64_t row = begin; row < end; ++row) {
    const int64_t ahead = (row - begin) % kAhead;
    for (int64_t i = 0; ahead == 0 && i < kAhead && row + i < end; ++i) {
      samples[i] = ordered_sample(args.order, row + i);
      prefetch_row(stored_row(args, staged, row + i, samples[i]), args.dim);
    }
    const int64_t sample = samples[ahead];
    note_sample(args, row, sample);
    copy_attributes(args, row, sample, 0, 1);
    const uint8_t* stored = stored_row(args, staged, row, sample);
    float* x = args.x + row * args.dim;
    if (is_mirrored(args, step, sample)) {
      mirror_row<Kind>(args, step, sample, stored, x);
    } else if constexpr (is_noisy(Kind)) {
#pragma omp simd
      for (int64_t quad = 0; quad < quads; ++quad) {
        const Four u = uniforms_for<Kind>(args.order, step, sample, quad);
        x[4 * quad] = pixel_value<Kind>(stored[4 * quad], u.v0);
        x[4 * quad + 1] = pixel_value<Kind>(stored[4 * quad + 1], u.v1);
        x[4 * quad + 2] = pixel_value<Kind>(stored[4 * quad + 2], u.v2);
        x[4 * quad + 3] = pixel_value<Kind>(stored[4 * quad + 3], u.v3);
      }
      const Four u = uniforms_for<Kind>(args.order, step, sample, quads);
      for (int64_t d = 4 * quads; d < args.dim; ++d) {
        x[d] = pixel_value<Kind>(stored[d], lane_of(u, static_cast<uint32_t>(d)));
      }
    } else {
#pragma omp simd
      for (int64_t d = 0; d < args.dim; ++d) x[d] = pixel_value<Kind>(stored[d], 0.0f);
    }
    round_pixels(args.x_bf16, args.x, row * args.dim, args.dim);
  }
}

#ifdef ELBO_HAS_CUDA

// Enough blocks to fill 132 SMs at 8 each; beyond that blocks loop over rows.
constexpr int64_t kMaxBlocks = 1056;

struct alignas(16) FourFloats {
  float v[4];
};
struct alignas(4) FourBytes {
  uint8_t v[4];
};

// Where the pixel that mirroring puts at d is stored. Bounds are checked to fit 32 bits: divisions of
// 64 are many times slower.
__device__ inline int64_t mirrored_place(const Gather& args, int64_t d) {
  const auto width = static_cast<uint32_t>(args.width);
  const auto channels = static_cast<uint32_t>(args.channels);
  const uint32_t pixel = static_cast<uint32_t>(d) / channels;
  const uint32_t channel = static_cast<uint32_t>(d) - pixel * channels;
  const uint32_t line = pixel / width, column = pixel - line * width;
  return int64_t{line * width + (width - 1 - column)} * channels + channel;
}

// One block owns one row (striding over rows), a thread four neighbouring pixels at a time.
// Traffic: D bytes in, 4D out, 4 and 16 bytes per access; with Flip bytes are read one by one. Hazard: thread 0 alone finds the sample,
// which is a chain of some hundred integer operations; the barrier after the row keeps it from
// overwriting `sample` while others still read it.
template <Pixel Kind, bool Vectorised, bool Flip>
__global__ void __launch_bounds__(256) gather_kernel(Gather args) {
  gpu::wait_for_previous();
  __shared__ int64_t shared_sample;
  __shared__ int shared_mirrored;
  const uint64_t step = order_step(args.order);
  const uint8_t* staged = staged_rows(args.stage, args.order, args.batch);
  for (int64_t row = blockIdx.x; row < args.batch; row += gridDim.x) {
    if (threadIdx.x == 0) {
      shared_sample = ordered_sample(args.order, row);
      note_sample(args, row, shared_sample);
      if constexpr (Flip) shared_mirrored = is_mirrored(args, step, shared_sample) ? 1 : 0;
    }
    __syncthreads();
    const int64_t sample = shared_sample;
    const bool mirrored = Flip && shared_mirrored != 0;
    __syncthreads();
    copy_attributes(args, row, sample, threadIdx.x, blockDim.x);
    const uint8_t* stored = stored_row(args, staged, row, sample);
    float* x = args.x + row * args.dim;
    for (int64_t d = 4 * int64_t{threadIdx.x}; d < args.dim; d += 4 * int64_t{blockDim.x}) {
      const Four u = uniforms_for<Kind>(args.order, step, sample, d / 4);
      if constexpr (Flip) {
        for (uint32_t lane = 0; lane < 4 && d + lane < args.dim; ++lane) {
          const uint8_t in = stored[mirrored ? mirrored_place(args, d + lane) : d + lane];
          x[d + lane] = pixel_value<Kind>(in, lane_of(u, lane));
        }
      } else if constexpr (Vectorised) {
        const FourBytes in = *reinterpret_cast<const FourBytes*>(stored + d);
        *reinterpret_cast<FourFloats*>(x + d) = {
            pixel_value<Kind>(in.v[0], u.v0), pixel_value<Kind>(in.v[1], u.v1),
            pixel_value<Kind>(in.v[2], u.v2), pixel_value<Kind>(in.v[3], u.v3)};
      } else {
        for (uint32_t lane = 0; lane < 4 && d + lane < args.dim; ++lane) {
          x[d + lane] = pixel_value<Kind>(stored[d + lane], lane_of(u, lane));
        }
      }
      round_pixels(args.x_bf16, args.x, row * args.dim + d, min(args.dim - d, int64_t{4}));
    }
  }
}

template <Pixel Kind>
void gather_cuda(const Exec& exec, const Gather& args) {
  const bool vectorised = args.dim % 4 == 0 && reinterpret_cast<uintptr_t>(args.data) % 4 == 0 &&
                          reinterpret_cast<uintptr_t>(args.stage.block[0]) % 4 == 0 &&
                          reinterpret_cast<uintptr_t>(args.stage.block[1]) % 4 == 0 &&
                          reinterpret_cast<uintptr_t>(args.x) % 16 == 0;
  const int64_t quads = (args.dim + 3) / 4;
  const auto block = static_cast<unsigned>(std::clamp<int64_t>((quads + 31) / 32 * 32, 32, 256));
  const auto grid = static_cast<unsigned>(std::min<int64_t>(args.batch, kMaxBlocks));
  if (args.flip && args.order.state) {
    gpu::launch(gather_kernel<Kind, false, true>, grid, block, 0, gpu::overlapping(exec), args);
  } else if (vectorised) {
    gpu::launch(gather_kernel<Kind, true, false>, grid, block, 0, gpu::overlapping(exec), args);
  } else {
    gpu::launch(gather_kernel<Kind, false, false>, grid, block, 0, gpu::overlapping(exec), args);
  }
}

#endif

template <Pixel Kind>
void gather_as([[maybe_unused]] const Exec& exec, const Gather& args) {
#ifdef ELBO_HAS_CUDA
  if (exec.on_cuda()) return gather_cuda<Kind>(exec, args);
#endif
  cpu::parallel_ranges(
      args.batch, [&](int64_t begin, int64_t end) { gather_range<Kind>(args, begin, end); },
      args.dim);
}

}  // namespace

void gather(const Exec& exec, const Gather& args) {
  if (args.batch == 0) return;
  ELBO_CHECK(args.dim == 0 || (args.data && args.x), "gather: ", args.x ? "data" : "x", " is null");
  ELBO_CHECK(!args.labels || args.label_out, "gather: labels given but label_out is null");
  ELBO_CHECK(args.attribute_count == 0 || (args.attributes && args.attribute_out),
             "gather: ", args.attribute_count, " attributes, but ",
             args.attributes ? "attribute_out" : "attributes", " is null");
  ELBO_CHECK(args.order.samples > 0 && args.order.samples <= std::numeric_limits<int32_t>::max(),
             "gather: the data set has ", args.order.samples, " samples; needs 1 to 2^31 - 1");
  ELBO_CHECK(!args.stage.tag || (args.stage.block[0] && args.stage.block[1]),
             "gather: a block of the stage is null");
  if (args.flip) {
    const bool fits = args.width > 0 && args.channels > 0 &&
                      args.dim <= std::numeric_limits<int32_t>::max() &&
                      args.dim % (args.width * args.channels) == 0;
    ELBO_CHECK(fits, "gather: cannot flip images of ", args.dim, " values as lines of ", args.width,
               " x ", args.channels);
  }
  if (args.dequantise) {
    ELBO_CHECK(args.binarise == Binarise::none, "gather: pixels are binarised or dequantised, not ",
               "both");
    return gather_as<Pixel::dequantised>(exec, args);
  }
  switch (args.binarise) {
    case Binarise::none:
      return gather_as<Pixel::grey>(exec, args);
    case Binarise::threshold:
      return gather_as<Pixel::threshold>(exec, args);
    case Binarise::dynamic:
      return gather_as<Pixel::dynamic>(exec, args);
  }
}

}  // namespace elbo
