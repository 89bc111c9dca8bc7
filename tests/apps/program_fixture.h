// Running the program in tests: in-process, or as the built binary.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "apps/program.h"

namespace elbo::testing_apps {

using Strings = std::vector<std::string>;

struct Outcome {
  int status = 0;
  std::string out, err;
};

inline std::string read_file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline Outcome run_in_process(const Strings& arguments) {
  Outcome outcome;
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  outcome.status = run_program(arguments);
  outcome.err = testing::internal::GetCapturedStderr();
  outcome.out = testing::internal::GetCapturedStdout();
  return outcome;
}

// A running `elbo ARGUMENTS...` of the built program, with its output in files.
class Process {
 public:
  // `prepare` runs in the new process, last before the program starts.
  Process(const Strings& arguments, const std::string& directory,
          const std::function<void()>& prepare = nullptr)
      : out_(directory + "/stdout"), err_(directory + "/stderr") {
    Strings all = {ELBO_PROGRAM};
    all.insert(all.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& argument : all) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    redirect(out_, STDOUT_FILENO);
    redirect(err_, STDERR_FILENO);
    if (prepare) prepare();
    execv(argv[0], argv.data());
    _exit(127);
  }

  void signal(int number) const { kill(pid_, number); }
  bool ended() { return done_ || (done_ = waitpid(pid_, &status_, WNOHANG) == pid_); }

  Outcome wait() {
    if (!done_) waitpid(pid_, &status_, 0);
    const int status = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
    return {status, read_file_text(out_), read_file_text(err_)};
  }

 private:
  static void redirect(const std::string& path, int descriptor) {
    const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(file, descriptor);
    close(file);
  }

  std::string out_, err_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool done_ = false;
};

// A fresh directory, and an environment without settings of whoever runs the tests.
class ProgramTest : public testing::Test {
 protected:
  ProgramTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "elbo_apps_XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    for (const char* name : {"ELBO_PRESET", "ELBO_BATCH_SIZE", "ELBO_DATA", "ELBO_DEVICE"})
      unsetenv(name);
    setenv("XDG_CACHE_HOME", path("cache").c_str(), 1);
  }
  ~ProgramTest() override { std::filesystem::remove_all(directory_); }

  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::binary) << text;
    return path(name);
  }

  Outcome run_binary(const Strings& arguments) const {
    return Process(arguments, directory_).wait();
  }

  // A run that takes a moment only: 8 x 8 sprites, 12 steps.
  Strings tiny_run(const std::string& out) const {
    return {"train",
            "--preset",
            "sprites",
            "--out",
            path(out),
            "--device",
            "cpu",
            "--threads",
            "1",
            "-z",
            "2",
            "-b",
            "32",
            "-e",
            "2",
            "--set",
            "model.hidden=16",
            "--set",
            "data.resolution=8",
            "--set",
            "data.train_samples=192",
            "--set",
            "data.test_samples=40",
            "--log-interval",
            "4"};
  }

  const std::string& directory() const { return directory_; }

 private:
  std::string directory_;
};

inline Strings operator+(Strings a, const Strings& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace elbo::testing_apps
