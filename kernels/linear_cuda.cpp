// The layer's products by cuBLASLt: which product, which epilogue, and what a pass must do instead.
//
// The library is column-major: a row-major [B, n] matrix is its [n, B] one with leading dimension n.
//
//   y  = x W^T      y^T [out, B] = (W^T)^T x^T       bias, ReLU and mask run along the rows: over out
//   dx = dy W       dx^T [in, B] = W^T dy^T          ReLU' and its column sums: over in
//   dW = dy^T x     dW^T [in, out] = x^T (dy^T)^T    column sums of dy: BGRADB, over the inner B
//
// An epilogue the library refuses is replaced by the plain product and a pass of ours
// (kernels/activation_op.h). Plans: kernels/cublaslt_plan.h.
#include "kernels/activation_op.h"
#include "kernels/cublaslt_plan.h"
#include "kernels/linear_backends.h"
#include "kernels/sums.h"

namespace elbo::cublaslt {
namespace {

cublasLtEpilogue_t forward_epilogue(const LinearForward& args) {
  const bool bias = args.bias != nullptr;
  if (args.activation != Activation::relu) {
    return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  }
  if (args.aux) return bias ? CUBLASLT_EPILOGUE_RELU_AUX_BIAS : CUBLASLT_EPILOGUE_RELU_AUX;
  return bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
}

}  // namespace

void linear_forward(const Exec& exec, const LinearForward& args) {
  const PlanKey key{.m = args.out,
                    .n = args.batch,
                    .k = args.in,
                    .a_transposed = true,
                    .b_transposed = false,
                    .add = false,
                    .epilogue = forward_epilogue(args)};
  // Where backward needs the pre-activation, the product goes there and the activation reads it.
  const bool keeps_pre = needs_pre_activation(args.activation) && args.aux;
  float* product = keeps_pre ? static_cast<float*>(args.aux) : args.y;
  if (multiply(exec, key, {args.weight, args.x, product, args.bias, args.aux})) {
    if (args.activation == Activation::relu || args.activation == Activation::identity) return;
    return activation_forward(exec, args.activation, args.batch * args.out, product, args.y);
  }
  multiply_plain(exec, key, {args.weight, args.x, args.y});
  bias_activation_forward(exec, BasicBiasActivation<float>{.activation = args.activation,
                                                           .batch = args.batch,
                                                           .dim = args.out,
                                                           .bias = args.bias,
                                                           .y = args.y,
                                                           .aux = args.aux});
}

void linear_backward_data(const Exec& exec, const LinearBackwardData& args) {
  PlanKey key{.m = args.in,
              .n = args.batch,
              .k = args.out,
              .a_transposed = false,
              .b_transposed = false,
              .add = args.mode == GradMode::add,
              .epilogue = CUBLASLT_EPILOGUE_DEFAULT};
  const InputActivation* input = args.input;
  if (input && input->activation == Activation::relu && input->aux) {
    // The epilogue's bias gradient can only be written; one that adds is a pass of its own.
    const bool writes_dbias = input->dbias && input->dbias_mode == GradMode::write;
    key.epilogue = writes_dbias ? CUBLASLT_EPILOGUE_DRELU_BGRAD : CUBLASLT_EPILOGUE_DRELU;
    const Operands operands{args.weight, args.dy, args.dx, input->dbias,
                            const_cast<void*>(input->aux)};
    if (multiply(exec, key, operands)) {
      if (!input->dbias || writes_dbias) return;
      return sum_cols(exec, args.batch, args.in, static_cast<const float*>(args.dx), input->dbias,
                      1.0f, GradMode::add);
    }
  }
  multiply_plain(exec, key, {args.weight, args.dy, args.dx});
  undo_input_activation(exec, args);
}

void linear_backward_weight(const Exec& exec, const LinearBackwardWeight& args) {
  PlanKey key{.m = args.in,
              .n = args.out,
              .k = args.batch,
              .a_transposed = false,
              .b_transposed = true,
              .add = args.mode == GradMode::add,
              .epilogue = CUBLASLT_EPILOGUE_BGRADB};
  if (args.dbias && args.dbias_mode == GradMode::write &&
      multiply(exec, key, {args.x, args.dy, args.dweight, args.dbias})) {
    return;
  }
  multiply_plain(exec, key, {args.x, args.dy, args.dweight});
  bias_gradient(exec, args);
}

}  // namespace elbo::cublaslt
