#include "apps/nearest_name.h"

#include <algorithm>

namespace elbo {

int edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the optimal string alignment table: two above and the current one.
  std::vector<int> older(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int substitution = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, substitution});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], older[j - 2] + 1);
    }
    std::swap(older, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  std::string best;
  // About a third of the letters may be wrong: enough for typing errors, too little for wild guesses.
  const size_t length = name.size();
  const auto tolerated = static_cast<int>(length <= 4 ? 1 : length <= 8 ? 2 : length / 3);
  int best_distance = tolerated + 1;
  for (const std::string& candidate : known) {
    const int distance = edit_distance(name, candidate);
    if (distance >= best_distance) continue;
    best = candidate;
    best_distance = distance;
  }
  // Someone who left out a part ("latent_dim", "mnist") meant a name that contains the rest.
  constexpr size_t kTelling = 4;  // letters; fewer are contained in too much
  for (const std::string& candidate : known) {
    if (best.empty() && length >= kTelling && candidate.find(name) != std::string::npos)
      best = candidate;
  }
  return best;
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& known) {
  const std::string nearest = nearest_name(name, known);
  return nearest.empty() ? "" : "; did you mean " + nearest + "?";
}

}  // namespace elbo
