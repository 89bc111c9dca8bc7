// Which sample of a data set each row of a batch reads.
#pragma once

#include <cstdint>

#include "kernels/portability.h"
#include "kernels/shuffle.h"
#include "kernels/step_state.h"

namespace elbo {

// Row b reads position p = start + b of the epoch's order: sample p itself, or the p-th of a keyed
// shuffle of all samples. start and epoch come from device memory, so that a captured step follows
// them; without a state (evaluation) they are `first` and 0. Positions past the end wrap to the
// start of the same order.
struct BatchOrder {
  uint64_t seed = 0;
  const StepState* state = nullptr;  // device memory
  int64_t samples = 0;
  bool shuffle = false;
  int64_t first = 0;  // used where state is null
};

ELBO_HD uint64_t order_step(const BatchOrder& order) { return order.state ? order.state->step : 0; }

ELBO_HD int64_t sample_at(const BatchOrder& order, uint64_t epoch, uint64_t position) {
  const auto samples = static_cast<uint64_t>(order.samples);
  position %= samples;
  if (!order.shuffle) return static_cast<int64_t>(position);
  return static_cast<int64_t>(shuffled_index(position, samples, shuffle_key(order.seed, epoch)));
}

ELBO_HD int64_t ordered_sample(const BatchOrder& order, int64_t row) {
  const uint64_t start = order.state ? order.state->position : static_cast<uint64_t>(order.first);
  const uint64_t epoch = order.state ? order.state->epoch : 0;
  return sample_at(order, epoch, start + static_cast<uint64_t>(row));
}

}  // namespace elbo
