// Convolutions as the formulas of kernels/conv2d.h read, pixel by pixel: the oracle of tests and gradient
// checks in double.
#include <algorithm>

#include "kernels/conv_backends.h"

namespace elbo::reference {
namespace {

// Calls f(row of features, row of image, tap) for every tap of feature pixel (i, j) of sample b that
// lies inside of the image; rows count pixels of the whole batch.
template <class F>
void for_each_tap(const ConvGeometry& g, int64_t b, int64_t i, int64_t j, F&& f) {
  const ConvWindow& w = g.window;
  const int64_t feature_row = (b * g.features.height + i) * g.features.width + j;
  for (int64_t r = 0; r < w.kernel_h; ++r) {
    const int64_t y = i * w.stride_h - w.padding_h + r * w.dilation_h;
    if (y < 0 || y >= g.image.height) continue;
    for (int64_t s = 0; s < w.kernel_w; ++s) {
      const int64_t x = j * w.stride_w - w.padding_w + s * w.dilation_w;
      if (x < 0 || x >= g.image.width) continue;
      f(feature_row, (b * g.image.height + y) * g.image.width + x, r * w.kernel_w + s);
    }
  }
}

template <class F>
void for_each_pair(const ConvGeometry& g, F&& f) {
  for (int64_t b = 0; b < g.batch; ++b) {
    for (int64_t i = 0; i < g.features.height; ++i) {
      for (int64_t j = 0; j < g.features.width; ++j) for_each_tap(g, b, i, j, f);
    }
  }
}

}  // namespace

template <class T>
void convolve(const Exec& exec, const ConvProduct<T>& p) {
  const ConvGeometry& g = p.geometry;
  const int64_t image_channels = g.image.channels, feature_channels = g.features.channels;
  if (p.mode == GradMode::write) std::fill_n(p.out, p.out_rows() * p.out_channels(), T(0));
  for_each_pair(g, [&](int64_t feature_row, int64_t image_row, int64_t tap) {
    for (int64_t k = 0; k < feature_channels; ++k) {
      const T* w = p.weight + (k * g.window.taps() + tap) * image_channels;
      const int64_t feature = feature_row * feature_channels + k;
      const int64_t pixel = image_row * image_channels;
      for (int64_t c = 0; c < image_channels; ++c) {
        if (p.towards == ConvTowards::features) {
          p.out[feature] += p.in[pixel + c] * w[c];
        } else {
          p.out[pixel + c] += p.in[feature] * w[c];
        }
      }
    }
  });
  finish_convolution(exec, p);
}

template <class T>
void conv_weight_gradient(const Exec& exec, const ConvWeightProduct<T>& p) {
  const ConvGeometry& g = p.geometry;
  const int64_t image_channels = g.image.channels, feature_channels = g.features.channels;
  if (p.mode == GradMode::write) std::fill_n(p.dweight, g.weight_size(), T(0));
  for_each_pair(g, [&](int64_t feature_row, int64_t image_row, int64_t tap) {
    for (int64_t k = 0; k < feature_channels; ++k) {
      T* dw = p.dweight + (k * g.window.taps() + tap) * image_channels;
      const T feature = p.features[feature_row * feature_channels + k];
      for (int64_t c = 0; c < image_channels; ++c) {
        dw[c] += feature * p.image[image_row * image_channels + c];
      }
    }
  });
  conv_bias_gradient(exec, p);
}

template void convolve(const Exec&, const ConvProduct<float>&);
template void convolve(const Exec&, const ConvProduct<double>&);
template void conv_weight_gradient(const Exec&, const ConvWeightProduct<float>&);
template void conv_weight_gradient(const Exec&, const ConvWeightProduct<double>&);

}  // namespace elbo::reference
