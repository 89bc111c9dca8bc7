#include "models/audit_net.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"
#include "models/audit_convolutional.h"
#include "models/audit_likelihood.h"
#include "models/network_plan.h"

namespace elbo {
namespace {

// Pixels of n images between H, W, C and C, H, W.
AuditRows reordered(const AuditRows& images, const AuditPicture& picture, bool to_chw) {
  if (picture.channels == 1) return images;
  AuditRows result(images.size());
  const int64_t pixels = picture.height * picture.width, size = picture.size();
  for (int64_t first = 0; first < static_cast<int64_t>(images.size()); first += size) {
    for (int64_t c = 0; c < picture.channels; ++c) {
      for (int64_t p = 0; p < pixels; ++p) {
        const int64_t chw = first + c * pixels + p, hwc = first + p * picture.channels + c;
        result[to_chw ? chw : hwc] = images[to_chw ? hwc : chw];
      }
    }
  }
  return result;
}

}  // namespace

AuditNet::AuditNet(const SafetensorsView& weights, const std::string& file_name,
                   Activation activation) {
  read_mlp(weights, file_name, activation);
  image_ = {1, 1, mean_.in};
  if (!encoder_.empty()) image_.width = encoder_.front().in;
  output_ = image_;
  output_.channels = decoder_.back().out / image_.size();
  check_classifier(file_name);
}

AuditNet::AuditNet(const SafetensorsView& weights, const std::string& file_name,
                   const ModelConfig& config, const ImageSize& image)
    : planes_(config.convolutional()),
      classes_(config.condition == Condition::label ? config.classes : 0),
      told_(config.condition_values()),
      told_pixels_(config.convolutional() ? image.pixels() : 1),
      image_(audit_picture(image)),
      output_(image_) {
  output_.channels *= audit_outputs(config.likelihood);
  codebook_.size = config.codebook;
  codebook_.dim = config.code_size;
  if (config.condition == Condition::attributes)
    deviation_.resize(static_cast<size_t>(config.attributes));
  if (config.prior == Prior::vamp) {
    pseudo_shape_ = {config.pseudo_inputs, image.channels, image.height, image.width};
  }
  if (config.convolutional()) {
    read_convolutional(weights, file_name, config, image);
  } else {
    read_mlp(weights, file_name, config.activation);
    if (!variational_) encoder_.back().activation = config.code_activation;
  }
  if (decoder_.back().out != output_.size()) {
    throw_error(ErrorCode::data, file_name, ": the network is for images of ",
                decoder_.back().out / outputs(), " values, but its run has ", image.size());
  }
  check_classifier(file_name);
  if (!pseudo_inputs_.empty()) prior_ = posterior_of(pseudo_inputs_);
}

void AuditNet::read_mlp(const SafetensorsView& weights, const std::string& file_name,
                        Activation activation) {
  AuditReader reader(weights, file_name, "an MLP autoencoder");
  variational_ = true;
  if (reader.has("fc1")) {
    encoder_ = {reader.linear("fc1", activation)};
    mean_ = reader.linear("fc21", Activation::identity);
    logvar_ = reader.linear("fc22", Activation::identity);
    decoder_ = {reader.linear("fc3", activation), reader.linear("fc4", Activation::identity)};
  } else {
    variational_ = reader.has("fc_mu");
    encoder_ = reader.sequence("encoder", activation, variational_);
    if (variational_) {
      mean_ = reader.linear("fc_mu", Activation::identity);
      logvar_ = reader.linear("fc_logvar", Activation::identity);
    }
    decoder_ = reader.sequence("decoder", activation, false);
  }
  classifier_ = reader.sequence("classifier", activation, false);
  read_likelihood(reader, file_name);
  if (!decoder_.empty()) latent_dim_ = decoder_.front().in - told_;
  codebook_.read(reader, latent_dim_);
  read_pseudo_inputs(reader);
  read_attributes(reader);
  reader.refuse_the_rest();
  check_chain(file_name);
}

void AuditNet::read_convolutional(const SafetensorsView& weights, const std::string& file_name,
                                  const ModelConfig& config, const ImageSize& image) {
  AuditReader reader(weights, file_name, "the network that its configuration describes");
  variational_ = config.variational();
  std::vector<std::string> layers = config.encoder;
  const bool picture = config.latent_channels > 0;
  if (!variational_ && !picture) {
    layers.push_back(
        concat("linear ", config.latent_dim, " ", activation_name(config.code_activation)));
  }
  ImageSize seen = image;
  seen.channels += told_;
  if (config.classifier) {
    std::vector<std::string> guess = config.encoder;
    guess.push_back(concat("linear ", classes_));
    classifier_ =
        audit_convolutional(reader, "classifier", plan_encoder(parse_layers(guess), image));
  }
  const auto encoder = plan_encoder(parse_layers(layers), seen);
  const LayerState latent =
      latent_of(encoder, seen, config.latent_dim, config.latent_channels, variational_);
  latent_dim_ = latent.size.size();
  if (picture) codebook_.pixels = latent.size.pixels();
  LayerState decoded = latent;
  decoded.size.channels += told_;
  encoder_ = audit_convolutional(reader, "encoder", encoder);
  if (picture && variational_) {
    latent_ = audit_picture(latent.size);
  } else if (variational_) {
    mean_ = reader.linear("fc_mu", Activation::identity);
    logvar_ = reader.linear("fc_logvar", Activation::identity);
  }
  decoder_ = audit_convolutional(
      reader, "decoder",
      plan_decoder(parse_layers(config.decoder), decoded, last_picture(encoder, image),
                   {output_.height, output_.width, output_.channels}));
  read_likelihood(reader, file_name);
  codebook_.read(reader, latent_dim_);
  read_pseudo_inputs(reader);
  read_attributes(reader);
  reader.refuse_the_rest();
  check_chain(file_name);
}

// Training keeps the log of an optimal variance within +-19, and lets a learned one pass the bound.
void AuditNet::read_likelihood(AuditReader& reader, const std::string& file_name) {
  if (reader.has_tensor("log_variance")) {
    log_variance_ = audit_bounded_logvar(reader.numbers("log_variance", {1}).front());
  } else if (reader.has_tensor("running_variance")) {
    const double variance = reader.numbers("running_variance", {1}).front();
    if (!(variance >= 0)) {
      throw_error(ErrorCode::data, file_name, ": running_variance is ", variance,
                  "; expected a number from 0 on");
    }
    log_variance_ = std::clamp(std::log(variance), -19.0, 19.0);
  }
}

void AuditNet::read_pseudo_inputs(AuditReader& reader) {
  if (pseudo_shape_.empty()) return;
  pseudo_inputs_ = reader.numbers("pseudo_inputs", pseudo_shape_);
  for (double& u : pseudo_inputs_) u = 1 / (1 + std::exp(-u));
}

void AuditNet::read_attributes(AuditReader& reader) {
  if (deviation_.empty()) return;
  const std::vector<int64_t> shape = {attributes()};
  attribute_mean_ = reader.numbers("attributes.mean", shape);
  deviation_ = reader.numbers("attributes.deviation", shape);
}

void AuditNet::check_chain(const std::string& file_name) const {
  if (decoder_.empty() || (encoder_.empty() && !variational_)) {
    throw_error(ErrorCode::data, file_name,
                ": no encoder and decoder in it; expected tensors fc1.weight, ... or "
                "encoder.0.weight, ..., decoder.0.weight, ...");
  }
  std::vector<const AuditLayer*> chain;
  for (const AuditLayer& layer : encoder_) chain.push_back(&layer);
  if (has_heads()) chain.push_back(&mean_);
  for (const AuditLayer& layer : decoder_) chain.push_back(&layer);
  const int64_t in = chain.front()->in - told_ * told_pixels_, out = chain.back()->out;
  bool fits = out == in || out == 2 * in;  // one output per value, or two
  for (size_t i = 1; i < chain.size(); ++i) {
    const bool at_latent = chain[i] == &decoder_.front();
    const int64_t values = chain[i - 1]->out / (at_latent && latent_ ? 2 : 1);
    fits = fits && chain[i]->in == values + (at_latent ? told_ : 0);
  }
  if (has_heads()) fits = fits && logvar_.in == mean_.in && logvar_.out == mean_.out;
  for (const AuditLayer* layer : chain) fits = fits && layer->in > 0 && layer->out > 0;
  if (!fits) {
    throw_error(ErrorCode::data, file_name,
                ": the layers do not fit together; each must take what the one before it gives, "
                "and the last give what the first takes");
  }
}

void AuditNet::check_classifier(const std::string& file_name) const {
  if (!classifies()) return;
  bool fits = classifier_.front().in == image_size() && classifier_.back().out == classes_;
  for (size_t i = 1; i < classifier_.size(); ++i)
    fits = fits && classifier_[i].in == classifier_[i - 1].out;
  if (!fits) {
    throw_error(ErrorCode::data, file_name, ": the layers of the classifier do not lead from ",
                image_size(), " values to ", classes_, " classes");
  }
}

AuditLabels AuditNet::classify(const AuditRows& images) const {
  const AuditRows logits = audit_run(classifier_, reordered(images, image_, true));
  AuditLabels labels;
  for (auto row = logits.begin(); row != logits.end(); row += classes_)
    labels.push_back(static_cast<uint8_t>(std::max_element(row, row + classes_) - row));
  return labels;
}

// What the networks are told of one image: its label, one-hot, or its attributes as so many
// standard deviations from the mean; nothing of one that never varied.
AuditRows AuditNet::beside(int64_t image, const AuditConditions& told) const {
  AuditRows values(static_cast<size_t>(told_), 0.0);
  if (classes_ > 0) {
    const int64_t label = told.labels[static_cast<size_t>(image)];
    if (label < classes_) values[static_cast<size_t>(label)] = 1;
    return values;
  }
  const double* row = told.attributes.data() + image * told_;
  for (size_t a = 0; a < values.size(); ++a) {
    if (deviation_[a] > 0) values[a] = (row[a] - attribute_mean_[a]) / deviation_[a];
  }
  return values;
}

// Every row with that behind it, every value `copies` times.
AuditRows AuditNet::conditioned(const AuditRows& rows, int64_t copies,
                                const AuditConditions& told) const {
  if (told_ == 0) return rows;
  const int64_t images =
      classes_ > 0 ? std::ssize(told.labels) : std::ssize(told.attributes) / told_;
  ELBO_CHECK(images > 0, "a conditional model is audited without ",
             classes_ > 0 ? "labels" : "attributes");
  const int64_t size = std::ssize(rows) / images;
  AuditRows result;
  for (int64_t i = 0; i < images; ++i) {
    const auto begin = rows.begin() + i * size;
    result.insert(result.end(), begin, begin + size);
    for (const double value : beside(i, told))
      result.insert(result.end(), static_cast<size_t>(copies), value);
  }
  return result;
}

AuditPosterior AuditNet::encode(const AuditRows& images, const AuditConditions& told) const {
  // A conditional MLP takes pixels as they are in memory, as what it is told is no picture's.
  const bool channels_first = told_ == 0 || planes_;
  const AuditRows seen = channels_first ? reordered(images, image_, true) : images;
  return posterior_of(conditioned(seen, told_pixels_, told));
}

// `seen` as files order it, channels first.
AuditPosterior AuditNet::posterior_of(const AuditRows& seen) const {
  const AuditRows top = audit_run(encoder_, seen);
  if (!variational_) {
    AuditPosterior code{top, {}, {}};
    if (codebook_.size > 0) code.codes = codebook_.quantise(code.mean);
    return code;
  }
  AuditPosterior posterior;
  if (latent_) {
    posterior = picture_posterior(top);
  } else {
    posterior = {audit_apply(mean_, top), audit_apply(logvar_, top), {}};
  }
  for (double& v : posterior.logvar) v = audit_bounded_logvar(v);
  return posterior;
}

// Of every image's channels the first half are means.
AuditPosterior AuditNet::picture_posterior(const AuditRows& statistics) const {
  AuditRows mean, logvar;
  for (auto at = statistics.begin(); at != statistics.end(); at += 2 * latent_dim_) {
    mean.insert(mean.end(), at, at + latent_dim_);
    logvar.insert(logvar.end(), at + latent_dim_, at + 2 * latent_dim_);
  }
  return {reordered(mean, *latent_, false), reordered(logvar, *latent_, false), {}};
}

double AuditNet::log_prior(const double* z) const {
  const auto log_normal = [&](const double* mean, const double* logvar) {
    double sum = 0;
    for (int64_t d = 0; d < latent_dim_; ++d) {
      const double off = z[d] - (mean ? mean[d] : 0), v = logvar ? logvar[d] : 0;
      sum -= 0.5 * (off * off / std::exp(v) + v);
    }
    return sum;
  };
  if (!has_learned_prior()) return log_normal(nullptr, nullptr);
  const int64_t components = pseudo_shape_.front();
  std::vector<double> terms;
  for (int64_t k = 0; k < components; ++k) {
    terms.push_back(
        log_normal(prior_.mean.data() + k * latent_dim_, prior_.logvar.data() + k * latent_dim_));
  }
  const double largest = *std::max_element(terms.begin(), terms.end());
  double sum = 0;
  for (const double term : terms) sum += std::exp(term - largest);
  return largest + std::log(sum / static_cast<double>(components));
}

void AuditNet::draw_prior(std::mt19937_64& engine, double* z) const {
  const double *mean = nullptr, *logvar = nullptr;
  if (has_learned_prior()) {
    std::uniform_int_distribution<int64_t> component(0, pseudo_shape_.front() - 1);
    const int64_t at = component(engine) * latent_dim_;
    mean = prior_.mean.data() + at;
    logvar = prior_.logvar.data() + at;
  }
  std::normal_distribution<double> normal;
  for (int64_t d = 0; d < latent_dim_; ++d) {
    z[d] = normal(engine);
    if (mean) z[d] = mean[d] + std::exp(0.5 * logvar[d]) * z[d];
  }
}

AuditRows AuditNet::decode(const AuditRows& latents, const AuditConditions& told) const {
  const AuditRows z = latent_ ? reordered(latents, *latent_, true) : latents;
  return reordered(audit_run(decoder_, conditioned(z, 1, told)), output_, false);
}

}  // namespace elbo
