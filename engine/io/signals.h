// Ctrl-C and SIGTERM as a question that the training loop asks between steps, and failed writes as
// errors instead of signals.
//
// The first signal only sets a flag: the step is finished, a checkpoint written, and the program
// ends with the shell's customary status. A second signal ends the process at once, for the user
// who does not want to wait; files stay whole, since they are only ever replaced by rename.
#pragma once

#include <signal.h>

namespace elbo {

// Handles SIGINT and SIGTERM while it lives, then restores what was there before. One at a time.
class SignalScope {
 public:
  SignalScope();
  ~SignalScope();
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;

 private:
  struct sigaction previous_interrupt_ {};
  struct sigaction previous_terminate_ {};
};

// A write that fails because nobody reads any more (SIGPIPE) or because of ulimit -f (SIGXFSZ) is
// an error like any other while this lives, not the end of the process. Then restores what was
// there.
class WriteFailureScope {
 public:
  WriteFailureScope();
  ~WriteFailureScope();
  WriteFailureScope(const WriteFailureScope&) = delete;
  WriteFailureScope& operator=(const WriteFailureScope&) = delete;

 private:
  struct sigaction previous_pipe_ {};
  struct sigaction previous_size_ {};
};

bool stop_requested();

// 130 after SIGINT, 143 after SIGTERM, 0 if nobody asked to stop.
int stop_exit_status();

}  // namespace elbo
