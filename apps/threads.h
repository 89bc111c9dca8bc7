// How many threads this process may use, and how its OpenMP threads wait.
#pragma once

#include <string>

namespace elbo {

// The CPUs of the affinity mask, at most what the control group's quota pays for, at least 1. More
// threads than that only wait for each other.
int allowed_threads();

// The quota alone: 0 if there is none.
int cgroup_thread_limit();

// Sets the number of OpenMP threads (0: allowed_threads()) and returns it. Throws if the system
// does not grant so many.
int use_threads(int requested);

// libgomp's threads spin for milliseconds at every barrier; when cores are shared, a step then takes
// fifty times as long (docs/benchmarks.md). The library reads its settings before main(), so the
// program starts itself again with GOMP_SPINCOUNT set, once, unless the user has chosen.
void restart_with_short_spins(char** argv);

// For doctor: "GOMP_SPINCOUNT=1000", or what else is set, or "library default".
std::string spin_setting();

}  // namespace elbo
