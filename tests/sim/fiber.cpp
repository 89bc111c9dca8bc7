#include "tests/sim/fiber.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/sim/sanitizer.h"

#ifdef CUDASIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

// swap(save, to): pushes what the calling convention says a callee must keep, stores the stack
// pointer in *save and continues on `to`. 3 ns; swapcontext makes a system call and takes 330 ns.
// It leaves by an indirect jump because a `ret` that was never called mispredicts (23 ns).
extern "C" void cudasim_swap(void** save, void* to);

#if defined(__x86_64__)
asm(R"(
.text
.globl cudasim_swap
.type cudasim_swap,@function
cudasim_swap:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %r8
  jmpq *%r8
.size cudasim_swap,.-cudasim_swap
)");
namespace {
// A stack as cudasim_swap leaves it: six registers, the address to continue at, and above it the
// slot of a return address, which gives `entry` the alignment of a called function.
void* first_stack_pointer(char* top, void (*entry)()) {
  auto* sp = reinterpret_cast<uint64_t*>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t{15}) - 8;
  std::memset(sp, 0, 8 * sizeof(uint64_t));
  sp[6] = reinterpret_cast<uint64_t>(entry);
  return sp;
}
}  // namespace
#elif defined(__aarch64__)
asm(R"(
.text
.globl cudasim_swap
.type cudasim_swap,%function
cudasim_swap:
  sub sp,sp,#160
  stp x19,x20,[sp]
  stp x21,x22,[sp,#16]
  stp x23,x24,[sp,#32]
  stp x25,x26,[sp,#48]
  stp x27,x28,[sp,#64]
  stp x29,x30,[sp,#80]
  stp d8,d9,[sp,#96]
  stp d10,d11,[sp,#112]
  stp d12,d13,[sp,#128]
  stp d14,d15,[sp,#144]
  mov x9,sp
  str x9,[x0]
  mov sp,x1
  ldp x19,x20,[sp]
  ldp x21,x22,[sp,#16]
  ldp x23,x24,[sp,#32]
  ldp x25,x26,[sp,#48]
  ldp x27,x28,[sp,#64]
  ldp x29,x30,[sp,#80]
  ldp d8,d9,[sp,#96]
  ldp d10,d11,[sp,#112]
  ldp d12,d13,[sp,#128]
  ldp d14,d15,[sp,#144]
  add sp,sp,#160
  br x30
.size cudasim_swap,.-cudasim_swap
)");
namespace {
void* first_stack_pointer(char* top, void (*entry)()) {
  auto* sp = reinterpret_cast<uint64_t*>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t{15}) - 20;
  std::memset(sp, 0, 20 * sizeof(uint64_t));
  sp[11] = reinterpret_cast<uint64_t>(entry);  // x30
  return sp;
}
}  // namespace
#else
#error "tests/sim: no context switch for this processor; add one like those above"
#endif

namespace cudasim {
namespace {

#ifdef CUDASIM_ASAN
constexpr size_t kStackBytes = 256 << 10;  // instrumented frames are several times larger
#else
constexpr size_t kStackBytes = 64 << 10;
#endif
constexpr size_t kGuardBytes = 4096;

Fiber host;
Fiber* current = &host;
Fiber* previous = nullptr;
// Never destroyed: kernels may still run while static objects of the program are torn down.
std::vector<Fiber*>& all = *new std::vector<Fiber*>;
std::vector<Fiber*>& parked = *new std::vector<Fiber*>;

Fiber* make_fiber(void (*entry)()) {
  void* memory = mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("cudasim: no memory for a thread's stack");
    std::abort();
  }
  mprotect(memory, kGuardBytes, PROT_NONE);
  auto* fiber = new Fiber;
  fiber->low = static_cast<char*>(memory) + kGuardBytes;
  fiber->size = kStackBytes;
  // Without an offset the tops of all stacks fall into the same cache sets.
  const size_t offset = all.size() % 61 * 64;
  fiber->stack_pointer = first_stack_pointer(fiber->low + fiber->size - offset, entry);
  all.push_back(fiber);
  return fiber;
}

// Tells AddressSanitizer that `self` runs again. It answers with the bounds of the stack we came
// from, the only way to learn where the stack of the launching host thread lies.
void arrive([[maybe_unused]] Fiber* self) {
#ifdef CUDASIM_ASAN
  const void* low = nullptr;
  size_t size = 0;
  __sanitizer_finish_switch_fiber(self->fake_stack, &low, &size);
  if (previous == &host) {
    host.low = static_cast<char*>(const_cast<void*>(low));
    host.size = size;
  }
#endif
}

}  // namespace

Fiber* host_fiber() { return &host; }
Fiber* current_fiber() { return current; }

Fiber* take_fiber(void (*entry)()) {
  if (parked.empty()) return make_fiber(entry);
  Fiber* fiber = parked.back();
  parked.pop_back();
  return fiber;
}

void give_back(Fiber* fiber) { parked.push_back(fiber); }

void drop_all_fibers() {
  for (Fiber* fiber : all) {
#ifdef CUDASIM_ASAN
    __asan_unpoison_memory_region(fiber->low, fiber->size);
#endif
    munmap(fiber->low - kGuardBytes, fiber->size + kGuardBytes);
    delete fiber;
  }
  all.clear();
  parked.clear();
}

void switch_to(Fiber* to) {
  Fiber* from = current;
  current = to;
  previous = from;
#ifdef CUDASIM_ASAN
  __sanitizer_start_switch_fiber(&from->fake_stack, to->low, to->size);
#endif
  cudasim_swap(&from->stack_pointer, to->stack_pointer);
  arrive(from);
}

void on_fiber_entry() { arrive(current); }
void begin_switching() { current = &host; }

bool on_current_stack(uintptr_t address) {
  return current != &host && address - reinterpret_cast<uintptr_t>(current->low) < current->size;
}

bool on_any_stack(uintptr_t address) {
  for (const Fiber* fiber : all) {
    if (address - reinterpret_cast<uintptr_t>(fiber->low) < fiber->size) return true;
  }
  return false;
}

}  // namespace cudasim
