// Presets of autoencoders that restore corrupted images.
#pragma once

#include <vector>

#include "models/config.h"

namespace elbo {

std::vector<Preset> restoring_presets();

}  // namespace elbo
