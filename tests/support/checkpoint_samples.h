// Small checkpoints whose whole content follows from one number, so that a test can tell which save
// it is looking at and that no part of it comes from another.
#pragma once

#include <string>
#include <vector>

#include "engine/io/checkpoint.h"

namespace elbo {

class SampleCheckpoint {
 public:
  SampleCheckpoint(int64_t step, int generation, size_t weights = 12);

  CheckpointContents contents() const { return {model_, optimizer_, state_, config_}; }

 private:
  std::vector<float> weights_, moments_;
  std::vector<NamedBlob> model_, optimizer_;
  RunState state_;
  std::string config_;
};

// The generation of a loaded sample; throws std::logic_error if its parts do not belong together.
int generation_of(const LoadedCheckpoint& loaded);

}  // namespace elbo
