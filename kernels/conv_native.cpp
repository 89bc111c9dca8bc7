// Sums of convolutions by kernels/cpu_conv.h: phases, scratch, and which thread computes what.
#include "kernels/conv_native.h"

#include <algorithm>
#include <numeric>

#include "kernels/error.h"
#include "kernels/parallel.h"

namespace elbo::native {

using cpu::ConvAxis, cpu::ConvPart, cpu::ConvPhase, cpu::ConvSums;

namespace {

// Multiplications below which a second thread costs more than it brings: about 3 us of work.
constexpr int64_t kParallelProduct = 200000;

#define ELBO_CONV_TABLE(unit)                                                                   \
  {                                                                                             \
    cpu::unit::kLanes, cpu::unit::pack_conv_weight, cpu::unit::convolve_part,                   \
        cpu::unit::make_conv_planes, cpu::unit::convolve_thin_part, cpu::unit::conv_weight_row, \
        cpu::unit::conv_weight_patches                                                          \
  }

ConvAxis features_axis(int64_t features, int64_t kernel, int64_t stride, int64_t padding,
                       int64_t dilation) {
  return {.out_first = 0,
          .out_step = 1,
          .count = features,
          .in_first = -padding,
          .in_step = stride,
          .tap_step = dilation,
          .taps = kernel,
          .weight_first = 0,
          .weight_step = 1};
}

// Pixels phase + u stride of the image. Tap r of the window meets them if r dilation = phase +
// padding modulo stride: every period-th from the first. Taps are taken backwards, so that the
// features that they read lie in order of memory.
ConvAxis image_axis(int64_t image, int64_t kernel, int64_t stride, int64_t padding,
                    int64_t dilation, int64_t phase) {
  const int64_t common = std::gcd(dilation, stride), period = stride / common;
  ConvAxis axis{.out_first = phase,
                .out_step = stride,
                .count = image > phase ? (image - phase + stride - 1) / stride : 0,
                .in_first = 0,
                .in_step = 1,
                .tap_step = dilation / common,
                .taps = 0,
                .weight_first = 0,
                .weight_step = -period};
  int64_t first = 0;
  while (first < period && (first * dilation - phase - padding) % stride != 0) ++first;
  if (first == period || first >= kernel) return axis;
  axis.taps = (kernel - first + period - 1) / period;
  axis.weight_first = first + (axis.taps - 1) * period;
  axis.in_first = (phase + padding - axis.weight_first * dilation) / stride;
  return axis;
}

class WideSums {
 public:
  WideSums(const ConvProduct<float>& product, const ConvScratch& scratch,
           const ConvFunctions& functions)
      : product_(product), functions_(functions), sums_(conv_sums(product)), scratch_(scratch) {
    // As many samples as lie in the L2 cache, so that phases share what they read and write.
    constexpr int64_t kGroupFloats = 64 * 1024;
    const ConvGeometry& g = product.geometry;
    group_ = std::max<int64_t>(1, kGroupFloats / (g.image.size() + g.features.size()));
  }

  void run(int64_t col_begin, int64_t col_end) {
    col_begin_ = col_begin;
    col_end_ = col_end;
    const int64_t strip = 2 * functions_.lanes;
    strips_ = (col_end - col_begin + strip - 1) / strip;
    for_each_conv_thread(scratch_.threads, [this](int64_t t) { pack(t); });
    for_each_conv_thread(scratch_.threads, [this](int64_t t) { convolve(t); });
    if (!product_.input || !product_.input->dbias) return;
    sum_conv_columns(scratch_, col_end - col_begin, product_.input->dbias_mode,
                     product_.input->dbias + col_begin);
  }

 private:
  // Strips of all phases, in equal numbers.
  void pack(int64_t thread) const {
    const int64_t strip = 2 * functions_.lanes, count = phases_.count() * strips_;
    const int64_t begin = count * thread / scratch_.threads;
    const int64_t end = count * (thread + 1) / scratch_.threads;
    float* to = scratch_.packed();
    for (int64_t i = 0; i < phases_.count(); ++i) {
      const ConvPhase phase = phases_[i];
      const int64_t floats = conv_depth(phase, sums_.in_size.channels) * strip;
      for (int64_t s = 0; s < strips_; ++s, to += floats) {
        if (i * strips_ + s < begin || i * strips_ + s >= end) continue;
        const int64_t col = col_begin_ + s * strip;
        functions_.pack_conv_weight(sums_, phase, col, std::min(col + strip, col_end_), to);
      }
    }
  }

  void convolve(int64_t thread) const {
    const ConvUnits units(product_.geometry.batch, scratch_.threads);
    float* column_sums = product_.input ? scratch_.sums(thread) : nullptr;
    if (column_sums) scratch_.clear_sums(thread);
    units.for_each(thread, group_, [&](int64_t begin, int64_t end, int64_t unit) {
      const float* packed = scratch_.packed();
      for (int64_t i = 0; i < phases_.count(); ++i) {
        const ConvPhase phase = phases_[i];
        functions_.convolve_part(
            sums_, ConvPart{phase, begin, end, units.row(phase.h.count, unit),
                            units.row(phase.h.count, unit + 1), col_begin_, col_end_, packed,
                            scratch_.workspace(thread), column_sums});
        packed += conv_depth(phase, sums_.in_size.channels) * strips_ * 2 * functions_.lanes;
      }
    });
  }

