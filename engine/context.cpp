#include "engine/context.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "kernels/error.h"
#include "kernels/gemm_handles.h"
#include "kernels/linear.h"
#include "kernels/parallel.h"
#ifdef ELBO_HAS_CUDA
#include "engine/cuda_device.h"
#endif

namespace elbo {
namespace {

constexpr size_t kAlignment =
    256;  // a cache-line multiple, and what cuBLASLt's heuristics like best

#ifdef ELBO_HAS_CUDA
std::string why_no_cuda(int index) { return cuda_device::why_unusable(index); }
#else
std::string why_no_cuda(int) { return "this program was built without CUDA"; }
#endif

int parse_device_index(std::string_view request) {
  const std::string_view digits = request.substr(std::string_view("cuda:").size());
  int index = 0;
  for (char c : digits) {
    if (c < '0' || c > '9' || index > 1000) {
      throw_error(ErrorCode::usage, "--device ", request, ": expected auto, cpu, cuda or cuda:N");
    }
    index = 10 * index + (c - '0');
  }
  if (digits.empty()) {
    throw_error(ErrorCode::usage, "--device ", request, ": the number after cuda: is missing");
  }
  return index;
}

}  // namespace

const char* role_name(Role role) {
  static constexpr const char* kNames[kRoles] = {
      "parameters",  "shadow",  "gradients", "moments", "buffers",
      "activations", "scratch", "data",      "state",   "data in host memory"};
  return kNames[static_cast<int>(role)];
}

DeviceChoice choose_device(std::string_view request) {
  if (request == "cpu") return {Device::cpu, 0, "asked for"};
  if (request == "auto" || request.empty()) {
    const std::string problem = why_no_cuda(0);
    if (problem.empty()) return {Device::cuda, 0, "a CUDA device was found"};
    return {Device::cpu, 0, problem};
  }
  if (request != "cuda" && request.substr(0, 5) != "cuda:") {
    throw_error(ErrorCode::usage, "--device ", request, ": expected auto, cpu, cuda or cuda:N");
  }
  const int index = request == "cuda" ? 0 : parse_device_index(request);
  const std::string problem = why_no_cuda(index);
  if (!problem.empty()) {
    throw_error(ErrorCode::device, "--device ", request, ": ", problem,
                "; use --device cpu or --device auto");
  }
  return {Device::cuda, index, "asked for"};
}

std::string device_description(const DeviceChoice& choice) {
#ifdef ELBO_HAS_CUDA
  if (choice.device == Device::cuda) return cuda_device::describe(choice.index);
#endif
  (void)choice;
  const int threads = cpu::thread_count();
  return concat("CPU, ", threads, threads == 1 ? " thread" : " threads");
}

Context::Context(const DeviceChoice& choice) {
  exec_.device = choice.device;
  try {
#ifdef ELBO_HAS_CUDA
    if (choice.device == Device::cuda) {
      cuda_device::use(choice.index);
      exec_.stream = cuda_device::create_stream();
    }
#endif
    exec_.gemm = create_gemm_handles(choice.device);
    allocate_scratch(exec_.scratch);
  } catch (...) {
    release();
    throw;
  }
}

Context::~Context() { release(); }

void Context::release() noexcept {
  free_scratch(exec_.scratch);
  free_scratch(branch_.scratch);
  destroy_gemm_handles(exec_.gemm);
#ifdef ELBO_HAS_CUDA
  if (branch_event_) cuda_device::destroy_event(branch_event_);
  if (branch_.stream) cuda_device::destroy_stream(branch_.stream);
  if (exec_.stream) cuda_device::destroy_stream(exec_.stream);
#endif
  exec_ = branch_ = Exec{};
}

void Context::set_products(ProductPrecision precision, ProductKernels kernels) {
  if (precision != ProductPrecision::fp32 && !exec_.on_cuda()) {
    throw_error(ErrorCode::usage, "--precision tf32 needs a CUDA device; the CPU computes in fp32");
  }
  exec_.products = branch_.products = precision;
  exec_.product_kernels = branch_.product_kernels = kernels;
}

PlanChoices& Context::plans() const { return exec_.gemm->plans; }

void Context::set_overlap_launches([[maybe_unused]] bool on) {
#ifdef ELBO_HAS_CUDA
  exec_.overlap_launches = on && exec_.on_cuda() && cuda_device::can_overlap_launches();
  branch_.overlap_launches = exec_.overlap_launches;
#endif
}

void Context::allocate_scratch(Scratch& scratch) {
  const size_t bytes = kGemmWorkspaceBytes, ticket_bytes = Scratch::kTickets * sizeof(uint32_t);
  scratch.data = static_cast<std::byte*>(allocate(bytes, Role::scratch));
  scratch.bytes = bytes;
  scratch.tickets = static_cast<uint32_t*>(allocate(ticket_bytes, Role::scratch));
  fill_bytes(scratch.tickets, 0, ticket_bytes);
}

void Context::free_scratch(Scratch& scratch) noexcept {
  if (scratch.data) free(scratch.data, scratch.bytes, Role::scratch);
  if (scratch.tickets) free(scratch.tickets, Scratch::kTickets * sizeof(uint32_t), Role::scratch);
  scratch = {};
}

#ifdef ELBO_HAS_CUDA
void Context::open_branch() {
  if (branch_.stream) return;
  branch_event_ = cuda_device::create_event();
  allocate_scratch(branch_.scratch);
  branch_.device = exec_.device;
  branch_.gemm = exec_.gemm;
  branch_.products = exec_.products;
  branch_.product_kernels = exec_.product_kernels;
  branch_.overlap_launches = exec_.overlap_launches;
  branch_.stream = cuda_device::create_stream();
}

void Context::fork() { cuda_device::order(exec_.stream, branch_.stream, branch_event_); }
void Context::join() { cuda_device::order(branch_.stream, exec_.stream, branch_event_); }
#else
void Context::open_branch() {}
void Context::fork() {}
void Context::join() {}
#endif

void* Context::allocate(size_t bytes, Role role) {
  if (bytes == 0) return nullptr;
  void* data = nullptr;
  size_t available = 0;
#ifdef ELBO_HAS_CUDA
  if (exec_.on_cuda()) {
    data =
        role == Role::host_data ? cuda_device::allocate_host(bytes) : cuda_device::allocate(bytes);
    if (!data) available = cuda_device::free_bytes();
  }
#endif
  if (!exec_.on_cuda()) {
    data = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  }
  if (!data) {
    throw_error(exec_.on_cuda() ? ErrorCode::device : ErrorCode::failure, "out of memory: ", bytes,
                " bytes wanted for ", role_name(role),
                exec_.on_cuda() ? concat(", ", available, " bytes free on the device") : "",
                "; use a smaller batch or model");
  }
  MemoryUse& use = memory_[static_cast<int>(role)];
  use.bytes += bytes;
  use.high_water = std::max(use.high_water, use.bytes);
  return data;
}

void Context::free(void* data, size_t bytes, Role role) noexcept {
  memory_[static_cast<int>(role)].bytes -= bytes;
#ifdef ELBO_HAS_CUDA
  if (exec_.on_cuda()) {
    return role == Role::host_data ? cuda_device::free_host(data) : cuda_device::free(data);
  }
#endif
  std::free(data);
}

size_t Context::free_bytes() const {
#ifdef ELBO_HAS_CUDA
  if (exec_.on_cuda()) return cuda_device::free_bytes();
#endif
  return std::numeric_limits<size_t>::max();
}

void Context::upload(void* device_data, const void* host_data, size_t bytes) {
  if (bytes == 0) return;
#ifdef ELBO_HAS_CUDA
  if (exec_.on_cuda()) return cuda_device::upload(device_data, host_data, bytes, exec_.stream);
#endif
  std::memcpy(device_data, host_data, bytes);
}

void Context::download(void* host_data, const void* device_data, size_t bytes) {
  if (bytes == 0) return;
#ifdef ELBO_HAS_CUDA
  if (exec_.on_cuda()) return cuda_device::download(host_data, device_data, bytes, exec_.stream);
#endif
  std::memcpy(host_data, device_data, bytes);
}

void Context::copy(void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
#ifdef ELBO_HAS_CUDA
  if (exec_.on_cuda()) return cuda_device::copy(to, from, bytes, exec_.stream);
#endif
  std::memmove(to, from, bytes);
}

void Context::fill_bytes(void* device_data, int value, size_t bytes) {
  if (bytes == 0) return;
#ifdef ELBO_HAS_CUDA
  if (exec_.on_cuda()) return cuda_device::fill_bytes(device_data, value, bytes, exec_.stream);
#endif
  std::memset(device_data, value, bytes);
}

void Context::synchronize() {
#ifdef ELBO_HAS_CUDA
  if (exec_.on_cuda()) cuda_device::synchronize(exec_.stream);
#endif
}

void Context::start_profiler() {
  synchronize();
#ifdef ELBO_HAS_CUDA
  if (exec_.on_cuda()) cuda_device::start_profiler();
#endif
}

void Context::stop_profiler() {
  synchronize();
#ifdef ELBO_HAS_CUDA
  if (exec_.on_cuda()) cuda_device::stop_profiler();
#endif
}

}  // namespace elbo
