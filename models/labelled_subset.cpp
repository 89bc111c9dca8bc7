#include "models/labelled_subset.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/error.h"
#include "kernels/shuffle.h"

namespace elbo {
namespace {

// Of one class. Not one of the epochs' orders.
ShuffleKey key_of(uint64_t seed, uint8_t label) {
  NoiseAddress at;
  at.purpose = NoisePurpose::labelled;
  at.sample = label;
  const PhiloxCounter bits = noise_bits(NoiseKey{seed}, at, 0);
  return {{bits.c0, bits.c1, bits.c2, bits.c3}};
}

}  // namespace

int64_t labelled_count(double labelled, int64_t images) {
  if (labelled == 0) return images;
  if (labelled <= 1) return std::llround(labelled * static_cast<double>(images));
  if (labelled > static_cast<double>(images) || labelled != std::floor(labelled)) {
    throw_error(ErrorCode::usage, "data.labelled is ", labelled,
                "; expected a share up to 1, or a ", "number of the ", images, " training images");
  }
  return static_cast<int64_t>(labelled);
}

std::vector<uint8_t> choose_labelled(std::span<const uint8_t> labels, int64_t count,
                                     uint64_t seed) {
  std::map<uint8_t, std::vector<int64_t>> by_class;
  for (int64_t i = 0; i < std::ssize(labels); ++i) by_class[labels[i]].push_back(i);
  if (count < std::ssize(by_class)) {
    throw_error(ErrorCode::usage, "data.labelled: labels of ", count,
                " images are known, and there are ", by_class.size(),
                " classes; expected at least one of each");
  }
  ELBO_CHECK(count <= std::ssize(labels), "choose_labelled: ", count, " of ", labels.size());
  std::vector<uint8_t> chosen(labels.size(), 0);
  for (uint64_t round = 0; count > 0; ++round) {
    for (const auto& [label, images] : by_class) {
      if (round >= images.size() || count == 0) continue;
      chosen[images[shuffled_index(round, images.size(), key_of(seed, label))]] = 1;
      --count;
    }
  }
  return chosen;
}

}  // namespace elbo
