// Errors of every layer: one exception type whose code decides the program's exit status.
//
// A message is one line that names the file, flag or operand, what was found, what was expected
// and what to do about it. ELBO_CHECK builds such a line from streamable pieces and is always on.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace elbo {

// Values are the program's exit codes.
enum class ErrorCode : int {
  failure = 1,  // anything not listed below
  usage = 2,    // wrong flag, config key or value
  device = 3,   // requested device or feature is unavailable, or the device reported an error
  data = 4,     // a data file or checkpoint is missing or corrupt
  numeric = 5,  // NaN or infinity where a finite value is required
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  explicit Error(const std::string& message) : Error(ErrorCode::failure, message) {}
  ErrorCode code() const { return code_; }
  int exit_status() const { return static_cast<int>(code_); }

 private:
  ErrorCode code_;
};

template <class... Pieces>
std::string concat(const Pieces&... pieces) {
  std::ostringstream out;
  (out << ... << pieces);
  return out.str();
}

template <class... Pieces>
[[noreturn]] void throw_error(ErrorCode code, const Pieces&... pieces) {
  throw Error(code, concat(pieces...));
}

}  // namespace elbo

// ELBO_CHECK(x.rows() == y.rows(), "add: x has ", x.rows(), " rows, y has ", y.rows());
#define ELBO_CHECK(condition, ...)                                  \
  do {                                                              \
    if (!(condition)) {                                             \
      ::elbo::throw_error(::elbo::ErrorCode::failure, __VA_ARGS__); \
    }                                                               \
  } while (false)
