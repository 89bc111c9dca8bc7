#include "apps/trained_run.h"

#include <cmath>

#include "apps/attribute_values.h"
#include "apps/config_merge.h"
#include "apps/run_data.h"
#include "apps/threads.h"
#include "engine/plan_table.h"
#include "models/weights.h"

namespace elbo {
namespace {

constexpr int64_t kLargestSide = 16384;  // of an image; keeps a damaged file from allocating

LoadedCheckpoint load_named_checkpoint(Fs& fs, const std::string& run_dir,
                                       const std::string& which) {
  const std::string directory = join_path(run_dir, "checkpoints");
  if (!leads_to_directory(fs, directory)) {
    throw_error(ErrorCode::usage, "--run ", run_dir,
                ": holds no checkpoints/; give the directory that elbo train --out wrote");
  }
  if (which == "latest") return load_latest_checkpoint(fs, directory);
  if (which != "best" && checkpoint_step(which) < 0) {
    throw_error(ErrorCode::usage, "--checkpoint: found ", in_quotes(which),
                ", expected latest, best or a name in checkpoints/ like ", checkpoint_name(938));
  }
  const std::string path = join_path(directory, which);
  if (which == "best" && !exists(fs, path)) {
    throw_error(
        ErrorCode::data, directory,
        " holds no best checkpoint; training marks one after an epoch that ends with a pass "
        "over the test set (--eval-interval). Use --checkpoint latest");
  }
  return load_checkpoint(fs, path);
}

int64_t image_side(const RunState& state, const std::string& name, const std::string& checkpoint) {
  const auto found = state.values.find(name);
  const double value = found == state.values.end() ? 0.0 : found->second;
  if (!(value >= 1 && value <= static_cast<double>(kLargestSide)) || value != std::floor(value)) {
    throw_error(ErrorCode::data, checkpoint, "/state.json: ", name, " is ", value,
                ", expected an integer from 1 to ", kLargestSide);
  }
  return static_cast<int64_t>(value);
}

}  // namespace

void put_image_shape(RunState& state, const ImageShape& shape) {
  state.values["image.channels"] = static_cast<double>(shape.channels);
  state.values["image.height"] = static_cast<double>(shape.height);
  state.values["image.width"] = static_cast<double>(shape.width);
}

ImageShape get_image_shape(const RunState& state, const std::string& checkpoint) {
  return {image_side(state, "image.channels", checkpoint),
          image_side(state, "image.height", checkpoint),
          image_side(state, "image.width", checkpoint)};
}

void check_image_shape(const ImageShape& found, const ImageShape& expected,
                       const std::string& whose) {
  if (found == expected) return;
  throw_error(ErrorCode::data, whose, ": images are ", found.channels, " x ", found.height, " x ",
              found.width, "; the model was trained on ", expected.channels, " x ", expected.height,
              " x ", expected.width);
}

RunFiles read_run(Fs& fs, const std::string& run_dir, const std::string& which) {
  RunFiles files;
  files.checkpoint = load_named_checkpoint(fs, run_dir, which);
  const LoadedCheckpoint& checkpoint = files.checkpoint;
  files.config = parse_written_config(checkpoint.config_toml, checkpoint.path + "/config.toml");
  files.image = get_image_shape(checkpoint.state, checkpoint.path);
  return files;
}

std::vector<Flag> with_run_flags(const std::vector<Flag>& own) {
  std::vector<Flag> flags = {
      {"--run", 0, Takes::one_value, "DIR", "Run", "run directory, as given to train --out"},
      {"--checkpoint", 0, Takes::one_value, "NAME", "Run",
       "latest, best, or a name in checkpoints/", "latest"},
  };
  flags.push_back({"--label", 0, Takes::one_value, "N", "Run",
                   "conditional models: decode as this label; images without one have it, too"});
  flags.push_back({"--attributes", 0, Takes::one_value, "NAME=X,...", "Run",
                   "models told attributes: decode with these, others as the image has them or at "
                   "their mean; images without attributes have these, too"});
  flags.insert(flags.end(), own.begin(), own.end());
  flags.push_back({"--device", 0, Takes::one_value, "DEVICE", "Device",
                   "where to compute: auto, cpu, cuda or cuda:N", "auto"});
  flags.push_back({"--threads", 0, Takes::one_value, "N", "Device",
                   "CPU threads; 0: as many as are allowed", "0"});
  return flags;
}

DeviceChoice open_device(const std::string& request, int threads, Log& log) {
  use_threads(threads);
  const DeviceChoice choice = choose_device(request);
  const std::string why = request == "auto" ? " (" + choice.reason + ")" : "";
  log.note("device: " + device_description(choice) + why);
  return choice;
}

TrainedRun::TrainedRun(const Arguments& arguments, Log& log)
    : directory_(arguments.required("--run", "name the run directory that elbo train wrote")) {
  constexpr int64_t kMostThreads = 1024;
  const auto threads = static_cast<int>(arguments.integer("--threads", 0, 0, kMostThreads));
  const std::string device = arguments.text("--device", "auto");
  files_ = read_run(real_fs(), directory_, arguments.text("--checkpoint", "latest"));
  for (const std::string& warning : files_.checkpoint.warnings) log.warning(warning);
  context_ = std::make_unique<Context>(open_device(device, threads, log));
  params_ = std::make_unique<ParamStore>(*context_);
  params_->add_group("model");
  model_ = std::make_unique<Autoencoder>(*params_, files_.config.model, files_.image.as_size());
  params_->finalise();
  load_weights(*params_, files_.checkpoint.model, files_.checkpoint.path + "/model.safetensors");
  if (model_->knows_attributes() && std::ssize(attribute_names()) != model_->config().attributes) {
    throw_error(ErrorCode::data, files_.checkpoint.path, "/config.toml: data.attributes has ",
                attribute_names().size(), " names and model.attributes is ",
                model_->config().attributes, "; expected a name for each");
  }
  context_->set_products(ProductPrecision::fp32, files_.config.product_kernels);
  // On another device by rules, which needs no word: so it is for every tool.
  load_plan_table(*context_, files_.checkpoint.state.plan, files_.checkpoint.path + "/state.json");
  inference_ = std::make_unique<Inference>(*context_, *model_);
  if (arguments.has("--label")) tell_label(arguments);
  if (arguments.has("--attributes")) tell_attributes(arguments.text("--attributes"));
}

void TrainedRun::tell_label(const Arguments& arguments) {
  if (!model_->knows_labels()) {
    throw_error(ErrorCode::usage,
                "--label: the model of this run knows no labels; train one with --condition label");
  }
  const int64_t last = model_->config().classes - 1;
  inference_->set_label(static_cast<uint8_t>(arguments.integer("--label", 0, 0, last)));
}

void TrainedRun::tell_attributes(const std::string& text) {
  need_attributes("--attributes", *this);
  inference_->set_attributes(parse_attributes("--attributes", text, attribute_names()));
}

ImageData open_test_images(TrainedRun& run, const std::string& other_path, Log& log,
                           const std::optional<std::string>& corrupt) {
  DataConfig config = run.config().data;
  if (!other_path.empty()) config = other_data(config, other_path, run.image());
  if (corrupt) config.corrupt = *corrupt;
  ImageData data =
      open_test_data(run.context(), real_fs(), config, attribute_wish(run.config()), log);
  check_image_shape(data.shape(), run.image(), config.path);
  return data;
}

}  // namespace elbo
