// The functions that clang's -fsanitize=thread calls, defined here instead of by its runtime.
// With -tsan-instrument-atomics=0 and -tsan-instrument-func-entry-exit=0 these are all of them.
#include <cstring>

#include "tests/sim/race_check.h"

using cudasim::race::Kind;
using cudasim::race::on_access;
using cudasim::race::on_aligned_access;

#define CODE __builtin_return_address(0)
#define ACCESS_FUNCTIONS(bytes)                                                           \
  void __tsan_read##bytes(void* p) { on_aligned_access(p, bytes, Kind::read, CODE); }     \
  void __tsan_write##bytes(void* p) { on_aligned_access(p, bytes, Kind::write, CODE); }   \
  void __tsan_unaligned_read##bytes(void* p) { on_access(p, bytes, Kind::read, CODE); }   \
  void __tsan_unaligned_write##bytes(void* p) { on_access(p, bytes, Kind::write, CODE); } \
  void __tsan_read_write##bytes(void* p) {                                                \
    on_aligned_access(p, bytes, Kind::read, CODE);                                        \
    on_aligned_access(p, bytes, Kind::write, CODE);                                       \
  }                                                                                       \
  void __tsan_unaligned_read_write##bytes(void* p) {                                      \
    on_access(p, bytes, Kind::read, CODE);                                                \
    on_access(p, bytes, Kind::write, CODE);                                               \
  }

extern "C" {

ACCESS_FUNCTIONS(1)
ACCESS_FUNCTIONS(2)
ACCESS_FUNCTIONS(4)
ACCESS_FUNCTIONS(8)
ACCESS_FUNCTIONS(16)

void __tsan_read_range(void* p, size_t bytes) { on_access(p, bytes, Kind::read, CODE); }
void __tsan_write_range(void* p, size_t bytes) { on_access(p, bytes, Kind::write, CODE); }

void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
  on_access(from, bytes, Kind::read, CODE);
  on_access(to, bytes, Kind::write, CODE);
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, size_t bytes) {
  on_access(from, bytes, Kind::read, CODE);
  on_access(to, bytes, Kind::write, CODE);
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, size_t bytes) {
  on_access(to, bytes, Kind::write, CODE);
  return std::memset(to, value, bytes);
}

void __tsan_init() {}
// Virtual tables belong to host objects.
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

}  // extern "C"
