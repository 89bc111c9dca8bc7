// One training run as its user sees it: the run directory, the lines on the terminal, the pictures.
//
// Reading guide. train.cpp makes a TrainSession and calls run(), which hands itself to Trainer::run()
// as observer; the trainer calls back and the on_... functions write. Everything that lands in the run
// directory is written here, except run.json's fields (run_record.h) and checkpoint files (engine).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/run_data.h"
#include "apps/run_record.h"
#include "apps/train_config.h"
#include "apps/train_pictures.h"
#include "apps/train_profile.h"
#include "engine/io/log.h"
#include "engine/io/metrics.h"
#include "engine/io/progress.h"
#include "engine/io/run_dir.h"
#include "models/inference.h"
#include "models/trainer.h"

namespace elbo {

class TrainSession : public TrainObserver {
 public:
  // Opens device and data before the run directory, so that a mistake there leaves nothing behind.
  TrainSession(Fs& fs, PlannedRun plan, bool overwrite, bool quiet);

  // Returns the exit status. Errors are recorded in run.json and thrown on.
  int run();

  void on_epoch_begin(int64_t epoch, int64_t steps, int64_t first_step) override;
  void on_step(int64_t step_in_epoch, const LossMeans& window) override;
  void on_report(const StepReport& report) override;
  void on_epoch_end(const EpochReport& report) override;
  void on_save(bool is_best) override;
  void on_epoch_done(const EpochReport& report) override;
  void on_profile(bool begins) override;
  bool stop_requested() override;

 private:
  void resume();
  void announce();
  int finish(bool to_the_end);
  void record_failure(const std::string& error);
  void watch_latent(const StepReport& report);
  int64_t images_done() const;

  PlannedRun plan_;
  const RunConfig& config_;
  Log log_;
  DeviceChoice device_;
  std::unique_ptr<Context> context_;
  RunData data_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<Inference> inference_;
  RunDir directory_;
  std::unique_ptr<TrainPictures> pictures_;  // null: none are wanted, or none can be made
  std::unique_ptr<RunRecord> record_;
  std::unique_ptr<MetricsWriter> metrics_;
  std::unique_ptr<CheckpointWriter> checkpoints_;
  TrainProfile profile_;
  Progress progress_;
  std::string config_toml_;  // what checkpoints carry

  bool collapse_told_ = false, plans_told_ = false;

  // Of the epoch under way, for the rate.
  int64_t first_step_ = 0, step_in_epoch_ = 0;
  ProgressFields fields_;
};

}  // namespace elbo
