#include "models/inference.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "kernels/formulas.h"
#include "kernels/noise.h"
#include "models/codebook_table.h"
#include "models/likelihood.h"
#include "models/pixel_draws.h"

namespace elbo {
namespace {

constexpr int64_t kBatch = 256;

// Kinds of work that one tape alternates between; part of its signatures.
enum Kind : uint64_t { kEncode, kDecode, kClassify, kImages, kInputs, kPrior, kKinds };

uint64_t signature(int64_t batch, uint64_t kind) {
  return static_cast<uint64_t>(batch) * kKinds + kind;
}

std::vector<float> drawn_pictures(const Autoencoder& model, const std::vector<float>& output,
                                  uint64_t seed) {
  std::vector<float> pictures =
      draw_pixels(model.config(), model.image().channels, model.likelihood().log_variance(), output,
                  model.image_size(), seed);
  for (float& value : pictures) value = std::clamp(value, 0.0f, 1.0f);
  return pictures;
}

// Blames latents for output that is not finite if some are farther out than any encoder or prior
// puts them: then it is not the model that has diverged.
void refuse_far_latents(const std::vector<float>& latents, int64_t dim) {
  constexpr float kFarthest = 1e6f;
  for (size_t i = 0; i < latents.size(); ++i) {
    if (std::abs(latents[i]) <= kFarthest) continue;
    const auto width = static_cast<size_t>(dim);
    throw_error(ErrorCode::data, "latent ", i % width, " of row ", i / width, " is ", latents[i],
                ", too far out for the decoder: its pictures are not finite");
  }
}

}  // namespace

Inference::Inference(Context& context, const Autoencoder& model)
    : context_(context), model_(model), tape_(context) {
  tape_.set_recording(false);
}

Conditions Conditions::of_attributes(std::vector<float> rows) {
  Conditions conditions;
  conditions.attributes = std::move(rows);
  return conditions;
}

// The labels or attributes of all rows on the device; nothing for a model that is told none.
DeviceBlock Inference::upload_conditions(const Conditions& conditions, int64_t rows,
                                         uint64_t kind) const {
  const auto upload = [&](const auto& values) {
    DeviceBlock block(context_, values.size() * sizeof(values[0]), Role::buffers);
    context_.upload(block.data(), values.data(), block.bytes());
    return block;
  };
  if (kind == kClassify || !model_.conditional()) return {};
  if (model_.knows_labels()) return upload(checked_labels(conditions.labels, rows));
  return upload(told_rows_of(conditions, rows, kind));
}

std::vector<float> Inference::told_rows_of(const Conditions& conditions, int64_t rows,
                                           uint64_t kind) const {
  const bool own = kind == kEncode && !conditions.empty();
  return own ? own_attributes(conditions, rows) : told_attributes(conditions, rows);
}

// Blames attributes for output that is not finite if some are beyond what weights are made for.
void Inference::refuse_far_attributes(const Conditions& conditions, int64_t rows,
                                      uint64_t kind) const {
  constexpr double kFarthest = 1e6;  // deviations of the training images
  if (!model_.knows_attributes()) return;
  const AttributeScale scale = model_.attribute_scale();
  const std::vector<float> told = told_rows_of(conditions, rows, kind);
  for (size_t i = 0; i < told.size(); ++i) {
    const size_t a = i % scale.mean.size();
    const double deviation = scale.deviation[a];
    if (deviation == 0 || std::abs(told[i] - scale.mean[a]) <= kFarthest * deviation) continue;
    throw_error(ErrorCode::usage, "attribute ", a + 1, " of the ", scale.mean.size(),
                " that the model is told is ", told[i],
                ", too far from what it was trained on: ", scale.mean[a],
                " on average, with a deviation of ", deviation);
  }
}

// Rows [first, first + batch) of them.
Tensor Inference::told_rows(const DeviceBlock& told, int64_t first, int64_t batch) const {
  if (told.bytes() == 0) return {};
  if (model_.knows_labels())
    return external_tensor(told.as<int32_t>() + first, Shape{batch}, context_.device());
  const int64_t count = model_.config().attributes;
  return external_tensor(told.as<float>() + first * count, Shape{batch, count}, context_.device());
}

template <class Body>
std::vector<float> Inference::in_batches(const std::vector<float>& input, int64_t in_size,
                                         int64_t out_size, uint64_t kind,
                                         const Conditions& conditions, Body body) {
  ELBO_CHECK(input.size() % static_cast<size_t>(in_size) == 0, "an array of ", input.size(),
             " values does not divide into rows of ", in_size);
  const int64_t rows = static_cast<int64_t>(input.size()) / in_size;
  const DeviceBlock conditions_block = upload_conditions(conditions, rows, kind);
  std::vector<float> output(static_cast<size_t>(rows * out_size));
  DeviceBlock staging(context_,
                      static_cast<size_t>(std::min(rows, kBatch) * in_size) * sizeof(float),
                      Role::buffers);
  for (int64_t first = 0; first < rows; first += kBatch) {
    const int64_t batch = std::min(kBatch, rows - first);
    context_.upload(staging.data(), input.data() + first * in_size,
                    static_cast<size_t>(batch * in_size) * sizeof(float));
    const Tensor told = told_rows(conditions_block, first, batch);
    Tensor result;
    tape_.run(signature(batch, kind), [&](Tape& tape) {
      const Tensor x =
          external_tensor(staging.as<float>(), Shape{batch, in_size}, context_.device());
      result = body(tape, x, told);
      tape.keep(result);
    });
    context_.download(output.data() + first * out_size, result.data, result.bytes());
  }
  if (!std::all_of(output.begin(), output.end(),
                   [](float value) { return std::isfinite(value); })) {
    if (kind == kEncode || kind == kDecode) refuse_far_attributes(conditions, rows, kind);
    if (kind == kDecode) refuse_far_latents(input, in_size);
    throw_error(ErrorCode::numeric,
                "the model's output is not finite: it has diverged; use an earlier --checkpoint");
  }
  return output;
}

void Inference::set_label(uint8_t label) {
  label_ = label;
  checked_labels({label}, 1);
}

void Inference::set_attributes(const AttributeValues& values) {
  ELBO_CHECK(model_.knows_attributes() && std::ssize(values) == model_.config().attributes,
             "set_attributes: ", values.size(), " values for a model of ",
             model_.config().attributes, " attributes");
  attributes_ = values;
  const std::vector<double> mean = model_.attribute_scale().mean;
  mean_attributes_.assign(mean.begin(), mean.end());
}

std::vector<float> Inference::own_attributes(const Conditions& conditions, int64_t rows) const {
  const int64_t count = model_.config().attributes;
  ELBO_CHECK(std::ssize(conditions.attributes) == rows * count, rows, " rows have ",
             conditions.attributes.size(), " numbers as their ", count, " attributes");
  return conditions.attributes;
}

std::vector<float> Inference::told_attributes(const Conditions& conditions, int64_t rows) const {
  const int64_t count = model_.config().attributes;
  if (conditions.empty() && !attributes_ && rows > 0) {
    throw_error(ErrorCode::usage,
                "the model is conditional: --attributes is missing, expected values of the ", count,
                " that it was trained with, like NAME=0.5 (data.attributes of its configuration)");
  }
  std::vector<float> told;
  if (!conditions.empty()) told = own_attributes(conditions, rows);
  for (int64_t row = 0; conditions.empty() && row < rows; ++row)
    told.insert(told.end(), mean_attributes_.begin(), mean_attributes_.end());
  for (size_t i = 0; attributes_ && i < told.size(); ++i)
    told[i] = (*attributes_)[i % static_cast<size_t>(count)].value_or(told[i]);
  return told;
}

std::vector<int32_t> Inference::checked_labels(const Labels& labels, int64_t rows) const {
  if (!model_.knows_labels()) return {};
  const int64_t last = model_.config().classes - 1;
  if (labels.empty() && label_) {
    return std::vector<int32_t>(static_cast<size_t>(rows), static_cast<int32_t>(*label_));
  }
  if (labels.empty() && rows > 0) {
    throw_error(ErrorCode::usage,
                "the model is conditional: --label is missing, expected a label from 0 to ", last);
  }
  ELBO_CHECK(std::ssize(labels) == rows, rows, " rows have ", labels.size(), " labels");
  for (const uint8_t label : labels) {
    if (label <= last) continue;
    throw_error(ErrorCode::data, "found label ", static_cast<int>(label), ", expected 0 to ", last,
                ": the model was trained on no other");
  }
  return {labels.begin(), labels.end()};
}

Conditions Inference::conditions(const ImageData& data, int64_t first, int64_t n) const {
  if (!model_.conditional()) return {};
  if (model_.knows_attributes()) {
    const int64_t found = std::ssize(data.attribute_names());
    if (found == 0 && attributes_) return {};
    if (found != model_.config().attributes) {
      throw_error(ErrorCode::data, "the images have ", found,
                  " attributes, and the model was trained with ", model_.config().attributes);
    }
    return Conditions::of_attributes(data.attributes(first, n));
  }
  Labels labels;
  if (data.classes() == 0 && label_) return labels;
  if (data.classes() == 0) {
    throw_error(ErrorCode::data, "the images have no labels, which a conditional model wants");
  }
  for (int64_t i = first; i < first + n; ++i) labels.push_back(data.label_of(i));
  return labels;
}

Inference::Posterior Inference::encode(const std::vector<float>& images,
                                       const Conditions& conditions) {
  const int64_t latent = model_.latent_dim();
  const int64_t width = model_.variational() ? 2 * latent : latent;
  const std::vector<float> encoded =
      in_batches(images, model_.image_size(), width, kEncode, conditions,
                 [&](Tape& tape, const Tensor& x, const Tensor& told) {
                   return model_.encode(tape, x, told);
                 });
  return model_.variational() ? as_posterior(encoded) : Posterior{encoded, {}};
}

Inference::Posterior Inference::as_posterior(const std::vector<float>& encoded) const {
  const int64_t latent = model_.latent_dim();
  Posterior posterior;
  for (size_t row = 0; row < encoded.size(); row += static_cast<size_t>(2 * latent)) {
    const float* stats = encoded.data() + row;
    posterior.mean.insert(posterior.mean.end(), stats, stats + latent);
    std::transform(stats + latent, stats + 2 * latent, std::back_inserter(posterior.logvar),
                   [](float raw) { return formulas::bounded_logvar(raw); });
  }
  return posterior;
}

Inference::Labels Inference::classify(const std::vector<float>& images) {
  const int64_t classes = model_.config().classes;
  const std::vector<float> logits = in_batches(
      images, model_.image_size(), classes, kClassify, {},
      [&](Tape& tape, const Tensor& x, const Tensor&) { return model_.classify(tape, x); });
  Labels labels;
  for (auto row = logits.begin(); row != logits.end(); row += classes)
    labels.push_back(static_cast<uint8_t>(std::max_element(row, row + classes) - row));
  return labels;
}

Inference::Posterior Inference::prior_components() {
  Tensor stats;
  tape_.run(signature(model_.config().pseudo_inputs, kPrior), [&](Tape& tape) {
    stats = model_.prior_components(tape);
    tape.keep(stats);
  });
  std::vector<float> host(static_cast<size_t>(stats.size()));
  context_.download(host.data(), stats.data, stats.bytes());
  return as_posterior(host);
}

std::vector<float> Inference::decode(const std::vector<float>& latents,
                                     const Conditions& conditions) {
  std::vector<float> output = in_batches(
      latents, model_.latent_dim(), model_.output_size(), kDecode,
      label_ ? Conditions{} : conditions, [&](Tape& tape, const Tensor& z, const Tensor& told) {
        return model_.decode(tape, model_.quantised() ? model_.quantise(tape, z).q : z, told);
      });
  return pixel_seed_ ? drawn_pictures(model_, output, *pixel_seed_)
                     : output_to_pictures(model_.config(), model_.image(), std::move(output));
}

std::vector<float> Inference::prior_mean() {
  const int64_t latent = model_.latent_dim(), count = model_.config().pseudo_inputs;
  std::vector<float> mean(static_cast<size_t>(latent), 0.0f);
  if (!model_.has_learned_prior()) return mean;
  const Posterior components = prior_components();
  for (size_t i = 0; i < components.mean.size(); ++i) {
    mean[i % mean.size()] += components.mean[i] / static_cast<float>(count);
  }
  return mean;
}

std::vector<float> Inference::prior_latents(int64_t n, uint64_t seed, float temperature,
                                            int64_t first) {
  if (model_.quantised()) {
    const CodebookTable table(model_);
    return table.latents_of(table.draw(n, seed, temperature, first));
  }
  const int64_t latent = model_.latent_dim();
  std::vector<float> latents;
  NoiseAddress at;
  at.purpose = NoisePurpose::prior;
  for (int64_t i = 0; i < n; ++i) {
    at.sample = static_cast<uint32_t>(first + i);
    for (int64_t d = 0; d < latent; ++d) {
      latents.push_back(temperature * normal1(NoiseKey{seed}, at, static_cast<uint64_t>(d)));
    }
  }
  if (!model_.has_learned_prior()) return latents;
  const Posterior components = prior_components();
  NoiseAddress choice = at;
  choice.draw = 1;
  for (int64_t i = 0; i < n; ++i) {
    choice.sample = static_cast<uint32_t>(first + i);
    const uint64_t word = noise_bits(NoiseKey{seed}, choice, 0).c0;
    const uint64_t k = word * static_cast<uint64_t>(model_.config().pseudo_inputs) >> 32;
    for (int64_t d = 0; d < latent; ++d) {
      const auto at_k = static_cast<size_t>(static_cast<int64_t>(k) * latent + d);
      float& z = latents[static_cast<size_t>(i * latent + d)];
      z = components.mean[at_k] + std::exp(0.5f * components.logvar[at_k]) * z;
    }
  }
  return latents;
}

std::vector<float> Inference::images(const ImageData& data, int64_t first, int64_t n,
                                     Binarise binarise, uint64_t seed) {
  return gathered(data, first, n, binarise, seed, &ImageBatch::target);
}

std::vector<float> Inference::inputs(const ImageData& data, int64_t first, int64_t n,
                                     Binarise binarise, uint64_t seed) {
  return gathered(data, first, n, binarise, seed, &ImageBatch::input);
}

std::vector<float> Inference::gathered(const ImageData& data, int64_t first, int64_t n,
                                       Binarise binarise, uint64_t seed,
                                       Tensor ImageBatch::*which) {
  ELBO_CHECK(first >= 0 && first + n <= data.count(), "images [", first, ", ", first + n,
             ") are asked for; the set has ", data.count());
  std::vector<float> pixels(static_cast<size_t>(n * data.shape().size()));
  for (int64_t done = 0; done < n; done += kBatch) {
    const int64_t batch = std::min(kBatch, n - done);
    Tensor x;
    // What is launched and kept is part of the plan.
    const uint64_t kind = which == &ImageBatch::input ? kInputs : kImages;
    const uint64_t links = data.corruptions().size();
    tape_.run(signature(batch, kind) + (links << 48), [&](Tape& tape) {
      BatchOrder order;
      order.seed = seed;
      order.shuffle = false;
      order.first = first + done;
      x = data.gather(tape, order, batch, binarise).*which;
      tape.keep(x);
    });
    context_.download(pixels.data() + done * data.shape().size(), x.data, x.bytes());
  }
  return pixels;
}

double classification_accuracy(Inference& inference, const ImageData& data, Binarise binarise,
                               uint64_t seed) {
  int64_t right = 0;
  for (int64_t first = 0; first < data.count(); first += kBatch) {
    const int64_t n = std::min(kBatch, data.count() - first);
    const auto found = inference.classify(inference.inputs(data, first, n, binarise, seed));
    const auto known = inference.conditions(data, first, n).labels;
    for (int64_t i = 0; i < n; ++i) right += found[i] == known[i];
  }
  return static_cast<double>(right) / static_cast<double>(data.count());
}

Inference::Labels labels_in_turn(const Autoencoder& model, int64_t n) {
  Inference::Labels labels;
  if (!model.knows_labels()) return labels;
  for (int64_t i = 0; i < n; ++i)
    labels.push_back(static_cast<uint8_t>(i % model.config().classes));
  return labels;
}

Conditions conditions_in_turn(const Inference& inference, const ImageData& data, int64_t n) {
  if (!inference.model().knows_attributes()) return labels_in_turn(inference.model(), n);
  const int64_t known = std::min(n, data.count());
  std::vector<float> rows = inference.conditions(data, 0, known).attributes;
  const int64_t count = inference.model().config().attributes;
  for (int64_t i = known * count; i < n * count; ++i)
    rows.push_back(rows[static_cast<size_t>(i - known * count)]);
  return Conditions::of_attributes(std::move(rows));
}

}  // namespace elbo
