// The geometry that a convolution and its transpose share.
//
// Both relate the pixels of a fine grid, the image, to those of a coarse one, the features, through a
// window: tap (r, s) of the feature pixel (i, j) lies at the image's pixel
//
//   (i * stride_h - padding_h + r * dilation_h,  j * stride_w - padding_w + s * dilation_w)
//
// and outside of the image it is zero. conv2d reads the image and writes features; conv_transpose2d,
// its adjoint, reads features and writes the image. So conv2d's gradient of its input is a transposed
// convolution, that of conv_transpose2d a convolution, and both have the same gradient of the weight.
//
// Layout    pixels are [B, H, W, C], the weight is [features.channels, kernel_h, kernel_w,
//           image.channels] for both (files hold PyTorch's OIHW and IOHW: models/weight_layout.h)
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace elbo {

struct ImageSize {
  int64_t height = 1, width = 1, channels = 1;

  int64_t pixels() const { return height * width; }
  int64_t size() const { return height * width * channels; }
  bool operator==(const ImageSize&) const = default;
};

struct ConvWindow {
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t padding_h = 0, padding_w = 0;
  int64_t dilation_h = 1, dilation_w = 1;

  static ConvWindow square(int64_t kernel, int64_t stride = 1, int64_t padding = 0,
                           int64_t dilation = 1) {
    return {kernel, kernel, stride, stride, padding, padding, dilation, dilation};
  }
  int64_t taps() const { return kernel_h * kernel_w; }
  bool operator==(const ConvWindow&) const = default;
};

struct ConvGeometry {
  int64_t batch = 0;
  ImageSize image;     // what conv2d reads and conv_transpose2d writes
  ImageSize features;  // the other one
  ConvWindow window;

  int64_t weight_size() const { return features.channels * window.taps() * image.channels; }
  int64_t image_rows() const { return batch * image.pixels(); }
  int64_t feature_rows() const { return batch * features.pixels(); }
  std::string to_string() const;  // "8x64x64x3 k4 s2 p1 -> 8x32x32x32", for messages and plans
  std::string sizes() const;      // "64x64x3 k4 s2 p1 -> 32x32x32": whatever the batch
  bool operator==(const ConvGeometry&) const = default;
};

struct ConvGeometryHash {
  size_t operator()(const ConvGeometry& geometry) const;
};

// Of a convolution along one axis: floor((in + 2 padding - dilation (kernel - 1) - 1) / stride) + 1;
// 0 or less if the window does not fit.
int64_t conv_output_extent(int64_t in, int64_t kernel, int64_t stride, int64_t padding,
                           int64_t dilation);

// Of a transposed one: (in - 1) stride - 2 padding + dilation (kernel - 1) + 1 + output_padding.
int64_t conv_transpose_output_extent(int64_t in, int64_t kernel, int64_t stride, int64_t padding,
                                     int64_t dilation, int64_t output_padding);

// elbo::Error (usage) naming the sizes if there is no output, or a number makes no sense:
// kernel, stride, dilation >= 1, padding >= 0, 0 <= output_padding < max(stride, dilation).
ConvGeometry conv2d_geometry(int64_t batch, const ImageSize& in, int64_t out_channels,
                             const ConvWindow& window);
ConvGeometry conv_transpose2d_geometry(int64_t batch, const ImageSize& in, int64_t out_channels,
                                       const ConvWindow& window, int64_t output_padding_h = 0,
                                       int64_t output_padding_w = 0);

}  // namespace elbo
