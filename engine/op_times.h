// How the host's time divides among ops, and among the steps they belong to. OpRange measures for
// whoever holds one of these (Tape::set_op_times). On CUDA an op's time is that of its launches,
// which says little; there a profiler is the tool (docs/profiling.md).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace elbo {

class OpTimes {
 public:
  struct Op {
    std::string path;  // "bwd/fc4/linear_dweight"
    int64_t calls = 0;
    double seconds = 0;
  };

  // The strings are told apart by their addresses first: a step names the same ops each time.
  void add(const char* phase, const char* label, const char* name, double seconds);

  // Ops of equal path as one, the slowest first.
  std::vector<Op> ops() const;
  int64_t steps() const { return steps_; }
  double seconds() const { return seconds_; }  // of all steps, with what lies between ops

  // Adds the time of its life; does nothing if `times` is null.
  class Steps {
   public:
    Steps(OpTimes* times, int64_t steps) : times_(times), steps_(steps) {}
    ~Steps();
    Steps(const Steps&) = delete;
    Steps& operator=(const Steps&) = delete;

   private:
    OpTimes* times_;
    int64_t steps_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  };

 private:
  struct Entry {
    const char *phase, *label, *name;
    Op op;
  };
  std::vector<Entry> entries_;
  int64_t steps_ = 0;
  double seconds_ = 0;
};

}  // namespace elbo
