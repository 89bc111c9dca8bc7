#include "kernels/elementwise.h"

#include "kernels/error.h"
#include "kernels/grey.h"
#include "kernels/launch.h"
#include "kernels/launch_cells.h"

namespace elbo {
namespace {

struct Add {
  template <class R>
  ELBO_HD R operator()(const R* x) const {
    return x[0] + x[1];
  }
};

struct Sub {
  template <class R>
  ELBO_HD R operator()(const R* x) const {
    return x[0] - x[1];
  }
};

struct Mul {
  template <class R>
  ELBO_HD R operator()(const R* x) const {
    return x[0] * x[1];
  }
};

template <class R>
struct Scale {
  R factor;

  ELBO_HD R operator()(const R* x) const { return factor * x[0]; }
};

template <class R>
struct Fill {
  R value;

  ELBO_HD R operator()(const R*) const { return value; }
};

template <class Op>
struct Write {
  Op op;

  template <class R>
  ELBO_HD void operator()(int64_t, const R* x, R* y) const {
    y[0] = op(x);
  }
};

// Reads what the output holds as the input after the op's own ones.
template <class Op, int Inputs>
struct AddTo {
  Op op;

  template <class R>
  ELBO_HD void operator()(int64_t, const R* x, R* y) const {
    y[0] = x[Inputs] + op(x);
  }
};

template <class Op, class T, class... In>
void apply(const Exec& exec, int64_t n, Op op, T* y, GradMode mode, In*... in) {
  if (mode == GradMode::add) {
    map(exec, n, AddTo<Op, sizeof...(In)>{op}, PointerPack<const T, sizeof...(In) + 1>{{in..., y}},
        PointerPack{y});
  } else {
    map(exec, n, Write<Op>{op}, PointerPack<const T, sizeof...(In)>{{in...}}, PointerPack{y});
  }
}

// 16 bytes moved as one. Not a float4: a copy must keep every bit pattern.
struct alignas(16) Unit16 {
  uint64_t bits[2];
};

template <class From, class To>
struct Convert {
  const From* x;
  To* y;
  GradMode mode;

  ELBO_HD void operator()(int64_t i) const {
    const float value = to_float(x[i]);
    y[i] = from_float<To>(mode == GradMode::add ? to_float(y[i]) + value : value);
  }
};

template <class Unit>
struct CopyCells {
  const Unit* src;
  int64_t src_stride;
  Unit* dst;
  int64_t dst_stride;

  ELBO_HD void operator()(int64_t row, int64_t col) const {
    dst[row * dst_stride + col] = src[row * src_stride + col];
  }
};

template <class T>
struct AddCells {
  const T* src;
  int64_t src_stride;
  T* dst;
  int64_t dst_stride;

  ELBO_HD void operator()(int64_t row, int64_t col) const {
    T& out = dst[row * dst_stride + col];
    out = from_float<T>(to_float(out) + to_float(src[row * src_stride + col]));
  }
};

template <class T>
struct RepeatRows {
  const T* x;
  T* y;
  int64_t cols, times;
  GradMode mode;

  ELBO_HD void operator()(int64_t row, int64_t col) const {
    const T value = x[row * cols + col];
    for (int64_t k = 0; k < times; ++k) {
      T& out = y[(row * times + k) * cols + col];
      out = mode == GradMode::add ? from_float<T>(to_float(out) + to_float(value)) : value;
    }
  }
};

template <class T>
struct SumRepeatedRows {
  const T* dy;
  T* dx;
  int64_t cols, times;
  GradMode mode;

  ELBO_HD void operator()(int64_t row, int64_t col) const {
    Compute<T> sum = 0;
    for (int64_t k = 0; k < times; ++k) sum += to_float(dy[(row * times + k) * cols + col]);
    T& out = dx[row * cols + col];
    out = from_float<T>(mode == GradMode::add ? to_float(out) + sum : sum);
  }
};

struct ConvertU8 {
  const uint8_t* x;
  float* y;
  float scale;

  ELBO_HD void operator()(int64_t i) const { y[i] = scale * grey_value<float>(x[i]); }
};

template <class T>
bool fits_units(const T* pointer, int64_t stride, int64_t cols) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0 && stride % kVector<T> == 0 &&
         cols % kVector<T> == 0;
}

void check_pointers(const char* op, int64_t n, bool all) {
  ELBO_CHECK(all || n == 0, op, ": a pointer is null, with ", n, " elements");
}

}  // namespace

