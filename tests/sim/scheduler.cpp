#include "tests/sim/scheduler.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "tests/sim/control.h"
#include "tests/sim/race_hooks.h"
#include "tests/sim/reports.h"
#include "tests/sim/sanitizer.h"
#include "tests/sim/tensor.h"

// In a section of their own: the race checker must tell them from other global variables.
#define CUDASIM_CONTEXT __attribute__((section("cudasim_context")))
CUDASIM_CONTEXT uint3 threadIdx = {0, 0, 0};
CUDASIM_CONTEXT uint3 blockIdx = {0, 0, 0};
CUDASIM_CONTEXT dim3 blockDim = dim3(1, 1, 1);
CUDASIM_CONTEXT dim3 gridDim = dim3(1, 1, 1);

extern "C" char __start_cudasim_shared[] __attribute__((weak));
extern "C" char __stop_cudasim_shared[] __attribute__((weak));

namespace cudasim {

Block block;
const Launch* current_launch = nullptr;
std::mt19937_64 random_bits;

namespace {

thread_local bool running = false;       // a grid is being run
thread_local bool in_simulator = false;  // see InSimulator; false in the kernel's code
bool aborted = false;

constexpr int kPoison = 0xFF;  // a float or half of ones is a NaN
constexpr int kCanary = 0xA5;
constexpr size_t kCanaryBytes = 64;

// Dynamic shared memory: exactly as many bytes as were asked for, then a canary.
class DynamicShared {
 public:
  void allocate(size_t bytes) {
    bytes_ = bytes;
    if (bytes == 0) return;
    capacity_ = (bytes + kCanaryBytes + 15) & ~size_t{15};
    data_ = static_cast<char*>(std::aligned_alloc(16, capacity_));
    std::memset(data_ + bytes, kCanary, capacity_ - bytes);
#ifdef CUDASIM_ASAN
    __asan_poison_memory_region(data_ + bytes, capacity_ - bytes);
#endif
  }
  void release() {
#ifdef CUDASIM_ASAN
    if (data_) __asan_unpoison_memory_region(data_, capacity_);
#endif
    std::free(data_);
    data_ = nullptr;
    bytes_ = 0;
  }
  void poison() {
    if (data_) std::memset(data_, kPoison, bytes_);
  }
  void check_overrun() {
#ifndef CUDASIM_ASAN
    size_t i = bytes_;
    while (data_ && i < capacity_ && static_cast<unsigned char>(data_[i]) == kCanary) ++i;
    if (!data_ || i == capacity_) return;
    add_report("overrun", "%s wrote %zu bytes behind its %zu bytes of dynamic shared memory",
               kernel_name(current_launch->kernel).c_str(), i - bytes_, bytes_);
    std::memset(data_ + bytes_, kCanary, capacity_ - bytes_);
#endif
  }
  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  char* data_ = nullptr;
  size_t bytes_ = 0, capacity_ = 0;
};
DynamicShared dynamic;

void set_current(int thread) {
  block.current = thread;
  threadIdx = block.indices[thread];
}

int take_fresh(size_t index) {
  std::swap(block.fresh[index], block.fresh.back());
  const int thread = block.fresh.back();
  block.fresh.pop_back();
  return thread;
}

// The thread to run next, -1 if there is none.
int pick() {
  const size_t ready = block.ready.size(), fresh = block.fresh.size();
  if (ready + fresh == 0) return -1;
  if (config().order == Order::random) {
    const size_t choice = random_bits() % (ready + fresh);
    return choice < ready ? block.ready.take(static_cast<int>(choice)) : take_fresh(choice - ready);
  }
  if (ready == 0) return take_fresh(fresh - 1);  // begin_block put the first in order at the back
  return config().order == Order::forward ? block.ready.take_first() : block.ready.take_last();
}

void thread_main();

// Continues `thread` on its own fiber; the current one is parked already.
void resume(int thread) {
  set_current(thread);
  Thread& t = block.threads[thread];
  if (t.state == State::fresh) t.fiber = take_fiber(thread_main);
  t.state = State::ready;
  if (t.fiber != current_fiber()) switch_to(t.fiber);
}

void finish_current() {
  const int me = block.current;
  if (current_launch->overlaps && !block.threads[me].waited) {
    abort_launch("no wait", me, "may overlap the kernel before it and never waited for it");
  }
  block.threads[me].state = State::done;
  ++block.done;
  if (block.waiting && block.waiting == block.count - block.done) {
    abort_launch("divergent barrier", me, "exited while %d threads wait at %s:%u", block.waiting,
                 short_path(block.barrier_site.file_name()), block.barrier_site.line());
  }
}

// Body of every fiber: runs one thread after another as long as nobody else has to continue.
void thread_main() {
  on_fiber_entry();
  for (;;) {
    in_simulator = false;
    current_launch->body(current_launch->closure.get());
    in_simulator = true;
    finish_current();
    const int next = pick();
    if (next < 0) {
      if (block.done != block.count) wait_for_others(block.current);  // reports the deadlock
      give_back(current_fiber());
      switch_to(host_fiber());
      continue;
    }
    if (block.threads[next].state == State::fresh) {
      set_current(next);
      block.threads[next].fiber = current_fiber();
      block.threads[next].state = State::ready;
      continue;
    }
    give_back(current_fiber());
    set_current(next);
    switch_to(block.threads[next].fiber);
  }
}

[[noreturn]] void report_deadlock(int me) {
  char where[512] = "";
  std::map<std::pair<std::string, bool>, int> places;
  for (int i = 0; i < block.count; ++i) {
    const Thread& t = block.threads[i];
    if (t.state != State::at_barrier && t.state != State::at_warp_op) continue;
    const std::string place =
        std::string(short_path(t.site.file_name())) + ":" + std::to_string(t.site.line());
    ++places[{place, t.state == State::at_barrier}];
  }
  size_t used = 0;
  for (const auto& [place, count] : places) {
    used += std::snprintf(where + used, sizeof where - used, " %d at %s %s", count,
                          place.second ? "barrier" : "warp operation", place.first.c_str());
    if (used >= sizeof where) break;
  }
  places.clear();  // this stack is about to be abandoned
  abort_launch("deadlock", me, "no thread can run:%s", where);
}

void set_up_threads(const Launch& launch) {
  blockDim = launch.block;
  gridDim = launch.grid;
  block.count = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
  for (int t = 0; t < block.count; ++t) {
    const unsigned u = t, x = launch.block.x, y = launch.block.y;
    block.indices[t] = make_uint3(u % x, u / x % y, u / x / y);
  }
}

void begin_block(uint64_t index) {
  blockIdx.x = static_cast<unsigned>(index % gridDim.x);
  blockIdx.y = static_cast<unsigned>(index / gridDim.x % gridDim.y);
  blockIdx.z = static_cast<unsigned>(index / gridDim.x / gridDim.y);
  if (config().poison) {
    dynamic.poison();
    if (__start_cudasim_shared) {
      std::memset(__start_cudasim_shared, kPoison, __stop_cudasim_shared - __start_cudasim_shared);
    }
  }
  block.done = block.waiting = block.predicates = 0;
  block.ready.clear();
  block.fresh.resize(block.count);
  for (int t = 0; t < block.count; ++t) {
    block.threads[t].state = State::fresh;
    block.threads[t].waited = false;
    block.fresh[t] = config().order == Order::reverse ? t : block.count - 1 - t;
  }
  for (Warp& warp : block.warps) warp.pending_count = 0;
  race::begin_block(block.count);
  forget_async_copies();
}

std::vector<uint32_t> block_order(uint64_t blocks) {
  std::vector<uint32_t> order(blocks);
  for (uint64_t i = 0; i < blocks; ++i) order[i] = static_cast<uint32_t>(i);
  if (config().order == Order::reverse) std::reverse(order.begin(), order.end());
  if (config().order == Order::random) std::shuffle(order.begin(), order.end(), random_bits);
  return order;
}

}  // namespace

bool run_grid(const Launch& launch) {
  current_launch = &launch;
  set_up_threads(launch);
  dynamic.allocate(launch.shared_bytes);
  random_bits.seed(config().seed * 0x9E3779B97F4A7C15ull + 1);  // spreads neighbouring seeds
  race::begin_launch();
  aborted = false;
  running = in_simulator = true;
  begin_switching();
  for (const uint32_t index :
       block_order(uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z)) {
    begin_block(index);
    resume(pick());  // comes back when all threads of the block are done
    if (aborted) break;
    dynamic.check_overrun();
  }
  running = in_simulator = false;
  block.current = -1;
  if (aborted) drop_all_fibers();
  dynamic.release();
  current_launch = nullptr;
  return !aborted;
}

bool in_kernel() { return running && !in_simulator; }
InSimulator::InSimulator() : outer_(in_simulator) { in_simulator = true; }
InSimulator::~InSimulator() { in_simulator = outer_; }
int current_thread() { return block.current; }
int lane() { return block.current & 31; }
void wait_for_previous() { block.threads[block.current].waited = true; }
void* dynamic_shared() { return dynamic.data(); }

bool in_closure(uintptr_t address) {
  const auto base = reinterpret_cast<uintptr_t>(current_launch->closure.get());
  return address - base < current_launch->closure_bytes;
}

bool in_dynamic_shared(uintptr_t address, size_t* offset) {
  *offset = address - reinterpret_cast<uintptr_t>(dynamic.data());
  return dynamic.data() && *offset < dynamic.bytes();
}

void wait_for_others(int me) {
  const int next = pick();
  if (next < 0) report_deadlock(me);
  resume(next);
}

void maybe_preempt() {
  if (!running || config().order != Order::random || random_bits() % 4 != 0) return;
  block.ready.push(block.current);
  resume(pick());
}

void abort_launch(const char* what, int thread, const char* format, ...) {
  char text[640];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  add_report(what, "block (%u,%u,%u) thread %d: %s [%s]", blockIdx.x, blockIdx.y, blockIdx.z,
             thread, text, kernel_name(current_launch->kernel).c_str());
  aborted = true;
  set_sticky_error(cudaErrorLaunchFailure);
  switch_to(host_fiber());
  std::abort();  // nobody continues an aborted thread
}

}  // namespace cudasim
