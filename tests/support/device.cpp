#include "tests/support/device.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/gemm_handles.h"
#include "kernels/gpu.h"
#include "kernels/linear.h"

#ifdef ELBO_SIM
#include "tests/sim/control.h"
#endif

namespace elbo {
namespace {

constexpr size_t kAlignment = 256;
constexpr unsigned char kRedZone = 0xA5;
constexpr int kFresh = 0xFF;

#ifdef __SANITIZE_ADDRESS__
constexpr bool kAddressSanitizer = true;
#else
constexpr bool kAddressSanitizer = false;
#endif
#ifdef ELBO_SIM
constexpr bool kSimulated = true;
#else
constexpr bool kSimulated = false;
#endif

bool has_exact_bounds(DeviceParam device) {
  return device == Device::cuda ? kSimulated : kAddressSanitizer;
}

size_t red_zone(DeviceParam device) { return has_exact_bounds(device) ? 0 : kAlignment; }

std::byte* allocate(DeviceParam device, size_t bytes) {
  void* block = nullptr;
  if (device == Device::cpu) {
    block = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  }
#ifdef ELBO_HAS_CUDA
  if (device == Device::cuda && bytes > 0) ELBO_CUDA_CHECK(cudaMalloc(&block, bytes));
#endif
  return static_cast<std::byte*>(block);
}

void release(DeviceParam device, std::byte* block) {
  if (device == Device::cpu) std::free(block);
#ifdef ELBO_HAS_CUDA
  if (device == Device::cuda) cudaFree(block);
#endif
}

void copy_in(DeviceParam device, void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  if (device == Device::cpu) std::memcpy(to, from, bytes);
#ifdef ELBO_HAS_CUDA
  if (device == Device::cuda) {
    // Kernels still queued on a test's stream must read the old contents.
    ELBO_CUDA_CHECK(cudaDeviceSynchronize());
    ELBO_CUDA_CHECK(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
    // From pageable memory the call may return early, and test streams do not wait for this one.
    ELBO_CUDA_CHECK(cudaDeviceSynchronize());
  }
#endif
}

void copy_out(DeviceParam device, void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  if (device == Device::cpu) std::memcpy(to, from, bytes);
#ifdef ELBO_HAS_CUDA
  if (device == Device::cuda) {
    ELBO_CUDA_CHECK(cudaDeviceSynchronize());
    ELBO_CUDA_CHECK(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost));
  }
#endif
}

void set_bytes(DeviceParam device, void* to, int value, size_t bytes) {
  if (bytes == 0) return;
  if (device == Device::cpu) std::memset(to, value, bytes);
#ifdef ELBO_HAS_CUDA
  if (device == Device::cuda) {
    ELBO_CUDA_CHECK(cudaMemset(to, value, bytes));
    ELBO_CUDA_CHECK(cudaDeviceSynchronize());  // test streams do not wait for the default one
  }
#endif
}

}  // namespace

std::vector<DeviceParam> available_devices() {
#ifdef ELBO_HAS_CUDA
  return {Device::cpu, Device::cuda};
#else
  return {Device::cpu};
#endif
}

std::string device_name(const testing::TestParamInfo<DeviceParam>& info) {
  return info.param == Device::cpu ? "cpu" : "cuda";
}

std::string why_no_cuda() {
#ifdef ELBO_HAS_CUDA
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return "";
  cudaGetLastError();
  return status == cudaSuccess ? "no CUDA device" : cudaGetErrorString(status);
#else
  return "built without CUDA";
#endif
}

// ---- DeviceBytes --------------------------------------------------------------------------------

DeviceBytes::DeviceBytes(DeviceParam device, size_t bytes, size_t lead)
    : device_(device),
      bytes_(bytes),
      before_(red_zone(device) + lead),
      after_(red_zone(device)),
      block_(allocate(device, before_ + bytes_ + after_)),
      data_(block_ ? block_ + before_ : nullptr) {
  // The simulator poisons by itself and remembers that nobody has written here.
  if (device == Device::cuda && kSimulated) return;
  set_bytes(device, block_, kRedZone, before_);
  set_bytes(device, data_, kFresh, bytes_);
  set_bytes(device, data_ ? data_ + bytes_ : nullptr, kRedZone, after_);
}

DeviceBytes::~DeviceBytes() {
  try {
    check_red_zones();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "reading red zones: " << error.what();
  }
  release(device_, block_);
}

void DeviceBytes::upload(const void* from) { copy_in(device_, data_, from, bytes_); }

void DeviceBytes::download(void* to) const {
  copy_out(device_, to, data_, bytes_);
  check_red_zones();
}

void DeviceBytes::check_red_zones() const {
  if (has_exact_bounds(device_)) return;
  check_red_zone(block_, before_, -static_cast<long>(before_));
  check_red_zone(data_ + bytes_, after_, static_cast<long>(bytes_));
}

void DeviceBytes::check_red_zone(const std::byte* zone, size_t size, long first_byte) const {
  std::vector<unsigned char> image(size);
  copy_out(device_, image.data(), zone, size);
  for (size_t i = 0; i < size; ++i) {
    if (image[i] == kRedZone) continue;
    ADD_FAILURE() << "something wrote outside of a buffer of " << bytes_ << " bytes, at byte "
                  << first_byte + static_cast<long>(i);
    return;
  }
}

// ---- TestExec -----------------------------------------------------------------------------------

TestExec::TestExec(DeviceParam device)
    : scratch_(std::make_unique<DeviceBytes>(device, kGemmWorkspaceBytes, 0)),
      tickets_(std::make_unique<DeviceBytes>(device, Scratch::kTickets * sizeof(uint32_t), 0)) {
  const std::vector<uint32_t> zeros(Scratch::kTickets);
  tickets_->upload(zeros.data());
  exec_.device = device;
  exec_.scratch.data = static_cast<std::byte*>(scratch_->data());
  exec_.scratch.bytes = kGemmWorkspaceBytes;
  exec_.scratch.tickets = static_cast<uint32_t*>(tickets_->data());
#ifdef ELBO_HAS_CUDA
  if (device == Device::cuda) {
    ELBO_CUDA_CHECK(cudaStreamCreateWithFlags(&exec_.stream, cudaStreamNonBlocking));
  }
#endif
  exec_.gemm = create_gemm_handles(device);
}

TestExec::~TestExec() {
  destroy_gemm_handles(exec_.gemm);
#ifdef ELBO_HAS_CUDA
  if (exec_.stream) cudaStreamDestroy(exec_.stream);
#endif
}

std::vector<uint32_t> TestExec::tickets() const {
  std::vector<uint32_t> values(Scratch::kTickets);
  tickets_->download(values.data());
  return values;
}

// ---- orders -------------------------------------------------------------------------------------

void for_each_order([[maybe_unused]] DeviceParam device,
                    const std::function<std::string()>& run_to_bytes) {
  const std::string first = run_to_bytes();
#ifdef ELBO_SIM
  if (device != Device::cuda) return;
  const cudasim::Config saved = cudasim::config();
  const char* wanted = std::getenv("ELBO_SIM_SEEDS");
  const int seeds = wanted ? std::atoi(wanted) : 3;
  std::vector<std::string> orders = {"reverse"};
  for (int seed = 1; seed <= seeds; ++seed) orders.push_back("random:" + std::to_string(seed));
  for (const std::string& order : orders) {
    cudasim::parse_order(order, &cudasim::config());
    EXPECT_TRUE(run_to_bytes() == first) << "another result in thread order " << order;
  }
  cudasim::config().order = saved.order;
  cudasim::config().seed = saved.seed;
#elif defined(ELBO_HAS_CUDA)
  if (device != Device::cuda) return;
  for (int run = 2; run <= 3; ++run) {
    EXPECT_TRUE(run_to_bytes() == first) << "another result in run " << run;
  }
#endif
}

// ---- DeviceTest ---------------------------------------------------------------------------------

struct DeviceTest::Held {
#ifdef ELBO_SIM
  cudasim::Live live = cudasim::live();
#endif
};

DeviceTest::DeviceTest() : held_before_(std::make_unique<Held>()) {}

DeviceTest::~DeviceTest() {
#ifdef ELBO_SIM
  const cudasim::Live now = cudasim::live();
  if (now == held_before_->live) return;
  ADD_FAILURE() << "the test left device objects alive: " << cudasim::describe(now)
                << " (before: " << cudasim::describe(held_before_->live) << ")";
#endif
}

void DeviceTest::SetUp() {
  if (device() == Device::cpu) return;
  if (const std::string reason = why_no_cuda(); !reason.empty()) {
    skipped_ = true;
    GTEST_SKIP() << "NOT TESTED on CUDA: " << reason;
  }
#ifdef ELBO_HAS_CUDA
  launches_before_ = gpu::launch_count();
#endif
}

void DeviceTest::TearDown() {
  if (device() == Device::cpu || skipped_) return;
#ifdef ELBO_HAS_CUDA
  const bool launched = gpu::launch_count() != launches_before_;
  if (launch_expected_ && !launched && !HasFailure()) {
    ADD_FAILURE() << "a CUDA case that never launched a kernel; if that is meant, say "
                     "expect_no_launch()";
  }
  if (!launch_expected_ && launched) ADD_FAILURE() << "launched a kernel against expectation";
#endif
#ifdef ELBO_SIM
  cudasim::check_overruns();
  for (int i = 0; i < cudasim::report_count(); ++i) {
    const cudasim::Report report = cudasim::report(i);
    ADD_FAILURE() << "simulator: " << report.what << ": " << report.text;
  }
  cudasim::clear_reports();
#endif
  if (exec_ && exec_->tickets() != std::vector<uint32_t>(Scratch::kTickets)) {
    ADD_FAILURE() << "a launch left its ticket non-zero; the next one would never finish";
  }
  exec_.reset();
}

const Exec& DeviceTest::exec() {
  if (!exec_) exec_ = make_exec(device());
  return exec_->exec();
}

}  // namespace elbo
