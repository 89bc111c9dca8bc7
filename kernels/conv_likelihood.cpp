// Checks and dispatch of kernels/conv_likelihood.h; the fused kernel is in tensor_conv_likelihood.cu.
#include "kernels/conv_likelihood.h"

#include <type_traits>

#include "kernels/conv_backends.h"
#include "kernels/error.h"
#include "kernels/likelihood_pass.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/tensor_conv.h"
#endif

namespace elbo {
namespace {

const ImageSize& output_size(const ConvGeometry& geometry, ConvTowards towards) {
  return towards == ConvTowards::features ? geometry.features : geometry.image;
}

template <class T>
bool is_fused([[maybe_unused]] const Exec& exec, [[maybe_unused]] const ConvGeometry& geometry) {
#ifdef ELBO_HAS_CUDA
  if constexpr (!std::is_same_v<T, double>) {
    return exec.on_cuda() && !cuda::conv_prefers_library<T>(exec, geometry);
  }
#endif
  return false;
}

template <class T, class Target>
void convolution_then_likelihood(const Exec& exec, ConvTowards towards,
                                 const ConvLikelihood<T, Target>& args) {
  const BasicConvForward<T> layer{.geometry = args.geometry,
                                  .x = args.x,
                                  .weight = args.weight,
                                  .bias = args.bias,
                                  .y = args.doutput};
  towards == ConvTowards::features ? conv2d_forward(exec, layer)
                                   : conv_transpose2d_forward(exec, layer);
  likelihood_in_place<T, Target>(exec, args, args.geometry.batch,
                                 output_size(args.geometry, towards).size());
}

template <class T, class Target>
void run(const Exec& exec, const char* op, ConvTowards towards,
         const ConvLikelihood<T, Target>& args) {
  check_conv_geometry(op, args.geometry);
  if (args.geometry.batch == 0) return;
  check_conv_operand(exec, op, "x", args.x);
  check_conv_operand(exec, op, "weight", args.weight);
  check_conv_operand(exec, op, "doutput", args.doutput);
  ELBO_CHECK(has_fused_layer(args.likelihood), op, ": bernoulli and gaussian only");
  ELBO_CHECK(args.target, op, ": the target is null");
  ELBO_CHECK(args.nll, op, ": nll is null");
  ELBO_CHECK(args.loss_weight.values, op, ": the weight of the loss is null");
#ifdef ELBO_HAS_CUDA
  if constexpr (!std::is_same_v<T, double>) {
    if (is_fused<T>(exec, args.geometry)) return tensor_core::conv_likelihood(exec, towards, args);
  }
#endif
  convolution_then_likelihood(exec, towards, args);
}

template <class T>
int64_t parts([[maybe_unused]] const Exec& exec, [[maybe_unused]] ConvTowards towards,
              [[maybe_unused]] const ConvGeometry& geometry) {
#ifdef ELBO_HAS_CUDA
  if (is_fused<T>(exec, geometry)) return tensor_core::conv_likelihood_parts(geometry, towards);
#endif
  return 1;
}

}  // namespace

template <class T, class Target>
void conv2d_likelihood(const Exec& exec, const ConvLikelihood<T, Target>& args) {
  run(exec, "conv2d_likelihood", ConvTowards::features, args);
}
template <class T, class Target>
void conv_transpose2d_likelihood(const Exec& exec, const ConvLikelihood<T, Target>& args) {
  run(exec, "conv_transpose2d_likelihood", ConvTowards::image, args);
}
template <class T>
int64_t conv2d_likelihood_parts(const Exec& exec, const ConvGeometry& geometry) {
  return parts<T>(exec, ConvTowards::features, geometry);
}
template <class T>
int64_t conv_transpose2d_likelihood_parts(const Exec& exec, const ConvGeometry& geometry) {
  return parts<T>(exec, ConvTowards::image, geometry);
}

#define ELBO_INSTANTIATE(T, Target)                                               \
  template void conv2d_likelihood(const Exec&, const ConvLikelihood<T, Target>&); \
  template void conv_transpose2d_likelihood(const Exec&, const ConvLikelihood<T, Target>&);
ELBO_INSTANTIATE(float, float)
ELBO_INSTANTIATE(float, uint8_t)
ELBO_INSTANTIATE(bf16, float)
ELBO_INSTANTIATE(bf16, uint8_t)
ELBO_INSTANTIATE(double, double)
ELBO_INSTANTIATE(double, uint8_t)
#undef ELBO_INSTANTIATE
#define ELBO_INSTANTIATE(T)                                                      \
  template int64_t conv2d_likelihood_parts<T>(const Exec&, const ConvGeometry&); \
  template int64_t conv_transpose2d_likelihood_parts<T>(const Exec&, const ConvGeometry&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(bf16)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
