// Which elbo this is.
#pragma once

#include <string>

namespace elbo {

std::string version_number();  // "0.1.0"
std::string git_commit();    // `git describe --always --dirty` at build time; empty outside a clone
std::string version_text();  // "elbo 0.1.0 (c1ad2c6)"

}  // namespace elbo
