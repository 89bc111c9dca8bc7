// Shared by op wrappers: dispatch on the storage type, and the weights of per-row losses.
#pragma once

#include "engine/tape.h"
#include "kernels/error.h"
#include "kernels/linear.h"
#include "kernels/loss_weight.h"

namespace elbo {

// Calls f(T{}) with the element type of a floating-point tensor.
template <class F>
void with_element_type(const char* op, const Tensor& tensor, F&& f) {
  switch (tensor.dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    default:
      throw_error(ErrorCode::failure, op, ": tensors of type ", dtype_name(tensor.dtype),
                  " are not supported");
  }
}

// The same for ops that know bf16 too.
template <class F>
void with_storage_type(const char* op, const Tensor& tensor, F&& f) {
  if (tensor.dtype == DType::bf16) return f(bf16{});
  with_element_type(op, tensor, f);
}

// Whether products of x's rows are our own tensor-core kernels'.
inline bool uses_tensor_cores(const Tape& tape, const Tensor& x) {
  bool uses = false;
  with_storage_type("linear", x, [&]<class T>(T) {
    uses = linear_uses_tensor_cores<T>(tape.context().exec(), x.shape[0]);
  });
  return uses;
}

// Runs `launch(exec, T{}, target pointer)` for the element types of output and target.
template <class Launch>
void with_target(const char* op, const Exec& exec, const Tensor& output, const Tensor& target,
                 Launch launch) {
  with_storage_type(op, output, [&]<class T>(T) {
    if (target.dtype == DType::u8) {
      launch(exec, T{}, static_cast<const uint8_t*>(target.as<uint8_t>()));
    } else {
      launch(exec, T{}, static_cast<const Compute<T>*>(target.as<Compute<T>>()));
    }
  });
}

inline DType loss_type(const Tensor& output) {
  return output.dtype == DType::f64 ? DType::f64 : DType::f32;
}

// A parameter as products of activations of type T read it.
template <class T>
const T* weight_values(const Param& weight) {
  if constexpr (std::is_same_v<T, bf16>) {
    ELBO_CHECK(weight.shadow.data,
               "products of bf16 activations need ParamStore::allocate_shadow()");
    return weight.shadow.as<bf16>();
  } else {
    return weight.value.as<T>();
  }
}

// The weight of a per-row loss in the objective, known when the loss is computed, so that loss and
// gradient are one pass. One value for all rows, or one per row.
struct RowWeight {
  Tensor values;       // [1] or [B]; device memory, read when the kernel runs
  double scale = 1.0;  // e.g. 1 / B for a mean over the batch

  template <class T>
  BasicLossWeight<T> as(int64_t batch) const {
    BasicLossWeight<T> weight;
    if (!values.data && values.shape.rank() == 0) return weight;
    weight.values = values.as<T>();
    weight.stride = values.size() == batch && values.size() != 1 ? 1 : 0;
    weight.scale = static_cast<T>(scale);
    return weight;
  }
  bool given() const { return values.shape.rank() > 0; }
};

inline void check_row_weight(const char* op, const RowWeight& weight, int64_t batch) {
  ELBO_CHECK(!weight.given() || weight.values.size() == 1 || weight.values.size() == batch, op,
             ": the weight has ", weight.values.size(), " values for ", batch, " rows");
}

}  // namespace elbo
