// The program without its main(): what tests call.
#pragma once

#include <string>
#include <vector>

namespace elbo {

// Runs `elbo ARGUMENTS...`. Results go to stdout, everything else to stderr; an error is one line,
// "elbo: ...". Returns the exit status: 0 ok, 1 failure, 2 usage or configuration, 3 device
// unavailable, 4 data missing or corrupt, 5 numeric failure, 130 and 143 interrupted.
int run_program(const std::vector<std::string>& arguments);

// "elbo --preset x train", as typed: for run.json.
const std::vector<std::string>& program_arguments();

}  // namespace elbo
