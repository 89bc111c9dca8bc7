#include "tests/support/checkpoint_samples.h"

#include <algorithm>
#include <stdexcept>

namespace elbo {
namespace {

bool same_blob(const NamedBlob& a, const NamedBlob& b) {
  return a.name == b.name && a.type == b.type && a.shape == b.shape &&
         std::equal(a.bytes.begin(), a.bytes.end(), b.bytes.begin(), b.bytes.end());
}

bool same_blobs(const std::vector<NamedBlob>& loaded, std::span<const NamedBlob> saved) {
  return std::equal(loaded.begin(), loaded.end(), saved.begin(), saved.end(), same_blob);
}

}  // namespace

SampleCheckpoint::SampleCheckpoint(int64_t step, int generation, size_t weights) {
  for (size_t i = 0; i < weights; ++i) weights_.push_back(static_cast<float>(generation * 100 + i));
  for (size_t i = 0; i < 2 * weights; ++i)
    moments_.push_back(static_cast<float>(generation) / (i + 1));
  const auto bytes = [](std::span<const float> values) { return std::as_bytes(values); };
  const auto half = static_cast<int64_t>(weights / 2);
  model_ = {{"fc1.bias", StoredType::f32, {half}, bytes(weights_).first(weights / 2 * 4)},
            {"fc1.weight", StoredType::f32, {2, half / 2}, bytes(weights_).last(weights / 2 * 4)}};
  optimizer_ = {{"moments", StoredType::f32, {2, static_cast<int64_t>(weights)}, bytes(moments_)}};
  state_.step = step;
  state_.seed = 42;
  state_.counters["noise"] = static_cast<uint64_t>(generation);
  state_.values["loss"] = 1.0 / (generation + 1);
  config_ = "generation = " + std::to_string(generation) + "\n";
}

int generation_of(const LoadedCheckpoint& loaded) {
  const int generation = static_cast<int>(loaded.state.counters.at("noise"));
  const size_t weights = loaded.optimizer.view.tensors.at(0).bytes.size() / 8;
  const SampleCheckpoint expected(loaded.state.step, generation, weights);
  const CheckpointContents contents = expected.contents();
  const bool same = loaded.state == contents.state && loaded.config_toml == contents.config_toml &&
                    same_blobs(loaded.model.view.tensors, contents.model) &&
                    same_blobs(loaded.optimizer.view.tensors, contents.optimizer);
  if (!same) throw std::logic_error("a checkpoint was loaded whose parts do not belong together");
  return generation;
}

}  // namespace elbo
