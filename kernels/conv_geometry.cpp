#include "kernels/conv_geometry.h"

#include <algorithm>

#include "kernels/error.h"

namespace elbo {
namespace {

std::string image_text(const ImageSize& image) {
  return concat(image.height, "x", image.width, "x", image.channels);
}

std::string pair_text(const char* name, int64_t h, int64_t w) {
  return h == w ? concat(" ", name, h) : concat(" ", name, h, "x", w);
}

std::string window_text(const ConvWindow& w) {
  std::string text = pair_text("k", w.kernel_h, w.kernel_w) +
                     pair_text("s", w.stride_h, w.stride_w) +
                     pair_text("p", w.padding_h, w.padding_w);
  if (w.dilation_h != 1 || w.dilation_w != 1) text += pair_text("d", w.dilation_h, w.dilation_w);
  return text;
}

void check_window(const char* op, const ImageSize& in, int64_t out_channels, const ConvWindow& w) {
  const bool sensible = w.kernel_h >= 1 && w.kernel_w >= 1 && w.stride_h >= 1 && w.stride_w >= 1 &&
                        w.dilation_h >= 1 && w.dilation_w >= 1 && w.padding_h >= 0 &&
                        w.padding_w >= 0;
  if (!sensible) {
    throw_error(ErrorCode::usage, op, ": the window is", window_text(w),
                "; expected kernel, stride and dilation of at least 1 and padding of at least 0");
  }
  if (in.height < 1 || in.width < 1 || in.channels < 1 || out_channels < 1) {
    throw_error(ErrorCode::usage, op, ": the input is ", image_text(in), " with ", out_channels,
                " output channels; expected at least 1 of each");
  }
}

[[noreturn]] void throw_no_output(const char* op, const ImageSize& in, const ConvWindow& window) {
  throw_error(ErrorCode::usage, op, window_text(window), " leaves nothing of an input of ",
              image_text(in), "; use a smaller kernel, more padding or fewer layers");
}

}  // namespace

std::string ConvGeometry::to_string() const {
  return concat(batch, "x", image_text(image), window_text(window), " -> ", batch, "x",
                image_text(features));
}

std::string ConvGeometry::sizes() const {
  return concat(image_text(image), window_text(window), " -> ", image_text(features));
}

size_t ConvGeometryHash::operator()(const ConvGeometry& g) const {
  const ConvWindow& w = g.window;
  uint64_t hash = 0;
  for (const int64_t size :
       {g.batch, g.image.height, g.image.width, g.image.channels, g.features.height,
        g.features.width, g.features.channels, w.kernel_h, w.kernel_w, w.stride_h, w.stride_w,
        w.padding_h, w.padding_w, w.dilation_h, w.dilation_w}) {
    hash = (hash ^ static_cast<uint64_t>(size)) * 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio
    hash ^= hash >> 32;
  }
  return hash;
}

int64_t conv_output_extent(int64_t in, int64_t kernel, int64_t stride, int64_t padding,
                           int64_t dilation) {
  const int64_t room = in + 2 * padding - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

int64_t conv_transpose_output_extent(int64_t in, int64_t kernel, int64_t stride, int64_t padding,
                                     int64_t dilation, int64_t output_padding) {
  return (in - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding;
}

ConvGeometry conv2d_geometry(int64_t batch, const ImageSize& in, int64_t out_channels,
                             const ConvWindow& window) {
  constexpr const char* kOp = "conv2d";
  check_window(kOp, in, out_channels, window);
  const ConvWindow& w = window;
  const ImageSize out{
      conv_output_extent(in.height, w.kernel_h, w.stride_h, w.padding_h, w.dilation_h),
      conv_output_extent(in.width, w.kernel_w, w.stride_w, w.padding_w, w.dilation_w),
      out_channels};
  if (out.height < 1 || out.width < 1) throw_no_output(kOp, in, window);
  return {batch, in, out, window};
}

ConvGeometry conv_transpose2d_geometry(int64_t batch, const ImageSize& in, int64_t out_channels,
                                       const ConvWindow& window, int64_t output_padding_h,
                                       int64_t output_padding_w) {
  constexpr const char* kOp = "conv_transpose2d";
  check_window(kOp, in, out_channels, window);
  const ConvWindow& w = window;
  if (output_padding_h < 0 || output_padding_h >= std::max(w.stride_h, w.dilation_h) ||
      output_padding_w < 0 || output_padding_w >= std::max(w.stride_w, w.dilation_w)) {
    throw_error(ErrorCode::usage, kOp, window_text(window), ": output_padding is ",
                output_padding_h, "x", output_padding_w,
                "; expected less than the larger of stride and dilation");
  }
  const ImageSize out{conv_transpose_output_extent(in.height, w.kernel_h, w.stride_h, w.padding_h,
                                                   w.dilation_h, output_padding_h),
                      conv_transpose_output_extent(in.width, w.kernel_w, w.stride_w, w.padding_w,
                                                   w.dilation_w, output_padding_w),
                      out_channels};
  if (out.height < 1 || out.width < 1) throw_no_output(kOp, in, window);
  return {batch, out, in, window};
}

}  // namespace elbo
