// The subcommands of the program. Each is a file of its own with two functions: its flags, and what it
// does; the latter returns the exit status or throws elbo::Error.
#pragma once

#include "apps/command_line.h"

namespace elbo {

CommandLine train_command_line();
int train(const Arguments& arguments);

CommandLine sample_command_line();
int sample(const Arguments& arguments);

CommandLine reconstruct_command_line();
int reconstruct(const Arguments& arguments);

CommandLine traverse_command_line();
int traverse(const Arguments& arguments);

CommandLine evaluate_command_line();
int evaluate(const Arguments& arguments);

CommandLine data_command_line();
int show_data(const Arguments& arguments);

CommandLine summary_command_line();
int summary(const Arguments& arguments);

CommandLine doctor_command_line();
int doctor(const Arguments& arguments);

}  // namespace elbo
