// Checks, empty cases and dispatch of kernels/conv2d.h. The work is in conv_plan.cpp for the CPU.
#include "kernels/conv2d.h"

#include <type_traits>

#include "kernels/activation_op.h"
#include "kernels/conv_backends.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/linear_backends.h"
#include "kernels/sums.h"

namespace elbo {
namespace {

struct Names {
  const char *forward, *backward_data, *backward_weight;
};
constexpr Names kConv{"conv2d_forward", "conv2d_backward_data", "conv2d_backward_weight"};
constexpr Names kTranspose{"conv_transpose2d_forward", "conv_transpose2d_backward_data",
                           "conv_transpose2d_backward_weight"};

template <class T>
void check_type(const Exec& exec, const char* op) {
  if constexpr (std::is_same_v<T, bf16>) {
    if (!exec.on_cuda()) {
      throw_error(ErrorCode::usage, op, ": products of bf16 matrices need CUDA");
    }
  }
  ELBO_CHECK(!(std::is_same_v<T, double> && exec.on_cuda()), op, ": double runs on the CPU only");
}

template <class T>
void convolve(const Exec& exec, const ConvProduct<T>& product) {
  if constexpr (!std::is_same_v<T, bf16>) {
    if (!exec.on_cuda()) return convolve_on_cpu(exec, product);
  }
#ifdef ELBO_HAS_CUDA
  if constexpr (!std::is_same_v<T, double>) return cuda::convolve(exec, product);
#endif
  throw_error(ErrorCode::failure, "no convolution on this device: ", product.geometry.to_string());
}

template <class T>
void weight_gradient(const Exec& exec, const ConvWeightProduct<T>& product) {
  if constexpr (!std::is_same_v<T, bf16>) {
    if (!exec.on_cuda()) return weight_gradient_on_cpu(exec, product);
  }
#ifdef ELBO_HAS_CUDA
  if constexpr (!std::is_same_v<T, double>) return cuda::conv_weight_gradient(exec, product);
#endif
  throw_error(ErrorCode::failure, "no convolution on this device: ", product.geometry.to_string());
}

template <class T>
void forward(const Exec& exec, const char* op, ConvTowards towards, const BasicConvForward<T>& a) {
  check_type<T>(exec, op);
  check_conv_geometry(op, a.geometry);
  if (a.geometry.batch == 0) return;
  check_conv_operand(exec, op, "x", a.x);
  check_conv_operand(exec, op, "weight", a.weight);
  check_conv_operand(exec, op, "y", a.y);
  T* pre = needs_pre_activation(a.activation) ? static_cast<T*>(a.aux) : nullptr;
  convolve(exec, ConvProduct<T>{.geometry = a.geometry,
                                .towards = towards,
                                .in = a.x,
                                .weight = a.weight,
                                .out = a.y,
                                .bias = a.bias,
                                .activation = a.activation,
                                .pre = pre});
}

template <class T>
void check_input(const char* op, const BasicConvBackwardData<T>& a) {
  if (!a.input) return;
  ELBO_CHECK(a.mode == GradMode::write, op,
             ": the input's activation cannot be undone on top of an earlier gradient; use "
             "activation_backward_bias after the last contribution");
  const bool needs_aux = needs_pre_activation(a.input->activation);
  ELBO_CHECK(!needs_aux || a.input->aux, op, ": the input's activation needs its aux");
  ELBO_CHECK(needs_aux || a.input->activation == Activation::identity || a.input->y, op,
             ": the input's activation needs its y");
}

template <class T>
void backward_data(const Exec& exec, const char* op, ConvTowards towards,
                   const BasicConvBackwardData<T>& a) {
  check_type<T>(exec, op);
  check_conv_geometry(op, a.geometry);
  check_input(op, a);
  if (a.geometry.batch == 0) {
    const ImageSize& x = towards == ConvTowards::image ? a.geometry.image : a.geometry.features;
    if (a.input && a.input->dbias && a.input->dbias_mode == GradMode::write) {
      fill(exec, x.channels, Compute<T>(0), a.input->dbias);
    }
    return;
  }
  check_conv_operand(exec, op, "dy", a.dy);
  check_conv_operand(exec, op, "weight", a.weight);
  check_conv_operand(exec, op, "dx", a.dx);
  convolve(exec, ConvProduct<T>{.geometry = a.geometry,
                                .towards = towards,
                                .in = a.dy,
                                .weight = a.weight,
                                .out = a.dx,
                                .mode = a.mode,
                                .input = a.input});
}

template <class T>
void backward_weight(const Exec& exec, const char* op, ConvTowards dy_side,
                     const BasicConvBackwardWeight<T>& a) {
  check_type<T>(exec, op);
  check_conv_geometry(op, a.geometry);
  check_conv_operand(exec, op, "dweight", a.dweight);
  const bool dy_is_features = dy_side == ConvTowards::features;
  const ConvWeightProduct<T> product{.geometry = a.geometry,
                                     .image = dy_is_features ? a.x : a.dy,
                                     .features = dy_is_features ? a.dy : a.x,
                                     .dweight = a.dweight,
                                     .mode = a.mode,
                                     .dy_side = dy_side,
                                     .dbias = a.dbias,
                                     .dbias_mode = a.dbias_mode};
  if (a.geometry.batch == 0) {
    if (a.mode == GradMode::write) {
      fill(exec, a.geometry.weight_size(), Compute<T>(0), a.dweight);
    }
    if (a.dbias && a.dbias_mode == GradMode::write) {
      fill(exec, product.dy_size().channels, Compute<T>(0), a.dbias);
    }
    return;
  }
  check_conv_operand(exec, op, "x", a.x);
  check_conv_operand(exec, op, "dy", a.dy);
  weight_gradient(exec, product);
}

}  // namespace

template <class T>
void finish_convolution(const Exec& exec, const ConvProduct<T>& p) {
  if (p.bias || p.activation != Activation::identity) {
    bias_activation_forward(exec, BasicBiasActivation<T>{.activation = p.activation,
                                                         .batch = p.out_rows(),
                                                         .dim = p.out_channels(),
                                                         .bias = p.bias,
                                                         .y = p.out,
                                                         .aux = p.pre});
  }
  if (!p.input) return;
  const BasicLinearBackwardData<T> rows{.dy = nullptr,
                                        .weight = nullptr,
                                        .dx = p.out,
                                        .batch = p.out_rows(),
                                        .in = p.out_channels(),
                                        .out = 0,
                                        .input = p.input};
  undo_input_activation(exec, rows);
}

template <class T>
void conv_bias_gradient(const Exec& exec, const ConvWeightProduct<T>& p) {
  if (!p.dbias) return;
  sum_cols(exec, p.geometry.batch * p.dy_size().pixels(), p.dy_size().channels, p.dy(), p.dbias,
           Compute<T>(1), p.dbias_mode);
}

template void finish_convolution(const Exec&, const ConvProduct<float>&);
template void finish_convolution(const Exec&, const ConvProduct<double>&);
template void conv_bias_gradient(const Exec&, const ConvWeightProduct<float>&);
template void conv_bias_gradient(const Exec&, const ConvWeightProduct<double>&);

template <class T>
size_t conv_aux_bytes(int64_t outputs, Activation activation) {
  return needs_pre_activation(activation) ? static_cast<size_t>(outputs) * sizeof(T) : 0;
}

template <class T>
void conv2d_forward(const Exec& exec, const BasicConvForward<T>& args) {
  forward(exec, kConv.forward, ConvTowards::features, args);
}
template <class T>
void conv2d_backward_data(const Exec& exec, const BasicConvBackwardData<T>& args) {
  backward_data(exec, kConv.backward_data, ConvTowards::image, args);
}
template <class T>
void conv2d_backward_weight(const Exec& exec, const BasicConvBackwardWeight<T>& args) {
  backward_weight(exec, kConv.backward_weight, ConvTowards::features, args);
}
template <class T>
void conv_transpose2d_forward(const Exec& exec, const BasicConvForward<T>& args) {
  forward(exec, kTranspose.forward, ConvTowards::image, args);
}
template <class T>
void conv_transpose2d_backward_data(const Exec& exec, const BasicConvBackwardData<T>& args) {
  backward_data(exec, kTranspose.backward_data, ConvTowards::features, args);
}
template <class T>
void conv_transpose2d_backward_weight(const Exec& exec, const BasicConvBackwardWeight<T>& args) {
  backward_weight(exec, kTranspose.backward_weight, ConvTowards::image, args);
}

#define ELBO_INSTANTIATE(T)                                                                   \
  template size_t conv_aux_bytes<T>(int64_t, Activation);                                     \
  template void conv2d_forward(const Exec&, const BasicConvForward<T>&);                      \
  template void conv2d_backward_data(const Exec&, const BasicConvBackwardData<T>&);           \
  template void conv2d_backward_weight(const Exec&, const BasicConvBackwardWeight<T>&);       \
  template void conv_transpose2d_forward(const Exec&, const BasicConvForward<T>&);            \
  template void conv_transpose2d_backward_data(const Exec&, const BasicConvBackwardData<T>&); \
  template void conv_transpose2d_backward_weight(const Exec&, const BasicConvBackwardWeight<T>&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(double)
ELBO_INSTANTIATE(bf16)
#undef ELBO_INSTANTIATE

}  // namespace elbo
