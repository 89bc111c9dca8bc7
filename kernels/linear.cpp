// Checks, empty cases and dispatch of kernels/linear.h. The work is in linear_native.cpp (our
// own products), linear_cpu.cpp (oneDNN), linear_cuda.cpp (cuBLASLt) and linear_reference.cpp (plain
// loops, for double).
#include "kernels/linear.h"

#include <algorithm>
#include <array>
#include <type_traits>

#include "kernels/activation_op.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/linear_backends.h"
#include "kernels/sums.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/tensor_linear.h"
#endif

namespace elbo {
namespace {

void check_sizes(const char* op, int64_t batch, int64_t in, int64_t out) {
  ELBO_CHECK(batch >= 0 && in >= 0 && out >= 0, op, ": negative size, batch ", batch, ", in ", in,
             ", out ", out);
}

// cuBLASLt's fast kernels move 16 bytes at a time; the arenas align to 256, so a misaligned operand
// is a mistake upstream.
void check_operand(const Exec& exec, const char* op, const char* name, const void* data,
                   int64_t count) {
  if (count == 0) return;
  ELBO_CHECK(data, op, ": ", name, " is null");
  ELBO_CHECK(!exec.on_cuda() || reinterpret_cast<uintptr_t>(data) % 16 == 0, op, ": ", name,
             " is not 16-byte aligned");
}

template <class T>
void check_forward(const Exec& exec, const BasicLinearForward<T>& a) {
  constexpr const char* kOp = "linear_forward";
  check_sizes(kOp, a.batch, a.in, a.out);
  check_operand(exec, kOp, "x", a.x, a.batch * a.in);
  check_operand(exec, kOp, "weight", a.weight, a.batch * a.in * a.out);
  check_operand(exec, kOp, "y", a.y, a.batch * a.out);
  if (a.bias) check_operand(exec, kOp, "bias", a.bias, a.out);
  if (a.aux) check_operand(exec, kOp, "aux", a.aux, a.batch * a.out);
}

template <class T>
void check_backward_data(const Exec& exec, const BasicLinearBackwardData<T>& a) {
  constexpr const char* kOp = "linear_backward_data";
  check_sizes(kOp, a.batch, a.in, a.out);
  check_operand(exec, kOp, "dy", a.dy, a.batch * a.out);
  check_operand(exec, kOp, "weight", a.weight, a.batch * a.in * a.out);
  check_operand(exec, kOp, "dx", a.dx, a.batch * a.in);
  if (!a.input) return;
  if (a.input->dbias) check_operand(exec, kOp, "the input's dbias", a.input->dbias, a.in);
  ELBO_CHECK(a.mode == GradMode::write,
             "linear_backward_data: the input's activation cannot be undone on top of an earlier "
             "gradient; use activation_backward_bias after the last contribution");
  const bool needs_aux = needs_pre_activation(a.input->activation);
  ELBO_CHECK(!needs_aux || a.input->aux || a.batch * a.in == 0,
             "linear_backward_data: the input's activation needs its aux");
  ELBO_CHECK(
      needs_aux || a.input->activation == Activation::identity || a.input->y || a.batch * a.in == 0,
      "linear_backward_data: the input's activation needs its y");
}

template <class T>
void check_backward_weight(const Exec& exec, const BasicLinearBackwardWeight<T>& a) {
  constexpr const char* kOp = "linear_backward_weight";
  check_sizes(kOp, a.batch, a.in, a.out);
  check_operand(exec, kOp, "x", a.x, a.batch * a.in * a.out);
  check_operand(exec, kOp, "dy", a.dy, a.batch * a.out);
  check_operand(exec, kOp, "dweight", a.dweight, a.in * a.out);
  if (a.dbias) check_operand(exec, kOp, "dbias", a.dbias, a.out);
}

// in == 0: nothing to multiply, y is the activated bias.
template <class T>
void forward_without_input(const Exec& exec, const BasicLinearForward<T>& a) {
  fill(exec, a.batch * a.out, T(0), a.y);
  bias_activation_forward(exec, BasicBiasActivation<T>{.activation = a.activation,
                                                       .batch = a.batch,
                                                       .dim = a.out,
                                                       .bias = a.bias,
                                                       .y = a.y,
                                                       .aux = a.aux});
}

// False if the case is empty and has been dealt with.
template <class T>
bool has_forward_product(const Exec& exec, const BasicLinearForward<T>& a) {
  check_forward(exec, a);
  if (a.batch == 0 || a.out == 0) return false;
  if (a.in > 0) return true;
  forward_without_input(exec, a);
  return false;
}

template <class T>
bool has_backward_data_product(const Exec& exec, const BasicLinearBackwardData<T>& a) {
  check_backward_data(exec, a);
  if (a.batch > 0 && a.in > 0 && a.out > 0) return true;
  if (a.mode == GradMode::write) fill(exec, a.batch * a.in, T(0), a.dx);  // out == 0
  if (a.input && a.input->dbias && a.input->dbias_mode == GradMode::write) {
    fill(exec, a.in, T(0), a.input->dbias);
  }
  return false;
}

template <class T>
bool has_backward_weight_product(const Exec& exec, const BasicLinearBackwardWeight<T>& a) {
  check_backward_weight(exec, a);
  if (a.batch > 0 && a.in > 0 && a.out > 0) return true;
  if (a.mode == GradMode::write) fill(exec, a.in * a.out, T(0), a.dweight);
  if (a.dbias) bias_gradient(exec, a);
  return false;
}

}  // namespace

template <class T>
void undo_input_activation(const Exec& exec, const BasicLinearBackwardData<T>& a) {
  if (!a.input) return;
  const BasicInputActivation<T>& input = *a.input;
  if (input.activation == Activation::identity) {
    const T* dx = a.dx;
    if (input.dbias) sum_cols(exec, a.batch, a.in, dx, input.dbias, T(1), input.dbias_mode);
    return;
  }
  activation_backward_bias(exec,
                           BasicActivationBackwardBias<T>{.activation = input.activation,
                                                          .batch = a.batch,
                                                          .dim = a.in,
                                                          .dy = a.dx,
                                                          .y = input.y,
                                                          .pre = static_cast<const T*>(input.aux),
                                                          .dx = a.dx,
                                                          .dbias = input.dbias,
                                                          .dbias_mode = input.dbias_mode});
}

template <class T>
void bias_gradient(const Exec& exec, const BasicLinearBackwardWeight<T>& a) {
  if (a.dbias) sum_cols(exec, a.batch, a.out, a.dy, a.dbias, T(1), a.dbias_mode);
}

template void undo_input_activation(const Exec&, const BasicLinearBackwardData<float>&);
template void undo_input_activation(const Exec&, const BasicLinearBackwardData<double>&);
template void bias_gradient(const Exec&, const BasicLinearBackwardWeight<float>&);
template void bias_gradient(const Exec&, const BasicLinearBackwardWeight<double>&);

template <>
bool linear_uses_tensor_cores<bf16>(const Exec& exec, int64_t) {
  return exec.on_cuda();
}
template <>
bool linear_uses_tensor_cores<double>(const Exec&, int64_t) {
  return false;
}
template <>
bool linear_uses_tensor_cores<float>(const Exec& exec, int64_t batch) {
  // The library's large tiles win from some size on. A guess until it has been measured.
  constexpr int64_t kMostRows = 1024;
  if (!exec.on_cuda() || exec.products == ProductPrecision::fp32) return false;
  return exec.product_kernels == ProductKernels::own ||
         (exec.product_kernels == ProductKernels::automatic && batch <= kMostRows);
}

template <class T>
size_t linear_aux_bytes(const Exec& exec, int64_t batch, int64_t out, Activation activation) {
  if (needs_pre_activation(activation)) return static_cast<size_t>(batch * out) * sizeof(T);
  if (exec.on_cuda() && activation == Activation::relu &&
      !linear_uses_tensor_cores<T>(exec, batch)) {
    return static_cast<size_t>(batch) * relu_mask_row_bytes(out);
  }
  return 0;
}

template size_t linear_aux_bytes<bf16>(const Exec&, int64_t, int64_t, Activation);
template size_t linear_aux_bytes<float>(const Exec&, int64_t, int64_t, Activation);
template size_t linear_aux_bytes<double>(const Exec&, int64_t, int64_t, Activation);

// Every activation can follow a product of ours: as an epilogue or as one pass over dx.
bool linear_can_fuse(const Exec&, Activation) { return true; }

bool linear_weight_takes_bias(const Exec& exec) { return exec.on_cuda(); }

#ifdef ELBO_HAS_CUDA
namespace {

template <class T>
void backward_data_on_tensor_cores(const Exec& exec, const BasicLinearBackwardData<T>& a) {
  tensor_core::linear_backward_data(exec, a);
  if (!a.input || !a.input->dbias) return;
  const T* dx = a.dx;
  sum_cols(exec, a.batch, a.in, dx, a.input->dbias, 1.0f, a.input->dbias_mode);
}

}  // namespace
#endif

void linear_forward(const Exec& exec, const LinearForward& args) {
  if (!has_forward_product(exec, args)) return;
#ifdef ELBO_HAS_CUDA
  if (linear_uses_tensor_cores<float>(exec, args.batch)) {
    return tensor_core::linear_forward(exec, args);
  }
  if (exec.on_cuda()) return cublaslt::linear_forward(exec, args);
#endif
#ifdef ELBO_HAS_ONEDNN
  if (exec.gemm && exec.gemm->cpu && !native::takes_forward(args)) {
    return onednn::linear_forward(exec, args);
  }
#endif
  native::linear_forward(exec, args);
}

void linear_backward_data(const Exec& exec, const LinearBackwardData& args) {
  if (!has_backward_data_product(exec, args)) return;
#ifdef ELBO_HAS_CUDA
  if (linear_uses_tensor_cores<float>(exec, args.batch)) {
    return backward_data_on_tensor_cores(exec, args);
  }
  if (exec.on_cuda()) return cublaslt::linear_backward_data(exec, args);
#endif
#ifdef ELBO_HAS_ONEDNN
  if (exec.gemm && exec.gemm->cpu && !native::takes_backward_data(args)) {
    return onednn::linear_backward_data(exec, args);
  }
#endif
  native::linear_backward_data(exec, args);
}

void linear_backward_weight(const Exec& exec, const LinearBackwardWeight& args) {
  if (!has_backward_weight_product(exec, args)) return;
#ifdef ELBO_HAS_CUDA
  if (linear_uses_tensor_cores<float>(exec, args.batch)) {
    return tensor_core::linear_backward_weights(exec, &args, 1);
  }
  if (exec.on_cuda()) return cublaslt::linear_backward_weight(exec, args);
#endif
#ifdef ELBO_HAS_ONEDNN
  if (exec.gemm && exec.gemm->cpu && !native::takes_backward_weight(args)) {
    return onednn::linear_backward_weight(exec, args);
  }
#endif
  native::linear_backward_weight(exec, args);
}

void linear_forward(const Exec& exec, const BasicLinearForward<double>& args) {
  ELBO_CHECK(!exec.on_cuda(), "linear_forward: double runs on the CPU only");
  if (has_forward_product(exec, args)) reference::linear_forward(exec, args);
}

void linear_backward_data(const Exec& exec, const BasicLinearBackwardData<double>& args) {
  ELBO_CHECK(!exec.on_cuda(), "linear_backward_data: double runs on the CPU only");
  if (has_backward_data_product(exec, args)) reference::linear_backward_data(exec, args);
}

void linear_backward_weight(const Exec& exec, const BasicLinearBackwardWeight<double>& args) {
  ELBO_CHECK(!exec.on_cuda(), "linear_backward_weight: double runs on the CPU only");
  if (has_backward_weight_product(exec, args)) reference::linear_backward_weight(exec, args);
}

// bf16 has no other implementation than tensor cores; they take empty inner dimensions as they are.
namespace {
void check_bf16(const char* op, const Exec& exec) {
  if (!exec.on_cuda()) {
    throw_error(ErrorCode::usage, op, ": products of bf16 matrices need CUDA");
  }
}
}  // namespace

void linear_forward([[maybe_unused]] const Exec& exec, const BasicLinearForward<bf16>& args) {
  check_bf16("linear_forward", exec);
  check_forward(exec, args);
#ifdef ELBO_HAS_CUDA
  if (args.batch > 0 && args.out > 0) tensor_core::linear_forward(exec, args);
#endif
}

void linear_backward_data(const Exec& exec, const BasicLinearBackwardData<bf16>& args) {
  check_bf16("linear_backward_data", exec);
  check_backward_data(exec, args);
#ifdef ELBO_HAS_CUDA
  if (args.batch > 0 && args.in > 0) backward_data_on_tensor_cores(exec, args);
#endif
}

void linear_backward_weight(const Exec& exec, const BasicLinearBackwardWeight<bf16>& args) {
  check_bf16("linear_backward_weight", exec);
  check_backward_weight(exec, args);
#ifdef ELBO_HAS_CUDA
  if (args.out > 0) tensor_core::linear_backward_weights(exec, &args, 1);
#endif
}

template <class T>
void linear_backward_weights(const Exec& exec, const BasicLinearBackwardWeight<T>* layers,
                             int64_t count) {
#ifdef ELBO_HAS_CUDA
  if constexpr (!std::is_same_v<T, double>) {
    std::array<BasicLinearBackwardWeight<T>, tensor_core::kMostLayers> group;
    int grouped = 0;
    for (int64_t i = 0; i < count; ++i) {
      const auto& layer = layers[i];
      const bool fits = linear_uses_tensor_cores<T>(exec, layer.batch) && layer.batch > 0 &&
                        layer.in > 0 && layer.out > 0;
      if (!fits) {
        linear_backward_weight(exec, layer);
        continue;
      }
      check_backward_weight(exec, layer);
      group[grouped++] = layer;
      if (grouped < tensor_core::kMostLayers) continue;
      tensor_core::linear_backward_weights(exec, group.data(), grouped);
      grouped = 0;
    }
    if (grouped > 0) tensor_core::linear_backward_weights(exec, group.data(), grouped);
    return;
  }
#endif
  for (int64_t i = 0; i < count; ++i) linear_backward_weight(exec, layers[i]);
}

template void linear_backward_weights(const Exec&, const BasicLinearBackwardWeight<float>*,
                                      int64_t);
template void linear_backward_weights(const Exec&, const BasicLinearBackwardWeight<double>*,
                                      int64_t);
template void linear_backward_weights(const Exec&, const BasicLinearBackwardWeight<bf16>*, int64_t);

}  // namespace elbo
