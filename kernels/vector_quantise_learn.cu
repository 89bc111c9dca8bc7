// How a codebook learns: kernels/vector_quantise.h.
#include <algorithm>

#include "kernels/error.h"
#include "kernels/launch_cells.h"
#include "kernels/math.h"
#include "kernels/shuffle.h"
#include "kernels/vector_quantise.h"

namespace elbo {
namespace {

constexpr int kParts = 8;  // of a batch, whose sums are added in order: warps of a CUDA block
constexpr int kDims = 16;  // CPU: dimensions summed together

// decay old + (1 - decay) fresh
template <class R>
ELBO_HD R moved(R decay, R old, R fresh) {
  return math::fma(decay, old, (R(1) - decay) * fresh);
}

// First row of a part of the batch.
ELBO_HD int64_t part_begin(int64_t rows, int part) { return rows * part / kParts; }

// Sums of the members of every code over one part of the batch, for kDims dimensions: sums [K,
// kDims].
template <class R>
ELBO_CLONES void add_members(const LearnCodes<R>& args, int64_t dim_begin, int64_t dims, int part,
                             R* sums) {
  const int64_t begin = part_begin(args.rows, part), end = part_begin(args.rows, part + 1);
  for (int64_t row = begin; row < end; ++row) {
    const R* x = args.x + row * args.dim + dim_begin;
    R* to = sums + args.index[row] * kDims;
    for (int64_t d = 0; d < dims; ++d) to[d] += x[d];
  }
}

template <class R>
void learn_members_cpu(const Exec& exec, const LearnCodes<R>& args) {
  const int64_t count = args.size * kDims;
  ELBO_CHECK(exec.scratch.bytes >= static_cast<size_t>(2 * count) * sizeof(R),
             "learn_codes: the scratch memory is too small for ", args.size, " codes");
  R* total = reinterpret_cast<R*>(exec.scratch.data);
  R* part_sums = total + count;
  std::fill_n(args.members, args.size, R(0));
  for (int64_t row = 0; row < args.rows; ++row) args.members[args.index[row]] += R(1);
  for (int64_t first = 0; first < args.dim; first += kDims) {
    const int64_t dims = std::min<int64_t>(kDims, args.dim - first);
    std::fill_n(total, count, R(0));
    for (int part = 0; part < kParts; ++part) {
      std::fill_n(part_sums, count, R(0));
      add_members(args, first, dims, part, part_sums);
      for (int64_t i = 0; i < count; ++i) total[i] += part_sums[i];
    }
    for (int64_t d = 0; d < dims; ++d) {
      R* sums = args.sums + (first + d) * args.size;
      for (int64_t k = 0; k < args.size; ++k) {
        sums[k] = moved(args.decay, sums[k], total[k * kDims + d]);
      }
    }
  }
  for (int64_t k = 0; k < args.size; ++k) {
    args.counts[k] = moved(args.decay, args.counts[k], args.members[k]);
  }
}

#ifdef ELBO_HAS_CUDA

// One block owns one code and 32 dimensions, a lane each; each of its warps takes one part of the
// batch: 32 indices at a time, and of those that are the code's the vectors, in order. Traffic: all
// indices, 4 N bytes from L2 per block, and the code's own vectors.
__global__ void __launch_bounds__(cuda::kBlock) learn_members_kernel(LearnCodes<float> args) {
  static_assert(cuda::kBlock == 32 * kParts);
  __shared__ float sums[kParts][32];
  __shared__ int members[kParts];
  gpu::wait_for_previous();
  const int lane = threadIdx.x % 32, part = threadIdx.x / 32;
  const int64_t k = blockIdx.x, d = int64_t{blockIdx.y} * 32 + lane;
  const int64_t end = part_begin(args.rows, part + 1);
  float sum = 0.0f;
  int count = 0;
  for (int64_t first = part_begin(args.rows, part); first < end; first += 32) {
    const bool mine = first + lane < end && args.index[first + lane] == k;
    unsigned which = __ballot_sync(0xffffffffu, mine);
    count += __popc(which);
    for (; which != 0; which &= which - 1) {
      const int64_t row = first + __ffs(static_cast<int>(which)) - 1;
      if (d < args.dim) sum += args.x[row * args.dim + d];
    }
  }
  sums[part][lane] = sum;
  if (lane == 0) members[part] = count;
  __syncthreads();
  if (part != 0) return;
  float total = 0.0f;
  count = 0;
  for (int i = 0; i < kParts; ++i) {
    total += sums[i][lane];
    count += members[i];
  }
  if (d < args.dim) {
    float& to = args.sums[d * args.size + k];
    to = moved(args.decay, to, total);
  }
  if (blockIdx.y != 0 || lane != 0) return;
  args.members[k] = static_cast<float>(count);
  args.counts[k] = moved(args.decay, args.counts[k], static_cast<float>(count));
}

#endif

// One row of K columns: the members and counts of all codes.
template <class R>
struct UseOfCodes {
  static constexpr int kSums = 2;
  R rows;
  R* perplexity;
  R* total;

