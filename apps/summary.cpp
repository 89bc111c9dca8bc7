#include <fmt/format.h>

#include <cstdio>

#include "apps/run_data.h"
#include "apps/subcommands.h"
#include "apps/threads.h"
#include "apps/train_config.h"
#include "apps/trained_run.h"
#include "engine/io/blob.h"
#include "engine/plan_table.h"
#include "kernels/sprites.h"
#include "models/layer_spec.h"
#include "models/trainer.h"

namespace elbo {
namespace {

double megabytes(size_t bytes) { return static_cast<double>(bytes) / 1e6; }

// The images that the model would be trained on; black ones of the right size, as nothing is learned.
ImageData black_images(Context& context, const ImageSize& image, int64_t count,
                       int64_t attributes) {
  ImageSplit split;
  split.source = "black images";
  split.count = count;
  split.channels = image.channels;
  split.height = image.height;
  split.width = image.width;
  split.file.resize(static_cast<size_t>(count * image.size()));
  split.labels.resize(static_cast<size_t>(count));
  split.attribute_names = numbered_attributes(attributes);
  split.attributes.resize(static_cast<size_t>(count * attributes));
  return ImageData::from_split(context, split);
}

ImageSize image_of(const Arguments& arguments, Context& context, const DataConfig& data, Log& log) {
  if (arguments.has("--image")) {
    const std::string text = arguments.text("--image");
    try {
      return parse_layer("reshape " + text).image;
    } catch (const Error&) {
      throw_error(ErrorCode::usage, "--image: found ", in_quotes(text),
                  ", expected CxHxW, like 3x64x64");
    }
  }
  if (data.kind == DataKind::sprites) return {data.resolution, data.resolution, 1};
  if (data.path.empty()) {
    throw Error(ErrorCode::usage,
                "--image is missing: say the images' size as --image CxHxW, like 3x64x64, or name "
                "them with --data");
  }
  return open_run_data(context, real_fs(), data, {}, log).train.shape().as_size();
}

std::string size_text(const LayerState& state) {
  const ImageSize& s = state.size;
  return state.flat ? fmt::format("{}", s.size())
                    : fmt::format("{} x {} x {}", s.channels, s.height, s.width);
}

void print_row(const std::string& name, const std::string& layer, const std::string& output,
               int64_t parameters) {
  std::printf("%-12s %-36s %-18s %12s\n", name.c_str(), layer.c_str(), output.c_str(),
              parameters > 0 ? fmt::format("{}", parameters).c_str() : "");
}

void print_network(const Network& network) {
  for (size_t i = 0; i < network.size(); ++i) {
    print_row(network.weights(i).label, network.plan(i).spec.text, size_text(network.plan(i).out),
              network.parameters(i));
  }
}

void print_layers(const Autoencoder& model) {
  const ImageSize& image = model.image();
  print_row("name", "layer", "output (C x H x W)", 0);
  print_row("", "image", size_text({image, false}), 0);
  print_network(model.encoder());
  const ParamStore& params = model.params();
  const int64_t learned = model.config().likelihood == Likelihood::gaussian_learned ? 1 : 0;
  const int64_t pseudo =
      model.has_learned_prior() ? model.config().pseudo_inputs * image.size() : 0;
  int64_t rest = params.model_count() - learned - pseudo;
  for (const Network* network : {&model.encoder(), &model.decoder(), model.classifier()}) {
    for (size_t i = 0; network && i < network->size(); ++i) rest -= network->parameters(i);
  }
  if (model.variational()) {
    print_row("mu, logvar", fmt::format("linear {} twice", model.latent_dim()),
              fmt::format("2 x {}", model.latent_dim()), rest);
  }
  if (model.quantised()) {
    const Codebook& codebook = model.codebook();
    print_row("codebook", fmt::format("{} codes of {} values", codebook.size, codebook.dim),
              fmt::format("{} codes", model.codes_per_image()), 0);
  }
  print_network(model.decoder());
  if (model.classifies()) print_network(*model.classifier());
  if (pseudo > 0) {
    print_row("pseudo_inputs", "of the prior",
              fmt::format("{} images", model.config().pseudo_inputs), pseudo);
  }
  if (learned > 0) print_row("log_variance", "of all pixels", "", learned);
  std::printf("parameters: %s\n", fmt::format("{}", params.model_count()).c_str());
  const int64_t more = params.count() - params.model_count();
  if (more > 0)
    std::printf("and of the discriminator, in training only: %lld\n", static_cast<long long>(more));
}

void print_memory(const Context& context, Trainer& trainer, int64_t batch) {
  std::printf("memory of a training step at batch %lld, MB:\n", static_cast<long long>(batch));
  for (int i = 0; i < kRoles; ++i) {
    const auto role = static_cast<Role>(i);
    const size_t bytes = context.memory(role).high_water;
    if (bytes == 0 || role == Role::data) continue;
    std::printf("  %-12s %10.2f", role_name(role), megabytes(bytes));
    if (role == Role::activations) {
      const LivenessPlan* plan = trainer.tape().plan(static_cast<uint64_t>(batch));
      if (plan) std::printf("   (without reuse %.2f)", megabytes(plan->sum_bytes));
    }
    std::printf("\n");
  }
}

void print_plans(const Context& context) {
  const PlanTable table = plan_table(context);
  if (!table.empty()) std::printf("whose kernels, by timing:\n");
  for (const auto& [product, choice] : table)
    std::printf("  %-60s %s\n", product.c_str(), choice.c_str());
}

}  // namespace

CommandLine summary_command_line() {
  CommandLine command;
  command.name = "summary";
  command.summary = "show a model's layers, parameters and memory";
  command.flags = {{"--preset", 0, Takes::one_value, "NAME", "Configuration",
                    "start from named settings (elbo train --list-presets)", "", "ELBO_PRESET"},
                   {"--config", 'c', Takes::many, "FILE", "Configuration",
                    "TOML file over the preset; later files win"},
                   {"--set", 0, Takes::many, "KEY=VALUE", "Configuration",
                    "any key by its dotted name, like model.hidden=400,200"},
                   {"--image", 0, Takes::one_value, "CxHxW", "Data",
                    "size of the images; by default those of --data, or sprites"}};
  for (Flag& flag : config_flags()) {
    if (flag.group != "Output" && flag.group != "Debug") command.flags.push_back(std::move(flag));
  }
  command.notes =
      "Makes one training step on black images, so that memory is what is used and not\n"
      "what is estimated; on CUDA it also shows whose kernels timing has chosen.\n";
  command.examples = {"elbo summary --preset burgess64",
                      "elbo summary --preset conv32 --data ~/mnist",
                      "elbo summary --preset vanilla64 --image 3x64x64 --batch-size 144"};
  return command;
}

int summary(const Arguments& arguments) {
  const PlannedRun plan = plan_run(real_fs(), arguments, process_environment());
  RunConfig config = plan.merged.config;
  Log log;
  Context context(open_device(plan.device, plan.threads, log));
  const ImageSize image = image_of(arguments, context, config.data, log);
  config.data.kind = DataKind::images;
  if (config.model.condition == Condition::attributes && config.model.attributes == 0) {
    const bool sprites = plan.merged.config.data.kind == DataKind::sprites;
    config.model.attributes = std::ssize(config.data.attributes);
    if (sprites && config.model.attributes == 0) config.model.attributes = kSpriteAttributes;
  }
  if (config.data.labelled != 0) config.model.classifier = true;
  config.train.drop_last = false;
  const int64_t batch = config.train.batch_size;
  const ImageData images = black_images(context, image, batch, config.model.attributes);
  Trainer trainer(context, config, images, nullptr);
  print_layers(trainer.model());
  trainer.train_step();
  print_memory(context, trainer, batch);
  print_plans(context);
  return 0;
}

}  // namespace elbo
