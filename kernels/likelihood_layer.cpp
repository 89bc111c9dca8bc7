// Checks and dispatch of kernels/likelihood_layer.h; the fused kernel is in tensor_linear.cu.
#include "kernels/likelihood_layer.h"

#include <type_traits>

#include "kernels/error.h"
#include "kernels/likelihood_pass.h"
#include "kernels/linear.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/tensor_linear.h"
#endif

namespace elbo {
namespace {

template <class T, class Target>
void check_operands(const LikelihoodLayer<T, Target>& args) {
  ELBO_CHECK(has_fused_layer(args.likelihood), "likelihood_layer: bernoulli and gaussian only");
  ELBO_CHECK(args.nll && (args.out == 0 || (args.doutput && args.target)), "likelihood_layer: ",
             !args.nll       ? "nll"
             : !args.doutput ? "doutput"
                             : "the target",
             " is null");
  ELBO_CHECK(args.in == 0 || args.out == 0 || (args.x && args.weight),
             "likelihood_layer: ", args.x ? "the weight" : "x", " is null");
  ELBO_CHECK(args.loss_weight.values, "likelihood_layer: the weight of the loss is null");
}

template <class T, class Target>
void layer_then_likelihood(const Exec& exec, const LikelihoodLayer<T, Target>& args) {
  BasicLinearForward<T> layer{};
  layer.x = args.x;
  layer.weight = args.weight;
  layer.bias = args.bias;
  layer.y = args.doutput;
  layer.batch = args.batch;
  layer.in = args.in;
  layer.out = args.out;
  linear_forward(exec, layer);
  likelihood_in_place<T, Target>(exec, args, args.batch, args.out);
}

}  // namespace

template <class T>
int64_t likelihood_layer_parts([[maybe_unused]] const Exec& exec, [[maybe_unused]] int64_t batch,
                               [[maybe_unused]] int64_t out) {
#ifdef ELBO_HAS_CUDA
  if (out > 0 && linear_uses_tensor_cores<T>(exec, batch)) {
    return tensor_core::likelihood_layer_parts(batch, out);
  }
#endif
  return 1;
}

template <class T, class Target>
void likelihood_layer(const Exec& exec, const LikelihoodLayer<T, Target>& args) {
  if (args.batch <= 0) return;
  check_operands(args);
#ifdef ELBO_HAS_CUDA
  if constexpr (!std::is_same_v<T, double>) {
    if (args.out > 0 && linear_uses_tensor_cores<T>(exec, args.batch)) {
      return tensor_core::likelihood_layer(exec, args);
    }
  }
#endif
  layer_then_likelihood(exec, args);
}

#define ELBO_INSTANTIATE(T, Target) \
  template void likelihood_layer(const Exec&, const LikelihoodLayer<T, Target>&);
ELBO_INSTANTIATE(float, float)
ELBO_INSTANTIATE(float, uint8_t)
ELBO_INSTANTIATE(bf16, float)
ELBO_INSTANTIATE(bf16, uint8_t)
ELBO_INSTANTIATE(double, double)
ELBO_INSTANTIATE(double, uint8_t)
#undef ELBO_INSTANTIATE
template int64_t likelihood_layer_parts<float>(const Exec&, int64_t, int64_t);
template int64_t likelihood_layer_parts<bf16>(const Exec&, int64_t, int64_t);
template int64_t likelihood_layer_parts<double>(const Exec&, int64_t, int64_t);

}  // namespace elbo