  ELBO_HD void operator()(int64_t, int64_t, const R* x, R*, R* sums) const {
    const R share = x[0] / rows;
    sums[0] += share > R(0) ? share * math::log(share) : R(0);
    sums[1] += x[1];
  }
  ELBO_HD void finish(int64_t, const R* sums) const {
    *perplexity = math::exp(-sums[0]);
    *total = sums[1];
  }
};

// The vector that code k starts from: another for each code as far as there are so many.
template <class R>
ELBO_HD int64_t row_to_start_from(const LearnCodes<R>& args, int64_t k) {
  NoiseAddress at;
  at.purpose = NoisePurpose::codes;
  at.step = args.noise.step();
  const PhiloxCounter bits = noise_bits(args.noise.key(), at, 0);
  const ShuffleKey key{{bits.c0, bits.c1, bits.c2, bits.c3}};
  const auto rows = static_cast<uint64_t>(args.rows);
  return static_cast<int64_t>(shuffled_index(static_cast<uint64_t>(k) % rows, rows, key));
}

// A thread owns a code, as it does in PlaceCode.
template <class R>
struct BeginCode {
  LearnCodes<R> args;

  ELBO_HD void operator()(int64_t k) const {
    if (*args.batches != 0) return;
    const int64_t row = row_to_start_from(args, k);
    for (int64_t d = 0; d < args.dim; ++d) {
      args.codes[d * args.size + k] = args.x[row * args.dim + d];
    }
  }
};

template <class R>
struct PlaceCode {
  LearnCodes<R> args;

  ELBO_HD void operator()(int64_t k) const {
    const R total = *args.total, size = static_cast<R>(args.size);
    const R least = args.restart * total / size;
    if (k == 0) ++*args.batches;
    if (args.counts[k] < least) return restart(k, least);
    if (args.counts[k] == R(0)) return;  // it never had a member: it stays where it began
    const R eps = static_cast<R>(kCodeSmoothing);
    const R count = (args.counts[k] + eps) / (total + size * eps) * total;
    for (int64_t d = 0; d < args.dim; ++d) {
      args.codes[d * args.size + k] = args.sums[d * args.size + k] / count;
    }
  }

  ELBO_HD void restart(int64_t k, R count) const {
    const int64_t row = row_to_start_from(args, k);
    args.counts[k] = count;
    for (int64_t d = 0; d < args.dim; ++d) {
      const R value = args.x[row * args.dim + d];
      args.codes[d * args.size + k] = value;
      args.sums[d * args.size + k] = count * value;
    }
  }
};

template <class T>
void check_learning(const char* op, const LearnCodes<T>& args) {
  check_codebook_sizes(op, args.rows, args.dim, args.size);
  ELBO_CHECK(args.rows == 0 || (args.x && args.codes && args.sums && args.counts && args.batches),
             op, ": x or a buffer of the codebook is null");
}

}  // namespace

template <class T>
void begin_codes(const Exec& exec, const LearnCodes<T>& args) {
  check_learning("begin_codes", args);
  if (args.rows == 0) return;
  for_each_element<T>(exec, args.size, BeginCode<T>{args});
}

template <class T>
void learn_codes(const Exec& exec, const LearnCodes<T>& args) {
  check_learning("learn_codes", args);
  if (args.rows == 0) return;
  ELBO_CHECK(args.index && args.members && args.total && args.perplexity,
             "learn_codes: index or a result is null");
  bool done = false;
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda()) {
      const dim3 grid(static_cast<unsigned>(args.size),
                      static_cast<unsigned>((args.dim + 31) / 32));
      gpu::launch(learn_members_kernel, grid, cuda::kBlock, 0, gpu::overlapping(exec), args);
      done = true;
    }
  }
#endif
  if (!done) learn_members_cpu(exec, args);
  row_reduce(exec, 1, args.size,
             UseOfCodes<T>{static_cast<T>(args.rows), args.perplexity, args.total},
             PointerPack<const T, 2>{{args.members, args.counts}}, NoPointers<T>{});
  for_each_element<T>(exec, args.size, PlaceCode<T>{args});
}

#define ELBO_INSTANTIATE(T)                                     \
  template void begin_codes(const Exec&, const LearnCodes<T>&); \
  template void learn_codes(const Exec&, const LearnCodes<T>&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