template <class T>
void add(const Exec& exec, int64_t n, const T* a, const T* b, T* y, GradMode mode) {
  check_pointers("add", n, a && b && y);
  apply(exec, n, Add{}, y, mode, a, b);
}

template <class T>
void sub(const Exec& exec, int64_t n, const T* a, const T* b, T* y, GradMode mode) {
  check_pointers("sub", n, a && b && y);
  apply(exec, n, Sub{}, y, mode, a, b);
}

template <class T>
void mul(const Exec& exec, int64_t n, const T* a, const T* b, T* y, GradMode mode) {
  check_pointers("mul", n, a && b && y);
  apply(exec, n, Mul{}, y, mode, a, b);
}

template <class T>
void scale(const Exec& exec, int64_t n, Compute<T> factor, const T* x, T* y, GradMode mode) {
  check_pointers("scale", n, x && y);
  apply(exec, n, Scale<Compute<T>>{factor}, y, mode, x);
}

template <class T>
void fill(const Exec& exec, int64_t n, Compute<T> value, T* y) {
  check_pointers("fill", n, y);
  apply(exec, n, Fill<Compute<T>>{value}, y, GradMode::write);
}

template <class T>
void copy_matrix(const Exec& exec, int64_t rows, int64_t cols, const T* src, int64_t src_stride,
                 T* dst, int64_t dst_stride, GradMode mode) {
  check_pointers("copy_matrix", rows * cols, src && dst);
  ELBO_CHECK(rows <= 1 || (src_stride >= cols && dst_stride >= cols), "copy_matrix: rows of ", cols,
             " elements do not fit strides ", src_stride, " and ", dst_stride);
  if (mode == GradMode::add) {
    for_each_cell<T>(exec, rows, cols, AddCells<T>{src, src_stride, dst, dst_stride});
  } else if (fits_units(src, src_stride, cols) && fits_units(dst, dst_stride, cols)) {
    constexpr int64_t kPerUnit = kVector<T>;
    for_each_cell<T>(exec, rows, cols / kPerUnit,
                     CopyCells<Unit16>{reinterpret_cast<const Unit16*>(src), src_stride / kPerUnit,
                                       reinterpret_cast<Unit16*>(dst), dst_stride / kPerUnit});
  } else {
    for_each_cell<T>(exec, rows, cols, CopyCells<T>{src, src_stride, dst, dst_stride});
  }
}

template <class T>
void repeat_rows(const Exec& exec, int64_t rows, int64_t cols, int64_t times, const T* x, T* y,
                 GradMode mode) {
  check_pointers("repeat_rows", rows * cols * times, x && y);
  for_each_cell<T>(exec, rows, cols, RepeatRows<T>{x, y, cols, times, mode});
}

template <class T>
void sum_repeated_rows(const Exec& exec, int64_t rows, int64_t cols, int64_t times, const T* dy,
                       T* dx, GradMode mode) {
  check_pointers("sum_repeated_rows", rows * cols, (dy || times == 0) && dx);
  for_each_cell<T>(exec, rows, cols, SumRepeatedRows<T>{dy, dx, cols, times, mode});
}

template <class From, class To>
void convert(const Exec& exec, int64_t n, const From* x, To* y, GradMode mode) {
  check_pointers("convert", n, x && y);
  for_each(exec, n, Convert<From, To>{x, y, mode});
}
template void convert(const Exec&, int64_t, const float*, bf16*, GradMode);
template void convert(const Exec&, int64_t, const bf16*, float*, GradMode);

void convert_u8(const Exec& exec, int64_t n, const uint8_t* x, float* y, float scale) {
  check_pointers("convert_u8", n, x && y);
  for_each(exec, n, ConvertU8{x, y, scale});
}

#define ELBO_INSTANTIATE(T)                                                                  \
  template void add(const Exec&, int64_t, const T*, const T*, T*, GradMode);                 \
  template void sub(const Exec&, int64_t, const T*, const T*, T*, GradMode);                 \
  template void mul(const Exec&, int64_t, const T*, const T*, T*, GradMode);                 \
  template void scale(const Exec&, int64_t, Compute<T>, const T*, T*, GradMode);             \
  template void fill(const Exec&, int64_t, Compute<T>, T*);                                  \
  template void copy_matrix(const Exec&, int64_t, int64_t, const T*, int64_t, T*, int64_t,   \
                            GradMode);                                                       \
  template void repeat_rows(const Exec&, int64_t, int64_t, int64_t, const T*, T*, GradMode); \
  template void sum_repeated_rows(const Exec&, int64_t, int64_t, int64_t, const T*, T*, GradMode);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(bf16)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
