#include "engine/liveness_plan.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace elbo {
namespace {

constexpr size_t kAlignment = 256;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool overlap_in_time(const BufferLife& a, const BufferLife& b) {
  return a.first_use <= b.last_use && b.first_use <= a.last_use;
}

struct Range {
  size_t begin, end;
};

// Lowest offset of the smallest gap of at least `bytes` between `taken`, or the end of the last
// range.
size_t best_fit(std::vector<Range>& taken, size_t bytes) {
  std::sort(taken.begin(), taken.end(), [](Range a, Range b) { return a.begin < b.begin; });
  size_t best = std::numeric_limits<size_t>::max(), best_gap = best, free_from = 0;
  for (const Range& range : taken) {
    if (range.begin > free_from) {
      const size_t gap = range.begin - free_from;
      if (gap >= bytes && gap < best_gap) {
        best = free_from;
        best_gap = gap;
      }
    }
    free_from = std::max(free_from, range.end);
  }
  return best_gap == std::numeric_limits<size_t>::max() ? free_from : best;
}

}  // namespace

LivenessPlan plan_liveness(std::vector<BufferLife> lives, size_t padding) {
  LivenessPlan plan;
  plan.offsets.resize(lives.size());
  std::vector<size_t> order(lives.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return lives[a].bytes > lives[b].bytes; });
  std::vector<size_t> placed;
  std::vector<Range> taken;
  for (size_t index : order) {
    const size_t bytes = aligned(lives[index].bytes + padding);
    taken.clear();
    for (size_t other : placed) {
      if (overlap_in_time(lives[index], lives[other])) {
        taken.push_back(
            {plan.offsets[other], plan.offsets[other] + aligned(lives[other].bytes + padding)});
      }
    }
    plan.offsets[index] = best_fit(taken, bytes);
    plan.total_bytes = std::max(plan.total_bytes, plan.offsets[index] + bytes);
    plan.sum_bytes += bytes;
    placed.push_back(index);
  }
  plan.lives = std::move(lives);
  return plan;
}

}  // namespace elbo
