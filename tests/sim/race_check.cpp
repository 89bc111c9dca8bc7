// The checks themselves. Kernels are compiled with -fsanitize=thread and linked against race_tsan.cpp
// in place of the ThreadSanitizer runtime, so every load and store arrives in on_access:
//   race            two accesses to the same bytes, one of them a write, not ordered (race_order.cpp)
//   unwritten read  of shared or device memory that nobody has written
//   bad address     neither device memory, nor shared memory, nor the thread's own variables
//   misaligned      a vector access at an address that the hardware refuses
#include "tests/sim/race_check.h"

#include <cstdio>
#include <map>
#include <set>
#include <string>

#include "tests/sim/race_hooks.h"
#include "tests/sim/race_order.h"
#include "tests/sim/race_shadow.h"
#include "tests/sim/reports.h"
#include "tests/sim/scheduler.h"

// Bounds of this program's sections, from the linker. What lies before __data_start is constant.
extern "C" char __executable_start[], __data_start[];
extern "C" char __start_cudasim_context[], __stop_cudasim_context[];
extern "C" char __start_cudasim_shared[] __attribute__((weak));
extern "C" char __stop_cudasim_shared[] __attribute__((weak));

namespace cudasim::race {
namespace {

constexpr uint32_t kSiteFlag = 1u << 31;  // Access::place is an index into `sites`

// Never destroyed, see runtime_call.cpp.
std::map<uintptr_t, Shadow>& device = *new std::map<uintptr_t, Shadow>;
Shadow* recent = nullptr;  // of `device`
Shadow& static_shared = *new Shadow;
Shadow& dynamic_shared_shadow = *new Shadow;
std::map<std::pair<const char*, unsigned>, uint32_t>& sites =
    *new std::map<std::pair<const char*, unsigned>, uint32_t>;
std::set<std::pair<uint32_t, uint32_t>>& reported = *new std::set<std::pair<uint32_t, uint32_t>>;

bool between(uintptr_t address, const char* start, const char* stop) {
  return address - reinterpret_cast<uintptr_t>(start) < static_cast<size_t>(stop - start);
}

Shadow* find_device(uintptr_t address) {
  if (recent && recent->contains(address)) return recent;
  auto next = device.upper_bound(address);
  if (next == device.begin()) return nullptr;
  Shadow& shadow = (--next)->second;
  return shadow.contains(address) ? recent = &shadow : nullptr;
}

std::string place_name(uint32_t place) {
  if (!(place & kSiteFlag)) {
    return source_line(reinterpret_cast<uintptr_t>(__executable_start) + place);
  }
  for (const auto& [site, index] : sites) {
    if (index == place)
      return std::string(short_path(site.first)) + ":" + std::to_string(site.second);
  }
  return "?";
}

// One access with everything the checks need to know.
struct Touch {
  uintptr_t address;
  size_t bytes;
  Kind kind;
  uint32_t place;
  int thread;
  bool writes() const { return kind != Kind::read; }
  bool reads() const { return kind != Kind::write; }
};

void say(const char* what, const char* detail, const Touch& touch, const Access* earlier) {
  if (!reported.insert({touch.place, earlier ? earlier->place : 0}).second) return;
  std::string versus;
  if (earlier) {
    versus = std::string(" against thread ") + std::to_string(earlier->thread) +
             (earlier->block == current_block() ? " at " : " of another block at ") +
             place_name(earlier->place);
  }
  add_report(what, "%s: block (%u,%u,%u) thread %d at %s%s [%s]", detail, blockIdx.x, blockIdx.y,
             blockIdx.z, touch.thread, place_name(touch.place).c_str(), versus.c_str(),
             kernel_name(current_launch->kernel).c_str());
}

const char* race_text(const Access& earlier, bool earlier_writes, const Touch& touch) {
  if (earlier.atomic || touch.kind == Kind::atomic) return "atomic and plain access";
  if (!earlier_writes) return "write after read";
  return touch.writes() ? "write after write" : "read after write";
}

bool clashes(const Access& earlier, uint8_t bytes, const Touch& touch, bool shared) {
  if (shared ? earlier.block != current_block() : earlier.block == 0) return false;
  if (!(earlier.bytes & bytes)) return false;
  if (earlier.atomic && touch.kind == Kind::atomic) return false;
  return !is_ordered(earlier, touch.thread);
}

void remember(Cell& cell, uint8_t bytes, const Touch& touch) {
  Access now;
  stamp(&now, touch.thread);
  now.place = touch.place;
  now.bytes = bytes;
  now.atomic = touch.kind == Kind::atomic;
  if (touch.writes()) {
    cell.write = now;
    return;
  }
  const Access& latest = cell.reads[0];
  if (latest.block != now.block) {
    cell.reads[2] = latest;
  } else if (latest.thread / 32 != now.thread / 32) {
    cell.reads[1] = latest;
  }
  cell.reads[0] = now;
}

void check_cell(Shadow& shadow, size_t offset, uint8_t bytes, const Touch& touch, bool shared) {
  Cell& cell = shadow.cell(offset);
  uint8_t& written = shadow.written(offset);
  if (clashes(cell.write, bytes, touch, shared)) {
    say("race", race_text(cell.write, true, touch), touch, &cell.write);
  }
  for (const Access& read : cell.reads) {
    if (touch.writes() && clashes(read, bytes, touch, shared)) {
      say("race", race_text(read, false, touch), touch, &read);
      break;
    }
  }
  if (touch.reads() && (written & bytes) != bytes) {
    say("unwritten read", shared ? "shared memory" : "device memory", touch, nullptr);
  }
  if (touch.writes()) written |= bytes;
  remember(cell, bytes, touch);
}

void check_range(Shadow& shadow, const Touch& touch, bool shared) {
  const size_t begin = touch.address - shadow.base();
  if (begin + touch.bytes > shadow.bytes()) {
    say("bad address",
        shared ? "runs over the end of shared memory" : "runs over the end of a device allocation",
        touch, nullptr);
    return;
  }
  for (size_t offset = begin; offset < begin + touch.bytes;) {
    const bool odd = offset % kGrain != 0;
    const bool both = !odd && begin + touch.bytes - offset >= kGrain;
    check_cell(shadow, offset, odd ? 2 : both ? 3 : 1, touch, shared);
    offset += both ? kGrain : 1;
  }
}

// Memory that is nobody else's business: the thread's own variables, launch arguments, threadIdx.
bool is_private(const Touch& touch) {
  if (on_current_stack(touch.address) || in_closure(touch.address)) return true;
  return between(touch.address, __start_cudasim_context, __stop_cudasim_context);
}

bool is_constant(uintptr_t address) { return between(address, __executable_start, __data_start); }

void check(const Touch& touch) {
  if (is_private(touch)) return;
  size_t offset = 0;
  if (Shadow* shadow = find_device(touch.address)) {
    if (current_launch->overlaps && !block.threads[touch.thread].waited) {
      say("early access", "before wait_for_previous(), the kernel in front may still run", touch,
          nullptr);
    }
    check_range(*shadow, touch, false);
  } else if (in_dynamic_shared(touch.address, &offset)) {
    check_range(dynamic_shared_shadow, touch, true);
  } else if (static_shared.contains(touch.address)) {
    check_range(static_shared, touch, true);
  } else if (!(touch.kind == Kind::read && is_constant(touch.address)) &&
             !on_any_stack(touch.address)) {
    say("bad address",
        touch.writes() ? "write to memory that is not the device's"
                       : "read of memory that is not the device's",
        touch, nullptr);
  }
}

void begin_shared() {
  if (!static_shared.bytes() && __start_cudasim_shared) {
    static_shared = Shadow(reinterpret_cast<uintptr_t>(__start_cudasim_shared),
                           __stop_cudasim_shared - __start_cudasim_shared);
  }
  static_shared.set_written(0, static_shared.bytes(), false);
  const auto base = reinterpret_cast<uintptr_t>(dynamic_shared());
  const size_t bytes = current_launch->shared_bytes;
  if (base != dynamic_shared_shadow.base() || bytes != dynamic_shared_shadow.bytes()) {
    dynamic_shared_shadow = bytes ? Shadow(base, bytes) : Shadow();
  }
  dynamic_shared_shadow.set_written(0, bytes, false);
}

}  // namespace

void begin_block(int threads) {
  begin_block_order(threads);
  begin_shared();
}

void on_access(const void* address, size_t bytes, Kind kind, const void* code) {
  if (!in_kernel() || bytes == 0) return;
  const InSimulator in_simulator;
  // The return address belongs to the line after the call if the call ends its line.
  const auto place = static_cast<uint32_t>(static_cast<const char*>(code) - 1 - __executable_start);
  check(Touch{reinterpret_cast<uintptr_t>(address), bytes, kind, place, current_thread()});
}

void on_aligned_access(const void* address, size_t bytes, Kind kind, const void* code) {
  if (!in_kernel()) return;
  on_access(address, bytes, kind, code);
  if (reinterpret_cast<uintptr_t>(address) % bytes == 0) return;
  const InSimulator in_simulator;
  const auto place = static_cast<uint32_t>(static_cast<const char*>(code) - 1 - __executable_start);
  say("misaligned", "address is not a multiple of the access size",
      Touch{reinterpret_cast<uintptr_t>(address), bytes, kind, place, current_thread()}, nullptr);
}

void atomic_access(const void* address, size_t bytes, const Site& site) {
  uint32_t& index = sites[{site.file_name(), site.line()}];
  if (!index) index = kSiteFlag | static_cast<uint32_t>(sites.size());
  check(Touch{reinterpret_cast<uintptr_t>(address), bytes, Kind::atomic, index, current_thread()});
  synchronise_through(address, current_thread());
}

void allocate(const void* pointer, size_t bytes) {
  const auto base = reinterpret_cast<uintptr_t>(pointer);
  device[base] = Shadow(base, bytes);
  recent = nullptr;
}

void release(const void* pointer) {
  device.erase(reinterpret_cast<uintptr_t>(pointer));
  recent = nullptr;
}

void host_write(const void* pointer, size_t bytes, const void* from) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  Shadow* to = find_device(address);
  if (!to) return;
  const auto source_address = reinterpret_cast<uintptr_t>(from);
  Shadow* source = from ? find_device(source_address) : nullptr;
  if (source) {
    to->copy_written(address - to->base(), *source, source_address - source->base(), bytes);
  } else {
    to->set_written(address - to->base(), bytes, true);
  }
}

bool is_written(const void* pointer, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  Shadow* shadow = find_device(address);
  return shadow && shadow->all_written(address - shadow->base(), bytes);
}

void mark_unwritten(const void* pointer, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  if (Shadow* shadow = find_device(address)) {
    shadow->set_written(address - shadow->base(), bytes, false);
  }
}

void forget_reported() { reported.clear(); }

}  // namespace cudasim::race
