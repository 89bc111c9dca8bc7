// What the per-row likelihoods with two outputs per value share, as row_loss.h does for those with
// one. For .cu files; see logistic_nll.cu for a user.
//
// A Density is the op's arithmetic, a small functor:
//   R loss(first, second, target)
//   R gradient_first(first, second, target), gradient_second(...)     of the raw outputs
//
// Value c of a row belongs to pixel c / channels, so its outputs are number c + pixel * channels of
// the row and the one `channels` further on. The pixel is found by multiplication: processors have
// no vector division of integers, and a loop with one stays scalar. c + 1/2 is at least 1/(2
// channels) of a pixel away from where rounding to the next one would be wrong; two fp32 roundings
// are less than that for c < 2^22.
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/launch.h"
#include "kernels/output_nll_check.h"
#include "kernels/row_loss.h"

namespace elbo {

inline constexpr int64_t kLargestPairRow = int64_t{1} << 22;

// The outputs are not handed over by row_reduce, whose matrices all have the target's shape.
template <class Density, class T, class Target, bool Grad, bool Add>
struct PairLoss {
  static constexpr int kSums = 1;

  Density density;
  OutputNll<T, Target> args;
  int32_t channels;
  float per_channel;  // 1 / channels

  template <class R>
  ELBO_HD void operator()(int64_t row, int64_t col, const R*, R*, R* sums) const {
    const auto value = static_cast<int32_t>(col);
    const auto pixel = static_cast<int32_t>((static_cast<float>(value) + 0.5f) * per_channel);
    const int32_t at = value + pixel * channels;
    const T* output = args.output + row * 2 * args.dim;
    const R first = to_float(output[at]), second = to_float(output[at + channels]);
    // By col, which a compiler sees to be consecutive: bytes cannot be gathered.
    const R wanted = target_value<R>(args.target[row * args.dim + col]);
    sums[0] += density.loss(first, second, wanted);
    if constexpr (Grad) {
      T* doutput = args.doutput + row * 2 * args.dim;
      const R weight = args.weight.at(row);
      R dfirst = weight * density.gradient_first(first, second, wanted);
      R dsecond = weight * density.gradient_second(first, second, wanted);
      if constexpr (Add) {  // a condition in the loop would keep it from vectorising
        dfirst += to_float(doutput[at]);
        dsecond += to_float(doutput[at + channels]);
      }
      doutput[at] = from_float<T>(dfirst);
      doutput[at + channels] = from_float<T>(dsecond);
    }
  }

  template <class R>
  ELBO_HD void finish(int64_t row, const R* sums) const {
    if (args.nll) args.nll[row] = sums[0];
  }
};

template <class Density, class T, class Target>
void pair_loss(const Exec& exec, const char* op, const Density& density,
               const OutputNll<T, Target>& args) {
  if (args.batch <= 0) return;
  check_output_nll(op, args);
  ELBO_CHECK(args.channels > 0 && args.dim % args.channels == 0, op, ": ", args.dim,
             " values per sample are not pixels of ", args.channels, " channels");
  ELBO_CHECK(args.dim < kLargestPairRow, op, ": ", args.dim,
             " values per sample; expected less than ", kLargestPairRow);
  const auto channels = static_cast<int32_t>(args.channels);
  const auto run = [&](const auto& row) {
    row_reduce(exec, args.batch, args.dim, row, NoPointers<const T>{}, NoPointers<T>{});
  };
  const float per_channel = 1.0f / static_cast<float>(channels);
  if (args.doutput && args.mode == GradMode::add) {
    run(PairLoss<Density, T, Target, true, true>{density, args, channels, per_channel});
  } else if (args.doutput) {
    run(PairLoss<Density, T, Target, true, false>{density, args, channels, per_channel});
  } else if (args.nll) {
    run(PairLoss<Density, T, Target, false, false>{density, args, channels, per_channel});
  }
}

}  // namespace elbo
