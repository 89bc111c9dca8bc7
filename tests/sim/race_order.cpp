// Reading guide. Time inside a block is counted three ways. The *epoch* is the number of barriers
// passed; an access of an earlier epoch is ordered before everything now. Inside an epoch, lanes of a
// warp are ordered by __syncwarp alone: each lane has a *clock*, and remembers how far it has seen
// the clocks of the others. Shuffles and votes do not order memory.
//
// Blocks are ordered by fence and atomic only, as the PTX memory model asks for: the writer's block
// fences and then does an atomic; the reader's block does an atomic on the same address, which sees
// it, and then fences. Barriers extend both ends: thread 0 may fence for what its block wrote before
// a barrier, and each reader may fence for itself after the barrier that follows thread 0's atomic.
// Leaving out either fence is reported, although much hardware forgives it.
#include "tests/sim/race_order.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include "tests/sim/race_hooks.h"
#include "tests/sim/reports.h"
#include "tests/sim/scheduler.h"

namespace cudasim::race {
namespace {

constexpr uint32_t kMaxEpoch = (1u << 24) - 1;
constexpr uint16_t kMaxClock = (1u << 14) - 1;
constexpr uint16_t kMaxFences = (1u << 13) - 1;

using FenceCounts = std::vector<uint16_t>;  // by thread

// What a block's atomic makes visible to those who see it.
struct Release {
  uint32_t epoch = 0;
  int thread = 0;
  uint32_t fence_epoch = 0;                       // of the thread's latest fence; 0 if it made none
  uint16_t fences = 0;                            // of the thread
  std::shared_ptr<const FenceCounts> at_barrier;  // of all threads at the latest barrier
};

// A release that this block's atomic has seen.
struct Acquire {
  Release release;
  int thread = 0;
  uint32_t epoch = 0;
  uint64_t serial = 0;
  uint32_t fence_epoch = 0;  // of the first fence of `thread` after it
};

uint32_t block_serial = 0;
uint32_t first_block_of_launch = 1;

uint32_t epoch = 1;
uint16_t clocks[kMaxThreads];
uint16_t seen[kMaxThreads][32];  // by thread: clocks of its warp's lanes

uint16_t fence_counts[kMaxThreads];
uint32_t fence_epochs[kMaxThreads];
uint64_t fence_serials[kMaxThreads];
uint64_t serial = 0;  // orders fences and atomics of a block
bool fenced_since_barrier = false;
std::shared_ptr<const FenceCounts> counts_at_barrier;

using Releases = std::unordered_map<uint32_t, Release>;  // by block
std::unordered_map<const void*, Releases>& released =
    *new std::unordered_map<const void*, Releases>;
std::unordered_map<uint32_t, std::vector<Acquire>>& acquired =
    *new std::unordered_map<uint32_t, std::vector<Acquire>>;

void reset_warp_clocks(int threads) {
  std::fill_n(clocks, threads, uint16_t{1});
  std::memset(seen, 0, sizeof seen[0] * threads);
}

template <class T>
void count_up(T* counter, T limit, const char* what) {
  if (*counter < limit) {
    ++*counter;
  } else {
    add_report("race checker", "a block passes more than %u %s, results are unreliable",
               static_cast<unsigned>(limit), what);
  }
}

bool is_published(const Access& access, const Release& release) {
  const bool own = static_cast<int>(access.thread) == release.thread;
  if (own) return access.fences < release.fences;
  if (access.epoch >= release.epoch) return false;
  if (access.epoch < release.fence_epoch) return true;
  return release.at_barrier && access.fences < (*release.at_barrier)[access.thread];
}

bool is_usable(const Acquire& acquire, int thread) {
  const bool own = thread == acquire.thread;
  const bool fenced_itself =
      fence_serials[thread] > acquire.serial && (own || acquire.epoch < fence_epochs[thread]);
  if (fenced_itself) return true;
  return acquire.fence_epoch != 0 && (own || acquire.fence_epoch < epoch);
}

}  // namespace

void begin_launch() {
  first_block_of_launch = block_serial + 1;
  released.clear();
}

void begin_block_order(int threads) {
  ++block_serial;
  epoch = 1;
  reset_warp_clocks(threads);
  std::fill_n(fence_counts, threads, uint16_t{0});
  std::fill_n(fence_epochs, threads, 0u);
  std::fill_n(fence_serials, threads, uint64_t{0});
  serial = 0;
  fenced_since_barrier = false;
  counts_at_barrier.reset();
  acquired.clear();
}

void barrier() {
  count_up(&epoch, kMaxEpoch, "barriers");
  reset_warp_clocks(block.count);
  if (!fenced_since_barrier) return;
  fenced_since_barrier = false;
  counts_at_barrier = std::make_shared<FenceCounts>(fence_counts, fence_counts + block.count);
}

void sync_warp(uint32_t mask) {
  const int base = current_thread() & ~31;
  uint16_t together[32] = {};
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    count_up(&clocks[base + lane], kMaxClock, "__syncwarps between barriers");
    for (int k = 0; k < 32; ++k) together[k] = std::max(together[k], seen[base + lane][k]);
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) together[lane] = clocks[base + lane];
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) std::memcpy(seen[base + lane], together, sizeof together);
  }
}

void fence() {
  const int me = current_thread();
  count_up(&fence_counts[me], kMaxFences, "fences");
  fence_epochs[me] = epoch;
  fence_serials[me] = ++serial;
  fenced_since_barrier = true;
  for (auto& [other, list] : acquired) {
    for (Acquire& acquire : list) {
      if (acquire.thread == me && acquire.fence_epoch == 0) acquire.fence_epoch = epoch;
    }
  }
}

void synchronise_through(const void* address, int thread) {
  Releases& releases = released[address];
  ++serial;
  for (const auto& [other, release] : releases) {
    if (other != block_serial) acquired[other].push_back({release, thread, epoch, serial, 0});
  }
  releases[block_serial] =
      Release{epoch, thread, fence_epochs[thread], fence_counts[thread], counts_at_barrier};
}

void stamp(Access* access, int thread) {
  access->block = block_serial;
  access->epoch = epoch;
  access->clock = clocks[thread];
  access->fences = fence_counts[thread];
  access->thread = thread;
}

bool is_ordered(const Access& earlier, int thread) {
  if (earlier.block < first_block_of_launch) return true;
  if (earlier.block != block_serial) {
    const auto found = acquired.find(earlier.block);
    if (found == acquired.end()) return false;
    return std::any_of(found->second.begin(), found->second.end(), [&](const Acquire& acquire) {
      return is_usable(acquire, thread) && is_published(earlier, acquire.release);
    });
  }
  const int other = static_cast<int>(earlier.thread);
  if (other == thread || earlier.epoch < epoch) return true;
  return other / 32 == thread / 32 && earlier.clock < seen[thread][other % 32];
}

uint32_t current_block() { return block_serial; }

}  // namespace cudasim::race
