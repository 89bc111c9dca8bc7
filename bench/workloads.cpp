#include "bench/workloads.h"

#include <algorithm>

#include "kernels/error.h"
#include "kernels/sprites.h"

namespace elbo::bench {
namespace {

RunConfig network_config(const std::string& name) {
  if (name == "burda") {
    RunConfig config = find_preset("mlp-mnist").config;
    config.model.hidden = {200, 200};
    config.model.latent_dim = 50;
    config.model.activation = Activation::tanh;
    return config;
  }
  RunConfig config = find_preset(name).config;
  if (name == "vanilla64") config.model.log_variance = -1.8378770664093453f;  // -log 2 pi
  return config;
}

void check_name(const std::string& name) {
  const auto& names = workload_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  std::string known;
  for (const std::string& known_name : names) known += (known.empty() ? "" : ", ") + known_name;
  throw_error(ErrorCode::usage, "workload ", name, " is unknown; expected one of ", known);
}

}  // namespace

const std::vector<std::string>& workload_names() {
  static const std::vector<std::string> names = {"mlp-mnist", "burda", "conv32", "burgess64",
                                                 "vanilla64"};
  return names;
}

RunConfig workload_config(const std::string& name, int64_t batch) {
  check_name(name);
  RunConfig config = network_config(name);
  config.data = {};
  config.train.learning_rate.base = 1e-3f;
  config.train.batch_size = batch;
  config.train.epochs = 1 << 20;
  config.train.drop_last = true;
  return config;
}

ImageSplit workload_images(const std::string& name) {
  check_name(name);
  ImageSplit split;
  const bool convolutional = network_config(name).model.convolutional();
  split.height = split.width = name == "conv32" ? 32 : convolutional ? 64 : 28;
  split.channels = convolutional ? 3 : 1;
  split.count = convolutional ? 6000 : 60000;
  return split;
}

ImageSplit drawn_images(const std::string& name) {
  constexpr int64_t kPart = 1000;
  constexpr float kBrightness[] = {255.0f, 200.0f, 120.0f};
  ImageSplit split = workload_images(name);
  const int64_t plane = split.height * split.width, channels = split.channels;
  split.file.resize(static_cast<size_t>(split.count * plane * channels));
  std::vector<float> drawn(static_cast<size_t>(kPart * plane));
  SpriteGather draw;
  draw.resolution = static_cast<int>(split.height);
  draw.batch = kPart;
  draw.order.samples = split.count;
  draw.x = drawn.data();
  std::byte* pixel = split.file.data();
  for (int64_t first = 0; first < split.count; first += kPart) {
    draw.order.first = first;
    gather_sprites(Exec{}, draw);
    for (const float value : drawn) {
      for (int64_t c = 0; c < channels; ++c)
        *pixel++ = static_cast<std::byte>(kBrightness[c] * value);
    }
  }
  return split;
}

}  // namespace elbo::bench
