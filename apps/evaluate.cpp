#include <cstdio>
#include <optional>

#include "apps/config_merge.h"
#include "apps/evaluate_report.h"
#include "apps/run_data.h"
#include "apps/subcommands.h"
#include "apps/threads.h"
#include "apps/trained_run.h"
#include "models/corruption_text.h"

namespace elbo {
namespace {

constexpr int64_t kMostThreads = 1024;
constexpr int64_t kMostSamples = 100'000'000;  // of the importance-sampled bound

// Weights and what the file does not say about them.
struct Subject {
  std::string weights_path;
  SafetensorsFile weights;
  RunConfig config;
  std::optional<ImageShape> image;  // known of a run
};

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

DataVariant trained_variant(Binarise binarise) {
  switch (binarise) {
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
                AuditSubject& about) {
  about.corrupt = arguments.text("--corrupt", config.corrupt);
  about.options.damage = {parse_corruptions(about.corrupt), image};
  check_corruptions(about.options.damage.chain, image, about.corrupt);
}

// `about` gets the name of the images, and what the model sees of them.
AuditData open_data(const Arguments& arguments, const Subject& subject, AuditSubject& about,
                    Log& log) {
  const DataConfig& config = subject.config.data;
  const bool sprites = config.kind == DataKind::sprites && !arguments.has("--data");
  const DataVariant variant = arguments.has("--variant")
                                  ? parse_data_variant(arguments.text("--variant"))
                                  : trained_variant(config.binarise);
  int64_t limit = arguments.integer("--images", 0, 0, INT64_MAX);
  if (sprites) {
    const SpriteSplit split = sprite_split(config);
    if (limit == 0 || limit > split.test) limit = split.test;
    about.data = "sprites";
    set_damage(arguments, config, {config.resolution, config.resolution, 1}, about);
    return AuditData::sprites(config.resolution, split.train, limit);
  }
  DataConfig images = config;
  if (arguments.has("--data")) images = other_data(images, arguments.text("--data"), subject.image);
  if (images.path.empty()) {
    throw Error(ErrorCode::usage, "--data is missing: name the images to evaluate on");
  }
  if (limit == 0) limit = images.test_samples;
  const ImageSplit test = open_images(real_fs(), images, log).test;
  about.data = test.source;
  set_damage(arguments, config, {test.height, test.width, test.channels}, about);
  if (subject.image) {
    check_image_shape({test.channels, test.height, test.width}, *subject.image, test.source);
  }
  if (config.dequantise) {
    log.warning("the run was trained on dequantised pixels; it is evaluated on the stored ones");
  }
  return AuditData::from_split(test, variant, limit);
}

}  // namespace

CommandLine evaluate_command_line() {
  CommandLine command;
  command.name = "evaluate";
  command.summary = "audit a trained model: -ELBO, KL, likelihood, active units";
  const std::string model = "Model", data = "Data", figures = "Figures";
  command.flags = {
      {"--run", 0, Takes::one_value, "DIR", model, "run directory, as given to train --out", "",
       ""},
      {"--checkpoint", 0, Takes::one_value, "NAME", model,
       "with --run: latest, best, or a name in checkpoints/; alone: a safetensors file", "latest",
       ""},
      {"--data", 0, Takes::one_value, "DIR", data, "other images to use (elbo data --help)",
       "the run's own", ""},
      {"--variant", 0, Takes::one_value, "grey|dynamic|fixed", data,
       "grey values, binarised by chance, or at one half", "as trained", ""},
      {"--corrupt", 0, Takes::one_value, "CHAIN", data,
       "what the encoder sees, like gaussian:0.3,blur:2, or none", "as trained", ""},
      {"--images", 0, Takes::one_value, "N", data, "how many test images; 0: all", "0", ""},
      {"--nll-samples", 0, Takes::one_value, "K", figures,
       "importance samples per image for the likelihood; 0: leave it out", "0", ""},
      {"--seed", 's', Takes::one_value, "N", figures, "of the noise", "1", ""},
      {"--json", 0, Takes::nothing, "", figures, "one JSON object in place of the table", "", ""},
      {"--threads", 0, Takes::one_value, "N", figures, "CPU threads; 0: as many as are allowed",
       "0", ""},
  };
  command.notes =
      "Computes in double with code and noise of its own, and always with beta = 1, so\n"
      "that its figures hold whatever training minimised. A file without a config.toml\n"
      "beside it is taken for the ReLU and Bernoulli network of pytorch/examples.\n";
  command.examples = {"elbo evaluate --run runs/first",
                      "elbo evaluate --run runs/mnist --images 1000 --nll-samples 1000",
                      "elbo evaluate --checkpoint vae.safetensors --data ~/mnist --json"};
  return command;
}

int evaluate(const Arguments& arguments) {
  AuditSubject about;
  about.options.nll_samples = arguments.integer("--nll-samples", 0, 0, kMostSamples);
  about.options.seed = static_cast<uint64_t>(arguments.integer("--seed", 1, 0, INT64_MAX));
  use_threads(static_cast<int>(arguments.integer("--threads", 0, 0, kMostThreads)));
  Log log;
  const Subject subject = open_subject(arguments, log);
  const ModelConfig& model = subject.config.model;
  const SafetensorsView& weights = subject.weights.view;
  const AuditNet net =
      subject.image ? AuditNet(weights, subject.weights_path, model, subject.image->as_size())
                    : AuditNet(weights, subject.weights_path, model.activation);
  const AuditData data = open_data(arguments, subject, about, log);
  about.model = subject.weights_path;
  about.likelihood = model.likelihood;
  const AuditReport report =
      audit(net, {model.likelihood, model.log_variance}, data, about.options);
  const std::string text =
      arguments.has("--json") ? audit_json(report, about) : audit_table(report, about);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

}  // namespace elbo
