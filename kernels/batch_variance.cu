#include "kernels/batch_variance.h"

#include "kernels/error.h"
#include "kernels/launch_cells.h"
#include "kernels/pixel_formulas.h"
#include "kernels/row_loss.h"

namespace elbo {
namespace {

template <class R>
struct SquaredError {
  R* squares;

  ELBO_HD R accumulate(R mean, R target) const { return (target - mean) * (target - mean); }
  ELBO_HD void finish(int64_t row, R sum, R) const { squares[row] = sum; }
};

template <class R>
ELBO_HD R logarithm_for_bound(R variance) {
  return formulas::bounded_logvar_inverse(math::log(variance));
}

// One row of as many columns as the batch has samples.
template <class R>
struct VarianceOfSums {
  static constexpr int kSums = 1;

  R count, momentum;
  R* running;
  R* log_variance;

  ELBO_HD void operator()(int64_t, int64_t, const R* x, R*, R* sums) const { sums[0] += x[0]; }
  ELBO_HD void finish(int64_t, const R* sums) const {
    const R variance = sums[0] / count;
    *running = momentum * variance + (R(1) - momentum) * *running;
    *log_variance = logarithm_for_bound(variance);
  }
};

template <class R>
struct RunningLogarithm {
  const R* running;
  R* log_variance;

  ELBO_HD void operator()(int64_t, int64_t) const { *log_variance = logarithm_for_bound(*running); }
};

}  // namespace

template <class T, class Target>
void batch_variance(const Exec& exec, const BatchVariance<T, Target>& args) {
  using R = Compute<T>;
  ELBO_CHECK(args.running && args.log_variance, "batch_variance: a result is null");
  if (!args.mean && !args.target) {
    return for_each_cell<T>(exec, 1, 1, RunningLogarithm<R>{args.running, args.log_variance});
  }
  if (args.batch <= 0 || args.dim <= 0) return;
  ELBO_CHECK(args.mean && args.target && args.squares, "batch_variance: null operand");
  launch_row_loss<true, false, false>(
      exec, SquaredError<R>{args.squares},
      RowLossArgs<T, Target>{args.mean, args.target, args.batch, args.dim, nullptr, {}, {}});
  const R count = static_cast<R>(args.batch) * static_cast<R>(args.dim);
  row_reduce(exec, 1, args.batch,
             VarianceOfSums<R>{count, R{args.momentum}, args.running, args.log_variance},
             PointerPack<const R, 1>{{args.squares}}, NoPointers<R>{});
}

#define ELBO_INSTANTIATE(T, Target) \
  template void batch_variance(const Exec&, const BatchVariance<T, Target>&);
ELBO_INSTANTIATE(float, float)
ELBO_INSTANTIATE(float, uint8_t)
ELBO_INSTANTIATE(bf16, float)
ELBO_INSTANTIATE(bf16, uint8_t)
ELBO_INSTANTIATE(double, float)
ELBO_INSTANTIATE(double, uint8_t)
ELBO_INSTANTIATE(double, double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
