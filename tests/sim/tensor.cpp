#include "tests/sim/tensor.h"

#include <algorithm>
#include <deque>
#include <vector>

#include "tests/sim/reports.h"
#include "tests/sim/scheduler.h"

namespace cudasim {
namespace {

// Per thread of the block: copies in the order asked for, with the number of the group each is in.
struct Pending {
  AsyncCopy copy;
  int group;
};
struct Queue {
  std::deque<Pending> copies;
  int groups = 0;  // committed so far
};
std::vector<Queue> queues(kMaxThreads);

WarpFragments fragments[kMaxWarps];

}  // namespace

void async_copy(const AsyncCopy& copy, const Site& site) {
  const InSimulator in_simulator;
  const uintptr_t bytes = static_cast<uintptr_t>(copy.words) * sizeof(uint32_t);
  if (reinterpret_cast<uintptr_t>(copy.to) % bytes != 0 ||
      reinterpret_cast<uintptr_t>(copy.from) % bytes != 0) {
    abort_launch("misaligned copy", block.current, "at %s:%u of %d bytes",
                 short_path(site.file_name()), site.line(), static_cast<int>(bytes));
  }
  Queue& queue = queues[static_cast<size_t>(block.current)];
  queue.copies.push_back({copy, queue.groups});
}

void async_commit() {
  const InSimulator in_simulator;
  ++queues[static_cast<size_t>(block.current)].groups;
}

bool take_due_copy(int groups_left, AsyncCopy* copy) {
  const InSimulator in_simulator;
  Queue& queue = queues[static_cast<size_t>(block.current)];
  if (queue.copies.empty() || queue.copies.front().group >= queue.groups - groups_left)
    return false;
  *copy = queue.copies.front().copy;
  queue.copies.pop_front();
  return true;
}

void forget_async_copies() {
  for (Queue& queue : queues) queue = {};
}

WarpFragments& publish_fragments(const uint32_t (&words)[kFragmentWords], const Site& site) {
  const int me = block.current;
  {
    const InSimulator in_simulator;
    std::copy(std::begin(words), std::end(words), fragments[me / 32][me % 32]);
  }
  warp_exchange(~0u, WarpOp::shuffle, 0, 0, site);
  return fragments[me / 32];
}

void release_fragments(const Site& site) { warp_exchange(~0u, WarpOp::shuffle, 0, 0, site); }

}  // namespace cudasim
