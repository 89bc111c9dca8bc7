#include "kernels/tensor_linear.h"

#ifdef ELBO_HAS_CUDA

#include "kernels/error.h"
#include "kernels/tensor_epilogue.cuh"
#include "kernels/tensor_gemm.cuh"

namespace elbo::cuda {
namespace {

// Of one layer's weight gradient: dW [out, in] = dy^T x, with k running over the batch.
template <class T>
struct WeightProblem {
  Operand<T, Major::outer> dy, x;
  WeightEpilogue epilogue;
  float* dbias;  // null: not wanted
  bool add_bias;
  int64_t first_tile;
};

template <class T>
struct WeightProblems {
  WeightProblem<T> at[tensor_core::kMostLayers];
  int count;
};

// Block i owns tile i of all layers' tiles in a row. The blocks of a layer's first column of tiles also
// sum the columns of dy, thread by column, as its slices come by in shared memory: in fp32, unrounded.
template <class T, class Config>
__global__ void __launch_bounds__(Config::kThreads, kResidentBlocks)
    tensor_weight_gradients_kernel(WeightProblems<T> problems) {
  gpu::wait_for_previous();
  using Product = TileProduct<T, Config, Major::outer, Major::outer>;
  int layer = 0;
  while (layer + 1 < problems.count && problems.at[layer + 1].first_tile <= blockIdx.x) ++layer;
  const WeightProblem<T>& p = problems.at[layer];
  const int64_t tile = blockIdx.x - p.first_tile;
  const int64_t across = (p.x.outer + Config::kCols - 1) / Config::kCols;
  const int64_t row = tile / across * Config::kRows, col = tile % across * Config::kCols;
  const bool sums_bias = p.dbias && col == 0 && threadIdx.x < Config::kRows;
  float bias_sum = 0.0f;
  Product::run_tile(p.dy, p.x, row, col, p.epilogue, [&](const T* slice) {
    if (!sums_bias) return;
    for (int k = 0; k < Product::TileA::kInner; ++k) {
      bias_sum += to_float(slice[k * Product::TileA::kStride + threadIdx.x]);
    }
  });
  const int64_t out = row + threadIdx.x;
  if (sums_bias && out < p.dy.outer) {
    p.dbias[out] = p.add_bias ? p.dbias[out] + bias_sum : bias_sum;
  }
}

template <class T>
WeightProblem<T> make_problem(const BasicLinearBackwardWeight<T>& layer) {
  return {.dy = make_operand<Major::outer>(layer.dy, layer.out, layer.batch),
          .x = make_operand<Major::outer>(layer.x, layer.in, layer.batch),
          .epilogue = {layer.dweight, layer.in, layer.mode == GradMode::add,
                       pairs_are_wide(layer.dweight, layer.in)},
          .dbias = layer.dbias,
          .add_bias = layer.dbias_mode == GradMode::add,
          .first_tile = 0};
}

template <class Config, class T>
void launch_weight_gradients(const Exec& exec, WeightProblems<T> problems) {
  int64_t tiles = 0;
  for (int i = 0; i < problems.count; ++i) {
    problems.at[i].first_tile = tiles;
    tiles += tiles_of<Config>(problems.at[i].dy.outer, problems.at[i].x.outer);
  }
  gpu::launch(tensor_weight_gradients_kernel<T, Config>, static_cast<unsigned>(tiles),
              Config::kThreads, TileProduct<T, Config, Major::outer, Major::outer>::kSharedBytes,
              gpu::overlapping(exec), problems);
}

template <Likelihood Kind, class T, class Target>
void launch_likelihood(const Exec& exec, const LikelihoodLayer<T, Target>& args) {
  const LikelihoodEpilogue<Kind, T, Target> epilogue{make_likelihood_terms<Kind>(args, args.out),
                                                     args.nll, args.loss_weight, args.batch,
                                                     args.out};
  tensor_gemm(exec, make_operand<Major::inner>(args.x, args.batch, args.in),
              make_operand<Major::inner>(args.weight, args.out, args.in), epilogue);
}

}  // namespace
}  // namespace elbo::cuda

namespace elbo::tensor_core {

using cuda::Major;
using cuda::make_operand;

template <class T>
void linear_forward(const Exec& exec, const BasicLinearForward<T>& args) {
  T* pre = needs_pre_activation(args.activation) ? static_cast<T*>(args.aux) : nullptr;
  cuda::tensor_gemm(exec, make_operand<Major::inner>(args.x, args.batch, args.in),
                    make_operand<Major::inner>(args.weight, args.out, args.in),
                    cuda::make_forward_epilogue(args.bias, args.y, pre, args.out, args.activation));
}

template <class T>
void linear_backward_data(const Exec& exec, const BasicLinearBackwardData<T>& args) {
  cuda::tensor_gemm(exec, make_operand<Major::inner>(args.dy, args.batch, args.out),
                    make_operand<Major::outer>(args.weight, args.in, args.out),
                    cuda::make_data_epilogue(args.dx, args.in, args.mode, args.input));
}

template <class T>
void linear_backward_weights(const Exec& exec, const BasicLinearBackwardWeight<T>* layers,
                             int count) {
  ELBO_CHECK(count >= 0 && count <= kMostLayers, "linear_backward_weights: ", count,
             " layers; at most ", kMostLayers, " fit into a launch");
  if (count == 0) return;
  cuda::WeightProblems<T> problems{};
  problems.count = count;
  int64_t large_tiles = 0;
  for (int i = 0; i < count; ++i) {
    problems.at[i] = cuda::make_problem(layers[i]);
    large_tiles += cuda::tiles_of<cuda::LargeTile>(layers[i].out, layers[i].in);
  }
  large_tiles >= cuda::kManyTiles ? cuda::launch_weight_gradients<cuda::LargeTile>(exec, problems)
                                  : cuda::launch_weight_gradients<cuda::SmallTile>(exec, problems);
}

int64_t likelihood_layer_parts(int64_t batch, int64_t dim) {
  return cuda::use_large_tiles(batch, dim) ? cuda::row_parts<cuda::LargeTile>(dim)
                                           : cuda::row_parts<cuda::SmallTile>(dim);
}

template <class T, class Target>
void likelihood_layer(const Exec& exec, const LikelihoodLayer<T, Target>& args) {
  args.likelihood == Likelihood::bernoulli
      ? cuda::launch_likelihood<Likelihood::bernoulli>(exec, args)
      : cuda::launch_likelihood<Likelihood::gaussian>(exec, args);
}

template void linear_forward(const Exec&, const BasicLinearForward<float>&);
template void linear_forward(const Exec&, const BasicLinearForward<bf16>&);
template void linear_backward_data(const Exec&, const BasicLinearBackwardData<float>&);
template void linear_backward_data(const Exec&, const BasicLinearBackwardData<bf16>&);
template void linear_backward_weights(const Exec&, const BasicLinearBackwardWeight<float>*, int);
template void linear_backward_weights(const Exec&, const BasicLinearBackwardWeight<bf16>*, int);
template void likelihood_layer(const Exec&, const LikelihoodLayer<float, float>&);
template void likelihood_layer(const Exec&, const LikelihoodLayer<float, uint8_t>&);
template void likelihood_layer(const Exec&, const LikelihoodLayer<bf16, float>&);
template void likelihood_layer(const Exec&, const LikelihoodLayer<bf16, uint8_t>&);

}  // namespace elbo::tensor_core

#endif  // ELBO_HAS_CUDA
