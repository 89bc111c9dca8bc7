// Brute-force double for the tests of convolutions: every output asks each pair of pixels whether the
// window connects them, so that it shares neither code nor loop structure with the kernels.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/conv_geometry.h"
#include "tests/kernels/linear_oracle.h"

namespace elbo::oracle {

// One of the two ops on one geometry.
struct ConvCase {
  ConvGeometry geometry;
  bool transpose;

  const ImageSize& x_size() const { return transpose ? geometry.features : geometry.image; }
  const ImageSize& y_size() const { return transpose ? geometry.image : geometry.features; }
  int64_t x_count() const { return geometry.batch * x_size().size(); }
  int64_t y_count() const { return geometry.batch * y_size().size(); }
};

inline std::string to_string(const ConvCase& c) {
  return (c.transpose ? "conv_transpose2d " : "conv2d ") + c.geometry.to_string();
}

// The tap that connects feature coordinate i with image coordinate y along one axis; -1 if none does.
inline int64_t tap_between(int64_t i, int64_t y, int64_t kernel, int64_t stride, int64_t padding,
                           int64_t dilation) {
  for (int64_t r = 0; r < kernel; ++r) {
    if (i * stride - padding + r * dilation == y) return r;
  }
  return -1;
}

// Calls f(feature pixel, image pixel, tap) for all connected pairs; pixels are rows of [B*H*W, C].
template <class F>
void for_each_connection(const ConvGeometry& g, F&& f) {
  const ConvWindow& w = g.window;
  for (int64_t y = 0; y < g.image.height; ++y) {
    for (int64_t i = 0; i < g.features.height; ++i) {
      const int64_t r = tap_between(i, y, w.kernel_h, w.stride_h, w.padding_h, w.dilation_h);
      if (r < 0) continue;
      for (int64_t x = 0; x < g.image.width; ++x) {
        for (int64_t j = 0; j < g.features.width; ++j) {
          const int64_t s = tap_between(j, x, w.kernel_w, w.stride_w, w.padding_w, w.dilation_w);
          if (s < 0) continue;
          for (int64_t b = 0; b < g.batch; ++b) {
            f((b * g.features.height + i) * g.features.width + j,
              (b * g.image.height + y) * g.image.width + x, r * w.kernel_w + s);
          }
        }
      }
    }
  }
}

template <class T>
void add_term(Matrix& m, int64_t at, T a, T b) {
  m.value[at] += double{a} * double{b};
  m.magnitude[at] += std::abs(double{a} * double{b});
}

// Sums towards the image or the features, without bias.
inline Matrix convolve(const ConvGeometry& g, bool to_image, const std::vector<float>& in,
                       const std::vector<float>& weight) {
  const int64_t ci = g.image.channels, cf = g.features.channels;
  Matrix out(to_image ? g.image_rows() * ci : g.feature_rows() * cf);
  for_each_connection(g, [&](int64_t feature, int64_t pixel, int64_t tap) {
    for (int64_t k = 0; k < cf; ++k) {
      for (int64_t c = 0; c < ci; ++c) {
        const float w = weight[(k * g.window.taps() + tap) * ci + c];
        if (to_image) {
          add_term(out, pixel * ci + c, in[feature * cf + k], w);
        } else {
          add_term(out, feature * cf + k, in[pixel * ci + c], w);
        }
      }
    }
  });
  return out;
}

inline Matrix weight_gradient(const ConvGeometry& g, const std::vector<float>& image,
                              const std::vector<float>& features) {
  const int64_t ci = g.image.channels, cf = g.features.channels;
  Matrix dw(g.weight_size());
  for_each_connection(g, [&](int64_t feature, int64_t pixel, int64_t tap) {
    for (int64_t k = 0; k < cf; ++k) {
      for (int64_t c = 0; c < ci; ++c) {
        add_term(dw, (k * g.window.taps() + tap) * ci + c, image[pixel * ci + c],
                 features[feature * cf + k]);
      }
    }
  });
  return dw;
}

// Random cases: kernel 1-7, stride 1-4, padding 0-3, dilation 1-2, output_padding, channels 1-17,
// heights and widths up to 16, batches 0-5; the two axes differ.
inline std::vector<ConvCase> random_conv_cases(uint32_t seed, int count) {
  std::mt19937 engine(seed);
  const auto number = [&](int64_t from, int64_t to) {
    return from + static_cast<int64_t>(engine() % static_cast<uint32_t>(to - from + 1));
  };
  std::vector<ConvCase> cases;
  while (static_cast<int>(cases.size()) < count) {
    const bool transpose = cases.size() % 2 == 1;
    const ConvWindow w{number(1, 7), number(1, 7), number(1, 4), number(1, 4),
                       number(0, 3), number(0, 3), number(1, 2), number(1, 2)};
    const ImageSize in{number(1, 16), number(1, 16), number(1, 17)};
    const int64_t batch = number(0, 5), out_channels = number(1, 17);
    const int64_t op_h = number(0, std::max(w.stride_h, w.dilation_h) - 1);
    const int64_t op_w = number(0, std::max(w.stride_w, w.dilation_w) - 1);
    const auto out = [&](int64_t size, int64_t k, int64_t s, int64_t p, int64_t d, int64_t op) {
      return transpose ? conv_transpose_output_extent(size, k, s, p, d, op)
                       : conv_output_extent(size, k, s, p, d);
    };
    const int64_t h = out(in.height, w.kernel_h, w.stride_h, w.padding_h, w.dilation_h, op_h);
    const int64_t v = out(in.width, w.kernel_w, w.stride_w, w.padding_w, w.dilation_w, op_w);
    // Transposed outputs are kept small too, for the oracle's time.
    if (h < 1 || v < 1 || h > 20 || v > 20) continue;
    cases.push_back({transpose ? conv_transpose2d_geometry(batch, in, out_channels, w, op_h, op_w)
                               : conv2d_geometry(batch, in, out_channels, w),
                     transpose});
  }
  return cases;
}

}  // namespace elbo::oracle
