// The convolutions themselves, from their definition.
#include <vector>

#include "tests/sim/fake_cudnn.h"
#include "tests/sim/tensor.h"

namespace cudasim::dnn {
namespace {

// Calls f(index in x, index in y, index in w) of the first channels of every connected triple.
template <class F>
void for_each_connection(const Work& work, F&& f) {
  const Window& g = work.window;
  for (int n = 0; n < work.y.n; ++n) {
    for (int p = 0; p < work.y.h; ++p) {
      for (int q = 0; q < work.y.w; ++q) {
        for (int r = 0; r < work.w.h; ++r) {
          for (int s = 0; s < work.w.w; ++s) {
            const int h = p * g.stride_h + r * g.dilation_h - g.pad_h;
            const int v = q * g.stride_w + s * g.dilation_w - g.pad_w;
            if (h < 0 || h >= work.x.h || v < 0 || v >= work.x.w) continue;
            f(work.x.at(n, h, v, 0), work.y.at(n, p, q, 0), work.w.at(0, r, s, 0));
          }
        }
      }
    }
  }
}

}  // namespace

void compute(const Work& work) {
  // Manual, CUDNN_FMA_MATH: no tensor cores; the others may round fp32 to TF32.
  const bool rounds = work.window.math != CUDNN_FMA_MATH;
  const auto number = [&](float v) { return rounds ? round_to_tf32(v) : v; };
  const int channels = work.x.c, filters = work.y.c;
  const int64_t filter_size = work.w.size() / filters;
  std::vector<double> sums(static_cast<size_t>(work.written().size()));
  for_each_connection(work, [&](int64_t x, int64_t y, int64_t w) {
    for (int k = 0; k < filters; ++k) {
      for (int c = 0; c < channels; ++c) {
        const int64_t of_w = k * filter_size + w + c;
        if (work.kind == Kind::forward) {
          sums[y + k] += double{number(work.x_data[x + c])} * number(work.w_data[of_w]);
        } else if (work.kind == Kind::data) {
          sums[x + c] += double{number(work.y_data[y + k])} * number(work.w_data[of_w]);
        } else {
          sums[of_w] += double{number(work.x_data[x + c])} * number(work.y_data[y + k]);
        }
      }
    }
  });
  for (size_t i = 0; i < sums.size(); ++i) {
    const double old = work.beta != 0 ? double{work.beta} * work.out[i] : 0.0;
    work.out[i] = static_cast<float>(work.alpha * sums[i] + old);
  }
}

}  // namespace cudasim::dnn
