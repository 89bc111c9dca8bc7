#include "kernels/tensor_conv.h"

#ifdef ELBO_HAS_CUDA

#include "kernels/tensor_conv.cuh"
#include "kernels/tensor_conv_joint.cuh"
#include "kernels/tensor_epilogue.cuh"

namespace elbo::cuda {
namespace {

template <Likelihood Kind, class T, class Target>
struct SampleEpilogue {
  const LikelihoodTerms<Kind, T, Target>& terms;
  float scale;
  int64_t channels;

  __device__ float operator()(int64_t pixel, int64_t col, int count, float v0, float v1) const {
    return terms.at(pixel * channels + col, col, count, scale, v0, v1);
  }
};

template <class Config, class Direction>
ELBO_HD int64_t tiles_per_sample(const Direction& direction, int64_t batch) {
  return (direction.rows / batch + Config::kRows - 1) / Config::kRows *
         ((direction.cols + Config::kCols - 1) / Config::kCols);
}

// As conv_kernel, but tiles do not cross samples, and a block adds what its epilogue returns: with n
// blocks to a sample, block i owns part i % n of sample i / n, phases running first.
template <class T, class Config, Unit U, class Direction, Likelihood Kind, class Target>
__global__ void __launch_bounds__(Config::kThreads, kResidentBlocks)
    conv_likelihood_kernel(Direction direction, LikelihoodTerms<Kind, T, Target> terms,
                           LossWeight weight, float* nll, int64_t batch) {
  gpu::wait_for_previous();
  using Product = TileProduct<T, Config, Major::inner, Direction::kWeightMajor, U>;
  __shared__ float scratch[gpu::kBlockSumScratch];
  const int64_t parts = tiles_per_sample<Config>(direction, batch) * direction.phases;
  const int64_t part = blockIdx.x % parts, sample = blockIdx.x / parts;
  auto phase = direction.at(static_cast<int>(part % direction.phases));
  const int64_t tile = part / direction.phases, rows = direction.rows / batch;
  const int64_t across = (direction.cols + Config::kCols - 1) / Config::kCols;
  phase.a.outer = (sample + 1) * rows;
  const SampleEpilogue<Kind, T, Target> epilogue{terms, weight.at(sample), direction.channels()};
  const PixelEpilogue<std::decay_t<decltype(phase.pixels)>, SampleEpilogue<Kind, T, Target>>
      to_pixels{phase.pixels, epilogue};
  const float loss =
      Product::run_tile(phase.a, phase.b, sample * rows + tile / across * Config::kRows,
                        tile % across * Config::kCols, to_pixels, [](const T*) {});
  const float total = gpu::block_sum(loss, scratch);
  if (threadIdx.x == 0) nll[part * batch + sample] = total;
}

// Calls f(config), with few channels by tiles that are narrow.
template <class Direction, class F>
auto with_config(const Direction& direction, F&& f) {
  using Wide = std::conditional_t<Direction::kJoint, JointTile, SmallTile>;
  return direction.cols <= ThinTile::kCols ? f(ThinTile{}) : f(Wide{});
}

template <Likelihood Kind, class Direction, class T, class Target>
void launch_likelihood(const Exec& exec, const Direction& direction,
                       const ConvLikelihood<T, Target>& args) {
  const auto terms = make_likelihood_terms<Kind>(args, direction.channels());
  const int64_t batch = args.geometry.batch;
  with_unit<T>(exec, [&]<class Tag>(Tag) {
    with_config(direction, [&]<class Config>(Config) {
      const int64_t parts = direction.phases * tiles_per_sample<Config>(direction, batch);
      gpu::launch(
          conv_likelihood_kernel<T, Config, Tag::kUnit, Direction, Kind, Target>,
          static_cast<unsigned>(batch * parts), Config::kThreads,
          TileProduct<T, Config, Major::inner, Direction::kWeightMajor, Tag::kUnit>::kSharedBytes,
          gpu::overlapping(exec), direction, terms, args.loss_weight, args.nll, batch);
    });
  });
}

template <class Direction, class T, class Target>
void run_likelihood(const Exec& exec, const ConvLikelihood<T, Target>& args) {
  const Direction direction(args.geometry, args.x, args.weight);
  args.likelihood == Likelihood::bernoulli
      ? launch_likelihood<Likelihood::bernoulli>(exec, direction, args)
      : launch_likelihood<Likelihood::gaussian>(exec, direction, args);
}

template <class Direction>
int64_t parts_of(const ConvGeometry& geometry) {
  const Direction direction(geometry, nullptr, nullptr);
  return with_config(direction, [&]<class Config>(Config) {
    return direction.phases * tiles_per_sample<Config>(direction, geometry.batch);
  });
}

// Calls f(tag), whose Direction is that of the geometry.
template <class D>
struct DirectionTag {
  using Direction = D;
};
template <class T, class F>
auto with_direction(const ConvGeometry& geometry, ConvTowards towards, F&& f) {
  if (towards == ConvTowards::features) return f(DirectionTag<TowardsFeatures<T>>{});
  if (rule_joins_phases(geometry)) return f(DirectionTag<JointImage<T>>{});
  return f(DirectionTag<TowardsImage<T>>{});
}

}  // namespace
}  // namespace elbo::cuda

namespace elbo::tensor_core {

template <class T, class Target>
void conv_likelihood(const Exec& exec, ConvTowards towards, const ConvLikelihood<T, Target>& args) {
  cuda::check_conv_extents(args.geometry);
  cuda::with_direction<T>(args.geometry, towards, [&]<class Tag>(Tag) {
    cuda::run_likelihood<typename Tag::Direction>(exec, args);
  });
}

int64_t conv_likelihood_parts(const ConvGeometry& geometry, ConvTowards towards) {
  if (geometry.batch == 0) return 1;
  return cuda::with_direction<float>(geometry, towards, [&]<class Tag>(Tag) {
    return cuda::parts_of<typename Tag::Direction>(geometry);
  });
}

template void conv_likelihood(const Exec&, ConvTowards, const ConvLikelihood<float, float>&);
template void conv_likelihood(const Exec&, ConvTowards, const ConvLikelihood<float, uint8_t>&);
template void conv_likelihood(const Exec&, ConvTowards, const ConvLikelihood<bf16, float>&);
template void conv_likelihood(const Exec&, ConvTowards, const ConvLikelihood<bf16, uint8_t>&);

}  // namespace elbo::tensor_core

#endif  // ELBO_HAS_CUDA
