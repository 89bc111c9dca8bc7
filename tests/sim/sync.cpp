// Barriers, warp operations, fences and atomics: where a thread may have to wait for others.
#include <cstring>

#include "tests/sim/race_hooks.h"
#include "tests/sim/reports.h"
#include "tests/sim/scheduler.h"

namespace cudasim {
namespace {

bool same_place(const Site& a, const Site& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         std::strcmp(a.file_name(), b.file_name()) == 0;
}

int barrier_result() {
  switch (block.barrier_op) {
    case BarrierOp::all:
      return block.predicates == block.waiting;
    case BarrierOp::any:
      return block.predicates != 0;
    default:
      return block.predicates;
  }
}

void enter_barrier(int me, BarrierOp op, const Site& site) {
  if (block.waiting == 0) {
    block.barrier_site = site;
    block.barrier_op = op;
  } else if (!same_place(site, block.barrier_site)) {
    abort_launch("divergent barrier", me, "is at %s:%u, others wait at %s:%u",
                 short_path(site.file_name()), site.line(),
                 short_path(block.barrier_site.file_name()), block.barrier_site.line());
  }
}

// The last thread has arrived: lets all of them go on.
void release_barrier() {
  block.barrier_result = barrier_result();
  for (int i = 0; i < block.count; ++i) {
    if (block.threads[i].state != State::at_barrier) continue;
    block.threads[i].state = State::ready;
    if (i != block.current) block.ready.push(i);
  }
  block.waiting = block.predicates = 0;
  race::barrier();
}

// The pending operation of this mask in my warp; begins one if there is none.
PendingOp& join_warp_op(int me, uint32_t mask, WarpOp op, const Site& site) {
  Warp& warp = block.warps[me / 32];
  for (int k = 0; k < warp.pending_count; ++k) {
    if (warp.pending[k].mask == mask) return warp.pending[k];
  }
  const int base = me & ~31;
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const int other = base + lane;
    if (other >= block.count || block.threads[other].state == State::done) {
      abort_launch("warp mask", me, "at %s:%u names lane %d, which %s",
                   short_path(site.file_name()), site.line(), lane,
                   other >= block.count ? "does not exist" : "has exited");
    }
  }
  PendingOp& pending = warp.pending[warp.pending_count++];
  pending = PendingOp{mask, 0, op, site};
  return pending;
}

// All lanes have arrived: computes their results and lets them go on.
void complete_warp_op(int me, PendingOp& pending) {
  const int base = me & ~31;
  const uint32_t mask = pending.mask;
  uint32_t votes = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1 && block.threads[base + lane].operand) votes |= 1u << lane;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    Thread& t = block.threads[base + lane];
    const int source = t.source_lane & 31;
    if (pending.op == WarpOp::shuffle && !(mask >> source & 1)) {
      abort_launch("warp mask", base + lane, "at %s:%u reads lane %d, which is not in the mask",
                   short_path(t.site.file_name()), t.site.line(), source);
    }
    t.result = {block.threads[base + source].operand, votes};
    t.state = State::ready;
    if (base + lane != me) block.ready.push(base + lane);
  }
  const bool orders_memory = pending.op == WarpOp::sync;
  Warp& warp = block.warps[me / 32];
  pending = warp.pending[--warp.pending_count];
  if (orders_memory) race::sync_warp(mask);
}

}  // namespace

int block_barrier(BarrierOp op, int predicate, const Site& site) {
  const InSimulator in_simulator;
  const int me = block.current;
  enter_barrier(me, op, site);
  Thread& t = block.threads[me];
  t.state = State::at_barrier;
  t.site = site;
  ++block.waiting;
  block.predicates += predicate != 0;
  if (block.waiting < block.count - block.done) {
    wait_for_others(me);
  } else if (block.done > 0) {
    // Legal on the hardware, but hides bugs; house rule: all threads of a block reach every
    // barrier.
    abort_launch("divergent barrier", me, "at %s:%u: %d threads have exited",
                 short_path(site.file_name()), site.line(), block.done);
  } else {
    release_barrier();
  }
  return block.barrier_result;
}

WarpResult warp_exchange(uint32_t mask, WarpOp op, uint64_t value, int source_lane,
                         const Site& site) {
  const InSimulator in_simulator;
  const int me = block.current;
  if (!(mask >> (me & 31) & 1)) {
    abort_launch("warp mask", me, "at %s:%u is not in its own mask", short_path(site.file_name()),
                 site.line());
  }
  PendingOp& pending = join_warp_op(me, mask, op, site);
  if (pending.op != op) {
    abort_launch("warp mask", me, "at %s:%u, others in the mask run another operation at %s:%u",
                 short_path(site.file_name()), site.line(), short_path(pending.site.file_name()),
                 pending.site.line());
  }
  Thread& t = block.threads[me];
  t.state = State::at_warp_op;
  t.site = site;
  t.operand = value;
  t.source_lane = source_lane;
  pending.arrived |= 1u << (me & 31);
  if (pending.arrived == mask) {
    complete_warp_op(me, pending);
  } else {
    wait_for_others(me);
  }
  return t.result;
}

void memory_fence() {
  const InSimulator in_simulator;
  race::fence();
  maybe_preempt();
}

void before_atomic(void* address, size_t bytes, const Site& site) {
  const InSimulator in_simulator;
  maybe_preempt();
  race::atomic_access(address, bytes, site);
}

void untracked_copy(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }

void trap(const Site& site) {
  const InSimulator in_simulator;
  abort_launch("trap", block.current, "__trap at %s:%u", short_path(site.file_name()), site.line());
}

}  // namespace cudasim
