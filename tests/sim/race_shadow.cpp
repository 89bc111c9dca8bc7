#include "tests/sim/race_shadow.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

namespace cudasim::race {
namespace {

void* map_pages(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("cudasim: no memory for the race checker's shadow");
    std::abort();
  }
  return memory;
}

size_t cell_count(size_t bytes) { return bytes / kGrain + 1; }

uint8_t byte_bit(size_t offset) { return static_cast<uint8_t>(1u << offset % kGrain); }

}  // namespace

Shadow::Shadow(uintptr_t base, size_t bytes)
    : base_(base),
      bytes_(bytes),
      cells_(static_cast<Cell*>(map_pages(cell_count(bytes) * sizeof(Cell)))),
      written_(static_cast<uint8_t*>(map_pages(cell_count(bytes)))) {}

Shadow::~Shadow() {
  if (!cells_) return;
  munmap(static_cast<void*>(cells_), cell_count(bytes_) * sizeof(Cell));
  munmap(written_, cell_count(bytes_));
}

void Shadow::set_written(size_t offset, size_t bytes, bool value) {
  for (size_t i = offset; i < offset + bytes; ++i) {
    uint8_t& bits = written(i);
    bits = static_cast<uint8_t>(value ? bits | byte_bit(i) : bits & ~byte_bit(i));
  }
}

bool Shadow::all_written(size_t offset, size_t bytes) {
  for (size_t i = offset; i < offset + bytes; ++i) {
    if (!(written(i) & byte_bit(i))) return false;
  }
  return true;
}

void Shadow::copy_written(size_t offset, Shadow& from, size_t from_offset, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) {
    const size_t source = from_offset + i;
    set_written(offset + i, 1, from.written(source) & byte_bit(source));
  }
}

}  // namespace cudasim::race
