#include "engine/ops/conv_op.h"

#include "engine/ops/basis_op.h"
#include "engine/ops/likelihood_op.h"
#include "kernels/activation_op.h"
#include "kernels/conv2d.h"
#include "kernels/conv_likelihood.h"

namespace elbo {
namespace {

// One application of either op: what backward needs to know of it.
struct ConvCall {
  ConvGeometry geometry;
  bool transpose;
  ParamStore* params;
  Tensor x, y, aux;
  Param weight, bias;
  bool has_bias;
  Activation activation;

  const ImageSize& out() const { return transpose ? geometry.image : geometry.features; }
};

struct OpNames {
  const char *forward, *activation, *weight, *input;
};
const OpNames& names_of(const ConvCall& call) {
  static constexpr OpNames kConv{"conv2d", "conv2d_dactivation", "conv2d_dweight", "conv2d_dinput"};
  static constexpr OpNames kTranspose{"conv_transpose2d", "conv_transpose2d_dactivation",
                                      "conv_transpose2d_dweight", "conv_transpose2d_dinput"};
  return call.transpose ? kTranspose : kConv;
}

void forward(Tape& tape, const ConvCall& call) {
  const char* op = names_of(call).forward;
  tape.op(op, {call.x}, {call.y, call.aux}, [&](const Exec& exec) {
    with_storage_type(op, call.x, [&]<class T>(T) {
      const BasicConvForward<T> args{
          .geometry = call.geometry,
          .x = call.x.as<T>(),
          .weight = weight_values<T>(call.weight),
          .bias = call.has_bias ? call.bias.value.as<Compute<T>>() : nullptr,
          .y = call.y.as<T>(),
          .aux = call.aux.data,
          .activation = call.activation};
      call.transpose ? conv_transpose2d_forward(exec, args) : conv2d_forward(exec, args);
    });
  });
}

// dz = dy * act'(.) in place, and the bias gradient.
void backward_activation(Tape& tape, const ConvCall& call, const Tensor& dy) {
  const GradMode mode =
      call.has_bias ? call.params->next_grad_mode(call.bias.index) : GradMode::write;
  if (mode == GradMode::add) tape.join();  // a branch may still be writing the same gradient
  const Tensor dbias = call.has_bias ? call.bias.grad : Tensor{};
  const char* op = names_of(call).activation;
  tape.op(op, {dy, call.y, call.aux}, {dy, dbias}, [&](const Exec& exec) {
    with_storage_type(op, call.x, [&]<class T>(T) {
      activation_backward_bias(
          exec,
          BasicActivationBackwardBias<T>{
              .activation = call.activation,
              .batch = call.geometry.batch * call.out().pixels(),
              .dim = call.out().channels,
              .dy = dy.as<T>(),
              .y = call.y.as<T>(),
              .pre = needs_pre_activation(call.activation) ? static_cast<const T*>(call.aux.data)
                                                           : nullptr,
              .dx = dy.as<T>(),
              .dbias = call.has_bias ? call.bias.grad.as<Compute<T>>() : nullptr,
              .dbias_mode = mode});
    });
  });
}

void backward_weight(Tape& tape, const ConvCall& call, const Tensor& dz, bool with_bias) {
  const GradMode mode = call.params->next_grad_mode(call.weight.index);
  const GradMode bias_mode =
      with_bias ? call.params->next_grad_mode(call.bias.index) : GradMode::write;
  if (mode == GradMode::add || bias_mode == GradMode::add) tape.join();
  const Tensor dweight = call.weight.grad, dbias = with_bias ? call.bias.grad : Tensor{};
  const char* op = names_of(call).weight;
  tape.branch_op(op, {call.x, dz}, {dweight, dbias}, [&](const Exec& exec) {
    with_storage_type(op, call.x, [&]<class T>(T) {
      const BasicConvBackwardWeight<T> args{.geometry = call.geometry,
                                            .x = call.x.as<T>(),
                                            .dy = dz.as<T>(),
                                            .dweight = dweight.as<Compute<T>>(),
                                            .mode = mode,
                                            .dbias = with_bias ? dbias.as<Compute<T>>() : nullptr,
                                            .dbias_mode = bias_mode};
      call.transpose ? conv_transpose2d_backward_weight(exec, args)
                     : conv2d_backward_weight(exec, args);
    });
  });
}

// dx, with the producer's activation undone and its bias gradient summed where that is possible.
void backward_data(Tape& tape, const ConvCall& call, const Tensor& dz) {
  const Epilogue* producer = tape.take_epilogue(call.x);
  const GradSlot slot = tape.grad_slot(call.x);
  if (!slot) return;
  const bool with_bias =
      producer && producer->has_bias && !linear_weight_takes_bias(tape.context().exec());
  const GradMode bias_mode =
      with_bias ? producer->params->next_grad_mode(producer->bias.index) : GradMode::write;
  if (bias_mode == GradMode::add) tape.join();
  const Tensor aux = producer ? producer->aux : Tensor{};
  const Tensor dbias = with_bias ? producer->bias.grad : Tensor{};
  const char* op = names_of(call).input;
  tape.op(op, {dz, call.x, aux, slot.dx}, {slot.dx, dbias}, [&](const Exec& exec) {
    with_storage_type(op, call.x, [&]<class T>(T) {
      BasicInputActivation<T> input{};
      if (producer) {
        input.activation = producer->activation;
        input.y = call.x.as<T>();
        input.aux = aux.data;
        input.dbias = with_bias ? dbias.as<Compute<T>>() : nullptr;
        input.dbias_mode = bias_mode;
      }
      const BasicConvBackwardData<T> args{.geometry = call.geometry,
                                          .dy = dz.as<T>(),
                                          .weight = weight_values<T>(call.weight),
                                          .dx = slot.dx.as<T>(),
                                          .mode = slot.mode,
                                          .input = producer ? &input : nullptr};
      call.transpose ? conv_transpose2d_backward_data(exec, args)
                     : conv2d_backward_data(exec, args);
    });
  });
}

void backward(Tape& tape, const ConvCall& call) {
  const std::optional<Tensor> dy = tape.upstream(call.y);
  if (!dy) return;
  const bool undone = tape.epilogue_taken(call.y);
  const bool is_linear = call.activation == Activation::identity;
  if (!is_linear && !undone) backward_activation(tape, call, *dy);
  const bool bias_is_left =
      is_linear || (undone && linear_weight_takes_bias(tape.context().exec()));
  backward_weight(tape, call, *dy, call.has_bias && bias_is_left);
  backward_data(tape, call, *dy);
}

// The operands of a call whose geometry is known, its output, and what forward must save for backward.
ConvCall complete(Tape& tape, ConvCall call, ParamStore& params, const Tensor& x,
                  ParamStore::Id weight, const ParamStore::Id* bias, Activation activation) {
  call.params = &params;
  call.x = x;
  call.weight = params.param(weight);
  call.has_bias = bias != nullptr;
  if (bias) call.bias = params.param(*bias);
  call.activation = activation;
  const ImageSize& out = call.out();
  ELBO_CHECK(!bias || call.bias.value.size() == out.channels, names_of(call).forward, ": bias has ",
             call.bias.value.size(), " elements for ", out.channels, " channels");
  call.y = tape.new_value({call.geometry.batch, out.height, out.width, out.channels}, x.dtype);
  if (tape.recording()) {
    size_t bytes = 0;
    with_storage_type(names_of(call).forward, x,
                      [&]<class T>(T) { bytes = conv_aux_bytes<T>(call.y.size(), activation); });
    if (bytes > 0) call.aux = tape.new_buffer({static_cast<int64_t>(bytes)}, DType::u8);
  }
  if (activation != Activation::identity) {
    tape.offer_epilogue({activation, call.y, call.aux, call.params, call.bias, call.has_bias});
  }
  return call;
}

void record(Tape& tape, const ConvCall& call) {
  tape.record(names_of(call).forward, {call.x}, [call](Tape& t) { backward(t, call); });
}

ImageSize image_of(const char* op, const Tensor& x, const Shape& weight, int channel_axis,
                   const ConvWindow& window) {
  ELBO_CHECK(x.shape.rank() == 4 && weight.rank() == 4 && x.shape[3] == weight[channel_axis] &&
                 weight[1] == window.kernel_h && weight[2] == window.kernel_w,
             op, ": x is ", x.shape.to_string(), ", weight ", weight.to_string(), ", the kernel ",
             window.kernel_h, "x", window.kernel_w,
             "; expected x [B, H, W, C] and a weight of that kernel with C on axis ", channel_axis);
  return {x.shape[1], x.shape[2], x.shape[3]};
}

// Checks x and weight, and works out the geometry.
ConvCall conv_call(ParamStore& params, const Tensor& x, ParamStore::Id weight,
                   const ConvWindow& window) {
  const Shape w = params.param(weight).value.shape;
  ConvCall call{};
  call.geometry = conv2d_geometry(x.shape[0], image_of("conv2d", x, w, 3, window), w[0], window);
  call.transpose = false;
  return call;
}

ConvCall conv_transpose_call(ParamStore& params, const Tensor& x, ParamStore::Id weight,
                             const ConvWindow& window, OutputPadding padding) {
  const Shape w = params.param(weight).value.shape;
  ConvCall call{};
  const ImageSize in = image_of("conv_transpose2d", x, w, 0, window);
  call.geometry = conv_transpose2d_geometry(x.shape[0], in, w[3], window, padding.h, padding.w);
  call.transpose = true;
  return call;
}

template <class T>
int64_t likelihood_parts(const Exec& exec, const ConvCall& call) {
  return call.transpose ? conv_transpose2d_likelihood_parts<T>(exec, call.geometry)
                        : conv2d_likelihood_parts<T>(exec, call.geometry);
}

template <class T, class Target>
void launch_likelihood(const Exec& exec, const ConvCall& call,
                       const ConvLikelihood<T, Target>& args) {
  call.transpose ? conv_transpose2d_likelihood(exec, args) : conv2d_likelihood(exec, args);
}

}  // namespace

Tensor conv2d(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
              const ParamStore::Id* bias, const ConvWindow& window, Activation activation) {
  const ConvCall call =
      complete(tape, conv_call(params, x, weight, window), params, x, weight, bias, activation);
  forward(tape, call);
  record(tape, call);
  return call.y;
}

Tensor conv_transpose2d(Tape& tape, ParamStore& params, const Tensor& x, ParamStore::Id weight,
                        const ParamStore::Id* bias, const ConvWindow& window,
                        OutputPadding output_padding, Activation activation) {
  const ConvCall call =
      complete(tape, conv_transpose_call(params, x, weight, window, output_padding), params, x,
               weight, bias, activation);
  forward(tape, call);
  record(tape, call);
  return call.y;
}

Tensor conv_likelihood_layer(Tape& tape, ParamStore& params, const Tensor& x,
                             const LastConvolution& layer, const Tensor& target,
                             Likelihood likelihood, float log_variance,
                             const RowWeight& loss_weight) {
  constexpr const char* kOp = "conv_likelihood_layer";
  const ParamStore::Id bias = layer.bias;
  ConvCall call = layer.transpose
                      ? conv_transpose_call(params, x, layer.weight, layer.window, layer.padding)
                      : conv_call(params, x, layer.weight, layer.window);
  call = complete(tape, call, params, x, layer.weight, &bias, Activation::identity);
  const int64_t batch = call.geometry.batch;
  ELBO_CHECK(target.shape[0] == batch && target.size() == call.y.size(), kOp, ": the output is ",
             call.y.shape.to_string(), ", the target ", target.shape.to_string());
  check_row_weight(kOp, loss_weight, batch);
  if (!tape.recording() || !loss_weight.given()) {
    forward(tape, call);
    record(tape, call);
    const Tensor output = reshape(tape, call.y, {batch, call.out().size()});
    const Tensor flat_target = reshape(tape, target, output.shape);
    return likelihood == Likelihood::bernoulli
               ? bernoulli_nll(tape, output, flat_target, loss_weight)
               : gaussian_nll(tape, output, flat_target, log_variance, loss_weight);
  }
  record(tape, call);
  const Tensor doutput = tape.grad_slot(call.y).dx;
  int64_t parts = 0;
  with_storage_type(kOp, x,
                    [&]<class T>(T) { parts = likelihood_parts<T>(tape.context().exec(), call); });
  const Tensor nll = tape.new_buffer({parts * batch}, loss_type(x));
  tape.op(kOp, {x, target, loss_weight.values}, {nll, doutput}, [&](const Exec& exec) {
    with_target(kOp, exec, call.y, target,
                [&]<class T, class Target>(const Exec& e, T, const Target* wanted) {
                  launch_likelihood(
                      e, call,
                      ConvLikelihood<T, Target>{.geometry = call.geometry,
                                                .likelihood = likelihood,
                                                .log_variance = log_variance,
                                                .x = x.as<T>(),
                                                .weight = weight_values<T>(call.weight),
                                                .bias = call.bias.value.as<Compute<T>>(),
                                                .target = wanted,
                                                .doutput = doutput.as<T>(),
                                                .nll = nll.as<Compute<T>>(),
                                                .loss_weight = loss_weight.as<Compute<T>>(batch)});
                });
  });
  return nll;
}

}  // namespace elbo
