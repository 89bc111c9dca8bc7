#include "engine/io/signals.h"

#include <unistd.h>

#include <atomic>

namespace elbo {
namespace {

constexpr int kShellOffset = 128;  // a shell reports death by signal n as 128 + n

std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may not take a lock");

extern "C" void on_stop_signal(int number) {
  int none = 0;
  if (!received.compare_exchange_strong(none, number)) _exit(kShellOffset + number);
}

}  // namespace

SignalScope::SignalScope() {
  received = 0;
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  // Libraries that do not expect interrupted system calls are left in peace.
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_interrupt_);
  sigaction(SIGTERM, &action, &previous_terminate_);
}

SignalScope::~SignalScope() {
  sigaction(SIGINT, &previous_interrupt_, nullptr);
  sigaction(SIGTERM, &previous_terminate_, nullptr);
}

WriteFailureScope::WriteFailureScope() {
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigemptyset(&ignore.sa_mask);
  sigaction(SIGPIPE, &ignore, &previous_pipe_);
  sigaction(SIGXFSZ, &ignore, &previous_size_);
}

WriteFailureScope::~WriteFailureScope() {
  sigaction(SIGPIPE, &previous_pipe_, nullptr);
  sigaction(SIGXFSZ, &previous_size_, nullptr);
}

bool stop_requested() { return received.load(std::memory_order_relaxed) != 0; }

int stop_exit_status() {
  const int number = received.load(std::memory_order_relaxed);
  return number == 0 ? 0 : kShellOffset + number;
}

}  // namespace elbo
