#include "models/trainer.h"

#include <algorithm>
#include <cmath>

#include "engine/op_times.h"
#include "kernels/finite_check.h"
#include "kernels/optimizer.h"
#include "kernels/parallel.h"
#include "models/objective.h"

namespace elbo {
namespace {

// Losses that the device keeps before the host must have read them.
constexpr int64_t kRingSize = Trainer::kMostSteps;
constexpr int64_t kEvalBatch = 500;  // images per pass of evaluate(); does not change its result

void add(LossMeans& sums, double loss, double recon, double kl, int64_t count) {
  sums.loss += loss;
  sums.recon += recon;
  sums.kl += kl;
  sums.steps += count;
}

LossMeans mean_of(const LossMeans& sums) {
  if (sums.steps == 0) return {};
  const auto n = static_cast<double>(sums.steps);
  return {sums.loss / n, sums.recon / n,      sums.kl / n,
          sums.steps,    sums.perplexity / n, sums.discriminator / n};
}

}  // namespace

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::fp32:
      return "fp32";
    case Precision::tf32:
      return "tf32";
    case Precision::bf16:
      return "bf16";
  }
  return "unknown";
}

Trainer::Trainer(Context& context, const RunConfig& config, const ImageData& train,
                 const ImageData* test)
    : context_(context),
      config_(config),
      train_(train),
      test_(test),
      params_(context),
      tape_(context),
      eval_tape_(context) {
  if (config.train.batch_size < 1) {
    throw_error(ErrorCode::usage, "--batch-size is ", config.train.batch_size,
                "; expected at least 1");
  }
  if (train.count() < 1) throw_error(ErrorCode::data, "the training set is empty");
  if (config.precision != Precision::fp32 && context.device() == Device::cpu) {
    throw_error(ErrorCode::usage, "--precision ", precision_name(config.precision),
                " needs a CUDA device; the CPU computes in fp32");
  }
  if (train.labelled() < train.count() && !config.model.classifier) {
    throw_error(ErrorCode::usage, "labels are known of ", train.labelled(), " of ", train.count(),
                " training images, and model.classifier, which would guess the others, is false");
  }
  if (config.train.overfit_batch && config.model.classifier) {
    throw_error(ErrorCode::usage,
                "train.overfit_batch does not go with data.labelled: the first batch may have no "
                "label that is known; leave one of them out");
  }
  context.set_products(
      config.precision == Precision::tf32 ? ProductPrecision::tf32 : ProductPrecision::fp32,
      config.product_kernels);
  context.set_overlap_launches(config.overlap_launches);
  check_objective(config.train, config.model, config.precision == Precision::bf16);
  params_.add_group("model", config.train.optimizer);
  model_ = std::make_unique<Autoencoder>(params_, config.model, train.shape().as_size());
  if (config.train.objective.factor > 0) {
    params_.add_group("discriminator", Discriminator::optimizer(), true);
    discriminator_ = std::make_unique<Discriminator>(
        params_, model_->latent_dim(), config.train.objective.discriminator, config.model.init);
  }
  params_.finalise();
  params_.initialise(config.train.seed);
  if (config.model.condition == Condition::attributes) {
    AttributeScale scale;
    for (const AttributeFigures& figures : attribute_figures(train.attributes(0, train.count()),
                                                             std::ssize(train.attribute_names()))) {
      scale.mean.push_back(figures.mean);
      scale.deviation.push_back(figures.deviation);
    }
    model_->set_attribute_scale(scale);
  }
  params_.allocate_moments();
  if (config.precision == Precision::bf16) params_.allocate_shadow();
  eval_tape_.set_recording(false);
  tape_.use_graphs(config.graph_steps > 0);

  rule_.learning_rate = config.train.learning_rate;
  rule_.kl_weight = config.train.kl_schedule;
  rule_.capacity = config.train.objective.capacity;
  const float beta = final_kl_weight(config.train, model_->image_size(), model_->latent_dim());
  rule_.kl_weight.base *= beta;
  rule_.kl_weight.start *= beta;
  for (float& value : rule_.kl_weight.value) value *= beta;
  rule_.samples = static_cast<uint64_t>(config.train.overfit_batch
                                            ? std::min(config.train.batch_size, train.count())
                                            : train.count());
  rule_.batch =
      static_cast<uint64_t>(std::min(config.train.batch_size, static_cast<int64_t>(rule_.samples)));
  rule_.drop_last = config.train.drop_last;
  // Launched one by one, a step has nothing beside which a batch could be fetched.
  if (config.graph_steps > 0) stage_ = train.make_stage(context, static_cast<int64_t>(rule_.batch));

  state_block_ = DeviceBlock(context, sizeof(StepState), Role::state);
  ring_block_ = DeviceBlock(context, kRingSize * sizeof(LossRecord), Role::state);
  context.fill_bytes(ring_block_.data(), 0, ring_block_.bytes());
  state_ = state_block_.as<StepState>();
  ring_ = ring_block_.as<LossRecord>();
  if (config.check_finite) tape_.set_finite_check(state_);
  upload_state();
}

