#include "apps/threads.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace elbo {
namespace {

int affinity_threads() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  // More than 1024 CPUs: the fixed-size mask is too small.
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

int whole_cpus(double quota, double period) {
  if (!(quota > 0 && period > 0)) return 0;
  return std::max(1, static_cast<int>(std::ceil(quota / period)));
}

// cpu.max of control groups v2: "max 100000" or "150000 100000".
int limit_of_group(const std::string& directory) {
  std::istringstream fields(first_line(directory + "/cpu.max"));
  double quota = 0, period = 0;
  return fields >> quota >> period ? whole_cpus(quota, period) : 0;
}

int smaller_limit(int a, int b) { return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b); }

}  // namespace

int cgroup_thread_limit() {
  const std::string root = "/sys/fs/cgroup";
  int limit = limit_of_group(root);
  const std::string group = first_line("/proc/self/cgroup");  // "0::/user.slice/..." in v2
  if (group.starts_with("0::")) {
    // Every group above has its say too.
    for (std::string path = group.substr(3); path.size() > 1; path.resize(path.rfind('/')))
      limit = smaller_limit(limit, limit_of_group(root + path));
  }
  const std::string v1 = root + "/cpu/cpu.cfs_";
  const double quota = std::atof(first_line(v1 + "quota_us").c_str());
  const double period = std::atof(first_line(v1 + "period_us").c_str());
  return smaller_limit(limit, whole_cpus(quota, period));
}

int allowed_threads() {
  const int limit = cgroup_thread_limit();
  return limit > 0 ? std::min(affinity_threads(), limit) : affinity_threads();
}

int use_threads(int requested) {
  const int threads = requested > 0 ? requested : allowed_threads();
#ifdef _OPENMP
  omp_set_dynamic(0);  // the count is part of a run's bits
  omp_set_num_threads(threads);
  return threads;
#else
  return std::min(threads, 1);
#endif
}

void restart_with_short_spins(char** argv) {
#ifdef _OPENMP
  constexpr const char* kRestarted = "ELBO_RESTARTED";  // stops a second restart, come what may
  const bool chosen = std::getenv("GOMP_SPINCOUNT") != nullptr ||
                      std::getenv("OMP_WAIT_POLICY") != nullptr ||
                      std::getenv(kRestarted) != nullptr;
  if (!chosen) {
    setenv("GOMP_SPINCOUNT", "1000", 1);
    setenv(kRestarted, "1", 1);
    execv("/proc/self/exe", argv);
    unsetenv("GOMP_SPINCOUNT");  // it did not work out; doctor should not claim it did
  }
  unsetenv(kRestarted);  // is no business of our children
#else
  (void)argv;
#endif
}

std::string spin_setting() {
#ifdef _OPENMP
  for (const char* name : {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}) {
    if (const char* value = std::getenv(name)) return std::string(name) + "=" + value;
  }
  return "library default";
#else
  return "built without OpenMP";
#endif
}

}  // namespace elbo
