// One product by cuBLASLt in a precision of choice, with or without its epilogue, for product_bench.
//
// kernels/cublaslt_plan.h does this for training, in fp32 and TF32; here bf16 is asked about too, before
// anything is built on it.
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <memory>
#include <string>

#include "engine/context.h"

namespace elbo::bench {

enum class ProductType : int { fp32, tf32, bf16 };
const char* product_type_name(ProductType type);

// D[m,n] = op(A) op(B), column-major as the library sees it, then the epilogue.
struct ProductShape {
  std::string name;  // "fc1 forward"
  int64_t m, n, k;
  bool a_transposed, b_transposed;
  cublasLtEpilogue_t epilogue;  // what training fuses
};

class Product {
 public:
  Product(Context& context, cublasLtHandle_t library, const ProductShape& shape, ProductType type,
          bool fused);
  ~Product();

  // Whether the library has an algorithm; launch() needs one.
  bool supported() const;
  size_t workspace() const;
  void launch() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace elbo::bench
