// The file that a flag like --out names, checked before the work begins.
#pragma once

#include <string>
#include <vector>

#include "apps/command_line.h"

namespace elbo {

// Without the flag, `fallback` in the directory of --run, or nothing if `fallback` is empty.
// Errors    ErrorCode::usage unless the name has one of the `endings` (".png") and its directory exists
std::string output_path(const Arguments& arguments, const std::string& flag,
                        const std::string& fallback, const std::vector<std::string>& endings);

}  // namespace elbo