void Trainer::upload_state() {
  StepState state;
  state.step = static_cast<uint64_t>(step_);
  state.epoch = static_cast<uint64_t>(epoch());
  state.position = static_cast<uint64_t>(position());
  state.recon_weight = config_.train.objective.recon_weight;
  context_.upload(state_, &state, sizeof state);
  prepare_step(context_.exec(), state_, rule_);
  params_.refresh_shadow();
}

int64_t Trainer::steps_per_epoch() const {
  const auto batch = static_cast<int64_t>(rule_.batch);
  return rule_.drop_last ? train_.count() / batch : (train_.count() + batch - 1) / batch;
}

int64_t Trainer::total_steps() const {
  const int64_t steps = config_.train.epochs * steps_per_epoch();
  return config_.train.max_steps > 0 ? std::min(steps, config_.train.max_steps) : steps;
}

// Of the next batch among the samples of an epoch, as the device counts it.
int64_t Trainer::position() const {
  return config_.train.overfit_batch ? 0 : step_in_epoch() * static_cast<int64_t>(rule_.batch);
}

int64_t Trainer::next_batch() const {
  return std::min<int64_t>(static_cast<int64_t>(rule_.batch),
                           static_cast<int64_t>(rule_.samples) - position());
}

void Trainer::body(Tape& tape, int64_t batch) {
  BatchOrder order;
  order.seed = config_.train.seed;
  order.state = state_;
  order.samples = static_cast<int64_t>(rule_.samples);
  order.shuffle = !config_.train.overfit_batch;
  const DType input = config_.precision == Precision::bf16 ? DType::bf16 : DType::f32;
  const ImageBatch images = train_.gather(tape, order, batch, config_.data.binarise, input,
                                          config_.model.condition, stage_);
  train_.fetch_next(tape, order, rule_, stage_);
  NoiseSource noise{};
  noise.seed = config_.train.seed;
  noise.state = state_;
  noise.purpose = NoisePurpose::latent;
  ObjectiveInput objective{noise, weights_of(*state_, tape.device()), &config_.train.objective};
  objective.samples = static_cast<int64_t>(rule_.samples);
  objective.labelled_share =
      static_cast<double>(train_.labelled()) / static_cast<double>(train_.count());
  objective.discriminator = discriminator_.get();
  const ObjectiveTerms terms = training_objective(tape, *model_, images, objective);
  tape.backward(params_);

  const Tape::Scope scope(tape, "opt");
  const int64_t count = params_.span_count();
  auto* gradients = static_cast<float*>(params_.gradients());
  const BufferStore& buffers = params_.buffers();
  const auto optional = [](const Tensor& value) {
    return value.data ? value.as<float>() : nullptr;
  };
  tape.op("record_step", {terms.nll, terms.kl, terms.total, terms.perplexity, terms.discriminator},
          {}, [&](const Exec& exec) {
            StepRecord args;
            args.grad = gradients;
            args.count = count;
            args.max_norm = config_.train.clip_grad;
            args.nll = terms.nll.as<float>();
            args.nll_count = terms.nll.size();
            args.kl = terms.has_kl ? terms.kl.as<float>() : nullptr;
            args.total = optional(terms.total);
            args.perplexity = optional(terms.perplexity);
            args.discriminator = optional(terms.discriminator);
            args.running = buffers.next_floats().data();
            args.running_count = std::ssize(buffers.next_floats());
            args.batch = batch;
            args.state = state_;
            args.ring = ring_;
            args.ring_size = kRingSize;
            record_step(exec, args);
          });
  if (!buffers.empty()) {
    tape.op("commit_buffers", {}, {}, [&](const Exec& exec) { buffers.commit(exec, state_); });
  }
  const ParamGroup* last = nullptr;  // moves the state on with its update
  for (const ParamGroup& group : params_.groups()) {
    if (!group.frozen) last = &group;
  }
  for (const ParamGroup& group : params_.groups()) {
    if (group.frozen) continue;
    tape.op("optimizer", {}, {}, [&](const Exec& exec) {
      OptimizerStep args{};
      args.hyper = group.optimizer;
      args.param = static_cast<float*>(params_.values()) + group.offset;
      args.grad = gradients + group.offset;
      args.moment1 = params_.moment_count() > 0 ? params_.moment(0) + group.offset : nullptr;
      args.moment2 = params_.moment_count() > 1 ? params_.moment(1) + group.offset : nullptr;
      args.count = group.count;
      args.state = state_;
      args.shadow = params_.shadow() ? params_.shadow() + group.offset : nullptr;
      args.next_step = &group == last ? &rule_ : nullptr;
      optimizer_step(exec, args);
    });
  }
  if (!last) {
    tape.op("advance", {}, {}, [&](const Exec& exec) { advance_step(exec, state_, rule_); });
  }
}

