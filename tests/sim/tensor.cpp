#include "tests/sim/tensor.h"

#include <algorithm>
#include <bit>
#include <cmath>
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

// What each lane of a warp has brought to the product, filled by all before any reads.
struct Fragments {
  uint32_t a[4], b[2];
};
Fragments fragments[kMaxWarps][32];

float number(uint32_t word, int index, int numbers_per_word) {
  if (numbers_per_word == 1) return std::bit_cast<float>(word);
  return std::bit_cast<float>((word >> (16 * index) & 0xffffu)
                              << 16);  // bf16 is a float's upper half
}

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

void multiply_tile(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                   int numbers_per_word, const Site& site) {
  const int me = block.current;
  const auto& lanes = fragments[me / 32];
  {
    const InSimulator in_simulator;
    Fragments& mine = fragments[me / 32][me % 32];
    std::copy(std::begin(a), std::end(a), mine.a);
    std::copy(std::begin(b), std::end(b), mine.b);
  }
  warp_exchange(~0u, WarpOp::shuffle, 0, 0, site);
  {
    const InSimulator in_simulator;
    const int group = me % 32 / 4, pair = me % 4;
    for (int i = 0; i < 4; ++i) {
      const int column = 2 * pair + i % 2;
      for (int word = 0; word < 8; ++word) {
        const uint32_t left = lanes[4 * group + word % 4].a[2 * (word / 4) + i / 2];
        const uint32_t right = lanes[4 * column + word % 4].b[word / 4];
        for (int n = 0; n < numbers_per_word; ++n) {
          c[i] =
              std::fma(number(left, n, numbers_per_word), number(right, n, numbers_per_word), c[i]);
        }
      }
    }
  }
  warp_exchange(~0u, WarpOp::shuffle, 0, 0, site);  // all have read
}

}  // namespace cudasim
