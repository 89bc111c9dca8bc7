// The device a program runs on: stream, vendor handles, scratch, and memory by role.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/exec.h"

namespace elbo {

class PlanChoices;

// What memory is for. Every allocation of ours belongs to one; high-water marks are reported by
// role.
enum class Role : int {
  parameters,
  shadow,  // parameters rounded to bf16
  gradients,
  moments,
  buffers,
  activations,
  scratch,
  data,
  state,
  host_data  // a data set that stays out of the device's memory: page-locked, read by kernels
};
inline constexpr int kRoles = 10;
const char* role_name(Role role);

struct DeviceChoice {
  Device device = Device::cpu;
  int index = 0;
  std::string reason;  // for "auto": one line that says why this device
};

// Resolves "auto", "cpu", "cuda" or "cuda:N". "auto" takes CUDA when it is compiled in and usable,
// and says why otherwise. Throws ErrorCode::device when CUDA is asked for by name and cannot be
// had: never a silent fallback.
DeviceChoice choose_device(std::string_view request);

// One line for `doctor` and run.json: "NVIDIA H200 (compute 9.0, 139.7 GiB)" or "CPU, 2 threads".
std::string device_description(const DeviceChoice& choice);

struct MemoryUse {
  size_t bytes = 0;
  size_t high_water = 0;
};

// Owns what an Exec points to. Not copyable; everything allocated through it must die before it
// does.
class Context {
 public:
  explicit Context(const DeviceChoice& choice = {});
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const Exec& exec() const { return exec_; }

  // How products on CUDA are computed from now on. Throws ErrorCode::usage for tf32 on the CPU.
  void set_products(ProductPrecision precision, ProductKernels kernels = ProductKernels::automatic);

  // Whether a kernel of ours may start while the one before it ends, from now on. Stays off on the CPU, on
  // devices before compute capability 9.0, which cannot do it, and in programs compiled for none later.
  void set_overlap_launches(bool on);

  // A second stream with scratch of its own, for work beside exec()'s: open_branch() makes it,
  // fork() lets it wait for what exec() has been given so far, join() lets exec() wait for it.
  void open_branch();
  const Exec& branch() const { return branch_; }
  void fork();
  void join();
  // Whether launches are being recorded into a graph at the moment (engine/step_graph.h).
  bool recording() const { return recording_; }
  void set_recording(bool on) { recording_ = on; }

  Device device() const { return exec_.device; }

  // Whose kernels compute what, where that is found by timing (kernels/plan_choices.h).
  PlanChoices& plans() const;

  // 256-byte aligned; null for 0 bytes. Throws Error naming role, bytes wanted and bytes free.
  void* allocate(size_t bytes, Role role);
  void free(void* data, size_t bytes, Role role) noexcept;
  size_t free_bytes() const;  // on the device now; all there could be on the CPU
  const MemoryUse& memory(Role role) const { return memory_[static_cast<int>(role)]; }

  // Host to device and back, ordered after the work already submitted. Both return when done.
  void upload(void* device_data, const void* host_data, size_t bytes);
  void download(void* host_data, const void* device_data, size_t bytes);
  void copy(void* to, const void* from, size_t bytes);  // device to device, asynchronous
  void fill_bytes(void* device_data, int value, size_t bytes);
  void synchronize();

  // Brackets what a GPU profiler should record (nsys --capture-range=cudaProfilerApi); both wait
  // for the work before them. Nothing on the CPU.
  void start_profiler();
  void stop_profiler();

 private:
  void release() noexcept;
  void allocate_scratch(Scratch& scratch);
  void free_scratch(Scratch& scratch) noexcept;

  Exec exec_, branch_;
  void* branch_event_ = nullptr;
  bool recording_ = false;
  std::array<MemoryUse, kRoles> memory_{};
};

// A block of device memory with one owner.
class DeviceBlock {
 public:
  DeviceBlock() = default;
  DeviceBlock(Context& context, size_t bytes, Role role)
      : context_(&context), data_(context.allocate(bytes, role)), bytes_(bytes), role_(role) {}
  ~DeviceBlock() { reset(); }
  DeviceBlock(DeviceBlock&& other) noexcept { swap(other); }
  DeviceBlock& operator=(DeviceBlock&& other) noexcept {
    DeviceBlock(std::move(other)).swap(*this);
    return *this;
  }

  void reset() noexcept {
    if (data_) context_->free(data_, bytes_, role_);
    data_ = nullptr;
    bytes_ = 0;
  }
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void swap(DeviceBlock& other) noexcept {
    std::swap(context_, other.context_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(role_, other.role_);
  }

  Context* context_ = nullptr;
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Role role_ = Role::scratch;
};

}  // namespace elbo
