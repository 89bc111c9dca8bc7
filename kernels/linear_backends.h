// The bodies behind kernels/linear.h, one per library. Private to kernels/: callers use linear.h,
// whose dispatcher has checked the operands and taken out the empty cases, so here batch, in and out
// are positive and pointers are set.
#pragma once

#include <cstdint>

#include "kernels/gemm_handles.h"
#include "kernels/linear.h"

namespace elbo {

// C[M,N] = A B (+ C when adding), element (r,c) of A at a[r*a_row + c*a_col], B likewise, C dense.
// The three products of a linear layer are views of this one.
template <class T>
struct Product {
  int64_t rows, cols, inner;
  const T* a;
  int64_t a_row, a_col;
  const T* b;
  int64_t b_row, b_col;
  T* c;
  GradMode mode;
};

template <class T>
Product<T> forward_product(const BasicLinearForward<T>& args, T* y) {
  return {args.batch,  args.out, args.in, args.x, args.in,        1,
          args.weight, 1,        args.in, y,      GradMode::write};
}

template <class T>
Product<T> backward_data_product(const BasicLinearBackwardData<T>& args) {
  return {args.batch,  args.in, args.out, args.dy, args.out, 1,
          args.weight, args.in, 1,        args.dx, args.mode};
}

template <class T>
Product<T> backward_weight_product(const BasicLinearBackwardWeight<T>& args) {
  return {args.out, args.in, args.batch, args.dy,      1,        args.out,
          args.x,   args.in, 1,          args.dweight, args.mode};
}

namespace reference {  // plain loops, instantiated for double

template <class T>
void multiply(const Product<T>& product);
template <class T>
void linear_forward(const Exec& exec, const BasicLinearForward<T>& args);
template <class T>
void linear_backward_data(const Exec& exec, const BasicLinearBackwardData<T>& args);
template <class T>
void linear_backward_weight(const Exec& exec, const BasicLinearBackwardWeight<T>& args);

}  // namespace reference

namespace native {  // kernels/cpu_product.h, float only

// Whether this call is faster here than by oneDNN. The answer may depend on the zeros in x, which
// does not change the numbers: see linear_native.cpp.
bool takes_forward(const LinearForward& args);
bool takes_backward_data(const LinearBackwardData& args);
bool takes_backward_weight(const LinearBackwardWeight& args);

void linear_forward(const Exec& exec, const LinearForward& args);
void linear_backward_data(const Exec& exec, const LinearBackwardData& args);
void linear_backward_weight(const Exec& exec, const LinearBackwardWeight& args);

}  // namespace native

// The passes around a product that every backend without epilogues needs.
template <class T>
void undo_input_activation(const Exec& exec, const BasicLinearBackwardData<T>& args);
template <class T>
void bias_gradient(const Exec& exec, const BasicLinearBackwardWeight<T>& args);

#ifdef ELBO_HAS_ONEDNN
namespace onednn {

CpuGemm* create();
void destroy(CpuGemm* gemm) noexcept;
std::vector<std::string> describe(const CpuGemm& gemm);

void linear_forward(const Exec& exec, const LinearForward& args);
void linear_backward_data(const Exec& exec, const LinearBackwardData& args);
void linear_backward_weight(const Exec& exec, const LinearBackwardWeight& args);

}  // namespace onednn
#endif

#ifdef ELBO_HAS_CUDA
namespace cublaslt {

CudaGemm* create();
void destroy(CudaGemm* gemm) noexcept;
std::vector<std::string> describe(const CudaGemm& gemm);

void linear_forward(const Exec& exec, const LinearForward& args);
void linear_backward_data(const Exec& exec, const LinearBackwardData& args);
void linear_backward_weight(const Exec& exec, const LinearBackwardWeight& args);

}  // namespace cublaslt
#endif

}  // namespace elbo
