// Who computes a convolution on CUDA: cuDNN (conv_cudnn_cuda.cpp) or our own kernels (tensor_conv.h).
#include <algorithm>
#include <type_traits>

#include "kernels/conv_backends.h"
#include "kernels/conv_choice.h"
#include "kernels/tensor_conv.h"

namespace elbo::cuda {

template <class T>
bool conv_prefers_library([[maybe_unused]] const Exec& exec,
                          [[maybe_unused]] const ConvGeometry& geometry) {
#ifdef ELBO_HAS_CUDNN
  // Only fp32: of bf16 the library makes no fp32 weight gradients. The number of channels up to which
  // ours are better is a guess; where products may be timed (conv_choice.h), nothing rests on it.
  constexpr int64_t kMostOwnChannels = 64;
  if (!std::is_same_v<T, float> || !exec.gemm || !exec.gemm->cudnn) return false;
  const int64_t channels = std::min(geometry.image.channels, geometry.features.channels);
  return exec.product_kernels == ProductKernels::vendor ||
         (exec.product_kernels == ProductKernels::automatic && channels > kMostOwnChannels);
#else
  return false;
#endif
}

template <class T>
void convolve(const Exec& exec, const ConvProduct<T>& product) {
  using tensor_core::Phases;
  Phases phases = Phases::by_rule;
#ifdef ELBO_HAS_CUDNN
  if constexpr (std::is_same_v<T, float>) {
    const ConvWay way = choose_way(exec, product);
    if (way == ConvWay::library && cudnn::convolve(exec, product)) return;
    if (way == ConvWay::own_apart) phases = Phases::apart;
    if (way == ConvWay::own_joint) phases = Phases::joint;
  }
#endif
  tensor_core::convolve(exec, product, phases);
}

template <class T>
void conv_weight_gradient(const Exec& exec, const ConvWeightProduct<T>& product) {
#ifdef ELBO_HAS_CUDNN
  if constexpr (std::is_same_v<T, float>) {
    const ConvWay way = choose_way(exec, product);
    if (way == ConvWay::library && cudnn::conv_weight_gradient(exec, product)) return;
  }
#endif
  tensor_core::conv_weight_gradient(exec, product);
}

template void convolve(const Exec&, const ConvProduct<float>&);
template void convolve(const Exec&, const ConvProduct<bf16>&);
template void conv_weight_gradient(const Exec&, const ConvWeightProduct<float>&);
template void conv_weight_gradient(const Exec&, const ConvWeightProduct<bf16>&);
template bool conv_prefers_library<float>(const Exec&, const ConvGeometry&);
template bool conv_prefers_library<bf16>(const Exec&, const ConvGeometry&);

}  // namespace elbo::cuda
