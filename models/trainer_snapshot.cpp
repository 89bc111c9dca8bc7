// What a checkpoint of a training run holds, and how a run goes on from one.
#include <algorithm>
#include <cstring>

#include "kernels/parallel.h"
#include "models/trainer.h"
#include "models/weights.h"

namespace elbo {
namespace {

std::span<const std::byte> bytes_of(const float* values, int64_t count) {
  return {reinterpret_cast<const std::byte*>(values), static_cast<size_t>(count) * sizeof(float)};
}

// One span of the store as named tensors.
std::vector<NamedBlob> pieces_as_blobs(const ParamStore& params, const float* span,
                                       const std::string& suffix) {
  std::vector<NamedBlob> blobs;
  for (const ParamStore::Piece& piece : params.pieces()) {
    blobs.push_back({piece.name + suffix, StoredType::f32, dims_of(piece.shape),
                     bytes_of(span + piece.offset, piece.count)});
  }
  return blobs;
}

constexpr const char* kMomentSuffix[2] = {".moment1", ".moment2"};

void put_means(RunState& state, const std::string& name, const LossMeans& means) {
  state.values[name + ".loss"] = means.loss;
  state.values[name + ".recon"] = means.recon;
  state.values[name + ".kl"] = means.kl;
  state.values[name + ".steps"] = static_cast<double>(means.steps);
}

LossMeans get_means(const RunState& state, const std::string& name) {
  const auto value = [&](const char* field) {
    const auto found = state.values.find(name + field);
    return found == state.values.end() ? 0.0 : found->second;
  };
  return {value(".loss"), value(".recon"), value(".kl"), static_cast<int64_t>(value(".steps"))};
}

// Copies the named tensors of a file into a host span, piece by piece.
void read_pieces(const ParamStore& params, const SafetensorsFile& file, const std::string& path,
                 const std::string& suffix, std::vector<float>& span) {
  for (const ParamStore::Piece& piece : params.pieces()) {
    const NamedBlob blob = require_tensor(file, path, piece.name + suffix, dims_of(piece.shape));
    std::memcpy(span.data() + piece.offset, blob.bytes.data(), blob.bytes.size());
  }
}

}  // namespace

const Trainer::Snapshot& Trainer::snapshot() {
  drain();
  const auto count = static_cast<size_t>(params_.span_count());
  host_values_.resize(count);
  context_.download(host_values_.data(), params_.values(), count * sizeof(float));
  snapshot_.model = pieces_as_blobs(params_, host_values_.data(), "");
  snapshot_.optimizer.clear();
  for (int i = 0; i < params_.moment_count(); ++i) {
    host_moments_[i].resize(count);
    context_.download(host_moments_[i].data(), params_.moment(i), count * sizeof(float));
    for (NamedBlob& blob : pieces_as_blobs(params_, host_moments_[i].data(), kMomentSuffix[i])) {
      snapshot_.optimizer.push_back(std::move(blob));
    }
  }
  RunState state;
  state.step = step_;
  state.epoch = epoch_;
  state.batch = position_ / static_cast<int64_t>(rule_.batch);
  state.seed = config_.train.seed;
  state.threads = cpu::thread_count();
  state.device = context_.device() == Device::cuda ? "cuda" : "cpu";
  state.precision = precision_name(config_.precision);
  if (best_step_ >= 0) state.best_metric = best_;
  state.best_step = best_step_;
  put_means(state, "window", window_);
  put_means(state, "epoch", epoch_means_);
  snapshot_.state = std::move(state);
  return snapshot_;
}

void Trainer::restore(const LoadedCheckpoint& checkpoint) {
  load_weights(params_, checkpoint.model, checkpoint.path + "/model.safetensors");
  std::vector<float> span(static_cast<size_t>(params_.span_count()), 0.0f);
  const size_t bytes = span.size() * sizeof(float);
  for (int i = 0; i < params_.moment_count(); ++i) {
    std::fill(span.begin(), span.end(), 0.0f);
    read_pieces(params_, checkpoint.optimizer, checkpoint.path + "/optimizer.safetensors",
                kMomentSuffix[i], span);
    context_.upload(params_.moment(i), span.data(), bytes);
  }
  const RunState& state = checkpoint.state;
  step_ = drained_ = state.step;
  epoch_ = state.epoch;
  position_ = state.batch * static_cast<int64_t>(rule_.batch);
  window_ = get_means(state, "window");
  epoch_means_ = get_means(state, "epoch");
  best_step_ = state.best_step;
  best_ = state.best_metric.value_or(0.0);
  upload_state();
}

}  // namespace elbo
