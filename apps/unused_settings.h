// Settings that somebody gave and that the rest of the configuration makes no use of.
#pragma once

#include <string>
#include <vector>

#include "apps/config_merge.h"

namespace elbo {

// "train.objective.samples has no effect: ..." of each key that some source set to another value than the
// default's. A file that a run wrote has every key, most with its default.
std::vector<std::string> unused_settings(const MergedConfig& merged);

}  // namespace elbo
