// oneDNN's own convolutions and nothing else: what conv_bench compares with. NHWC activations, the
// weight in the layout that the primitive likes best, reordered beforehand and not timed.
#pragma once

#include <memory>
#include <string>

#include "kernels/conv_geometry.h"

namespace elbo::bench {

enum class BareConvKind : int { forward, backward_data, backward_weight, deconvolution };

class BareConv {
 public:
  // image and features are the caller's; the weight is made here.
  BareConv(BareConvKind kind, const ConvGeometry& geometry, float* image, float* features);
  ~BareConv();

  void run();
  const std::string& implementation() const;

 private:
  struct Primitive;
  std::unique_ptr<Primitive> primitive_;
};

}  // namespace elbo::bench
