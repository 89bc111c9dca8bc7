// "did you mean": the known name that a mistyped one is closest to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace elbo {

// Insertions, deletions, substitutions and swaps of neighbours that turn one text into the other.
int edit_distance(std::string_view a, std::string_view b);

// Empty if nothing is near enough to be worth suggesting.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

// "; did you mean --latent-dim?", or nothing.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& known);

}  // namespace elbo
