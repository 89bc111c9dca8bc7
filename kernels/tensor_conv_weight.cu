#include "kernels/tensor_conv.h"

#ifdef ELBO_HAS_CUDA

#include "kernels/sums.h"
#include "kernels/tensor_conv.cuh"
#include "kernels/tensor_epilogue.cuh"

namespace elbo::cuda {
namespace {

// dW [features, taps x channels] has few tiles, and k runs over all pixels of the batch: so k is split
// into `parts`, whose sums are added in their order by the block that finishes last.
struct SplitSums {
  int parts;
  float* partials;    // per tile and part: the accumulators by thread, then the sums of bias
  uint32_t* tickets;  // one per tile
};

struct BiasSums {
  float* dbias;  // null: not wanted
  bool add;
};

template <class T, class Config, Unit U>
struct WeightTile {
  using Product = TileProduct<T, Config, Major::outer, Major::outer, U>;
  static constexpr int kSums = Config::kRows * Config::kCols;
  static constexpr int kPartial = kSums + Config::kRows;
  static_assert(kSums == Product::kAccumulators * Config::kGroupThreads);

  // True in the block that has all sums of the tile, which is the last to come.
  __device__ static bool add_parts(const SplitSums& split, int64_t tile, int part,
                                   const typename Product::Place& place,
                                   typename Product::Accumulators& sums, float& bias_sum) {
    __shared__ bool is_last;
    float* flat = &sums[0][0][0];
    float* first = split.partials + tile * split.parts * kPartial;
    float* mine = first + part * kPartial;
    const int thread = threadIdx.x;
    if (place.group == 0) {
#pragma unroll
      for (int i = 0; i < Product::kAccumulators; ++i) {
        mine[i * Config::kGroupThreads + thread] = flat[i];
      }
    }
    if (thread < Config::kRows) mine[kSums + thread] = bias_sum;
    __threadfence();  // the partial sums are seen before the ticket
    __syncthreads();
    if (thread == 0) {
      is_last = atomicAdd(split.tickets + tile, 1u) == static_cast<unsigned>(split.parts - 1);
    }
    __syncthreads();
    if (!is_last) return false;
    __threadfence();
    if (thread == 0) split.tickets[tile] = 0;
#pragma unroll
    for (int i = 0; i < Product::kAccumulators; ++i) flat[i] = 0.0f;
    bias_sum = 0.0f;
    for (const float* theirs = first; theirs < first + split.parts * kPartial; theirs += kPartial) {
      if (place.group == 0) {
#pragma unroll
        for (int i = 0; i < Product::kAccumulators; ++i) {
          flat[i] += theirs[i * Config::kGroupThreads + thread];
        }
      }
      if (thread < Config::kRows) bias_sum += theirs[kSums + thread];
    }
    return true;
  }
};

// Block i owns part i % parts of tile i / parts. The blocks of the first column of tiles also sum the
// columns of dy, thread by column, as its slices come by in shared memory: in fp32, unrounded.
template <class T, class Config, Unit U>
__global__ void __launch_bounds__(Config::kThreads, kResidentBlocks)
    conv_weight_kernel(Operand<T, Major::outer> features, Gather<T, Major::outer> image,
                       WeightEpilogue epilogue, BiasSums bias, SplitSums split) {
  gpu::wait_for_previous();
  using Tile = WeightTile<T, Config, U>;
  using Product = typename Tile::Product;
  const int part = static_cast<int>(blockIdx.x % split.parts);
  const int64_t tile = blockIdx.x / split.parts;
  const int64_t across = (image.outer + Config::kCols - 1) / Config::kCols;
  const int64_t row = tile / across * Config::kRows, col = tile % across * Config::kCols;
  const int64_t slices = typename Product::Slices(features.inner).end;
  const typename Product::Slices mine(static_cast<int>(slices * part / split.parts),
                                      static_cast<int>(slices * (part + 1) / split.parts));
  const bool sums_bias = bias.dbias && col == 0 && threadIdx.x < Config::kRows;
  float bias_sum = 0.0f;
  const typename Product::Place place;
  typename Product::Accumulators sums = {};
  Product::accumulate(place, features, image, row, col, mine, sums, [&](const T* slice) {
    if (!sums_bias) return;
    for (int k = 0; k < Product::TileA::kInner; ++k) {
      bias_sum += to_float(slice[k * Product::TileA::kStride + threadIdx.x]);
    }
  });
  if (split.parts > 1 && !Tile::add_parts(split, tile, part, place, sums, bias_sum)) return;
  Product::finish(place, features.outer, image.outer, row, col, sums, epilogue);
  const int64_t channel = row + threadIdx.x;
  if (sums_bias && channel < features.outer) {
    bias.dbias[channel] = bias.add ? bias.dbias[channel] + bias_sum : bias_sum;
  }
}

// As many parts as give a GPU two blocks per multiprocessor, but none of less than kFewestSlices.
template <class Tile>
int parts_of(const Exec& exec, int64_t tiles, int64_t inner) {
  constexpr int64_t kFewestSlices = 4;  // so that filling the pipeline and the sum of parts pay
  const int64_t slices = inner / Tile::Product::TileA::kInner;
  const int64_t wanted = std::min(2 * kManyTiles / tiles, slices / kFewestSlices);
  const int64_t room = static_cast<int64_t>(std::min(exec.scratch.bytes, kGemmWorkspaceBytes) /
                                            (tiles * Tile::kPartial * sizeof(float)));
  const bool has_tickets = exec.scratch.tickets && tiles <= Scratch::kTickets;
  return has_tickets ? static_cast<int>(std::max<int64_t>(std::min(wanted, room), 1)) : 1;
}

template <class T, class Config, Unit U>
void launch_weight(const Exec& exec, const ConvWeightProduct<T>& p) {
  using Tile = WeightTile<T, Config, U>;
  const auto features = make_operand<Major::outer>(p.features, p.geometry.features.channels,
                                                   p.geometry.feature_rows());
  const auto image = gather_image<Major::outer>(p.geometry, p.image);
  const WeightEpilogue epilogue{p.dweight, image.outer, p.mode == GradMode::add,
                                pairs_are_wide(p.dweight, image.outer)};
  const bool here = p.dy_side == ConvTowards::features;
  const BiasSums bias{here ? p.dbias : nullptr, p.dbias_mode == GradMode::add};
  const int64_t tiles = tiles_of<Config>(features.outer, image.outer);
  const SplitSums split{parts_of<Tile>(exec, tiles, features.inner),
                        reinterpret_cast<float*>(exec.scratch.data), exec.scratch.tickets};
  gpu::launch(conv_weight_kernel<T, Config, U>, static_cast<unsigned>(tiles * split.parts),
              Config::kThreads, Tile::Product::kSharedBytes, gpu::overlapping(exec), features,
              image, epilogue, bias, split);
}

}  // namespace
}  // namespace elbo::cuda

namespace elbo::tensor_core {

template <class T>
void conv_weight_gradient(const Exec& exec, const ConvWeightProduct<T>& p) {
  cuda::check_conv_extents(p.geometry);
  cuda::with_unit<T>(exec, [&]<class Tag>(Tag) {
    const bool large = cuda::use_large_tiles(p.geometry.features.channels,
                                             p.geometry.window.taps() * p.geometry.image.channels);
    large ? cuda::launch_weight<T, cuda::LargeTile, Tag::kUnit>(exec, p)
          : cuda::launch_weight<T, cuda::SmallTile, Tag::kUnit>(exec, p);
  });
  if (!p.dbias || p.dy_side == ConvTowards::features) return;
  sum_cols(exec, p.geometry.batch * p.dy_size().pixels(), p.dy_size().channels, p.dy(), p.dbias,
           1.0f, p.dbias_mode);
}

template void conv_weight_gradient(const Exec&, const ConvWeightProduct<float>&);
template void conv_weight_gradient(const Exec&, const ConvWeightProduct<bf16>&);

}  // namespace elbo::tensor_core

#endif  // ELBO_HAS_CUDA
