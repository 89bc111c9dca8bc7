// The kernels that kernel_bench times, each with buffers of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/context.h"

namespace elbo::bench {

// One set of buffers, and a launch on them. Buffers hold plain values, never zeros or NaN.
class KernelWork {
 public:
  virtual ~KernelWork() = default;
  virtual void launch() = 0;
};

struct KernelCase {
  std::string name;
  double row_bytes;  // moved per row: every operand once, as the kernel's header states
  std::function<std::unique_ptr<KernelWork>(Context&, int64_t rows)> make;
};

// The first is "copy", what the others are compared with: scale() by 1, the plainest map there is.
const std::vector<KernelCase>& kernel_cases();

}  // namespace elbo::bench
