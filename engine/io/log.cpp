#include "engine/io/log.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "engine/io/blob.h"

namespace elbo {
namespace {

constexpr std::string_view kClearLine = "\r\x1b[K";

void write_to_stderr(std::string_view text) {
  // stderr may be closed or a broken pipe; there is nobody left to tell.
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

Terminal stderr_terminal() {
  Terminal terminal;
  const char* kind = std::getenv("TERM");
  const bool dumb = kind == nullptr || std::string_view(kind) == "dumb";
  terminal.interactive = ::isatty(STDERR_FILENO) == 1 && !dumb;
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    terminal.width = size.ws_col;
  return terminal;
}

Log::Log(bool quiet) : quiet_(quiet), terminal_(stderr_terminal()), sink_(write_to_stderr) {}

Log::Log(bool quiet, Terminal terminal, Sink sink)
    : quiet_(quiet), terminal_(terminal), fixed_terminal_(true), sink_(std::move(sink)) {}

Log::~Log() { end_live(); }

void Log::open_file(Fs& fs, const std::string& path, OpenMode mode) {
  const std::lock_guard lock(mutex_);
  file_.reset();
  file_.emplace(fs, path, mode);
}

void Log::note(std::string_view line) {
  const std::lock_guard lock(mutex_);
  const std::string text = one_line(line);
  if (!quiet_) print(text);
  append_to_file(text);
}

void Log::warning(std::string_view line) {
  const std::lock_guard lock(mutex_);
  const std::string text = "warning: " + one_line(line);
  print(text);
  append_to_file(text);
}

void Log::file_only(std::string_view line) {
  const std::lock_guard lock(mutex_);
  append_to_file(one_line(line));
}

void Log::live(std::string_view line) {
  const std::lock_guard lock(mutex_);
  if (!shows_live()) return;
  live_ = line;
  sink_(std::string(kClearLine) + live_);
}

void Log::end_live() {
  const std::lock_guard lock(mutex_);
  if (!live_.empty()) sink_("\n");
  live_.clear();
}

int Log::width() const { return fixed_terminal_ ? terminal_.width : stderr_terminal().width; }

void Log::print(std::string_view line) {
  std::string text;
  if (!live_.empty()) text += kClearLine;
  text += line;
  text += '\n';
  sink_(text + live_);
}

void Log::append_to_file(std::string_view line) {
  if (!file_) return;
  try {
    file_->write(std::string(line) + "\n");
  } catch (const Error& error) {
    file_.reset();
    print(concat("warning: train.log ends here: ", error.what()));
  }
}

}  // namespace elbo
