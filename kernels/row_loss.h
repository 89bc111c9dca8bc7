// What the per-row likelihoods share: loss and gradient of a [B, D] output against a target in one
// row_reduce. For .cu files; see bernoulli_nll.cu for a user.
//
// A Density is the op's arithmetic, a small functor:
//   R accumulate(output, target)      the term that a row sums
//   R gradient(output, target)        d loss / d output
//   void finish(row, sum, weight)     stores what is made of the row's sum; weight is the upstream
//                                     gradient of the row, 0 if there is none
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/exec.h"
#include "kernels/grey.h"
#include "kernels/launch.h"
#include "kernels/loss_weight.h"
#include "kernels/storage.h"

namespace elbo {

template <class R>
ELBO_HD R target_value(uint8_t v) {
  return grey_value<R>(v);
}
template <class R>
ELBO_HD R target_value(float v) {
  return static_cast<R>(v);
}
template <class R>
ELBO_HD R target_value(double v) {
  return static_cast<R>(v);
}

// Matrices read: output, then target if it is stored as T (then it moves in 16-byte vectors too,
// otherwise it is read by index), then the old gradient if this one is added to it.
template <class Density, class T, class Target, bool Sum, bool Grad, bool Add>
struct RowLoss {
  static constexpr int kSums = 1;
  static constexpr bool kTargetIsT = std::is_same_v<T, Target>;

  Density density;
  const Target* target;
  int64_t dim;
  BasicLossWeight<Compute<T>> weight;

  template <class R>
  ELBO_HD void operator()(int64_t row, int64_t col, const R* x, R* y, R* sums) const {
    R wanted;
    if constexpr (kTargetIsT) {
      wanted = x[1];
    } else {
      wanted = target_value<R>(target[row * dim + col]);
    }
    if constexpr (Sum) sums[0] += density.accumulate(x[0], wanted);
    if constexpr (Grad) {
      y[0] = weight.at(row) * density.gradient(x[0], wanted);
      if constexpr (Add) y[0] += x[kTargetIsT ? 2 : 1];
    }
  }

  template <class R>
  ELBO_HD void finish(int64_t row, const R* sums) const {
    if constexpr (Sum) density.finish(row, sums[0], weight.values ? weight.at(row) : R{0});
  }
};

template <class T, class Target>
struct RowLossArgs {
  const T* output;
  const Target* target;
  int64_t batch, dim;
  T* gradient;  // null: not wanted
  BasicLossWeight<Compute<T>> weight;
  GradMode mode;
};

template <bool Sum, bool Grad, bool Add, class Density, class T, class Target>
void launch_row_loss(const Exec& exec, const Density& density, const RowLossArgs<T, Target>& args) {
  using Row = RowLoss<Density, T, Target, Sum, Grad, Add>;
  const Row row{density, args.target, args.dim, args.weight};
  const auto run = [&](auto in) {
    if constexpr (Grad) {
      row_reduce(exec, args.batch, args.dim, row, in, PointerPack<T, 1>{{args.gradient}});
    } else {
      row_reduce(exec, args.batch, args.dim, row, in, NoPointers<T>{});
    }
  };
  if constexpr (Row::kTargetIsT && Add) {
    run(PointerPack<const T, 3>{{args.output, args.target, args.gradient}});
  } else if constexpr (Row::kTargetIsT) {
    run(PointerPack<const T, 2>{{args.output, args.target}});
  } else if constexpr (Add) {
    run(PointerPack<const T, 2>{{args.output, args.gradient}});
  } else {
    run(PointerPack<const T, 1>{{args.output}});
  }
}

// Computes what is wanted and nothing else: `sum` is whether density.finish must be called.
template <class Density, class T, class Target>
void row_loss(const Exec& exec, const Density& density, const RowLossArgs<T, Target>& args,
              bool sum) {
  const bool add = args.mode == GradMode::add;
  if (!args.gradient) {
    if (sum) launch_row_loss<true, false, false>(exec, density, args);
  } else if (sum) {
    add ? launch_row_loss<true, true, true>(exec, density, args)
        : launch_row_loss<true, true, false>(exec, density, args);
  } else {
    add ? launch_row_loss<false, true, true>(exec, density, args)
        : launch_row_loss<false, true, false>(exec, density, args);
  }
}

}  // namespace elbo
