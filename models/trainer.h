// The training loop: whole steps on the device, what a resume needs, and when to tell somebody.
//
// Reading guide. run() loops over epochs and calls train_steps(); one step is one Tape::run of
// gather, objective, backward, record and optimiser, with everything that changes from step to step in
// StepState in device memory, so that steps can be replayed as a graph. The host counts steps
// along, and epoch and position follow from their number; it reads losses from a device ring every
// log_interval steps (drain()). snapshot()/restore() carry the state of a resume; equal states lead
// to equal bits.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/image_data.h"
#include "engine/io/checkpoint.h"
#include "engine/param_store.h"
#include "engine/tape.h"
#include "kernels/step_record.h"
#include "models/autoencoder.h"
#include "models/config.h"
#include "models/discriminator.h"

namespace elbo {

// Means over some steps, nats per image.
struct LossMeans {
  double loss = 0, recon = 0, kl = 0;
  int64_t steps = 0;
  double perplexity = 0;     // of a batch's codes; training only
  double discriminator = 0;  // its own loss; training only
};

struct StepReport {
  int64_t step = 0;   // finished steps
  int64_t epoch = 0;  // counted from 1
  LossMeans window;   // since the report before
  float learning_rate = 0, kl_weight = 0, grad_norm = 0;
};

struct EpochReport {
  int64_t step = 0;
  int64_t epoch = 0;  // counted from 1; a run can end in the middle of one
  LossMeans train;    // over the epoch so far
  LossMeans test;     // over the test set with beta = 1; steps == 0 if there was no pass
  bool is_best = false;
};

// What the owner of a run does along the way. Called on the training thread.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void on_epoch_begin(int64_t /*epoch*/, int64_t /*steps*/, int64_t /*first_step*/) {}
  virtual void on_step(int64_t /*step_in_epoch*/, const LossMeans& /*last window*/) {}
  virtual void on_report(const StepReport&) {}
  virtual void on_epoch_end(const EpochReport&) {}
  virtual void on_save(bool /*is_best*/) {}  // time to write a checkpoint
  // After the epoch's checkpoint: for what may take long or fail.
  virtual void on_epoch_done(const EpochReport&) {}
  // Before the first step of config.profile (true), and after the last one that the run makes.
  virtual void on_profile(bool /*begins*/) {}
  virtual bool stop_requested() { return false; }
};

class Trainer {
 public:
  // `test` may be null. Everything passed in must outlive the trainer.
  Trainer(Context& context, const RunConfig& config, const ImageData& train, const ImageData* test);

  // Trains until the configured end; false if the observer asked to stop before it.
  // Throws ErrorCode::numeric naming op, tensor and step when a value stops being finite; the weights
  // are then those of the last good step. Also when the test loss is not finite.
  // Leaves a checkpoint of its last step, and of every step that is the best so far.
  bool run(TrainObserver& observer);

  // Optimiser steps over batches of equal size, asynchronous on CUDA and with config.graph_steps one
  // launch once they have been recorded. At most kMostSteps.
  void train_steps(int64_t steps);
  void train_step() { train_steps(1); }
  static constexpr int64_t kMostSteps = 1024;

  LossMeans evaluate(const ImageData& data);

  // For a checkpoint. Blobs point into the trainer's host buffers and hold until the next call.
  struct Snapshot {
    std::vector<NamedBlob> model, optimizer;
    RunState state;
  };
  const Snapshot& snapshot();
  // Throws ErrorCode::data if the checkpoint belongs to another model or number of images. Returns one
  // line for the user if not all of it can be gone on with (engine/plan_table.h), else nothing.
  std::string restore(const LoadedCheckpoint& checkpoint);

  const Autoencoder& model() const { return *model_; }
  ParamStore& params() { return params_; }
  Tape& tape() { return tape_; }
  int64_t step() const { return step_; }
  int64_t epoch() const { return step_ / steps_per_epoch(); }  // finished ones
  int64_t step_in_epoch() const { return step_ % steps_per_epoch(); }
  // With overfit_batch as many as an epoch over all the data has.
  int64_t steps_per_epoch() const;
  int64_t total_steps() const;
  bool finished() const { return step_ >= total_steps(); }

 private:
  void body(Tape& tape, int64_t batch);
  int64_t next_batch() const;
  int64_t steps_until_pause() const;
  void drain();
  void report(TrainObserver& observer);
  EpochReport end_epoch(TrainObserver& observer);
  void save(TrainObserver& observer, bool is_best);
  void set_profiling(TrainObserver& observer, bool on);
  [[noreturn]] void name_bad_op();
  void upload_state();
  int64_t position() const;
  void check_state(const RunState& state, const std::string& file) const;

  Context& context_;
  RunConfig config_;
  const ImageData& train_;
  const ImageData* test_;
  BatchStage stage_;
  ParamStore params_;
  std::unique_ptr<Autoencoder> model_;
  std::unique_ptr<Discriminator> discriminator_;  // of FactorVAE
  Tape tape_, eval_tape_;
  StepRule rule_;
  DeviceBlock state_block_, ring_block_;
  StepState* state_ = nullptr;  // device memory
  LossRecord* ring_ = nullptr;  // device memory

  int64_t step_ = 0;         // host copy of what the device counts
  int64_t drained_ = 0;      // steps whose losses have been read
  int64_t saved_step_ = -1;  // of the last checkpoint
  LossRecord last_{};
  std::vector<LossRecord> host_ring_;
  LossMeans window_, epoch_means_, last_window_;
  double best_ = 0;
  int64_t best_step_ = -1;
  bool profiling_ = false;

  Snapshot snapshot_;
  std::vector<float> host_values_, host_moments_[2];
  std::vector<std::byte> host_buffers_;
};

}  // namespace elbo
