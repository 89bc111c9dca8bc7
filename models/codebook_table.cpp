#include "models/codebook_table.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/error.h"
#include "kernels/noise.h"
#include "kernels/vector_quantise.h"

namespace elbo {
namespace {

// Of an even share: codes that training had forgotten can be written all the same.
constexpr double kLeastUse = 1e-3;

std::vector<float> download(Context& context, const Tensor& from) {
  std::vector<float> values(static_cast<size_t>(from.size()));
  context.download(values.data(), from.data, from.bytes());
  return values;
}

}  // namespace

CodebookTable::CodebookTable(const Autoencoder& model) {
  ELBO_CHECK(model.quantised(), "the model has no codebook");
  const Codebook& codebook = model.codebook();
  Context& context = model.params().context();
  const BufferStore& buffers = model.params().buffers();
  size_ = codebook.size;
  dim_ = codebook.dim;
  codes_per_image_ = model.codes_per_image();
  codes_ = download(context, buffers.value(codebook.codes));
  const std::vector<float> counts = download(context, buffers.value(codebook.counts));
  const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
  const double least = kLeastUse * std::max(total, 1.0) / static_cast<double>(size_);
  for (const float count : counts) weights_.push_back(count + least);
  const double sum = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  for (double& weight : weights_) weight /= sum;
}

std::vector<int32_t> CodebookTable::codes_of(std::span<const float> latents) const {
  NearestCodes<float> args;
  args.rows = std::ssize(latents) / dim_;
  args.dim = dim_;
  args.size = size_;
  const auto rows = static_cast<size_t>(args.rows);
  std::vector<int32_t> index(rows);
  std::vector<float> q(latents.size()), squares(rows);
  args.x = latents.data();
  args.codes = codes_.data();
  args.index = index.data();
  args.q = q.data();
  args.squares = squares.data();
  nearest_codes(Exec{}, args);
  return index;
}

std::vector<float> CodebookTable::latents_of(std::span<const int32_t> codes) const {
  std::vector<float> latents;
  latents.reserve(codes.size() * static_cast<size_t>(dim_));
  for (const int32_t code : codes) {
    ELBO_CHECK(code >= 0 && code < size_, "code ", code, " of ", size_);
    for (int64_t d = 0; d < dim_; ++d) latents.push_back(codes_[d * size_ + code]);
  }
  return latents;
}

std::vector<int32_t> CodebookTable::draw(int64_t n, uint64_t seed, float temperature,
                                         int64_t first) const {
  // Relative to the largest: 1 to any power is 1, and what is below it to an infinite one is 0.
  const double largest = *std::max_element(weights_.begin(), weights_.end());
  std::vector<double> until;
  double sum = 0;
  for (const double weight : weights_) {
    until.push_back(sum += std::pow(weight / largest, 1.0 / temperature));
  }
  std::vector<int32_t> codes;
  NoiseAddress at;
  at.purpose = NoisePurpose::prior;
  for (int64_t i = 0; i < n; ++i) {
    at.sample = static_cast<uint32_t>(first + i);
    for (int64_t piece = 0; piece < codes_per_image_; ++piece) {
      const double u = sum * uniform1(NoiseKey{seed}, at, static_cast<uint64_t>(piece));
      const auto found = std::upper_bound(until.begin(), until.end(), u);
      codes.push_back(static_cast<int32_t>(std::min(found - until.begin(), size_ - 1)));
    }
  }
  return codes;
}

double CodebookTable::plain_bits() const {
  return static_cast<double>(codes_per_image_) * std::log2(static_cast<double>(size_));
}

double CodebookTable::entropy_coded_bits(std::span<const int32_t> codes) const {
  double bits = 0;
  for (const int32_t code : codes) bits -= std::log2(weights_[code]);
  return bits * static_cast<double>(codes_per_image_) / static_cast<double>(codes.size());
}

}  // namespace elbo
