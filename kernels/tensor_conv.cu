#include "kernels/tensor_conv.h"

#ifdef ELBO_HAS_CUDA

#include "kernels/sums.h"
#include "kernels/tensor_conv.cuh"
#include "kernels/tensor_conv_joint.cuh"
#include "kernels/tensor_epilogue.cuh"

namespace elbo::cuda {
namespace {

template <class T, class Direction, class Epilogue>
void launch_conv(const Exec& exec, const Direction& direction, const Epilogue& epilogue) {
  with_unit<T>(exec, [&]<class Tag>(Tag) {
    const auto run = [&]<class Config>(Config) {
      using Product = TileProduct<T, Config, Major::inner, Direction::kWeightMajor, Tag::kUnit>;
      const int64_t blocks = direction.phases * tiles_of<Config>(direction.rows, direction.cols);
      gpu::launch(conv_kernel<T, Config, Tag::kUnit, Direction, Epilogue>,
                  static_cast<unsigned>(blocks), Config::kThreads, Product::kSharedBytes,
                  gpu::overlapping(exec), direction, epilogue);
    };
    if (direction.cols <= ThinTile::kCols) return run(ThinTile{});
    if constexpr (Direction::kJoint) {
      run(JointTile{});
    } else {
      const int64_t large = direction.phases * tiles_of<LargeTile>(direction.rows, direction.cols);
      large >= kManyTiles ? run(LargeTile{}) : run(SmallTile{});
    }
  });
}

template <class T, class Direction>
void run_direction(const Exec& exec, const ConvProduct<T>& p) {
  const Direction direction(p.geometry, p.in, p.weight);
  if (p.mode == GradMode::add || p.input) {
    launch_conv<T>(exec, direction, make_data_epilogue(p.out, p.out_channels(), p.mode, p.input));
  } else {
    launch_conv<T>(exec, direction,
                   make_forward_epilogue(p.bias, p.out, p.pre, p.out_channels(), p.activation));
  }
}

}  // namespace
}  // namespace elbo::cuda

namespace elbo::tensor_core {

bool can_join_phases(const ConvGeometry& geometry, ConvTowards towards) {
  return towards == ConvTowards::image && cuda::can_join_phases(geometry);
}
bool rule_joins_phases(const ConvGeometry& geometry, ConvTowards towards) {
  return towards == ConvTowards::image && cuda::rule_joins_phases(geometry);
}

template <class T>
void convolve(const Exec& exec, const ConvProduct<T>& p, Phases phases) {
  cuda::check_conv_extents(p.geometry);
  const bool joint = phases == Phases::joint ||
                     (phases == Phases::by_rule && rule_joins_phases(p.geometry, p.towards));
  ELBO_CHECK(!joint || can_join_phases(p.geometry, p.towards), "convolution ",
             p.geometry.to_string(), ": its phases do not fit into one tile");
  if (p.towards == ConvTowards::features) {
    cuda::run_direction<T, cuda::TowardsFeatures<T>>(exec, p);
  } else if (joint) {
    cuda::run_direction<T, cuda::JointImage<T>>(exec, p);
  } else {
    cuda::run_direction<T, cuda::TowardsImage<T>>(exec, p);
  }
  if (!p.input || !p.input->dbias) return;
  const T* dx = p.out;
  sum_cols(exec, p.out_rows(), p.out_channels(), dx, p.input->dbias, 1.0f, p.input->dbias_mode);
}

template void convolve(const Exec&, const ConvProduct<float>&, Phases);
template void convolve(const Exec&, const ConvProduct<bf16>&, Phases);

}  // namespace elbo::tensor_core

#endif  // ELBO_HAS_CUDA