void Trainer::train_steps(int64_t steps) {
  if (step_ + steps - drained_ > kRingSize) drain();
  const OpTimes::Steps timed(tape_.op_times(), steps);
  const int64_t batch = next_batch();
  // Only here: so all that is ever timed is timed in the first step, and a checkpoint of any later one
  // has all choices.
  const bool whole = batch == static_cast<int64_t>(rule_.batch);
  const PlanTimingScope timing(context_.plans(), whole && config_.plan_mode == PlanMode::timed);
  tape_.run_steps(static_cast<uint64_t>(batch), static_cast<int>(steps),
                  [&](Tape& tape) { body(tape, batch); });
  step_ += steps;
}

// Steps that may follow one another before the host has something to do: the configured number, or 1 if
// a report, a checkpoint, the tail batch, an edge of what is profiled or the end of an epoch or
// the run comes first.
int64_t Trainer::steps_until_pause() const {
  const int64_t steps = config_.graph_steps, save_interval = config_.output.save_interval;
  const int64_t log_interval = std::max<int64_t>(config_.output.log_interval, 1);
  int64_t room = std::min({total_steps() - step_, log_interval - step_ % log_interval,
                           steps_per_epoch() - step_in_epoch()});
  if (save_interval > 0) room = std::min(room, save_interval - step_ % save_interval);
  for (const int64_t edge : {config_.profile.first, config_.profile.end}) {
    if (step_ < edge) room = std::min(room, edge - step_);
  }
  if (!config_.train.overfit_batch) {
    const auto samples_left = static_cast<int64_t>(rule_.samples) - position();
    room = std::min(room, samples_left / static_cast<int64_t>(rule_.batch));
  }
  return steps > 0 && room >= steps ? steps : 1;
}

void Trainer::drain() {
  StepState state;
  context_.download(&state, state_, sizeof state);
  if (state.bad_op != 0) name_bad_op();
  if (drained_ == step_) return;
  host_ring_.resize(kRingSize);
  context_.download(host_ring_.data(), ring_, kRingSize * sizeof(LossRecord));
  for (; drained_ < step_; ++drained_) {
    last_ = host_ring_[static_cast<size_t>(drained_ % kRingSize)];
    add(window_, last_.total, last_.recon, last_.kl, 1);
    add(epoch_means_, last_.total, last_.recon, last_.kl, 1);
    for (LossMeans* sums : {&window_, &epoch_means_}) {
      sums->perplexity += last_.perplexity;
      sums->discriminator += last_.discriminator;
    }
  }
}

void Trainer::name_bad_op() {
  // advance_step() stood still at the bad step and the optimiser left the weights alone, so the step
  // can be run again, this time with every op's output checked.
  params_.buffers().discard();
  StepState state;
  context_.download(&state, state_, sizeof state);
  const uint32_t first_found = state.bad_op;
  state.bad_op = 0;
  context_.upload(state_, &state, sizeof state);
  step_ = static_cast<int64_t>(state.step);
  tape_.set_finite_check(state_);
  const int64_t batch = next_batch();
  tape_.run(static_cast<uint64_t>(batch), [&](Tape& tape) { body(tape, batch); });
  context_.download(&state, state_, sizeof state);
  const uint32_t id = (state.bad_op != 0 ? state.bad_op : first_found) - 1;
  const std::string where = id == kLossOpId       ? "the loss"
                            : id == kGradNormOpId ? "the gradient norm"
                                                  : tape_.describe_bad_op(id + 1);
  // Whoever catches this may still look at the weights or save them.
  params_.buffers().discard();
  state.bad_op = 0;
  context_.upload(state_, &state, sizeof state);
  tape_.set_finite_check(config_.check_finite ? state_ : nullptr);
  drained_ = step_;
  throw_error(ErrorCode::numeric, "step ", step_, ": ", where,
              " is the first value that is not finite; the weights are those of the step before. "
              "Try a smaller --lr, or --clip-grad 1");
}

void Trainer::report(TrainObserver& observer) {
  StepReport report;
  report.step = step_;
  report.epoch = epoch() + (step_in_epoch() > 0 ? 1 : 0);
  report.window = last_window_ = mean_of(window_);
  report.learning_rate = last_.learning_rate;
  report.kl_weight = last_.kl_weight;
  report.grad_norm = last_.grad_norm;
  window_ = {};
  observer.on_report(report);
}

