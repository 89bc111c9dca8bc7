#include "apps/threads.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "kernels/error.h"

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

#ifdef _OPENMP
// How many of `wanted` threads, this one among them, the system lets live at the same time.
int possible_threads(int wanted) {
  std::atomic<bool> enough = false;
  std::vector<std::thread> others;
  try {
    while (static_cast<int>(others.size()) + 1 < wanted)
      others.emplace_back([&] { enough.wait(false); });
  } catch (const std::exception&) {  // the system says no, or there is no memory to ask
  }
  enough = true;
  enough.notify_all();
  for (std::thread& thread : others) thread.join();
  return static_cast<int>(others.size()) + 1;
}

int team_size(int wanted) {
  int members = 0;
#pragma omp parallel num_threads(wanted) reduction(+ : members)
  members += 1;
  return members;
}

// libgomp ends the process if the system denies it a thread. So they are asked for here first, and
// OpenMP takes its own at once, while the room for them is known to be there.
void start_threads(int wanted) {
  static int started = 1;
  if (wanted == started) return;
  int possible = possible_threads(wanted);
  if (possible == wanted) possible = team_size(wanted);  // fewer under OMP_THREAD_LIMIT
  if (possible < wanted) {
    throw_error(ErrorCode::failure, "--threads: ", wanted,
                " are wanted, but the system grants only ", possible,
                "; use fewer, or raise its limits (ulimit -u, ulimit -v, OMP_THREAD_LIMIT)");
  }
  started = wanted;
}
#endif

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
#ifdef _OPENMP
  const int threads =
      requested > 0 ? requested : std::min(allowed_threads(), omp_get_thread_limit());
  omp_set_dynamic(0);  // the count is part of a run's bits
  start_threads(threads);
  omp_set_num_threads(threads);
  return threads;
#else
  (void)requested;
  return 1;
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