  const ConvProduct<float>& product_;
  const ConvFunctions& functions_;
  ConvSums sums_;
  ConvScratch scratch_;
  ConvPhases phases_{product_.geometry, product_.towards};
  int64_t group_ = 1, col_begin_ = 0, col_end_ = 0, strips_ = 0;
};

void convolve_wide(const Exec& exec, const ConvProduct<float>& p, const ConvFunctions& functions) {
  const ConvPhases phases{p.geometry, p.towards};
  const int64_t channels =
      p.towards == ConvTowards::image ? p.geometry.features.channels : p.geometry.image.channels;
  int64_t depth = 0;
  for (int64_t i = 0; i < phases.count(); ++i) depth += conv_depth(phases[i], channels);
  const ConvScratch scratch = conv_scratch(exec, p.geometry);
  const int64_t strip = 2 * functions.lanes;
  const int64_t fits = scratch.packed_floats / std::max<int64_t>(depth, 1) / strip * strip;
  ELBO_CHECK(fits > 0, "convolution: ", p.geometry.to_string(), " needs more scratch than ",
             exec.scratch.bytes, " bytes");
  const int64_t step = std::min(fits, cpu::kConvCols), cols = p.out_channels();
  WideSums sums(p, scratch, functions);
  for (int64_t col = 0; col < cols; col += step) sums.run(col, std::min(col + step, cols));
}

}  // namespace

const ConvFunctions& conv_functions(cpu::VectorUnit unit) {
  static constexpr ConvFunctions kBaseline = ELBO_CONV_TABLE(baseline);
#ifdef __x86_64__
  static constexpr ConvFunctions kAvx2 = ELBO_CONV_TABLE(avx2);
  static constexpr ConvFunctions kAvx512 = ELBO_CONV_TABLE(avx512);
  if (unit == cpu::VectorUnit::avx512) return kAvx512;
  if (unit == cpu::VectorUnit::avx2) return kAvx2;
#endif
  ELBO_CHECK(unit == cpu::VectorUnit::baseline, "no convolutions by ", vector_unit_name(unit));
  return kBaseline;
}

ConvSums conv_sums(const ConvProduct<float>& p) {
  const ConvGeometry& g = p.geometry;
  const bool to_image = p.towards == ConvTowards::image;
  const int64_t row = g.window.taps() * g.image.channels;
  ConvSums sums{.batch = g.batch,
                .in_size = cpu::ConvSide{},
                .out_size = cpu::ConvSide{},
                .in = p.in,
                .weight = p.weight,
                .weight_in = to_image ? row : 1,
                .weight_tap = g.image.channels,
                .weight_out = to_image ? 1 : row,
                .kernel_w = g.window.kernel_w,
                .out = p.out,
                .finish = {}};
  sums.in_size = conv_side(to_image ? g.features : g.image);
  sums.out_size = conv_side(p.out_size());
  cpu::ConvFinish& finish = sums.finish;
  finish.add = p.mode == GradMode::add;
  finish.undo = p.input != nullptr;
  finish.activation = p.input ? p.input->activation : p.activation;
  finish.bias = p.bias;
  finish.pre = p.pre;
  if (p.input && finish.activation != Activation::identity) {
    finish.kept = needs_pre_activation(finish.activation) ? static_cast<const float*>(p.input->aux)
                                                          : p.input->y;
  }
  return sums;
}

ConvScratch conv_scratch(const Exec& exec, const ConvGeometry& geometry) {
  const int64_t available =
      exec.scratch.data ? static_cast<int64_t>(exec.scratch.bytes / sizeof(float)) : 0;
  const int64_t threads = conv_threads(geometry, ConvScratch::kPerThread, available / 2);
  return {reinterpret_cast<float*>(exec.scratch.data), threads,
          available - threads * ConvScratch::kPerThread};
}

void sum_conv_columns(const ConvScratch& scratch, int64_t cols, GradMode mode, float* dbias) {
  for (int64_t j = 0; j < cols; ++j) {
    float sum = mode == GradMode::add ? dbias[j] : 0.0f;
    for (int64_t t = 0; t < scratch.threads; ++t) sum += scratch.sums(t)[j];
    dbias[j] = sum;
  }
}

ConvPhase ConvPhases::operator[](int64_t i) const {
  const ConvGeometry& g = geometry;
  const ConvWindow& w = g.window;
  if (towards == ConvTowards::features) {
    return {features_axis(g.features.height, w.kernel_h, w.stride_h, w.padding_h, w.dilation_h),
            features_axis(g.features.width, w.kernel_w, w.stride_w, w.padding_w, w.dilation_w)};
  }
  return {
      image_axis(g.image.height, w.kernel_h, w.stride_h, w.padding_h, w.dilation_h, i / w.stride_w),
      image_axis(g.image.width, w.kernel_w, w.stride_w, w.padding_w, w.dilation_w, i % w.stride_w)};
}

int64_t conv_threads(const ConvGeometry& g, int64_t floats, int64_t available) {
  const int64_t products = g.feature_rows() * g.weight_size();
  if (products < kParallelProduct) return 1;
  return std::max<int64_t>(1, std::min<int64_t>(cpu::thread_count(), available / floats));
}

void convolve(const Exec& exec, const ConvProduct<float>& product, cpu::VectorUnit unit) {
  const ConvFunctions& functions = conv_functions(unit);
  if (!convolve_thin(exec, product, functions)) convolve_wide(exec, product, functions);
}

}  // namespace elbo::native