// Also where a run ends in the middle of an epoch. A resumed one then goes on with that epoch's
// means, and with the best of those passes that an uninterrupted run would have made.
EpochReport Trainer::end_epoch(TrainObserver& observer) {
  drain();
  const bool whole = step_in_epoch() == 0;
  EpochReport report;
  report.step = step_;
  report.epoch = epoch() + (whole ? 0 : 1);
  report.train = mean_of(epoch_means_);
  if (whole) epoch_means_ = {};
  const int64_t interval = config_.output.eval_interval;
  if (test_ && interval > 0 && (report.epoch % interval == 0 || finished())) {
    report.test = evaluate(*test_);
    // Not "less than": the best so far may be a NaN that an older program wrote.
    report.is_best = whole && std::isfinite(report.test.loss) &&
                     (best_step_ < 0 || !(best_ <= report.test.loss));
    if (report.is_best) {
      best_ = report.test.loss;
      best_step_ = step_;
    }
  }
  observer.on_epoch_end(report);
  // The loss of a step is that of the weights before its update: the last update shows here first.
  if (!std::isfinite(report.test.loss)) {
    throw_error(ErrorCode::numeric, "step ", step_,
                ": the test loss is not finite; "
                "no checkpoint was written of it. Try a smaller --lr, or --clip-grad 1");
  }
  return report;
}

void Trainer::save(TrainObserver& observer, bool is_best) {
  drain();
  observer.on_save(is_best);
  saved_step_ = step_;
}

void Trainer::set_profiling(TrainObserver& observer, bool on) {
  if (profiling_ == on) return;
  profiling_ = on;
  observer.on_profile(on);
}

bool Trainer::run(TrainObserver& observer) {
  const int64_t log_interval = std::max<int64_t>(config_.output.log_interval, 1);
  const int64_t save_interval = config_.output.save_interval;
  bool announce = true;
  while (!finished()) {
    if (announce) observer.on_epoch_begin(epoch() + 1, steps_per_epoch(), step_in_epoch());
    announce = false;
    if (config_.profile.contains(step_)) set_profiling(observer, true);
    train_steps(steps_until_pause());
    if (!config_.profile.contains(step_) || finished()) set_profiling(observer, false);
    if (step_ % log_interval == 0) {
      drain();
      report(observer);
    }
    const int64_t done = step_in_epoch();
    observer.on_step(done > 0 ? done : steps_per_epoch(), last_window_);
    const bool epoch_ended = done == 0 || finished();
    EpochReport epoch_report;
    if (epoch_ended) epoch_report = end_epoch(observer);
    const bool stop = !finished() && observer.stop_requested();
    if (stop) set_profiling(observer, false);
    const bool save_now = save_interval > 0 ? step_ % save_interval == 0 : epoch_ended;
    if (save_now || epoch_report.is_best || stop || finished())
      save(observer, epoch_report.is_best);
    if (epoch_ended) observer.on_epoch_done(epoch_report);
    if (stop) return false;
    announce = epoch_ended;
  }
  if (saved_step_ != step_) save(observer, false);  // there was no step to train
  return true;
}

LossMeans Trainer::evaluate(const ImageData& data) {
  LossMeans sums;
  std::vector<float> nll(kEvalBatch), kl(kEvalBatch, 0.0f);
  for (int64_t first = 0; first < data.count(); first += kEvalBatch) {
    const int64_t batch = std::min(kEvalBatch, data.count() - first);
    ObjectiveTerms terms;
    // `first` is no part of the signature: it changes what is read, not how much.
    eval_tape_.run(static_cast<uint64_t>(batch), [&](Tape& tape) {
      BatchOrder order;
      order.seed = config_.train.seed;
      order.first = first;
      order.shuffle = false;
      const ImageBatch images = data.gather(tape, order, batch, config_.data.binarise, DType::f32,
                                            config_.model.condition);
      NoiseSource noise{};
      noise.seed = config_.train.seed;
      noise.purpose = NoisePurpose::evaluate;
      noise.first_row = first;
      terms = elbo_objective(tape, *model_, images, noise, nullptr);
      tape.keep(terms.nll);
      tape.keep(terms.kl);
    });
    const size_t bytes = static_cast<size_t>(batch) * sizeof(float);
    context_.download(nll.data(), terms.nll.data, bytes);
    if (terms.has_kl) context_.download(kl.data(), terms.kl.data, bytes);
    for (int64_t i = 0; i < batch; ++i) {
      const double recon = nll[static_cast<size_t>(i)], cost = kl[static_cast<size_t>(i)];
      add(sums, recon + cost, recon, cost, 1);
    }
  }
  return mean_of(sums);
}

}  // namespace elbo
