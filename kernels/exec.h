// Where and how a launcher runs: the first parameter of every launcher in kernels/.
//
// Streams are explicit: nothing here is thread-local and nothing uses the default stream by
// accident. An Exec is a small value; engine/context.h owns what it points to.
#pragma once

#include <cstddef>
#include <cstdint>

struct CUstream_st;  // CUDA's own name, so that this header needs no CUDA header

namespace elbo {

enum class Device : int { cpu, cuda };

using Stream = CUstream_st*;

// How products of fp32 matrices are computed on CUDA. tf32 rounds the operands to 10 bits of mantissa
// and uses the tensor cores; sums stay fp32. The CPU knows fp32 only.
enum class ProductPrecision : int { fp32, tf32 };

// Which kernels compute those that both can on CUDA: the library's, or ours (matrices of fp32 on tensor
// cores only, that is with tf32; those of bf16 always use ours). automatic goes by the batch of a linear
// layer, see linear_uses_tensor_cores(), and for a convolution by what timing has found, else by its
// channels (conv_choice.h).
enum class ProductKernels : int { automatic, vendor, own };

struct GemmHandles;  // vendor handles and cached primitives, see kernels/gemm.h

// Work space of one stream. Two streams that run at the same time need one each.
struct Scratch {
  static constexpr int kTickets = 64;

  std::byte* data = nullptr;  // 256-byte aligned
  size_t bytes = 0;
  uint32_t* tickets =
      nullptr;  // kTickets counters, zero between launches (the last block resets its own)
};

struct Exec {
  Device device = Device::cpu;
  Stream stream = nullptr;
  Scratch scratch;
  GemmHandles* gemm = nullptr;
  ProductPrecision products = ProductPrecision::fp32;
  ProductKernels product_kernels = ProductKernels::automatic;
  bool overlap_launches = false;  // CUDA: let a kernel start while the one before it ends (gpu.h)

  bool on_cuda() const { return device == Device::cuda; }
};

// How a backward kernel treats what its gradient buffer holds: the first contribution writes, later
// ones add, so no gradient is ever cleared first.
enum class GradMode : int { write, add };

}  // namespace elbo
