// What every entry of kernels/conv2d.h and conv_likelihood.h checks before it touches memory.
#include "kernels/conv_backends.h"
#include "kernels/error.h"

namespace elbo {
namespace {

// Along one axis: every window lies within the padded image, or the two grids have nothing to do with
// each other.
bool belong_together(int64_t image, int64_t features, int64_t kernel, int64_t stride,
                     int64_t padding, int64_t dilation) {
  return image >= 1 && features >= 1 &&
         (features - 1) * stride + dilation * (kernel - 1) < image + 2 * padding;
}

}  // namespace

void check_conv_geometry(const char* op, const ConvGeometry& g) {
  const ConvWindow& w = g.window;
  const bool sensible = g.batch >= 0 && g.image.channels >= 1 && g.features.channels >= 1 &&
                        w.kernel_h >= 1 && w.kernel_w >= 1 && w.stride_h >= 1 && w.stride_w >= 1 &&
                        w.dilation_h >= 1 && w.dilation_w >= 1 && w.padding_h >= 0 &&
                        w.padding_w >= 0 &&
                        belong_together(g.image.height, g.features.height, w.kernel_h, w.stride_h,
                                        w.padding_h, w.dilation_h) &&
                        belong_together(g.image.width, g.features.width, w.kernel_w, w.stride_w,
                                        w.padding_w, w.dilation_w);
  ELBO_CHECK(sensible, op, ": impossible geometry ", g.to_string());
}

void check_conv_operand(const Exec& exec, const char* op, const char* name, const void* data) {
  ELBO_CHECK(data, op, ": ", name, " is null");
  ELBO_CHECK(!exec.on_cuda() || reinterpret_cast<uintptr_t>(data) % 16 == 0, op, ": ", name,
             " is not 16-byte aligned");
}

}  // namespace elbo
