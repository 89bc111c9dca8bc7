// The fully connected layer: product, bias and activation forward; both products backward.
//
//   y       = act(x W^T + bias)
//   dx      = dy W               then, if the producer of x left its activation to us:
//             dx = dx * act'(x),  dbias_producer[i] = sum_b dx[b,i]
//   dW      = dy^T x,            dbias[o] = sum_b dy[b,o]
//
// Shapes    x, dx [B, in]; W, dW [out, in] (PyTorch's layout); bias [out]; y, dy [B, out]; row-major
// Gradient  dy is the gradient at the pre-activation x W^T + bias: whoever computed it has already
//           applied act' (this header's `input` fusion, or activation_backward_bias).
//           GradMode::add adds to what the buffer holds; dx with `input` must be GradMode::write.
// Work      one product each. CUDA: bias, ReLU, its mask and the bias gradients ride in cuBLASLt
//           epilogues; what an epilogue cannot do is one more pass. With TF32 and bf16 our own kernels
//           (tensor_linear.h) take small batches, and all of it rides in theirs. CPU: small products
//           and those of pictures with many zeros are our own (cpu_product.h), with all that follows
//           in the same pass; of the others oneDNN adds the bias, and activations and bias gradients
//           are one pass each over cache-resident data. Time then depends on the zeros in x.
// Numerics  fp32 sums in an order that depends on the shape and the thread count only. Products of
//           fp32 numbers, rounded to TF32 first only if exec.products says so; or of bf16 numbers, on
//           CUDA, with fp32 biases and weight gradients. The double overloads run plain loops and are the
//           oracle of tests and gradient checks. NaN passes through every activation on the CPU.
// Scratch   products may use up to kGemmWorkspaceBytes from the start of exec.scratch, as every other
//           launcher may: nothing in scratch outlives the launch that wrote it, and the launches of
//           one stream do not overlap.
// Errors    elbo::Error for a null operand, a negative size, or on CUDA an operand that is not
//           16-byte aligned. Empty products launch nothing: batch == 0 leaves y and dx alone and
//           makes dW and dbias zero in GradMode::write; in == 0 gives y = act(bias), dx empty.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

// What cuBLASLt plans may ask of exec.scratch. Plans depend on it, so it is a constant.
inline constexpr size_t kGemmWorkspaceBytes = size_t{32} << 20;

template <class T>
struct BasicLinearForward {
  const T* x;
  const T* weight;
  const Compute<T>* bias = nullptr;
  T* y;
  void* aux = nullptr;  // linear_aux_bytes(), 16-byte aligned; null when nothing goes backward
  int64_t batch, in, out;
  Activation activation = Activation::identity;
};

// What forward saves for backward besides y.
//   SiLU, GELU      the pre-activation, [B, out] like y
//   ReLU on CUDA    by cuBLASLt: its mask, bit b*ld + o is set where the pre-activation is positive,
//                   ld = out rounded up to a multiple of 128, least significant bit of a byte first
//   otherwise       nothing (0 bytes)
template <class T = float>
size_t linear_aux_bytes(const Exec& exec, int64_t batch, int64_t out, Activation activation);

// The activation that made this layer's input x, to be undone in the same pass as dx.
template <class T>
struct BasicInputActivation {
  Activation activation = Activation::identity;
  const T* y = nullptr;         // x itself: the producer's activated output
  const void* aux = nullptr;    // what the producer's linear_forward saved
  Compute<T>* dbias = nullptr;  // the producer's bias gradient [in], null if it has no bias
  GradMode dbias_mode = GradMode::write;
};

template <class T>
struct BasicLinearBackwardData {
  const T* dy;
  const T* weight;
  T* dx;
  GradMode mode = GradMode::write;
  int64_t batch, in, out;
  const BasicInputActivation<T>* input = nullptr;
};

template <class T>
struct BasicLinearBackwardWeight {
  const T* x;
  const T* dy;
  Compute<T>* dweight;
  GradMode mode = GradMode::write;
  Compute<T>* dbias = nullptr;
  GradMode dbias_mode = GradMode::write;
  int64_t batch, in, out;
};

using LinearForward = BasicLinearForward<float>;
using InputActivation = BasicInputActivation<float>;
using LinearBackwardData = BasicLinearBackwardData<float>;
using LinearBackwardWeight = BasicLinearBackwardWeight<float>;

void linear_forward(const Exec& exec, const BasicLinearForward<float>& args);
void linear_forward(const Exec& exec, const BasicLinearForward<bf16>& args);
void linear_forward(const Exec& exec, const BasicLinearForward<double>& args);

void linear_backward_data(const Exec& exec, const BasicLinearBackwardData<float>& args);
void linear_backward_data(const Exec& exec, const BasicLinearBackwardData<bf16>& args);
void linear_backward_data(const Exec& exec, const BasicLinearBackwardData<double>& args);

void linear_backward_weight(const Exec& exec, const BasicLinearBackwardWeight<float>& args);
void linear_backward_weight(const Exec& exec, const BasicLinearBackwardWeight<bf16>& args);
void linear_backward_weight(const Exec& exec, const BasicLinearBackwardWeight<double>& args);

// The weight and bias gradients of `count` layers. T is float, double or bf16. In one launch per 16
// layers where products are on tensor cores, one by one elsewhere.
template <class T>
void linear_backward_weights(const Exec& exec, const BasicLinearBackwardWeight<T>* layers,
                             int64_t count);

// Whether products of this many rows are computed by our own tensor-core kernels. By the batch alone,
// so that all layers of a step agree on what forward keeps for backward. T is float, double or bf16.
template <class T>
bool linear_uses_tensor_cores(const Exec& exec, int64_t batch);

// Whether linear_backward_data can take this activation as `input`, with GradMode::write.
bool linear_can_fuse(const Exec& exec, Activation activation);

// Who should sum dy into a bias gradient when both could: linear_backward_weight, which reads all of dy
// anyway, or linear_backward_data as part of undoing the activation. CUDA: the former, whose sums ride
// in the product. CPU: the latter, where the pass over dx exists already.
bool linear_weight_takes_bias(const Exec& exec);

}  // namespace elbo
