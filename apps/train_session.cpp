#include "apps/train_session.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/program.h"
#include "apps/threads.h"
#include "apps/trained_run.h"
#include "apps/unused_settings.h"
#include "apps/version.h"
#include "engine/io/signals.h"
#include "models/collapse_watch.h"

namespace elbo {
namespace {

RunDirMode directory_mode(const PlannedRun& plan, bool overwrite) {
  if (plan.resume) return RunDirMode::resume;
  return overwrite ? RunDirMode::overwrite : RunDirMode::create;
}

std::string means_text(const LossMeans& means) {
  return fmt::format("{:.2f} (recon {:.2f}, kl {:.2f})", means.loss, means.recon, means.kl);
}

std::string model_text(const RunConfig& config, const Trainer& trainer) {
  const bool variational = trainer.model().variational();
  const char* kind = variational ? "VAE" : "autoencoder";
  const int64_t parameters = trainer.model().params().model_count();
  if (config.model.convolutional()) {
    return fmt::format("model: convolutional {} with {} latents, {} parameters", kind,
                       trainer.model().latent_dim(), parameters);
  }
  std::string widths = std::to_string(trainer.model().image_size());
  for (const int64_t width : config.model.hidden) widths += "-" + std::to_string(width);
  return fmt::format("model: {} {}-{}, {} parameters", kind, widths, config.model.latent_dim,
                     parameters);
}

std::string data_name(const DataConfig& config) {
  return config.kind == DataKind::sprites ? "sprites" : config.path;
}

std::string data_text(const RunData& data, const DataConfig& config) {
  const ImageShape& shape = data.train.shape();
  std::string text =
      fmt::format("data: {} training and {} test images of {} x {} x {}, {}", data.train.count(),
                  data.test.count(), shape.channels, shape.height, shape.width, data_name(config));
  if (data.train.labelled() < data.train.count())
    text += fmt::format("; labels of {} are known", data.train.labelled());
  return text;
}

// What only the data can say becomes part of the configuration, and what the configuration hides is
// hidden.
const RunConfig& settled(Context& context, RunConfig& config, RunData& data) {
  settle_condition(config, data);
  hide_labels(context, config, data);
  return config;
}

}  // namespace

TrainSession::TrainSession(Fs& fs, PlannedRun plan, bool overwrite, bool quiet)
    : plan_(std::move(plan)),
      config_(plan_.merged.config),
      log_(quiet),
      device_(open_device(plan_.device, plan_.threads, log_)),
      context_(std::make_unique<Context>(device_)),
      data_(open_run_data(*context_, fs, config_.data, attribute_wish(config_), log_)),
      trainer_(std::make_unique<Trainer>(*context_, settled(*context_, plan_.merged.config, data_),
                                         data_.train, &data_.test)),
      inference_(std::make_unique<Inference>(*context_, trainer_->model())),
      directory_(fs, run_directory(config_), directory_mode(plan_, overwrite)),
      profile_(fs, log_, *context_, *trainer_, directory_.profile_json()),
      progress_(log_, config_.train.epochs),
      config_toml_(config_toml(config_, ConfigScope::repeatable)) {
  for (const std::string& warning : plan_.merged.warnings) log_.warning(warning);
  if (!plan_.resume) {
    for (const std::string& warning : unused_settings(plan_.merged)) log_.warning(warning);
  }
  log_.open_file(fs, directory_.train_log(), plan_.resume ? OpenMode::append : OpenMode::create);
  log_.file_only("device: " + device_description(device_));
  if (config_.output.sample_interval > 0) {
    const std::string why_not = TrainPictures::why_not(data_.train.shape());
    if (!why_not.empty()) log_.warning(why_not);
    if (why_not.empty()) {
      pictures_ = std::make_unique<TrainPictures>(fs, directory_, *inference_, config_, data_.test);
    }
  }
  if (plan_.resume) resume();
  RunFacts facts{program_arguments(),
                 config_.preset,
                 device_description(device_),
                 precision_name(config_.precision),
                 use_threads(plan_.threads),
                 config_.train.seed,
                 trainer_->step()};
  record_ = std::make_unique<RunRecord>(fs, directory_.run_json(), facts, plan_.resume.has_value());
  replace_file(fs, directory_.config_toml(), config_toml_);
  metrics_ = std::make_unique<MetricsWriter>(
      fs, directory_.metrics_jsonl(),
      plan_.resume ? std::optional(trainer_->step()) : std::nullopt);
  if (metrics_->damaged_lines() > 0) {
    log_.warning(fmt::format("{}: {} damaged lines were dropped", directory_.metrics_jsonl(),
                             metrics_->damaged_lines()));
  }
  checkpoints_ =
      std::make_unique<CheckpointWriter>(fs, directory_.checkpoints(), config_.output.keep);
}

void TrainSession::resume() {
  const LoadedCheckpoint& checkpoint = plan_.resume->checkpoint;
  check_image_shape(data_.train.shape(), get_image_shape(checkpoint.state, checkpoint.path),
                    data_name(config_.data));
  const std::string note = trainer_->restore(checkpoint);
  if (!note.empty()) log_.warning(note);
  for (const std::string& warning : checkpoint.warnings) log_.warning(warning);
  log_.note(fmt::format("resumed from {} after step {}", checkpoint.path, trainer_->step()));
  const RunState now = trainer_->snapshot().state;
  if (now.device != checkpoint.state.device || now.threads != checkpoint.state.threads) {
    log_.warning(
        fmt::format("the run was on {} with {} threads and goes on on {} with {}: its "
                    "numbers will differ in their last bits from an uninterrupted run's",
                    checkpoint.state.device, checkpoint.state.threads, now.device, now.threads));
  }
}

void TrainSession::announce() {
  log_.note(version_text() + ", run directory " + directory_.path());
  log_.note(model_text(config_, *trainer_));
  log_.note(data_text(data_, config_.data) + fmt::format("; seed {}; precision {}",
                                                         config_.train.seed,
                                                         precision_name(config_.precision)));
}

int TrainSession::run() {
  announce();
  if (trainer_->finished()) {
    log_.note("there is nothing left to do; to train further, raise --epochs or --max-steps");
  }
  const SignalScope signals;
  try {
    return finish(trainer_->run(*this));
  } catch (const std::exception& error) {
    progress_.finish();
    record_failure(error.what());
    throw;
  }
}

// Whatever ended the run may also be in the way of saying so, and must not be hidden by that.
void TrainSession::record_failure(const std::string& error) {
  try {
    record_->end("failed", trainer_->step(), error);
  } catch (const std::exception& second) {
    log_.warning(fmt::format("{} still says running: {}", directory_.run_json(), second.what()));
  }
}

int TrainSession::finish(bool to_the_end) {
  progress_.finish();
  metrics_->sync();
  const int64_t step = trainer_->step();
  if (!config_.profile.empty() && !profile_.done()) {
    log_.warning(fmt::format("--profile {}:{}: nothing was profiled, as the run made no such step",
                             config_.profile.first, config_.profile.end));
  }
  record_->end(to_the_end ? "finished" : "interrupted", step);
  if (to_the_end) {
    log_.note(
        fmt::format("done after {} steps; next: elbo sample --run {}", step, directory_.path()));
    return 0;
  }
  log_.note(fmt::format("stopped after step {} of {}; go on with: elbo train --resume {}", step,
                        trainer_->total_steps(), directory_.path()));
  return stop_exit_status();
}

void TrainSession::on_epoch_begin(int64_t epoch, int64_t steps, int64_t first_step) {
  first_step_ = step_in_epoch_ = first_step;
  progress_.begin_epoch(epoch, steps, first_step);
}

int64_t TrainSession::images_done() const {
  return std::min((step_in_epoch_ - first_step_) * config_.train.batch_size, data_.train.count());
}

void TrainSession::on_step(int64_t step_in_epoch, const LossMeans&) {
  step_in_epoch_ = step_in_epoch;
  progress_.update(step_in_epoch, images_done(), fields_);
}

void TrainSession::on_report(const StepReport& report) {
  // The report comes before on_step() counts its step.
  step_in_epoch_ += 1;
  const LossMeans& window = report.window;
  fields_ = {{"loss", window.loss}};  // what matters first: a narrow terminal shows no more
  const Autoencoder& model = trainer_->model();
  if (model.variational()) fields_.emplace_back("kl", window.kl);
  if (model.quantised()) fields_.emplace_back("perplexity", window.perplexity);
  const bool plays = config_.train.objective.factor > 0;  // against a discriminator
  if (plays) fields_.emplace_back("discriminator", window.discriminator);
  fields_.emplace_back("recon", window.recon);
  fields_.emplace_back("lr", report.learning_rate);
  progress_.report(step_in_epoch_, images_done(), fields_);
  MetricFields fields = {{"epoch", report.epoch},         {"loss", window.loss},
                         {"recon", window.recon},         {"kl", window.kl},
                         {"lr", report.learning_rate},    {"beta", report.kl_weight},
                         {"grad_norm", report.grad_norm}, {"img_per_s", progress_.images_per_s()}};
  if (model.quantised()) fields.push_back({"perplexity", window.perplexity});
  if (plays) fields.push_back({"discriminator", window.discriminator});
  metrics_->append(report.step, fields);
  if (model.variational() && !model.has_learned_prior()) watch_latent(report);
}

// A latent collapses early or not at all.
void TrainSession::watch_latent(const StepReport& report) {
  constexpr int64_t kFirstStep = 200, kLastStep = 2000;
  constexpr int64_t kMostValues = 1 << 20, kMostImages = 200;  // enough for a variance, and fast
  // "Only KL" collapses on purpose, and a capacity that begins at 0 holds the KL there.
  const ObjectiveConfig& objective = config_.train.objective;
  const bool wanted = objective.recon_weight > 0 && objective.capacity_weight == 0;
  if (!wanted || collapse_told_ || report.step < kFirstStep || report.step > kLastStep) return;
  const int64_t pixels = trainer_->model().image_size();
  const int64_t images = std::min({kMostImages, kMostValues / pixels + 2, data_.train.count()});
  const Inference::Posterior posterior = inference_->encode(
      inference_->inputs(data_.train, 0, images, config_.data.binarise, config_.train.seed),
      inference_->conditions(data_.train, 0, images));
  const LatentActivity activity =
      latent_activity(posterior.mean, posterior.logvar, trainer_->model().latent_dim());
  if (images < 2 || !activity.collapsed()) return;
  collapse_told_ = true;
  log_.warning(
      fmt::format("after step {} the latent has collapsed: {:.2f} nats, no active "
                  "dimension of {}, so pictures do not depend on it; {}",
                  report.step, activity.total_nats, activity.kl_nats.size(),
                  collapse_advice(config_, pixels, report.kl_weight)));
}

void TrainSession::on_epoch_end(const EpochReport& report) {
  MetricFields fields = {{"epoch", report.epoch},
                         {"train_loss", report.train.loss},
                         {"train_recon", report.train.recon},
                         {"train_kl", report.train.kl}};
  std::string text = fmt::format("epoch {}: train {}", report.epoch, means_text(report.train));
  if (trainer_->model().quantised()) {
    fields.push_back({"train_perplexity", report.train.perplexity});
    text += fmt::format(", perplexity {:.1f} of {} codes", report.train.perplexity,
                        config_.model.codebook);
  }
  if (config_.train.objective.factor > 0) {
    fields.push_back({"train_discriminator", report.train.discriminator});
    text += fmt::format(", discriminator {:.3f}", report.train.discriminator);
  }
  if (report.test.steps > 0) {
    fields.insert(fields.end(), {{"test_loss", report.test.loss},
                                 {"test_recon", report.test.recon},
                                 {"test_kl", report.test.kl}});
    text += fmt::format(", test {}", means_text(report.test));
    const Autoencoder& model = trainer_->model();
    const auto bits =
        bits_per_dim(config_.model.likelihood, config_.data, report.test.loss, model.image_size());
    if (bits && model.variational()) {
      fields.push_back({"test_bits_per_dim", *bits});
      text += fmt::format(", {:.4f} bits per dim", *bits);
    }
    if (model.classifies()) {
      const double accuracy = classification_accuracy(*inference_, data_.test,
                                                      config_.data.binarise, config_.train.seed);
      fields.push_back({"test_accuracy", accuracy});
      text += fmt::format(", {:.2f} % classified", 100 * accuracy);
    }
    if (report.is_best) text += ", best";
  }
  metrics_->append(report.step, fields);
  log_.note(text);
}

// Pictures are for people and can be made again: they must not cost the run.
void TrainSession::on_epoch_done(const EpochReport& report) {
  const int64_t interval = config_.output.sample_interval;
  if (!pictures_ || (report.epoch % interval != 0 && !trainer_->finished())) return;
  try {
    pictures_->write(report.epoch);
  } catch (const std::exception& error) {
    log_.warning(fmt::format("no pictures of epoch {}: {}", report.epoch, error.what()));
  }
}

void TrainSession::on_save(bool is_best) {
  metrics_->sync();
  const Trainer::Snapshot& snapshot = trainer_->snapshot();
  CheckpointContents contents{snapshot.model, snapshot.optimizer, snapshot.state, config_toml_};
  put_image_shape(contents.state, data_.train.shape());
  const SavedCheckpoint saved = checkpoints_->save(contents, is_best);
  for (const std::string& warning : saved.warnings) log_.warning(warning);
  log_.file_only("saved " + saved.path);
  if (!plans_told_) {
    for (const auto& [product, choice] : snapshot.state.plan)
      log_.file_only(fmt::format("plan: {}: {}", product, choice));
  }
  plans_told_ = plans_told_ || !snapshot.state.plan.empty();
}

void TrainSession::on_profile(bool begins) { begins ? profile_.begin() : profile_.end(); }

bool TrainSession::stop_requested() { return elbo::stop_requested(); }

}  // namespace elbo
