// Stacks and the switch between them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cudasim {

struct Fiber {
  void* stack_pointer = nullptr;
  char* low = nullptr;  // lowest usable address; a guard page lies below
  size_t size = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's
};

// Where kernels are launched from: the host thread's own stack.
Fiber* host_fiber();
Fiber* current_fiber();

// A parked fiber that will run `entry` (which never returns) when switched to.
Fiber* take_fiber(void (*entry)());
void give_back(Fiber* fiber);
// After a kernel was aborted its fibers hold dead frames; they are unmapped and made anew.
void drop_all_fibers();

// Parks the current fiber and continues `to`.
void switch_to(Fiber* to);
// First statement of an entry function.
void on_fiber_entry();
// Call on the host thread before the first switch of a launch: host threads may take turns.
void begin_switching();

bool on_current_stack(uintptr_t address);
bool on_any_stack(uintptr_t address);

}  // namespace cudasim
