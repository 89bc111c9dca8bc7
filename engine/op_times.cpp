#include "engine/op_times.h"

#include <algorithm>

#include "engine/op_range.h"

namespace elbo {

void OpTimes::add(const char* phase, const char* label, const char* name, double seconds) {
  auto entry = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) {
    return e.phase == phase && e.label == label && e.name == name;
  });
  if (entry == entries_.end()) {
    entry = entries_.insert(entry, {phase, label, name, {op_path(phase, label, name)}});
  }
  entry->op.calls += 1;
  entry->op.seconds += seconds;
}

std::vector<OpTimes::Op> OpTimes::ops() const {
  std::vector<Op> all;
  for (const Entry& entry : entries_) {
    const auto same = std::find_if(all.begin(), all.end(),
                                   [&](const Op& op) { return op.path == entry.op.path; });
    if (same == all.end()) {
      all.push_back(entry.op);
    } else {
      same->calls += entry.op.calls;
      same->seconds += entry.op.seconds;
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Op& a, const Op& b) { return a.seconds > b.seconds; });
  return all;
}

OpTimes::Steps::~Steps() {
  if (!times_) return;
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start_;
  times_->steps_ += steps_;
  times_->seconds_ += taken.count();
}

}  // namespace elbo
