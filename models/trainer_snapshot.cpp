// What a checkpoint of a training run holds, and how a run goes on from one.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/plan_table.h"
#include "kernels/parallel.h"
#include "models/trainer.h"
#include "models/weights.h"

namespace elbo {
namespace {

std::span<const std::byte> bytes_of(const float* values, int64_t count) {
  return {reinterpret_cast<const std::byte*>(values), static_cast<size_t>(count) * sizeof(float)};
}

// One span of the store as named tensors, which point into `file`.
std::vector<NamedBlob> pieces_as_blobs(const ParamStore& params, const void* span,
                                       const std::string& suffix, std::vector<float>& file) {
  const auto count = static_cast<size_t>(params.span_count());
  std::vector<float> memory(count);
  params.context().download(memory.data(), span, count * sizeof(float));
  file.resize(count);
  std::vector<NamedBlob> blobs;
  for (const ParamStore::Piece& piece : params.pieces()) {
    float* values = file.data() + piece.offset;
    write_piece(piece, memory.data(), values);
    blobs.push_back(
        {piece.name + suffix, StoredType::f32, piece.file.dims, bytes_of(values, piece.count)});
  }
  return blobs;
}

void move_blob(const std::string& name, std::vector<NamedBlob>& from, std::vector<NamedBlob>& to) {
  const auto found = std::find_if(from.begin(), from.end(),
                                  [&](const NamedBlob& blob) { return blob.name == name; });
  to.push_back(std::move(*found));
  from.erase(found);
}

constexpr const char* kMomentSuffix[2] = {".moment1", ".moment2"};

void put_means(RunState& state, const std::string& name, const LossMeans& means) {
  state.values[name + ".loss"] = means.loss;
  state.values[name + ".recon"] = means.recon;
  state.values[name + ".kl"] = means.kl;
  state.values[name + ".steps"] = static_cast<double>(means.steps);
  if (means.perplexity > 0) state.values[name + ".perplexity"] = means.perplexity;
  if (means.discriminator > 0) state.values[name + ".discriminator"] = means.discriminator;
}

LossMeans get_means(const RunState& state, const std::string& name) {
  const auto value = [&](const char* field) {
    const auto found = state.values.find(name + field);
    return found == state.values.end() ? 0.0 : found->second;
  };
  return {value(".loss"),       value(".recon"),
          value(".kl"),         static_cast<int64_t>(value(".steps")),
          value(".perplexity"), value(".discriminator")};
}

// A whole number from 0 to `most` among the values.
int64_t count_of(const RunState& state, const std::string& name, int64_t most, int64_t fallback,
                 const std::string& file) {
  const auto found = state.values.find(name);
  if (found == state.values.end()) return fallback;
  const double value = found->second;
  if (!(value >= 0 && value <= static_cast<double>(most)) || value != std::floor(value)) {
    throw_error(ErrorCode::data, file, ": ", name, " is ", value,
                ", expected an integer from 0 to ", most);
  }
  return static_cast<int64_t>(value);
}

constexpr int64_t kLargestCount = int64_t{1} << 50;   // far above any run, and exact as a double
constexpr const char* kTrainImages = "train.images";  // how many the run is trained on

// Copies the named tensors of a file into a host span, piece by piece.
void read_pieces(const ParamStore& params, const SafetensorsFile& file, const std::string& path,
                 const std::string& suffix, std::vector<float>& span) {
  for (const ParamStore::Piece& piece : params.pieces()) {
    const std::string name = piece.name + suffix;
    read_piece(piece, require_tensor(file, path, name, piece.file.dims), span.data());
  }
}

}  // namespace

const Trainer::Snapshot& Trainer::snapshot() {
  drain();
  snapshot_.model = pieces_as_blobs(params_, params_.values(), "", host_values_);
  snapshot_.optimizer.clear();
  for (const ParamStore::Piece& piece : params_.pieces()) {
    if (piece.training_only) move_blob(piece.name, snapshot_.model, snapshot_.optimizer);
  }
  host_buffers_.resize(params_.buffers().bytes());
  params_.buffers().download(host_buffers_.data());
  append_buffers(params_.buffers(), host_buffers_, snapshot_.model);
  for (int i = 0; i < params_.moment_count(); ++i) {
    for (NamedBlob& blob :
         pieces_as_blobs(params_, params_.moment(i), kMomentSuffix[i], host_moments_[i])) {
      snapshot_.optimizer.push_back(std::move(blob));
    }
  }
  RunState state;
  state.step = step_;
  state.epoch = epoch();
  state.batch = step_in_epoch();
  state.seed = config_.train.seed;
  state.threads = cpu::thread_count();
  state.device = context_.device() == Device::cuda ? "cuda" : "cpu";
  state.precision = precision_name(config_.precision);
  if (best_step_ >= 0) state.best_metric = best_;
  state.best_step = best_step_;
  put_means(state, "window", window_);
  put_means(state, "epoch", epoch_means_);
  state.values[kTrainImages] = static_cast<double>(train_.count());
  state.plan = plan_table(context_);
  snapshot_.state = std::move(state);
  return snapshot_;
}

// The order of the images follows from their number, and the place in it from the number of steps:
// with other data, or numbers that do not belong together, training would go on with nonsense.
void Trainer::check_state(const RunState& state, const std::string& file) const {
  // Older checkpoints do not say.
  const int64_t had = count_of(state, kTrainImages, kLargestCount, train_.count(), file);
  if (had != train_.count()) {
    throw_error(ErrorCode::data, file, ": the run was trained on ", had, " images and there are ",
                train_.count(), "; give it the same data, or start a new run");
  }
  const int64_t per_epoch = steps_per_epoch();
  // Older checkpoints of one batch count every step as an epoch. Neither number matters then.
  const bool matches = config_.train.overfit_batch || (state.epoch == state.step / per_epoch &&
                                                       state.batch == state.step % per_epoch);
  if (state.step < 0 || !matches) {
    throw_error(ErrorCode::data, file, ": step ", state.step, " is not epoch ", state.epoch,
                ", batch ", state.batch, " of epochs of ", per_epoch,
                " batches; the file is damaged, or the data is not that of the run");
  }
  for (const char* name : {"window.steps", "epoch.steps"}) {
    count_of(state, name, std::min(state.step, kLargestCount), 0, file);
  }
}

std::string Trainer::restore(const LoadedCheckpoint& checkpoint) {
  check_state(checkpoint.state, checkpoint.path + "/state.json");
  std::string note;
  if (config_.plan_mode == PlanMode::timed) {
    note = load_plan_table(context_, checkpoint.state.plan, checkpoint.path + "/state.json");
  }
  load_weights(params_, checkpoint.model, checkpoint.path + "/model.safetensors");
  load_training_only(params_, checkpoint.optimizer, checkpoint.path + "/optimizer.safetensors");
  std::vector<float> span(static_cast<size_t>(params_.span_count()), 0.0f);
  const size_t bytes = span.size() * sizeof(float);
  for (int i = 0; i < params_.moment_count(); ++i) {
    std::fill(span.begin(), span.end(), 0.0f);
    read_pieces(params_, checkpoint.optimizer, checkpoint.path + "/optimizer.safetensors",
                kMomentSuffix[i], span);
    context_.upload(params_.moment(i), span.data(), bytes);
  }
  const RunState& state = checkpoint.state;
  step_ = drained_ = saved_step_ = state.step;
  window_ = get_means(state, "window");
  epoch_means_ = get_means(state, "epoch");
  best_step_ = state.best_step;
  best_ = state.best_metric.value_or(0.0);
  upload_state();
  return note;
}

}  // namespace elbo
