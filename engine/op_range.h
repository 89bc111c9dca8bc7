// Names for what a profiler shows: an NVTX range per op, in the domain "elbo".
//
//   fwd/fc1/linear    bwd/fc4/linear_dweight    opt/optimizer
//
// Without a profiler a range costs a test of a pointer. Ranges are the host's: kernels of a replayed graph
// are not launched inside of them, so look at names with graph_steps=0 (docs/profiling.md).
#pragma once

#include <chrono>
#include <string>

namespace elbo {

class OpTimes;

// "bwd/fc1/linear"; an empty phase or label is left out.
std::string op_path(const char* phase, const char* label, const char* name);

// `times`, if there is one, gets the time from constructor to destructor.
class OpRange {
 public:
  OpRange(const char* phase, const char* label, const char* name, OpTimes* times = nullptr);
  ~OpRange();
  OpRange(const OpRange&) = delete;
  OpRange& operator=(const OpRange&) = delete;

 private:
  const char *phase_, *label_, *name_;
  OpTimes* times_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace elbo
