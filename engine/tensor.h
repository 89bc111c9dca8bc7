// A tensor is a plain view: pointer, shape, type, device. It owns nothing; lifetimes are the
// arena's.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

enum class DType : int { f32, bf16, f64, u8, i32 };

constexpr size_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
      return 2;
    case DType::f64:
      return 8;
    case DType::u8:
      return 1;
  }
  return 0;
}

const char* dtype_name(DType dtype);

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<bf16>() {
  return DType::bf16;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::f64;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::u8;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::i32;
}

class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return dims_[axis]; }
  int64_t size() const;  // elements; 1 for rank 0
  bool operator==(const Shape&) const = default;
  std::string to_string() const;  // "[128, 784]"

 private:
  int rank_ = 0;
  std::array<int64_t, kMaxRank> dims_{};
};

std::vector<int64_t> dims_of(const Shape& shape);

struct Tensor {
  void* data = nullptr;
  Shape shape;
  DType dtype = DType::f32;
  Device device = Device::cpu;

  // Which of the tape's buffers and values this is a view of; -1 for memory the tape does not
  // manage (parameters, data) and for values that take no gradient.
  int32_t buffer = -1;
  int32_t value = -1;

  // The arena's counter and what it read when the view was made; they differ once it was reset.
  const uint32_t* arena_generation = nullptr;
  uint32_t generation = 0;

  int64_t size() const { return shape.size(); }
  size_t bytes() const { return static_cast<size_t>(size()) * dtype_bytes(dtype); }
  int64_t rows() const { return shape[0]; }
  int64_t cols() const { return shape.rank() == 0 ? 1 : size() / (rows() > 0 ? rows() : 1); }

  // The elements. Throws if T is not the tensor's type or, in checked builds, if the arena that
  // holds them was reset since this view was made.
  template <class T>
  T* as() const {
    if (dtype_of<T>() != dtype) throw_wrong_dtype(dtype_of<T>());
#ifdef ELBO_CHECKS
    if (arena_generation && *arena_generation != generation) throw_stale();
#endif
    return static_cast<T*>(data);
  }

 private:
  [[noreturn]] void throw_wrong_dtype(DType wanted) const;
  [[noreturn]] void throw_stale() const;
};

// Memory that something else owns, as a tensor.
template <class T>
Tensor external_tensor(T* data, Shape shape, Device device) {
  Tensor tensor;
  tensor.data = data;
  tensor.shape = shape;
  tensor.dtype = dtype_of<T>();
  tensor.device = device;
  return tensor;
}

}  // namespace elbo
