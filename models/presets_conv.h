// The presets of convolutional models.
#pragma once

#include <vector>

#include "models/config.h"

namespace elbo {

std::vector<Preset> convolutional_presets();

}  // namespace elbo
