// The likelihoods of kernels/output_nll.h, and the Gaussian whose variance is not fixed.
#include "engine/ops/likelihood_op.h"
#include "kernels/batch_variance.h"
#include "kernels/gaussian_nll.h"
#include "kernels/output_nll.h"
#include "kernels/sums.h"

namespace elbo {
namespace {

// What every one of these ops comes down to. Trivially copyable, for the backward closures.
struct NllCall {
  Tensor output, target;
  Tensor nll;
  Tensor doutput;  // no data: not wanted
  GradMode mode = GradMode::write;
  RowWeight weight;
  int64_t batch = 0, dim = 0;
};

NllCall new_call(const char* op, Tape& tape, const Tensor& output, const Tensor& target,
                 int64_t outputs, const RowWeight& weight) {
  const bool fits = output.shape.rank() == 2 && target.shape.rank() == 2 &&
                    output.shape[0] == target.shape[0] &&
                    output.shape[1] == outputs * target.shape[1];
  ELBO_CHECK(fits, op, ": output is ", output.shape.to_string(), ", target ",
             target.shape.to_string(), "; expected [B, ", outputs == 1 ? "" : "2", "D] and [B, D]");
  NllCall call;
  call.output = output;
  call.target = target;
  call.weight = weight;
  call.batch = target.shape[0];
  call.dim = target.shape[1];
  check_row_weight(op, weight, call.batch);
  call.nll = tape.new_buffer({call.batch}, loss_type(output));
  if (weight.given()) {
    const GradSlot slot = tape.grad_slot(output);
    if (slot) call.doutput = slot.dx;
    call.mode = slot.mode;
  }
  return call;
}

// launch(exec, args) with the arguments that all of these kernels take.
template <class Launch>
Tensor output_nll(const char* op, Tape& tape, const Tensor& output, const Tensor& target,
                  int64_t outputs, const RowWeight& weight, Launch launch) {
  const NllCall call = new_call(op, tape, output, target, outputs, weight);
  const bool gradient = call.doutput.shape.rank() > 0;
  tape.op(op, {output, target, weight.values}, {call.nll, call.doutput}, [&](const Exec& exec) {
    with_target(op, exec, output, target,
                [&]<class T, class Target>(const Exec& e, T, const Target* x) {
                  OutputNll<T, Target> args{};
                  args.output = output.as<T>();
                  args.target = x;
                  args.batch = call.batch;
                  args.dim = call.dim;
                  args.nll = call.nll.as<Compute<T>>();
                  args.doutput = gradient ? call.doutput.as<T>() : nullptr;
                  args.weight = weight.as<Compute<T>>(call.batch);
                  args.mode = call.mode;
                  launch(e, args);
                });
  });
  return call.nll;
}

// gaussian_nll() by a log-variance in device memory; its gradient per row, if that has a place.
void launch_gaussian(const char* op, Tape& tape, const NllCall& call, const Tensor& log_variance,
                     const Tensor& dlog_variance) {
  const bool gradient = call.doutput.shape.rank() > 0;
  tape.op(op, {call.output, call.target, log_variance, call.weight.values},
          {call.nll, call.doutput, dlog_variance}, [&](const Exec& exec) {
            with_target(op, exec, call.output, call.target,
                        [&]<class T, class Target>(const Exec& e, T, const Target* x) {
                          using R = Compute<T>;
                          GaussianNll<T, Target> args{};
                          args.mean = call.output.as<T>();
                          args.target = x;
                          args.batch = call.batch;
                          args.dim = call.dim;
                          args.log_variance = log_variance.as<R>();
                          args.nll = call.nll.as<R>();
                          args.dmean = gradient ? call.doutput.as<T>() : nullptr;
                          args.dlog_variance =
                              dlog_variance.shape.rank() > 0 ? dlog_variance.as<R>() : nullptr;
                          args.weight = call.weight.as<R>(call.batch);
                          args.mode = call.mode;
                          gaussian_nll(e, args);
                        });
          });
}

}  // namespace

Tensor gaussian_learned_nll(Tape& tape, ParamStore& params, const Tensor& mean,
                            const Tensor& target, ParamStore::Id log_variance,
                            const RowWeight& weight) {
  constexpr const char* kOp = "gaussian_learned_nll";
  const NllCall call = new_call(kOp, tape, mean, target, 1, weight);
  const Param param = params.param(log_variance);
  const bool learns = tape.recording() && weight.given() && call.batch > 0;
  const Tensor per_row = learns ? tape.new_buffer({call.batch}, call.nll.dtype) : Tensor{};
  launch_gaussian(kOp, tape, call, param.value, per_row);
  if (!learns) return call.nll;
  ParamStore* store = &params;
  tape.record(kOp, {mean}, [store, param, per_row](Tape& t) {
    const GradMode mode = store->next_grad_mode(param.index);
    if (mode == GradMode::add) t.join();  // a branch may still be writing the same gradient
    t.op("gaussian_learned_nll_backward", {per_row}, {param.grad}, [&](const Exec& exec) {
      with_element_type(kOp, per_row, [&]<class T>(T) {
        sum_all<T>(exec, per_row.size(), per_row.as<T>(), param.grad.as<T>(), T(1), mode);
      });
    });
  });
  return call.nll;
}

Tensor gaussian_optimal_nll(Tape& tape, ParamStore& params, const Tensor& mean,
                            const Tensor& target, BufferStore::Id variance, bool training,
                            const RowWeight& weight) {
  constexpr const char* kOp = "gaussian_optimal_nll";
  const NllCall call = new_call(kOp, tape, mean, target, 1, weight);
  const BufferStore& buffers = params.buffers();
  const Tensor running = training ? buffers.next(variance) : buffers.value(variance);
  const Tensor squares = training ? tape.new_buffer({call.batch}, call.nll.dtype) : Tensor{};
  const Tensor log_variance = tape.new_buffer({1}, call.nll.dtype);
  const Tensor moved = training ? running : Tensor{};
  tape.op("batch_variance", {mean, target, running}, {log_variance, squares, moved},
          [&](const Exec& exec) {
            with_target(kOp, exec, mean, target,
                        [&]<class T, class Target>(const Exec& e, T, const Target* x) {
                          BatchVariance<T, Target> args{};
                          if (training) {
                            args.mean = mean.as<T>();
                            args.target = x;
                            args.squares = squares.as<Compute<T>>();
                          }
                          args.batch = call.batch;
                          args.dim = call.dim;
                          args.running = running.as<Compute<T>>();
                          args.log_variance = log_variance.as<Compute<T>>();
                          batch_variance(e, args);
                        });
          });
  launch_gaussian(kOp, tape, call, log_variance, Tensor{});
  return call.nll;
}

Tensor continuous_bernoulli_nll(Tape& tape, const Tensor& logits, const Tensor& target,
                                const RowWeight& weight) {
  return output_nll(
      "continuous_bernoulli_nll", tape, logits, target, 1, weight,
      [](const Exec& exec, const auto& args) { elbo::continuous_bernoulli_nll(exec, args); });
}

Tensor laplace_nll(Tape& tape, const Tensor& median, const Tensor& target, float log_scale,
                   const RowWeight& weight) {
  return output_nll("laplace_nll", tape, median, target, 1, weight,
                    [log_scale](const Exec& exec, auto args) {
                      args.log_scale = log_scale;
                      elbo::laplace_nll(exec, args);
                    });
}

Tensor gaussian_diagonal_nll(Tape& tape, const Tensor& output, const Tensor& target,
                             int64_t channels, const RowWeight& weight) {
  return output_nll("gaussian_diagonal_nll", tape, output, target, 2, weight,
                    [channels](const Exec& exec, auto args) {
                      args.channels = channels;
                      elbo::gaussian_diagonal_nll(exec, args);
                    });
}

Tensor logistic_nll(Tape& tape, const Tensor& output, const Tensor& target, int64_t channels,
                    const RowWeight& weight) {
  return output_nll("logistic_nll", tape, output, target, 2, weight,
                    [channels](const Exec& exec, auto args) {
                      args.channels = channels;
                      elbo::logistic_nll(exec, args);
                    });
}

Tensor beta_nll(Tape& tape, const Tensor& output, const Tensor& target, int64_t channels,
                const RowWeight& weight) {
  return output_nll("beta_nll", tape, output, target, 2, weight,
                    [channels](const Exec& exec, auto args) {
                      args.channels = channels;
                      elbo::beta_nll(exec, args);
                    });
}

}  // namespace elbo
