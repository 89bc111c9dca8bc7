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

CommandLine interpolate_command_line();
int interpolate(const Arguments& arguments);

CommandLine manifold_command_line();
int manifold(const Arguments& arguments);

CommandLine neighbours_command_line();
int neighbours(const Arguments& arguments);

CommandLine encode_command_line();
int encode(const Arguments& arguments);

CommandLine decode_command_line();
int decode(const Arguments& arguments);

CommandLine scatter_command_line();
int scatter(const Arguments& arguments);

CommandLine edit_command_line();
int edit(const Arguments& arguments);

CommandLine compress_command_line();
int compress(const Arguments& arguments);

CommandLine evaluate_command_line();
int evaluate(const Arguments& arguments);

CommandLine score_command_line();
int score(const Arguments& arguments);

CommandLine data_command_line();
int show_data(const Arguments& arguments);

CommandLine summary_command_line();
int summary(const Arguments& arguments);

CommandLine doctor_command_line();
int doctor(const Arguments& arguments);

}  // namespace elbo
