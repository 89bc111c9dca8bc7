#include "apps/program.h"
#include "apps/standard_streams.h"
#include "apps/threads.h"

int main(int argc, char** argv) {
  elbo::fill_standard_streams();  // before anything is opened
  elbo::restart_with_short_spins(argv);
  return elbo::run_program({argv + (argc > 0 ? 1 : 0), argv + argc});
}
