#include "apps/program.h"
#include "apps/threads.h"

int main(int argc, char** argv) {
  elbo::restart_with_short_spins(argv);
  return elbo::run_program({argv + (argc > 0 ? 1 : 0), argv + argc});
}
