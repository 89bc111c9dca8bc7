#include "bench/workloads.h"

#include <algorithm>

#include "kernels/error.h"
#include "kernels/sprites.h"

namespace elbo::bench {

RunConfig workload_config(const std::string& name, int64_t batch) {
  RunConfig config = find_preset("mlp-mnist").config;
  if (name == "burda") {
    config.model.hidden = {200, 200};
    config.model.latent_dim = 50;
    config.model.activation = Activation::tanh;
  } else if (name != "mlp-mnist") {
    throw_error(ErrorCode::usage, "workload ", name, " is unknown; expected mlp-mnist or burda");
  }
  config.train.batch_size = batch;
  config.train.epochs = 1 << 20;
  config.train.drop_last = true;
  return config;
}

ImageSplit drawn_images() {
  constexpr int64_t kPixels = kSide * kSide, kPart = 1000;
  ImageSplit split;
  split.count = kImages;
  split.height = split.width = kSide;
  split.file.resize(static_cast<size_t>(kImages * kPixels));
  std::vector<float> pixels(static_cast<size_t>(kPart * kPixels));
  SpriteGather draw;
  draw.resolution = kSide;
  draw.batch = kPart;
  draw.order.samples = kImages;
  draw.x = pixels.data();
  for (int64_t first = 0; first < kImages; first += kPart) {
    draw.order.first = first;
    gather_sprites(Exec{}, draw);
    std::transform(pixels.begin(), pixels.end(), split.file.begin() + first * kPixels,
                   [](float value) { return static_cast<std::byte>(255.0f * value); });
  }
  return split;
}

}  // namespace elbo::bench
