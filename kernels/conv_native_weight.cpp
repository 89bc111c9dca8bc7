// Gradients of the weight by kernels/cpu_conv.h.
#include <algorithm>

#include "kernels/conv_native.h"
#include "kernels/error.h"
#include "kernels/parallel.h"

namespace elbo::native {
namespace {

using cpu::ConvWeightSums;

// Every element of dweight is one thread's, so nothing has to be added up behind them. Items are
// rows of the window, or parts of the feature channels of one.
void weight_by_rows(const ConvWeightSums& sums, const ConvFunctions& functions, int64_t threads) {
  const int64_t rows = sums.features_size.channels;
  constexpr int64_t kLeastRows = 12;  // of a part, one tile
  const int64_t parts =
      sums.kernel_h % threads == 0 ? 1 : std::min(threads, (rows + kLeastRows - 1) / kLeastRows);
  const int64_t items = sums.kernel_h * parts;
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t part = i % parts;
      functions.conv_weight_row(sums, i / parts, rows * part / parts, rows * (part + 1) / parts);
    }
  };
  threads > 1 ? cpu::parallel_ranges(items, run, cpu::kParallelThreshold) : run(0, items);
}

// Sums of each thread's rows of pixels, added in order of threads.
void weight_by_pixels(const Exec& exec, const ConvWeightSums& sums, const ConvFunctions& functions,
                      const ConvGeometry& g) {
  const int64_t lanes = functions.lanes, rows = g.features.channels;
  const int64_t columns = g.window.taps() * g.image.channels;
  const int64_t row = (columns + lanes - 1) / lanes * lanes;
  const int64_t per_thread = cpu::kConvWorkspace + rows * row;
  const int64_t available =
      exec.scratch.data ? static_cast<int64_t>(exec.scratch.bytes / sizeof(float)) : 0;
  ELBO_CHECK(row <= cpu::kConvWorkspace && per_thread <= available, "convolution: ", g.to_string(),
             " needs more scratch than ", exec.scratch.bytes, " bytes");
  const int64_t pixel_rows = g.batch * g.features.height;
  const int64_t threads = std::min(conv_threads(g, per_thread, available), pixel_rows);
  float* scratch = reinterpret_cast<float*>(exec.scratch.data);
  const auto partial = [&](int64_t t) { return scratch + t * per_thread + cpu::kConvWorkspace; };
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      functions.conv_weight_patches(sums, pixel_rows * t / threads, pixel_rows * (t + 1) / threads,
                                    scratch + t * per_thread, partial(t));
    }
  };
  cpu::parallel_ranges(threads, run, cpu::kParallelThreshold);
  for (int64_t k = 0; k < rows; ++k) {
    float* to = sums.dweight + k * columns;
    if (!sums.add) std::fill_n(to, columns, 0.0f);
    for (int64_t t = 0; t < threads; ++t) {
      const float* from = partial(t) + k * row;
      for (int64_t j = 0; j < columns; ++j) to[j] += from[j];
    }
  }
}

}  // namespace

void conv_weight_gradient(const Exec& exec, const ConvWeightProduct<float>& p,
                          cpu::VectorUnit unit) {
  const ConvFunctions& functions = conv_functions(unit);
  const ConvGeometry& g = p.geometry;
  const ConvPhases phases{g, ConvTowards::features};
  const ConvWeightSums sums{.batch = g.batch,
                            .image_size = conv_side(g.image),
                            .features_size = conv_side(g.features),
                            .image = p.image,
                            .features = p.features,
                            .kernel_h = g.window.kernel_h,
                            .kernel_w = g.window.kernel_w,
                            .phase = phases[0],
                            .dweight = p.dweight,
                            .add = p.mode == GradMode::add};
  if (g.image.channels % functions.lanes == 0) {
    weight_by_rows(sums, functions, conv_threads(g, 1, cpu::thread_count()));
  } else {
    weight_by_pixels(exec, sums, functions, g);
  }
  conv_bias_gradient(exec, p);
}

}  // namespace elbo::native
