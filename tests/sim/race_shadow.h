// Shadow memory of the race checker: who last touched each pair of bytes, and which bytes were ever
// written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace cudasim::race {

// One access. Times are relative to the block it belongs to; see the reading guide in race_check.cpp.
struct Access {
  uint32_t block = 0;    // serial number over all blocks ever run; 0 is "none"
  uint32_t place = 0;    // code offset, or index of an atomic's source location
  uint64_t epoch : 24;   // barriers passed
  uint64_t clock : 14;   // __syncwarps passed since the last barrier
  uint64_t fences : 13;  // __threadfences passed
  uint64_t thread : 10;
  uint64_t bytes : 2;  // which of the two bytes
  uint64_t atomic : 1;

  Access() : epoch(0), clock(0), fences(0), thread(0), bytes(0), atomic(0) {}
};
static_assert(sizeof(Access) == 16, "the shadow is 32 times the memory it watches as it is");

inline constexpr size_t kGrain = 2;  // bytes per cell: the smallest element that threads share out

struct Cell {
  Access write;
  Access reads[3];  // the latest; the latest of another warp of its block, and of another block
};

// Shadow of one range of memory. Pages that nobody touches cost nothing.
class Shadow {
 public:
  Shadow() = default;
  Shadow(uintptr_t base, size_t bytes);
  Shadow(Shadow&& other) noexcept { *this = std::move(other); }
  Shadow& operator=(Shadow&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(bytes_, other.bytes_);
    std::swap(cells_, other.cells_);
    std::swap(written_, other.written_);
    return *this;
  }
  ~Shadow();

  uintptr_t base() const { return base_; }
  size_t bytes() const { return bytes_; }
  bool contains(uintptr_t address) const { return address - base_ < bytes_; }
  Cell& cell(size_t offset) { return cells_[offset / kGrain]; }
  // One bit per byte of a cell.
  uint8_t& written(size_t offset) { return written_[offset / kGrain]; }

  void set_written(size_t offset, size_t bytes, bool value);
  bool all_written(size_t offset, size_t bytes);
  void copy_written(size_t offset, Shadow& from, size_t from_offset, size_t bytes);

 private:
  uintptr_t base_ = 0;
  size_t bytes_ = 0;
  Cell* cells_ = nullptr;
  uint8_t* written_ = nullptr;
};

}  // namespace cudasim::race
