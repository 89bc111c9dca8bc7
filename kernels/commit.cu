#include "kernels/commit.h"

#include "kernels/error.h"
#include "kernels/launch.h"

namespace elbo {
namespace {

struct alignas(16) Unit {
  uint64_t bits[2];
};

struct Commit {
  Unit* to;
  const Unit* from;
  const StepState* state;

  ELBO_HD void operator()(int64_t i) const {
    if (!state || state->bad_op == 0) to[i] = from[i];
  }
};

}  // namespace

void commit_bytes(const Exec& exec, void* to, const void* from, size_t bytes,
                  const StepState* state) {
  if (bytes == 0) return;
  ELBO_CHECK(to && from, "commit_bytes: ", to ? "from" : "to", " is null");
  ELBO_CHECK(bytes % sizeof(Unit) == 0, "commit_bytes: ", bytes, " bytes are no multiple of ",
             sizeof(Unit));
  for_each(exec, static_cast<int64_t>(bytes / sizeof(Unit)),
           Commit{static_cast<Unit*>(to), static_cast<const Unit*>(from), state});
}

}  // namespace elbo
