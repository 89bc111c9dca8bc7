// What the user reads: messages on stderr, the same text in train.log, and one live line.
//
// The live line (progress) is the last line of a terminal, redrawn in place; a message first clears
// it, then puts it back below. Nothing live and no escape codes ever reach a pipe or train.log.
// Quiet hides notes, not warnings. A line stays one, whatever a path in it holds: see one_line().
// Calls are serialised by a mutex.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "engine/io/file_ops.h"

namespace elbo {

struct Terminal {
  bool interactive = false;
  int width = 80;
};

Terminal stderr_terminal();  // asks again each time: windows are resized

class Log {
 public:
  using Sink = std::function<void(std::string_view)>;

  explicit Log(bool quiet = false);
  // For tests: writes to `sink` as if it were such a terminal.
  Log(bool quiet, Terminal terminal, Sink sink);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // From here on, messages are also appended to this file. A failing file never stops the run.
  void open_file(Fs& fs, const std::string& path, OpenMode mode);

  void note(std::string_view line);     // "epoch 1 done"
  void warning(std::string_view line);  // printed as "warning: ..."
  void file_only(std::string_view line);

  // Replaces the live line; ignored unless the terminal is interactive and not quiet.
  void live(std::string_view line);
  void end_live();  // leaves the live line standing as an ordinary line

  bool shows_live() const { return terminal_.interactive && !quiet_; }
  int width() const;

 private:
  void print(std::string_view line);
  void append_to_file(std::string_view line);

  bool quiet_;
  Terminal terminal_;
  bool fixed_terminal_ = false;
  Sink sink_;
  std::string live_;
  std::optional<FileWriter> file_;
  std::mutex mutex_;
};

}  // namespace elbo
