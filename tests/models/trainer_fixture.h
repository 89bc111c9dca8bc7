// What tests of training share: a tiny model, an observer that keeps what it is told, a trainer with its data.
#pragma once

#include <string>
#include <vector>

#include "engine/io/checkpoint.h"
#include "models/trainer.h"
#include "tests/support/temp_dir.h"

namespace elbo::trainer_test {

inline RunConfig tiny_config() {
  RunConfig config;
  config.model.hidden = {24};
  config.model.latent_dim = 4;
  config.data.kind = DataKind::sprites;
  config.data.resolution = 12;
  config.train.batch_size = 16;
  config.train.epochs = 2;
  config.train.seed = 3;
  config.output.log_interval = 5;
  config.plan_mode = PlanMode::heuristic;  // two sessions' timings may end differently
  return config;
}

struct Recorder : TrainObserver {
  std::vector<StepReport> reports;
  std::vector<EpochReport> epochs;
  int64_t stop_after = -1;
  const Trainer* trainer = nullptr;

  void on_report(const StepReport& report) override { reports.push_back(report); }
  void on_epoch_end(const EpochReport& report) override { epochs.push_back(report); }
  bool stop_requested() override { return trainer && trainer->step() == stop_after; }
};

inline std::vector<std::byte> bytes_of(const Trainer::Snapshot& snapshot) {
  std::vector<std::byte> bytes;
  for (const auto* blobs : {&snapshot.model, &snapshot.optimizer}) {
    for (const NamedBlob& blob : *blobs) {
      bytes.insert(bytes.end(), blob.bytes.begin(), blob.bytes.end());
    }
  }
  return bytes;
}

// Trains on 70 sprites (a tail batch of 6) on a device.
struct Session {
  Context context;
  ImageData train = ImageData::sprites(12, 70, 0);
  ImageData test = ImageData::sprites(12, 20, 70);
  Trainer trainer;

  explicit Session(const RunConfig& config, Device device = Device::cpu)
      : context({device, 0, ""}), trainer(context, config, train, &test) {}
};

inline LoadedCheckpoint loaded(Trainer& trainer, const TempDir& dir) {
  CheckpointWriter writer(real_fs(), dir / "checkpoints");
  const Trainer::Snapshot& saved = trainer.snapshot();
  writer.save({saved.model, saved.optimizer, saved.state, ""}, false);
  return load_latest_checkpoint(real_fs(), dir / "checkpoints");
}

}  // namespace elbo::trainer_test
