#include "engine/ops/likelihood_op.h"

#include "engine/ops/linear_op.h"
#include "kernels/bernoulli_nll.h"
#include "kernels/gaussian_nll.h"

namespace elbo {
namespace {

// Of bernoulli_nll() and gaussian_nll(): output and target alike.
void check_pair(const char* op, const Tensor& output, const Tensor& target) {
  ELBO_CHECK(output.shape.rank() == 2 && output.shape == target.shape, op, ": output is ",
             output.shape.to_string(), ", target ", target.shape.to_string(),
             "; both must be [B, D]");
}

// Fills what the two likelihoods' argument structs have in common.
template <class T, class Args>
void set_loss(Args& args, const Tensor& nll, const GradSlot& slot, const RowWeight& weight,
              int64_t batch) {
  args.nll = nll.as<Compute<T>>();
  args.weight = weight.as<Compute<T>>(batch);
  args.mode = slot.mode;
}

}  // namespace

Tensor bernoulli_nll(Tape& tape, const Tensor& logits, const Tensor& target,
                     const RowWeight& weight) {
  check_pair("bernoulli_nll", logits, target);
  const int64_t batch = logits.shape[0], dim = logits.shape[1];
  check_row_weight("bernoulli_nll", weight, batch);
  const Tensor nll = tape.new_buffer({batch}, loss_type(logits));
  const GradSlot slot = weight.given() ? tape.grad_slot(logits) : GradSlot{};
  const Tensor dlogits = slot ? slot.dx : Tensor{};
  tape.op("bernoulli_nll", {logits, target, weight.values}, {nll, dlogits}, [&](const Exec& exec) {
    with_target("bernoulli_nll", exec, logits, target,
                [&]<class T, class Target>(const Exec& e, T, const Target* x) {
                  BernoulliNll<T, Target> args{};
                  args.logits = logits.as<T>();
                  args.target = x;
                  args.batch = batch;
                  args.dim = dim;
                  args.dlogits = slot ? dlogits.as<T>() : nullptr;
                  set_loss<T>(args, nll, slot, weight, batch);
                  bernoulli_nll(e, args);
                });
  });
  return nll;
}

Tensor gaussian_nll(Tape& tape, const Tensor& mean, const Tensor& target, float log_variance,
                    const RowWeight& weight) {
  check_pair("gaussian_nll", mean, target);
  const int64_t batch = mean.shape[0], dim = mean.shape[1];
  check_row_weight("gaussian_nll", weight, batch);
  const Tensor nll = tape.new_buffer({batch}, loss_type(mean));
  const GradSlot slot = weight.given() ? tape.grad_slot(mean) : GradSlot{};
  const Tensor dmean = slot ? slot.dx : Tensor{};
  tape.op("gaussian_nll", {mean, target, weight.values}, {nll, dmean}, [&](const Exec& exec) {
    with_target("gaussian_nll", exec, mean, target,
                [&]<class T, class Target>(const Exec& e, T, const Target* x) {
                  GaussianNll<T, Target> args{};
                  args.mean = mean.as<T>();
                  args.target = x;
                  args.batch = batch;
                  args.dim = dim;
                  args.fixed_log_variance = log_variance;
                  args.dmean = slot ? dmean.as<T>() : nullptr;
                  set_loss<T>(args, nll, slot, weight, batch);
                  gaussian_nll(e, args);
                });
  });
  return nll;
}

Tensor likelihood_layer(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
                        ParamStore::Id bias, const Tensor& target, Likelihood likelihood,
                        float log_variance, const RowWeight& loss_weight) {
  constexpr const char* kOp = "likelihood_layer";
  if (!tape.recording() || !loss_weight.given() || !uses_tensor_cores(tape, x)) {
    const Tensor output = linear(tape, params, x, weight, &bias, Activation::identity);
    return likelihood == Likelihood::bernoulli
               ? bernoulli_nll(tape, output, target, loss_weight)
               : gaussian_nll(tape, output, target, log_variance, loss_weight);
  }
  const Tensor output = record_linear(tape, params, x, weight, &bias).y;  // names its gradient
  check_pair(kOp, output, target);
  const int64_t batch = output.shape[0], dim = output.shape[1];
  check_row_weight(kOp, loss_weight, batch);
  const Tensor doutput = tape.grad_slot(output).dx;
  int64_t parts = 0;
  with_storage_type(kOp, x, [&]<class T>(T) {
    parts = likelihood_layer_parts<T>(tape.context().exec(), batch, dim);
  });
  const Tensor nll = tape.new_buffer({parts * batch}, DType::f32);
  tape.op(kOp, {x, target, loss_weight.values}, {nll, doutput}, [&](const Exec& exec) {
    with_target(kOp, exec, output, target,
                [&]<class T, class Target>(const Exec& e, T, const Target* wanted) {
                  LikelihoodLayer<T, Target> args{};
                  args.likelihood = likelihood;
                  args.log_variance = log_variance;
                  args.x = x.as<T>();
                  args.weight = weight_values<T>(params.param(weight));
                  args.bias = params.param(bias).value.as<Compute<T>>();
                  args.target = wanted;
                  args.doutput = doutput.as<T>();
                  args.nll = nll.as<Compute<T>>();
                  args.loss_weight = loss_weight.as<Compute<T>>(batch);
                  args.batch = batch;
                  args.in = x.shape[1];
                  args.out = dim;
                  likelihood_layer(e, args);
                });
  });
  return nll;
}

}  // namespace elbo
