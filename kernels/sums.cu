#include "kernels/sums.h"

#include "kernels/error.h"
#include "kernels/launch.h"
#include "kernels/launch_cells.h"

namespace elbo {
namespace {

// Adds or writes one finished sum.
template <class R>
ELBO_HD void deliver(R* y, R value, GradMode mode) {
  *y = mode == GradMode::add ? *y + value : value;
}

template <class R>
struct SumLines {  // of rows or of columns
  static constexpr int kSums = 1;
  R* y;
  R scale;
  GradMode mode;

  ELBO_HD void operator()(int64_t, int64_t, const R* x, R*, R* sums) const { sums[0] += x[0]; }
  ELBO_HD void finish(int64_t line, const R* sums) const {
    deliver(y + line, scale * sums[0], mode);
  }
};

template <class R>
struct SumAll {
  static constexpr int kSums = 1;
  R* y;
  R scale;
  GradMode mode;

  ELBO_HD void operator()(int64_t, const R* x, R* sums) const { sums[0] += x[0]; }
  ELBO_HD void finish(const double* sums) const {
    deliver(y, scale * static_cast<R>(sums[0]), mode);
  }
};

enum class Broadcast : int { row, col };

template <class T, Broadcast From>
struct BroadcastTo {
  const Compute<T>* dy;
  T* dx;
  int64_t cols;
  Compute<T> scale;
  GradMode mode;

  ELBO_HD void operator()(int64_t row, int64_t col) const {
    T& out = dx[row * cols + col];
    const Compute<T> value = scale * dy[From == Broadcast::row ? row : col];
    out = from_float<T>(mode == GradMode::add ? to_float(out) + value : value);
  }
};

template <class R, bool Add>
struct BroadcastScalar {
  const R* dy;
  R scale;

  ELBO_HD void operator()(int64_t, const R* x, R* y) const {
    y[0] = scale * *dy;
    if constexpr (Add) y[0] += x[0];
  }
};

template <Broadcast From, class T>
void broadcast(const char* op, const Exec& exec, int64_t rows, int64_t cols, const Compute<T>* dy,
               T* dx, Compute<T> scale, GradMode mode) {
  if (rows * cols == 0) return;
  ELBO_CHECK(dy && dx, op, ": ", dy ? "dx" : "dy", " is null");
  for_each_cell<T>(exec, rows, cols, BroadcastTo<T, From>{dy, dx, cols, scale, mode});
}

void check_sum(const char* op, int64_t elements, int64_t lines, const void* x, const void* y) {
  ELBO_CHECK(x || elements == 0, op, ": x is null");
  ELBO_CHECK(y || lines == 0, op, ": y is null");
}

}  // namespace

template <class T>
void sum_rows(const Exec& exec, int64_t rows, int64_t cols, const T* x, Compute<T>* y,
              Compute<T> scale, GradMode mode) {
  check_sum("sum_rows", rows * cols, rows, x, y);
  row_reduce(exec, rows, cols, SumLines<Compute<T>>{y, scale, mode}, PointerPack{x},
             NoPointers<T>{});
}

template <class T>
void sum_cols(const Exec& exec, int64_t rows, int64_t cols, const T* x, Compute<T>* y,
              Compute<T> scale, GradMode mode) {
  check_sum("sum_cols", rows * cols, cols, x, y);
  col_reduce(exec, rows, cols, SumLines<Compute<T>>{y, scale, mode}, PointerPack{x},
             NoPointers<T>{});
}

template <class T>
void sum_all(const Exec& exec, int64_t n, const T* x, Compute<T>* y, Compute<T> scale,
             GradMode mode) {
  check_sum("sum_all", n, 1, x, y);
  reduce(exec, n, SumAll<Compute<T>>{y, scale, mode}, PointerPack{x});
}

template <class T>
void broadcast_rows(const Exec& exec, int64_t rows, int64_t cols, const Compute<T>* dy, T* dx,
                    Compute<T> scale, GradMode mode) {
  broadcast<Broadcast::row>("broadcast_rows", exec, rows, cols, dy, dx, scale, mode);
}

template <class T>
void broadcast_cols(const Exec& exec, int64_t rows, int64_t cols, const Compute<T>* dy, T* dx,
                    Compute<T> scale, GradMode mode) {
  broadcast<Broadcast::col>("broadcast_cols", exec, rows, cols, dy, dx, scale, mode);
}

template <class T>
void broadcast_all(const Exec& exec, int64_t n, const Compute<T>* dy, T* dx, Compute<T> scale,
                   GradMode mode) {
  if (n == 0) return;
  ELBO_CHECK(dy && dx, "broadcast_all: ", dy ? "dx" : "dy", " is null");
  using R = Compute<T>;
  if (mode == GradMode::add) {
    map(exec, n, BroadcastScalar<R, true>{dy, scale}, PointerPack<const T, 1>{{dx}},
        PointerPack{dx});
  } else {
    map(exec, n, BroadcastScalar<R, false>{dy, scale}, NoPointers<const T>{}, PointerPack{dx});
  }
}

#define ELBO_INSTANTIATE(T)                                                                      \
  template void sum_rows(const Exec&, int64_t, int64_t, const T*, Compute<T>*, Compute<T>,       \
                         GradMode);                                                              \
  template void sum_cols(const Exec&, int64_t, int64_t, const T*, Compute<T>*, Compute<T>,       \
                         GradMode);                                                              \
  template void sum_all(const Exec&, int64_t, const T*, Compute<T>*, Compute<T>, GradMode);      \
  template void broadcast_rows(const Exec&, int64_t, int64_t, const Compute<T>*, T*, Compute<T>, \
                               GradMode);                                                        \
  template void broadcast_cols(const Exec&, int64_t, int64_t, const Compute<T>*, T*, Compute<T>, \
                               GradMode);                                                        \
  template void broadcast_all(const Exec&, int64_t, const Compute<T>*, T*, Compute<T>, GradMode);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(bf16)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
