// The simulator as tests see it: thread orders, fault injection, reports, leak accounting.
//
// The same switches come from the environment when the simulated `elbo` program itself is run:
//   ELBO_SIM_ORDER=forward|reverse|random:SEED   which block and which ready thread runs next
//   ELBO_SIM_ASYNC=1         streams are queues that run only when something waits for them
//   ELBO_SIM_FAIL_CALL=N     the N-th runtime call (from 1) fails
//   ELBO_SIM_MEMORY=BYTES    size of the simulated GPU's memory
//   ELBO_SIM_DEVICES=0       behave like a machine without a driver
//   ELBO_SIM_PLAIN_PRODUCTS=1   cuBLASLt finds no algorithm for products with an epilogue
// A process that still holds reports or device memory when it exits says so and exits with 3.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace cudasim {

enum class Order { forward, reverse, random };

struct Config {
  Order order = Order::forward;
  uint64_t seed = 1;   // of Order::random
  bool async = false;  // see ELBO_SIM_ASYNC; shows missing synchronisation and missing events
  bool poison = true;  // shared memory and fresh allocations start as NaN (all bits set)
  bool print = true;   // reports also go to stderr at once
  int devices = 1;     // 0 or 1
  size_t memory_limit = size_t{2} << 30;
  long fail_call = 0;  // the n-th counted call from now fails; 0 is never
  cudaError_t fail_error = cudaErrorMemoryAllocation;
  bool plain_products_only = false;      // cuBLASLt has no algorithm for any epilogue
  bool no_library_convolutions = false;  // cuDNN has no algorithm for any convolution
  int broken_promises = 0;  // so many convolutions cuDNN refuses that its heuristic had promised
  // A kernel, and a convolution of cuDNN, takes so much longer by the clock of events. Nobody waits.
  int kernel_delay_us = 0, library_delay_us = 0;
};
Config& config();

// Parses ELBO_SIM_ORDER's syntax. Returns false if it is not understood.
bool parse_order(const std::string& text, Config* config);

// Something wrong that a kernel or the host did. `what` is a short class such as "race",
// "deadlock", "divergent barrier", "warp mask", "bad pointer", "bad free", "overrun", "unwritten
// read".
struct Report {
  std::string what;
  std::string text;
};
int report_count();
Report report(int index);
// Forgets reports and the sticky error: as if the process had been started anew.
void clear_reports();

// What the program holds right now.
struct Live {
  size_t device_bytes = 0;
  int allocations = 0;       // of device memory
  int host_allocations = 0;  // pinned
  int streams = 0;
  int events = 0;
  int handles = 0;  // cuBLASLt handles and descriptors
  int graphs = 0;   // also executable ones
  bool operator==(const Live&) const = default;
};
Live live();
std::string describe(const Live& live);

// Looks for writes behind the end of live device allocations and reports them. Also done by
// cudaFree.
void check_overruns();

long call_count();  // runtime calls so far, for loops over fail_call
bool race_checker_enabled();

// cudaProfilerStart and -Stop so far.
struct ProfilerCalls {
  int starts = 0, stops = 0;
};
ProfilerCalls profiler_calls();

// cuBLASLt products computed so far, and why the latest refused call was refused.
long product_count();
const char* cublaslt_refusal();
const char* cudnn_refusal();  // likewise of cuDNN

// A pool hands memory out again: its contents count as unwritten from now on.
void mark_unwritten(void* pointer, size_t bytes);

}  // namespace cudasim
