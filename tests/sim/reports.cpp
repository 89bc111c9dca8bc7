#include "tests/sim/reports.h"

#include <cxxabi.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "tests/sim/race_hooks.h"

extern "C" char __executable_start[];

namespace cudasim {
namespace {

constexpr size_t kMaxReports = 100;  // a broken kernel of a million threads says enough by then

// Never destroyed: runtime calls may still come from destructors of static objects.
std::vector<Report>& reports = *new std::vector<Report>;
cudaError_t sticky = cudaSuccess;

// What `addr2line OPTIONS` prints first for a code address of this program.
std::string addr2line(const char* options, uintptr_t address) {
  char program[512] = "";
  if (readlink("/proc/self/exe", program, sizeof program - 1) <= 0) return "?";
  const unsigned long offset = address - reinterpret_cast<uintptr_t>(__executable_start);
  char command[640], line[1024] = "?";
  std::snprintf(command, sizeof command, "addr2line %s -e '%s' 0x%lx 2>/dev/null", options, program,
                offset);
  if (FILE* pipe = popen(command, "r")) {
    if (!std::fgets(line, sizeof line, pipe)) std::strcpy(line, "?");
    pclose(pipe);
  }
  line[std::strcspn(line, "\n")] = 0;
  return line;
}

bool parse_flag(const char* name) {
  const char* value = std::getenv(name);
  return value && *value && std::strcmp(value, "0") != 0;
}

Config config_from_environment() {
  Config config;
  if (const char* order = std::getenv("ELBO_SIM_ORDER")) {
    if (!parse_order(order, &config)) {
      std::fprintf(stderr, "cudasim: ELBO_SIM_ORDER=%s: forward, reverse or random:SEED\n", order);
      std::exit(2);
    }
  }
  config.async = parse_flag("ELBO_SIM_ASYNC");
  config.plain_products_only = parse_flag("ELBO_SIM_PLAIN_PRODUCTS");
  if (const char* n = std::getenv("ELBO_SIM_FAIL_CALL")) config.fail_call = std::atol(n);
  if (const char* n = std::getenv("ELBO_SIM_MEMORY")) config.memory_limit = std::atoll(n);
  if (const char* n = std::getenv("ELBO_SIM_DEVICES")) config.devices = std::atoi(n) > 0;
  return config;
}

// Without a test fixture nobody would look at the reports, so the process itself must fail.
void at_exit() {
  check_overruns();
  const Live held = live();
  // After a sticky error nothing can be released in an orderly way.
  const bool leaked = held != Live{} && sticky == cudaSuccess;
  if (leaked) std::fprintf(stderr, "cudasim: held at exit: %s\n", describe(held).c_str());
  if (reports.empty() && !leaked) return;
  if (!reports.empty()) {
    std::fprintf(stderr, "cudasim: %zu reports, the first: %s: %s\n", reports.size(),
                 reports[0].what.c_str(), reports[0].text.c_str());
  }
  std::fflush(nullptr);
  _exit(3);
}

// Registered before main and before ordinary static objects are made, hence run after they are
// gone.
__attribute__((constructor(101))) void register_exit_check() { std::atexit(at_exit); }

}  // namespace

Config& config() {
  static Config instance = config_from_environment();
  return instance;
}

bool parse_order(const std::string& text, Config* config) {
  if (text == "forward") {
    config->order = Order::forward;
  } else if (text == "reverse") {
    config->order = Order::reverse;
  } else if (text.rfind("random:", 0) == 0 && text.size() > 7) {
    char* end = nullptr;
    config->seed = std::strtoull(text.c_str() + 7, &end, 10);
    config->order = Order::random;
    return *end == 0;
  } else {
    return false;
  }
  return true;
}

void add_report(const char* what, const char* format, ...) {
  if (reports.size() >= kMaxReports) return;
  char text[768];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  reports.push_back(Report{what, text});
  if (config().print) std::fprintf(stderr, "cudasim: %s: %s\n", what, text);
}

int report_count() { return static_cast<int>(reports.size()); }
Report report(int index) { return reports.at(index); }

void clear_reports() {
  reports.clear();
  sticky = cudaSuccess;
  cudaGetLastError();
  race::forget_reported();
}

cudaError_t sticky_error() { return sticky; }
void set_sticky_error(cudaError_t error) { sticky = error; }

bool race_checker_enabled() { return race::kEnabled; }

const char* short_path(const char* path) {
  const char* start = path;
  const char* before = nullptr;
  for (const char* slash = std::strchr(path, '/'); slash; slash = std::strchr(slash + 1, '/')) {
    if (before) start = before + 1;
    before = slash;
  }
  return start;
}

std::string source_line(uintptr_t code_address) {
  static auto& lines = *new std::map<uintptr_t, std::string>;
  const auto [entry, is_new] = lines.try_emplace(code_address);
  if (is_new) {
    std::string line = addr2line("", code_address);
    line.resize(std::min(line.size(), line.find(" (discriminator")));
    entry->second = short_path(line.c_str());
  }
  return entry->second;
}

const char* mangled_name(const void* function) {
  static auto& names = *new std::map<const void*, std::string>;
  const auto [entry, is_new] = names.try_emplace(function);
  if (is_new) entry->second = addr2line("-f", reinterpret_cast<uintptr_t>(function));
  return entry->second[0] == '?' ? nullptr : entry->second.c_str();
}

std::string kernel_name(const void* function) {
  const char* mangled = mangled_name(function);
  if (!mangled) return "(unknown kernel)";
  int failed = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(mangled, nullptr, nullptr, &failed), &std::free);
  return failed ? mangled : name.get();
}

}  // namespace cudasim
