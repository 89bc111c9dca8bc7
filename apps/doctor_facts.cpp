#include "apps/doctor_facts.h"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "apps/run_data.h"
#include "apps/threads.h"
#include "apps/version.h"
#include "engine/context.h"

#ifdef ELBO_HAS_CUDA
#include "apps/doctor_cuda.h"
#endif

namespace elbo {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

std::string compiler_text() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

std::string instruction_sets() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  std::string text = "x86-64";
  const std::array<std::pair<const char*, bool>, 5> sets = {{
      {"avx2", __builtin_cpu_supports("avx2") != 0},
      {"fma", __builtin_cpu_supports("fma") != 0},
      {"avx512f", __builtin_cpu_supports("avx512f") != 0},
      {"avx512bw", __builtin_cpu_supports("avx512bw") != 0},
      {"avx512vnni", __builtin_cpu_supports("avx512vnni") != 0},
  }};
  for (const auto& [name, present] : sets)
    if (present) text += std::string(" ") + name;
  return text;
#else
  return "not x86-64";
#endif
}

// The nearest of `path` and what is above it that exists. A link to nothing exists: it is in the
// way.
std::string existing_parent(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  fs::path at = fs::absolute(path, ignored);
  while (fs::symlink_status(at, ignored).type() == fs::file_type::not_found &&
         at.has_relative_path())
    at = at.parent_path();
  return at.string();
}

// Why nothing can be created in a directory, or nothing. Permissions do not tell: the superuser has
// them all, and a file system may be read-only or of a kind of its own, like /proc.
std::string why_not_writable(const std::string& directory) {
  std::string trial = directory + "/.elbo_doctor_XXXXXX";
  if (mkdtemp(trial.data()) == nullptr) return std::generic_category().message(errno);
  rmdir(trial.c_str());
  return "";
}

}  // namespace

std::vector<Fact> build_facts() {
  std::vector<Fact> facts = {{"program", version_text()}, {"compiler", compiler_text()}};
#ifdef ELBO_HAS_CUDA
  facts.push_back({"cuda_built_in", "yes, toolkit " + doctor_cuda::toolkit_version()});
#else
  facts.push_back({"cuda_built_in", "no", Health::note,
                   "to use a GPU, install the CUDA toolkit and build with ELBO_CUDA=ON"});
#endif
  return facts;
}

std::vector<Fact> cuda_facts() {
  std::vector<Fact> facts;
#ifdef ELBO_HAS_CUDA
  const std::string driver = doctor_cuda::driver_version();
  if (driver.empty()) {
    facts.push_back({"cuda_driver", "none", Health::note, "install NVIDIA's driver to use a GPU"});
  } else {
    facts.push_back({"cuda_driver", "supports CUDA " + driver});
  }
  facts.push_back({"cublaslt", doctor_cuda::cublaslt_version()});
  for (int index = 0; index < doctor_cuda::device_count(); ++index) {
    facts.push_back(
        {fmt::format("cuda_device_{}", index), device_description({Device::cuda, index, ""})});
  }
#endif
  const DeviceChoice choice = choose_device("auto");
  if (choice.device == Device::cuda) {
    facts.push_back({"device_auto", "cuda: " + choice.reason});
  } else {
    facts.push_back({"device_auto", "cpu: " + choice.reason});
  }
  return facts;
}

std::vector<Fact> cpu_facts() {
  const int threads = allowed_threads(), limit = cgroup_thread_limit();
  std::vector<Fact> facts = {{"cpu_instructions", instruction_sets()}};
  facts.push_back(
      {"cpu_threads", fmt::format("{} ({})", threads,
                                  limit == 0 ? "no control group limit"
                                             : fmt::format("control group allows {}", limit))});
#ifdef _OPENMP
  Fact spin{"openmp_spin", spin_setting()};
  if (spin.value == "library default") {
    spin.health = Health::note;
    spin.hint = "set GOMP_SPINCOUNT=1000 when other programs share the cores";
  }
  facts.push_back(std::move(spin));
#else
  facts.push_back({"openmp_spin", spin_setting(), Health::note, "build with ELBO_OPENMP=ON"});
#endif
  return facts;
}

std::vector<Fact> disk_facts(const std::string& output_directory) {
  constexpr double kComfort_gib = 1.0;  // a few hundred checkpoints of a small model
  const std::string place = existing_parent(output_directory);
  const std::string obstacle = why_not_writable(place);
  if (!obstacle.empty()) {
    return {{"disk_free", "cannot write to " + place + ": " + obstacle, Health::trouble,
             "runs cannot be kept there; use another --out"}};
  }
  struct statvfs info {};
  if (statvfs(place.c_str(), &info) != 0) {
    return {{"disk_free", place + ": unknown", Health::note, "check the path given with --out"}};
  }
  const double free_gib =
      static_cast<double>(info.f_bavail) * static_cast<double>(info.f_frsize) / kGib;
  Fact fact{"disk_free", fmt::format("{:.1f} GiB in {}", free_gib, place)};
  if (free_gib < kComfort_gib) {
    fact.health = Health::note;
    fact.hint = "checkpoints and pictures may not fit; make room or use another --out";
  }
  return {fact};
}

std::vector<Fact> data_facts(const std::string& data_directory) {
  if (data_directory.empty()) return {{"data", "not asked for (--data DIR)"}};
  try {
    Log log(true);
    DataConfig config;
    config.path = data_directory;
    const ImageSet set = open_images(real_fs(), config, {}, log);
    return {{"data", fmt::format("{}: {} + {} images of {} in {}", set.format, set.train.count,
                                 set.test.count, image_size_text(set.train), data_directory)}};
  } catch (const Error& error) {
    return {{"data", error.what(), Health::trouble, "check --data"}};
  }
}

}  // namespace elbo
