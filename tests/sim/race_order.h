// Happens-before inside a launch: which earlier accesses the current thread may rely on.
#pragma once

#include <cstdint>

#include "tests/sim/race_shadow.h"

namespace cudasim::race {

// Fills in the times of an access by `thread`.
void stamp(Access* access, int thread);

// Has `earlier` happened before what `thread` does now?
bool is_ordered(const Access& earlier, int thread);

// A new block begins with all clocks at their start.
void begin_block_order(int threads);

uint32_t current_block();

// The thread's atomic on `address` passes on what was released there, and releases its own past.
void synchronise_through(const void* address, int thread);

}  // namespace cudasim::race
