// The threads of the block that is running: who may run next, who waits where.
//
// Invariants: exactly one thread of the block runs at a time, `current`; a thread that never blocks
// runs on the stack of its predecessor, and only blocked ones keep a fiber of their own.
// Start at run_grid in scheduler.cpp, then sync.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/sim/device.h"
#include "tests/sim/fiber.h"

namespace cudasim {

inline constexpr int kMaxThreads = 1024;
inline constexpr int kMaxWarps = kMaxThreads / 32;

enum class State : uint8_t { fresh, ready, at_barrier, at_warp_op, done };

struct Thread {
  State state = State::fresh;
  bool waited = false;  // called wait_for_previous()
  Fiber* fiber = nullptr;
  Site site;             // where it waits
  uint64_t operand = 0;  // of the warp operation it waits in
  int source_lane = 0;
  WarpResult result{};
};

// A warp operation that not all lanes of its mask have reached yet. Lanes with another mask may
// have one of their own at the same time.
struct PendingOp {
  uint32_t mask = 0;
  uint32_t arrived = 0;
  WarpOp op = WarpOp::sync;
  Site site;
};

struct Warp {
  std::array<PendingOp, 32> pending;
  int pending_count = 0;
};

// Threads that may continue. At most kMaxThreads, so the ring is never full.
class ReadyQueue {
 public:
  int size() const { return static_cast<int>(tail_ - head_); }
  void push(int thread) { slots_[tail_++ % kSlots] = static_cast<uint16_t>(thread); }
  int take_first() { return slots_[head_++ % kSlots]; }
  int take_last() { return slots_[--tail_ % kSlots]; }
  int take(int index) {
    std::swap(slots_[(head_ + index) % kSlots], slots_[(tail_ - 1) % kSlots]);
    return take_last();
  }
  void clear() { head_ = tail_ = 0; }

 private:
  static constexpr unsigned kSlots = 2 * kMaxThreads;
  std::array<uint16_t, kSlots> slots_;
  unsigned head_ = 0, tail_ = 0;
};

struct Block {
  std::array<Thread, kMaxThreads> threads;
  std::array<uint3, kMaxThreads> indices;  // threadIdx of each
  std::array<Warp, kMaxWarps> warps;
  ReadyQueue ready;
  std::vector<int> fresh;  // not started yet
  int count = 0;
  int done = 0;
  int current = -1;
  // The barrier that threads wait at.
  int waiting = 0;
  int predicates = 0;
  int barrier_result = 0;
  BarrierOp barrier_op = BarrierOp::plain;
  Site barrier_site;
};
extern Block block;
extern const Launch* current_launch;
extern std::mt19937_64 random_bits;

// Runs a grid to its end. Returns false if a thread's error aborted it.
bool run_grid(const Launch& launch);

// True on the host thread that is running a kernel, while the kernel's own code runs.
bool in_kernel();

// While one lives, what runs is the simulator on a kernel's behalf. The race checker leaves that
// out: the linker may hand the simulator an instrumented copy of a library template that a .cu file
// uses too.
class InSimulator {
 public:
  InSimulator();
  ~InSimulator();
  InSimulator(const InSimulator&) = delete;
  InSimulator& operator=(const InSimulator&) = delete;

 private:
  const bool outer_;
};
int current_thread();
bool in_closure(uintptr_t address);
bool in_dynamic_shared(uintptr_t address, size_t* offset);

// Parks thread `me`, which waits for something, and runs others until it may continue.
void wait_for_others(int me);
// Random order only: maybe lets another thread run first.
void maybe_preempt();
// Reports, abandons the launch and makes the error sticky. printf-style; "block (..) thread ..:" of
// `thread` comes first.
[[noreturn]] void abort_launch(const char* what, int thread, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

}  // namespace cudasim
