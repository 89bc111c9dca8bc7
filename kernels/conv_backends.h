// The bodies behind kernels/conv2d.h, one namespace per library. Private to kernels/: callers use
// conv2d.h, whose dispatcher has checked the operands and taken out the empty cases, so here
// extents are positive and pointers are set.
//
// The six functions of conv2d.h are three: towards the features (forward of conv2d, gradient of
// conv_transpose2d's x), towards the image (the other two), and the gradient of the weight.
#pragma once

#include <string>
#include <vector>

#include "kernels/conv2d.h"
#include "kernels/cpu_product.h"
#include "kernels/gemm_handles.h"

namespace elbo {

enum class ConvTowards : int { features, image };

// out (+)= the sums of one side over the other, and what follows them in forward or backward.
template <class T>
struct ConvProduct {
  ConvGeometry geometry;
  ConvTowards towards;
  const T* in;      // features or image, whichever is not written
  const T* weight;  // [features.channels, kernel_h, kernel_w, image.channels]
  T* out;
  GradMode mode = GradMode::write;
  // Forward: out = act(sums + bias), sums + bias kept in pre where it is given.
  const Compute<T>* bias = nullptr;
  Activation activation = Activation::identity;
  T* pre = nullptr;
  // Backward, only with GradMode::write: undoes the activation that made x, sums its bias gradient.
  const BasicInputActivation<T>* input = nullptr;

  const ImageSize& out_size() const {
    return towards == ConvTowards::features ? geometry.features : geometry.image;
  }
  int64_t out_rows() const { return geometry.batch * out_size().pixels(); }
  int64_t out_channels() const { return out_size().channels; }
};

// dweight (+)= sum over feature pixels of features x image patch; dbias (+)= sums of dy's channels.
template <class T>
struct ConvWeightProduct {
  ConvGeometry geometry;
  const T* image;
  const T* features;
  Compute<T>* dweight;
  GradMode mode = GradMode::write;
  ConvTowards dy_side = ConvTowards::features;  // which of the two is dy
  Compute<T>* dbias = nullptr;
  GradMode dbias_mode = GradMode::write;

  const T* dy() const { return dy_side == ConvTowards::features ? features : image; }
  const ImageSize& dy_size() const {
    return dy_side == ConvTowards::features ? geometry.features : geometry.image;
  }
};

// What every entry checks first: elbo::Error naming `op`.
void check_conv_geometry(const char* op, const ConvGeometry& geometry);
void check_conv_operand(const Exec& exec, const char* op, const char* name, const void* data);

// For backends whose products do nothing but multiply: what ConvProduct asks for behind them, the
// sums being in product.out. T is float or double.
template <class T>
void finish_convolution(const Exec& exec, const ConvProduct<T>& product);
template <class T>
void conv_bias_gradient(const Exec& exec, const ConvWeightProduct<T>& product);

namespace reference {  // plain loops, for float and double

template <class T>
void convolve(const Exec& exec, const ConvProduct<T>& product);
template <class T>
void conv_weight_gradient(const Exec& exec, const ConvWeightProduct<T>& product);

}  // namespace reference

namespace native {  // kernels/cpu_conv.h, float only; any geometry

// Few output channels, whose pixels can lie in the lanes.
bool takes_thin(const ConvProduct<float>& product);

void convolve(const Exec& exec, const ConvProduct<float>& product,
              cpu::VectorUnit unit = cpu::default_vector_unit());
void conv_weight_gradient(const Exec& exec, const ConvWeightProduct<float>& product,
                          cpu::VectorUnit unit = cpu::default_vector_unit());

}  // namespace native

#ifdef ELBO_HAS_ONEDNN
namespace onednn {

CpuConv* create_conv();
void destroy_conv(CpuConv* conv) noexcept;
std::vector<std::string> describe_conv(const CpuConv& conv);

// False, having done nothing, where the library has only reference loops.
bool convolve(const Exec& exec, const ConvProduct<float>& product);
bool conv_weight_gradient(const Exec& exec, const ConvWeightProduct<float>& product);

}  // namespace onednn
#endif

// The one of these that is fastest (conv_plan.cpp), or the one that ELBO_CONV=native|onednn asks
// for.
void convolve_on_cpu(const Exec& exec, const ConvProduct<float>& product);
void convolve_on_cpu(const Exec& exec, const ConvProduct<double>& product);
void weight_gradient_on_cpu(const Exec& exec, const ConvWeightProduct<float>& product);
void weight_gradient_on_cpu(const Exec& exec, const ConvWeightProduct<double>& product);
#ifdef ELBO_HAS_CUDA
namespace cuda {  // chooses between cuDNN and our own kernels; T is float or bf16

template <class T>
void convolve(const Exec& exec, const ConvProduct<T>& product);
template <class T>
void conv_weight_gradient(const Exec& exec, const ConvWeightProduct<T>& product);

// Whether products of this geometry are the library's, as far as it has an algorithm for them: by
// exec.product_kernels, else by a rule. Decides alone for a last layer that might be fused with its
// likelihood, as the memory that it needs depends on it and is planned before anything runs.
template <class T>
bool conv_prefers_library(const Exec& exec, const ConvGeometry& geometry);

}  // namespace cuda
#endif

#ifdef ELBO_HAS_CUDNN
namespace cudnn {

CudnnConv* create();
void destroy(CudnnConv* convolutions) noexcept;
std::vector<std::string> describe(const CudnnConv& convolutions);

// False, with nothing done, where the library has no deterministic algorithm that fits into scratch.
bool convolve(const Exec& exec, const ConvProduct<float>& product);
bool conv_weight_gradient(const Exec& exec, const ConvWeightProduct<float>& product);

}  // namespace cudnn
#endif
}  // namespace elbo
