#include "apps/audit_subject.h"

#include "apps/config_merge.h"
#include "apps/run_data.h"
#include "models/corruption_text.h"

namespace elbo {
namespace {

// Weights alone, such as a state_dict saved by PyTorch: the configuration is what --preset would give.
Subject open_weights(const std::string& path) {
  Subject subject;
  subject.weights_path = path;
  subject.weights = load_safetensors(real_fs(), path);
  const std::string config = join_path(parent_path(path), "config.toml");
  if (exists(real_fs(), config)) {
    constexpr uint64_t kLargestConfig = 1 << 20;
    subject.config =
        parse_written_config(read_text_file(real_fs(), config, kLargestConfig), config);
  }
  return subject;
}

DataVariant trained_variant(const DataConfig& config) {
  if (config.dequantise) return DataVariant::dequantised;
  switch (config.binarise) {
    case Binarise::none:
      return DataVariant::grey;
    case Binarise::dynamic:
      return DataVariant::dynamic;
    case Binarise::threshold:
      return DataVariant::fixed;
  }
  throw Error("unknown binarisation");
}

void set_damage(const Arguments& arguments, const DataConfig& config, const ImageSize& image,
                SubjectImages& images) {
  images.corrupt = arguments.text("--corrupt", config.corrupt);
  images.damage = {parse_corruptions(images.corrupt), image};
  check_corruptions(images.damage.chain, image, images.corrupt);
}

}  // namespace

Subject open_subject(const Arguments& arguments, Log& log) {
  const std::string checkpoint = arguments.text("--checkpoint", "latest");
  if (!arguments.has("--run")) {
    if (!arguments.has("--checkpoint")) {
      throw Error(ErrorCode::usage,
                  "--run is missing: name the run directory that elbo train wrote, or a file with "
                  "--checkpoint FILE.safetensors");
    }
    return open_weights(arguments.required("--checkpoint", "name a safetensors file"));
  }
  const std::string run = arguments.required("--run", "name the directory that elbo train wrote");
  RunFiles files = read_run(real_fs(), run, checkpoint);
  for (const std::string& warning : files.checkpoint.warnings) log.warning(warning);
  return {join_path(files.checkpoint.path, "model.safetensors"), std::move(files.checkpoint.model),
          std::move(files.config), files.image};
}

SubjectImages open_subject_images(const Arguments& arguments, const Subject& subject, Log& log) {
  const DataConfig& config = subject.config.data;
  const AttributeWish wish = attribute_wish(subject.config);
  const bool sprites = config.kind == DataKind::sprites && !arguments.has("--data");
  const DataVariant variant = arguments.has("--variant")
                                  ? parse_data_variant(arguments.text("--variant"))
                                  : trained_variant(config);
  int64_t limit = arguments.integer("--images", 0, 0, INT64_MAX);
  if (sprites) {
    const SpriteSplit split = sprite_split(config);
    if (limit == 0 || limit > split.test) limit = split.test;
    SubjectImages found{AuditData::sprites(config.resolution, split.train, limit, wish.names),
                        "sprites",
                        sprite_labels(split.train, limit),
                        "",
                        {}};
    set_damage(arguments, config, {config.resolution, config.resolution, 1}, found);
    return found;
  }
  DataConfig images = config;
  if (arguments.has("--data")) images = other_data(images, arguments.text("--data"), subject.image);
  if (images.path.empty()) {
    throw Error(ErrorCode::usage, "--data is missing: name the images to evaluate on");
  }
  if (limit == 0) limit = images.test_samples;
  const ImageSplit test = open_images(real_fs(), images, wish, log).test;
  if (subject.image) {
    check_image_shape({test.channels, test.height, test.width}, *subject.image, test.source);
  }
  SubjectImages found{AuditData::from_split(test, variant, limit), test.source, {}, "", {}};
  set_damage(arguments, config, {test.height, test.width, test.channels}, found);
  if (!test.labels.empty()) {
    found.labels.assign(test.labels.begin(), test.labels.begin() + found.data.count());
  }
  return found;
}

std::vector<Flag> audit_flags(const std::string& group) {
  return {{"--nll-samples", 0, Takes::one_value, "K", group,
           "samples per image of an estimate of the likelihood; 0: leave it out", "0"},
          {"--nll-proposal", 0, Takes::one_value, "posterior|prior", group,
           "drawn from the encoder's posterior, or naively from the prior", "posterior"},
          {"--seed", 's', Takes::one_value, "N", group, "of the noise", "1"}};
}

AuditOptions audit_options(const Arguments& arguments) {
  constexpr int64_t kMostSamples = 100'000'000;
  AuditOptions options;
  options.nll_samples = arguments.integer("--nll-samples", 0, 0, kMostSamples);
  options.seed = static_cast<uint64_t>(arguments.integer("--seed", 1, 0, INT64_MAX));
  const std::string proposal = arguments.text("--nll-proposal", "posterior");
  if (proposal != "posterior" && proposal != "prior") {
    throw_error(ErrorCode::usage, "--nll-proposal: found ", in_quotes(proposal),
                ", expected posterior or prior");
  }
  if (arguments.has("--nll-proposal") && options.nll_samples == 0) {
    throw_error(ErrorCode::usage,
                "--nll-proposal is where samples come from; say how many with --nll-samples K");
  }
  if (proposal == "prior") options.proposal = NllProposal::prior;
  return options;
}

AuditReport audit_subject(const Subject& subject, const AuditData& data,
                          const AuditOptions& options) {
  const ModelConfig& model = subject.config.model;
  if (options.nll_samples > 0 && subject.image && !model.variational()) {
    throw_error(ErrorCode::usage,
                "--nll-samples: a plain autoencoder has no log p(x) to estimate; leave it out");
  }
  const SafetensorsView& weights = subject.weights.view;
  if (!subject.image &&
      (model.conditional() || model.quantised() || model.prior != Prior::standard)) {
    throw_error(ErrorCode::usage, subject.weights_path,
                ": its configuration has a condition, a codebook or a learned prior, which weights "
                "alone do not tell; give the run directory with --run");
  }
  const AuditNet net =
      subject.image ? AuditNet(weights, subject.weights_path, model, subject.image->as_size())
                    : AuditNet(weights, subject.weights_path, model.activation);
  return audit(net, {model.likelihood, audit_bounded_logvar(model.log_variance), model.log_scale},
               data, options);
}

}  // namespace elbo
