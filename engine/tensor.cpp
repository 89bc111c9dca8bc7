#include "engine/tensor.h"

namespace elbo {

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f64:
      return "f64";
    case DType::u8:
      return "u8";
    case DType::i32:
      return "i32";
  }
  return "?";
}

Shape::Shape(std::initializer_list<int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  ELBO_CHECK(rank_ <= kMaxRank, "a shape has at most ", kMaxRank, " axes, got ", rank_);
  int axis = 0;
  for (int64_t dim : dims) {
    ELBO_CHECK(dim >= 0, "axis ", axis, " of a shape has negative length ", dim);
    dims_[axis++] = dim;
  }
}

int64_t Shape::size() const {
  int64_t product = 1;
  for (int axis = 0; axis < rank_; ++axis) {
    ELBO_CHECK(!__builtin_mul_overflow(product, dims_[axis], &product), "shape ", to_string(),
               " has more elements than an int64 can count");
  }
  return product;
}

std::vector<int64_t> dims_of(const Shape& shape) {
  std::vector<int64_t> dims;
  for (int axis = 0; axis < shape.rank(); ++axis) dims.push_back(shape[axis]);
  return dims;
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (int axis = 0; axis < rank_; ++axis) {
    text += (axis ? ", " : "") + std::to_string(dims_[axis]);
  }
  return text + "]";
}

void Tensor::throw_wrong_dtype(DType wanted) const {
  throw Error(concat("tensor ", shape.to_string(), " holds ", dtype_name(dtype), ", not ",
                     dtype_name(wanted)));
}

void Tensor::throw_stale() const {
  throw Error(concat("tensor ", shape.to_string(), " is used after its arena was reset"));
}

}  // namespace elbo
