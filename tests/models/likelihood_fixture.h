// A toy for every likelihood: smooth 8 x 8 colour images, and a small network of either kind.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "tests/models/trainer_fixture.h"

namespace elbo::likelihood_test {

inline ImageSplit toy_images(int64_t count) {
  ImageSplit split;
  split.count = count;
  split.height = split.width = 8;
  split.channels = 3;
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t at = 0; at < 192; ++at) {
      const auto row = static_cast<double>(at / 24), col = static_cast<double>(at / 3 % 8);
      const double angle = 0.4 * static_cast<double>(i % 5) + 0.8 * static_cast<double>(at % 3);
      const double wave = std::sin(0.6 * (row * std::cos(angle) + col * std::sin(angle)));
      // Some pixels saturate, so that the ends of the range are there.
      const double value = std::clamp(127.5 + 150.0 * wave, 0.0, 255.0);
      split.file.push_back(static_cast<std::byte>(static_cast<int>(value)));
    }
  }
  return split;
}

inline RunConfig toy_config(Likelihood likelihood, bool convolutional) {
  RunConfig config = trainer_test::tiny_config();
  config.data.kind = DataKind::images;
  config.model.likelihood = likelihood;
  config.model.log_variance = -2.0f;
  config.model.log_scale = -1.5f;
  config.train.learning_rate.base = 3e-3f;
  config.train.epochs = 1000;
  config.train.max_steps = 50;
  config.output.log_interval = 5;
  config.output.eval_interval = 0;
  if (convolutional) {
    config.model.kind = ModelKind::conv_vae;
    config.model.encoder = {"conv 8 k4 s2 relu", "linear 24 relu"};
    config.model.decoder = {"linear flat relu", "convt image k4 s2"};
  }
  return config;
}

// Trains on 64 toy images.
struct ToySession {
  Context context;
  ImageData train, test;
  Trainer trainer;

  explicit ToySession(const RunConfig& config, Device device = Device::cpu)
      : context({device, 0, ""}),
        train(ImageData::from_split(context, toy_images(64), 0, {false, config.data.dequantise})),
        test(ImageData::from_split(context, toy_images(20), 0, {false, config.data.dequantise})),
        trainer(context, config, train, &test) {}
};

// Of the windows that a whole run reports.
inline std::vector<double> losses_of(const RunConfig& config, Device device) {
  ToySession session(config, device);
  trainer_test::Recorder recorder;
  session.trainer.run(recorder);
  std::vector<double> losses;
  for (const StepReport& report : recorder.reports) losses.push_back(report.window.loss);
  return losses;
}

}  // namespace elbo::likelihood_test
