#include "models/autoencoder.h"

#include "engine/ops/basis_op.h"
#include "engine/ops/condition_op.h"
#include "engine/ops/contractive_op.h"
#include "engine/ops/density_op.h"
#include "engine/ops/likelihood_op.h"
#include "engine/ops/linear_op.h"
#include "engine/ops/parameter_op.h"

namespace elbo {
namespace {

LayerSpec linear_layer(int64_t out, Activation activation) {
  LayerSpec layer;
  layer.out = out;
  layer.activation = activation;
  layer.text = concat("linear ", out);
  return layer;
}

void check_prior(const ModelConfig& config) {
  if (config.prior == Prior::standard) return;
  const auto refuse = [](const auto&... why) {
    throw_error(ErrorCode::usage, "model.prior vamp ", why...);
  };
  if (!config.variational()) refuse("is for a VAE; model.kind is a plain autoencoder");
  if (config.conditional()) refuse("does not go with model.condition; leave one of them out");
  if (config.pseudo_inputs < 1) {
    refuse("needs model.pseudo_inputs of at least 1, found ", config.pseudo_inputs);
  }
  for (const LayerSpec& layer : parse_layers(config.encoder)) {
    if (!config.convolutional() || layer.norm != NormKind::batch) continue;
    refuse("does not go with batch normalisation (layer \"", layer.text,
           "\"): pseudo-inputs and images would share statistics; leave it out");
  }
}

struct Layers {
  std::vector<LayerSpec> encoder, decoder;
};

void check_config(const ModelConfig& config) {
  if (config.latent_dim < 1) {
    throw_error(ErrorCode::usage, "model.latent_dim is ", config.latent_dim,
                "; expected at least 1");
  }
  if (config.conditional() && config.condition_values() < 1) {
    const bool label = config.condition == Condition::label;
    throw_error(ErrorCode::usage, "model.", label ? "classes" : "attributes", " is ",
                config.condition_values(), "; expected the number of ",
                label ? "labels" : "attributes", " of a conditional model");
  }
  if (config.conditional() && config.latent_channels > 0) {
    throw_error(ErrorCode::usage, "model.condition is \"", condition_name(config.condition),
                "\" and the latent is a picture; conditions go with latents that are vectors: set "
                "model.latent_channels to 0");
  }
  if (config.classifier && config.condition != Condition::label) {
    throw_error(ErrorCode::usage,
                "model.classifier guesses the label that a conditional model is told; add "
                "--condition label");
  }
  if (config.quantised() && config.variational()) {
    throw_error(ErrorCode::usage, "model.codebook is ", config.codebook,
                " and model.kind is a VAE; codes are for mlp-ae and conv-ae");
  }
  if (!config.convolutional()) {
    for (int64_t width : config.hidden) {
      if (width < 1) {
        throw_error(ErrorCode::usage, "model.hidden has a layer of width ", width,
                    "; expected at least 1");
      }
    }
  } else if (config.encoder.empty() || config.decoder.empty()) {
    throw_error(ErrorCode::usage, "model.", config.encoder.empty() ? "encoder" : "decoder",
                " is empty; give it layers like [\"conv 32 k4 s2 relu\"], or use a preset");
  }
  check_prior(config);
}

Layers layers_of(const ModelConfig& config) {
  if (config.convolutional()) return {parse_layers(config.encoder), parse_layers(config.decoder)};
  Layers layers;
  for (const int64_t width : config.hidden) {
    layers.encoder.push_back(linear_layer(width, config.activation));
    layers.decoder.insert(layers.decoder.begin(), linear_layer(width, config.activation));
  }
  layers.decoder.push_back(linear_layer(LayerSpec::kImage, Activation::identity));
  return layers;
}

// What an MLP is told follows its pixels; a convolutional encoder has planes more.
ImageSize encoder_input(const ModelConfig& config, const ImageSize& image) {
  if (!config.conditional()) return image;
  if (!config.convolutional()) return {1, 1, image.size() + config.condition_values()};
  return {image.height, image.width, image.channels + config.condition_values()};
}

// Values of a code. `latent` is the network's: the configuration may leave its size open.
int64_t code_size_of(const ModelConfig& config, const LayerState& latent) {
  if (!latent.flat) {
    if (config.code_size != 0 && config.code_size != config.latent_channels) {
      throw_error(ErrorCode::usage, "model.code_size is ", config.code_size,
                  ", and a latent that is a picture has a code for each of its pixels; expected 0 "
                  "or its channels, ",
                  config.latent_channels);
    }
    return config.latent_channels;
  }
  const int64_t size = latent.size.size(), code = config.code_size == 0 ? size : config.code_size;
  if (size % code != 0) {
    throw_error(ErrorCode::usage, "model.code_size is ", code, " and there are ", size,
                " latents; expected a divisor of their number");
  }
  return code;
}

}  // namespace

Autoencoder::Autoencoder(ParamStore& params, const ModelConfig& config, const ImageSize& image)
    : params_(&params), config_(config), image_(image) {
  check_config(config);
  const bool classic = config.kind == ModelKind::mlp_vae && config.hidden.size() == 1;
  Layers layers = layers_of(config);
  std::vector<LayerSpec> classifier = layers.encoder;
  if (!variational() && !latent_is_picture()) {
    layers.encoder.push_back(linear_layer(config.latent_dim, config.code_activation));
  }
  using Names = std::vector<std::string>;
  const ImageSize seen = encoder_input(config, image);
  std::vector<LayerPlan> plans = plan_encoder(layers.encoder, seen);
  features_ = end_of(plans, seen);
  const LayerState latent =
      latent_of(plans, seen, config.latent_dim, config.latent_channels, variational());
  config_.latent_dim = latent.size.size();
  if (quantised()) {
    codebook_ = add_codebook(params, "codebook", config.codebook, code_size_of(config, latent));
  }
  LayerState decoded = latent;
  decoded.size.channels += config.condition_values();
  const ImageSize picture = last_picture(plans, image);
  encoder_ = std::make_unique<Network>(params, std::move(plans), "encoder", config.init,
                                       classic ? Names{"fc1"} : Names{});
  if (variational() && !latent_is_picture()) {
    heads_ = add_linear(params, config.init,
                        classic ? Names{"fc21", "fc22"} : Names{"fc_mu", "fc_logvar"}, features_,
                        latent);
  }
  likelihood_ = std::make_unique<PixelLikelihood>(params, config, image);
  decoder_ = std::make_unique<Network>(
      params, plan_decoder(layers.decoder, decoded, picture, likelihood_->output()), "decoder",
      config.init, classic ? Names{"fc3", "fc4"} : Names{});
  if (config.classifier) {
    classifier.push_back(linear_layer(config.classes, Activation::identity));
    classifier_ = std::make_unique<Network>(params, plan_encoder(classifier, image), "classifier",
                                            config.init);
  }
  if (config.prior == Prior::vamp) {
    const int64_t count = config.pseudo_inputs, pixels = image.height * image.width;
    FileLayout file;
    file.dims = {count, image.channels, image.height, image.width};
    file.outer = count;
    file.channels = image.channels;
    file.spatial = pixels;
    pseudo_inputs_ =
        params.add("pseudo_inputs", {count, image.size()}, {InitKind::normal, 1.0f}, file);
  }
  if (knows_attributes()) {
    attribute_mean_ = params.buffers().add("attributes.mean", {config.attributes}, 0);
    attribute_deviation_ = params.buffers().add("attributes.deviation", {config.attributes}, 1);
  }
  block_label_ = heads_.label + "|" + decoder_->weights(0).label;
}

// Channels [mean | log-variance] of every pixel to [mean of all pixels | log-variance of all].
Tensor Autoencoder::split_statistics(Tape& tape, const Tensor& picture) const {
  const int64_t batch = picture.shape[0], channels = config_.latent_channels;
  const Tensor rows = reshape(tape, picture, {picture.size() / (2 * channels), 2 * channels});
  const auto part = [&](int64_t begin) {
    return reshape(tape, slice_cols(tape, rows, begin, begin + channels),
                   {batch, config_.latent_dim});
  };
  return concat_cols(tape, part(0), part(channels));
}

Tensor Autoencoder::heads(Tape& tape, const Tensor& features) const {
  if (latent_is_picture()) return split_statistics(tape, features);
  const Tape::Scope scope(tape, heads_.label.c_str());
  return linear(tape, *params_, features, heads_.weight, &heads_.bias, Activation::identity);
}

void Autoencoder::set_attribute_scale(const AttributeScale& scale) {
  ELBO_CHECK(knows_attributes(), "set_attribute_scale: the model is told no attributes");
  params_->buffers().set(attribute_mean_, scale.mean);
  params_->buffers().set(attribute_deviation_, scale.deviation);
}

AttributeScale Autoencoder::attribute_scale() const {
  ELBO_CHECK(knows_attributes() && params_->dtype() == DType::f32,
             "attribute_scale: the model is told no attributes, or is no f32");
  const auto read = [&](BufferStore::Id id) {
    std::vector<float> values(static_cast<size_t>(config_.attributes));
    params_->context().download(values.data(), params_->buffers().value(id).data,
                                values.size() * sizeof(float));
    return std::vector<double>(values.begin(), values.end());
  };
  return {read(attribute_mean_), read(attribute_deviation_)};
}

Tensor Autoencoder::with_condition(Tape& tape, const Tensor& x, const Tensor& told) const {
  if (!conditional()) return x;
  if (knows_labels()) {
    ELBO_CHECK(told.shape.rank() == 1,
               "the model is conditional: it needs the label of every image");
    return append_label(tape, x, told, config_.classes);
  }
  ELBO_CHECK(told.shape.rank() == 2 && told.shape[1] == config_.attributes,
             "the model is conditional: it needs ", config_.attributes,
             " attributes of every image, found ", told.shape.to_string());
  const BufferStore& buffers = params_->buffers();
  return append_attributes(tape, x, told, buffers.value(attribute_mean_),
                           buffers.value(attribute_deviation_));
}

Tensor Autoencoder::features(Tape& tape, const Tensor& x, const Tensor& told) const {
  // Planes stand beside a picture's channels, and beside all values of what an MLP sees.
  const bool planes = conditional() && config_.convolutional();
  Tensor seen = with_condition(tape, planes ? view_as(tape, x, {image_, false}) : x, told);
  size_t begin = 0;
  if (variational() && latent_is_picture() && seen.dtype == DType::bf16) {
    // Mean and log-variance are never rounded, so the layer that makes them computes in f32.
    begin = encoder_->size() - 1;
    seen = cast(tape, encoder_->run(tape, seen, 0, begin), DType::f32);
  }
  return view_as(tape, encoder_->run(tape, seen, begin, encoder_->size()), {features_.size, true});
}

Tensor Autoencoder::encode_freely(Tape& tape, const Tensor& x, const Tensor& told) const {
  const Tensor encoded = features(tape, x, told);
  return variational() ? heads(tape, encoded) : encoded;
}

Tensor Autoencoder::classify(Tape& tape, const Tensor& x) const {
  ELBO_CHECK(classifies(), "classify: the model has no classifier");
  return classifier_->run(tape, x);
}

QuantisedCode Autoencoder::quantise(Tape& tape, const Tensor& latent,
                                    const CodebookLearning* learning) const {
  const Tape::Scope scope(tape, "codebook");
  return elbo::quantise(tape, *params_, latent, codebook_, learning);
}

Tensor Autoencoder::encode(Tape& tape, const Tensor& x, const Tensor& told) const {
  const Tensor latent = encode_freely(tape, x, told);
  return quantised() ? quantise(tape, latent).q : latent;
}

Autoencoder::MovingCode Autoencoder::encode_moving(Tape& tape, const Tensor& x,
                                                   const NoiseSource& tangent) const {
  ELBO_CHECK(!variational(), "encode_moving: a posterior has no single code");
  if (conditional()) {
    throw_error(
        ErrorCode::usage,
        "a contractive penalty does not go with model.condition; set one of them to 0 or none");
  }
  if (encoder_->size() == 1 && encoder_->is_plain_linear(0)) {
    const Tensor code = encode(tape, x);
    const Tensor slope = activation_slope(tape, code, encoder_->plan(0).spec.activation);
    return {code, jacobian_norm(tape, *params_, slope, encoder_->weights(0).weight)};
  }
  const Tensor direction = prior_sample(tape, x.shape[0], x.cols(), x.dtype, tangent);
  const Network::WithTangent end = encoder_->run_tangent(tape, x, direction);
  const Tensor moved = view_as(tape, end.tangent, {features_.size, true});
  return {view_as(tape, end.value, {features_.size, true}),
          sum_rows(tape, mul(tape, moved, moved))};
}

Tensor Autoencoder::prior_components(Tape& tape) const {
  ELBO_CHECK(has_learned_prior(), "prior_components: the prior is N(0, I)");
  return encode(tape, parameter(tape, *params_, pseudo_inputs_, Activation::sigmoid));
}

Tensor Autoencoder::log_prior(Tape& tape, const Tensor& z) const {
  if (!has_learned_prior()) return prior_log_density(tape, z);
  return mixture_log_density(tape, z, prior_components(tape),
                             PairWeights::uniform(config_.pseudo_inputs));
}

LatentBlock Autoencoder::sample(Tape& tape, const Tensor& x, const NoiseSource& noise,
                                const RowWeight& kl_weight, const Tensor& told) const {
  const Tensor encoded = features(tape, x, told);
  if (conditional() || !decoder_->is_plain_linear(0)) {
    LatentBlock block;
    const DType statistics = x.dtype == DType::bf16 ? DType::f32 : x.dtype;
    block.latent = reparam_kl(tape, heads(tape, cast(tape, encoded, statistics)), noise, kl_weight);
    const Tensor z = cast(tape, block.latent.z, x.dtype);
    block.y = decoder_->run(tape, with_condition(tape, z, told), 0, 1);
    return block;
  }
  const LayerWeights& first = decoder_->weights(0);
  const Tape::Scope scope(tape, block_label_.c_str());
  return latent_block(
      tape, *params_, encoded, {heads_.label.c_str(), heads_.weight, heads_.bias}, noise, kl_weight,
      {first.label.c_str(), first.weight, first.bias, decoder_->plan(0).spec.activation});
}

Tensor Autoencoder::decode(Tape& tape, const Tensor& z, const Tensor& told) const {
  return view_as(tape, decoder_->run(tape, with_condition(tape, z, told)),
                 {likelihood_->output(), true});
}

Tensor Autoencoder::decode_nll(Tape& tape, const Tensor& from, size_t first, const Tensor& target,
                               const RowWeight& weight, const Tensor& told) const {
  const Tensor hidden = first == 0 ? with_condition(tape, from, told) : from;
  const size_t last = decoder_->size() - 1;
  const LayerSpec& spec = decoder_->plan(last).spec;
  const bool is_conv = spec.kind == LayerKind::conv || spec.kind == LayerKind::conv_transpose;
  const bool fused = likelihood_->has_fused_layer() && first <= last &&
                     (spec.kind == LayerKind::linear || is_conv) && spec.norm == NormKind::none &&
                     spec.activation == Activation::identity;
  if (!fused) {
    const Tensor output = decoder_->run(tape, hidden, first, last + 1);
    return likelihood_->nll(tape, view_as(tape, output, {likelihood_->output(), true}), target,
                            weight);
  }
  const Tensor x = view_as(tape, decoder_->run(tape, hidden, first, last), decoder_->plan(last).in);
  const LayerWeights& layer = decoder_->weights(last);
  const Tape::Scope scope(tape, layer.label.c_str());
  if (is_conv) {
    const LastConvolution convolution{layer.weight, layer.bias, spec.window,
                                      spec.kind == LayerKind::conv_transpose,
                                      spec.output_padding.value_or(OutputPadding{})};
    return conv_likelihood_layer(tape, *params_, x, convolution, target, config_.likelihood,
                                 config_.log_variance, weight);
  }
  return likelihood_layer(tape, *params_, x, layer.weight, layer.bias, target, config_.likelihood,
                          config_.log_variance, weight);
}

Tensor Autoencoder::latent_mean(Tape& tape, const Tensor& encoded) const {
  return variational() ? posterior_mean(tape, encoded) : encoded;
}

}  // namespace elbo
