// Passes every call on to another file system, except one that fails (or all from there on).
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

#include "engine/io/fs.h"

namespace elbo {

enum class Fault {
  error,          // the n-th call returns -errno
  error_after,    // so does every later one
  short_transfer  // the n-th call, if it reads or writes, moves one byte only
};

class FaultFs final : public Fs {
 public:
  explicit FaultFs(Fs& inner) : inner_(inner) {}

  // Counting starts again; call 0 is the next one. A negative number means no fault.
  void arm(int64_t call, Fault fault, int error_number = 0) {
    calls_ = 0;
    at_ = call;
    fault_ = fault;
    error_ = error_number;
  }
  int64_t calls() const { return calls_; }

  int open(const std::string& path, OpenMode mode) override {
    return guard([&] { return inner_.open(path, mode); });
  }
  int64_t read(int descriptor, std::span<std::byte> into) override {
    const size_t count = shortened(into.size());
    return guard([&] { return inner_.read(descriptor, into.first(count)); });
  }
  int64_t write(int descriptor, std::span<const std::byte> bytes) override {
    const size_t count = shortened(bytes.size());
    return guard([&] { return inner_.write(descriptor, bytes.first(count)); });
  }
  int sync(int descriptor) override {
    return guard([&] { return inner_.sync(descriptor); });
  }
  int close(int descriptor) override {
    const int result = inner_.close(descriptor);  // a failing close closes all the same
    return guard([&] { return result; });
  }
  int lock(int descriptor) override {
    return guard([&] { return inner_.lock(descriptor); });
  }
  int file_info(int descriptor, PathInfo& info) override {
    return guard([&] { return inner_.file_info(descriptor, info); });
  }
  int info(const std::string& path, PathInfo& info) override {
    return guard([&] { return inner_.info(path, info); });
  }
  int list(const std::string& path, std::vector<std::string>& names) override {
    return guard([&] { return inner_.list(path, names); });
  }
  int read_link(const std::string& path, std::string& target) override {
    return guard([&] { return inner_.read_link(path, target); });
  }
  int make_directory(const std::string& path) override {
    return guard([&] { return inner_.make_directory(path); });
  }
  int sync_directory(const std::string& path) override {
    return guard([&] { return inner_.sync_directory(path); });
  }
  int remove_directory(const std::string& path) override {
    return guard([&] { return inner_.remove_directory(path); });
  }
  int remove_file(const std::string& path) override {
    return guard([&] { return inner_.remove_file(path); });
  }
  int rename(const std::string& from, const std::string& to) override {
    return guard([&] { return inner_.rename(from, to); });
  }
  int symlink(const std::string& target, const std::string& path) override {
    return guard([&] { return inner_.symlink(target, path); });
  }

 private:
  size_t shortened(size_t size) const {
    return fault_ == Fault::short_transfer && calls_ == at_ ? std::min<size_t>(size, 1) : size;
  }

  template <class Call>
  auto guard(Call call) -> decltype(call()) {
    const int64_t number = calls_++;
    const bool fails = at_ >= 0 && ((fault_ == Fault::error && number == at_) ||
                                    (fault_ == Fault::error_after && number >= at_));
    if (fails) return static_cast<decltype(call())>(-error_);
    return call();
  }

  Fs& inner_;
  int64_t calls_ = 0;
  int64_t at_ = -1;
  Fault fault_ = Fault::error;
  int error_ = 0;
};

}  // namespace elbo
