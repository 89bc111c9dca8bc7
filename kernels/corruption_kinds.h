// The two families of corruptions, for corruption.cpp: those that draw noise and look at one value, and
// those that look at its neighbours. Arguments have been checked.
#pragma once

#include "kernels/corruption.h"
#include "kernels/portability.h"

namespace elbo {

void corrupt_by_noise(const Exec& exec, const Corrupt& args);   // gaussian to salt_pepper
void corrupt_by_filter(const Exec& exec, const Corrupt& args);  // blur to downsample

ELBO_HD void put_corrupted(const Corrupt& args, int64_t at, float value) {
  args.y[at] = value;
  if (args.y_bf16) args.y_bf16[at] = from_float<bf16>(value);
}

}  // namespace elbo
