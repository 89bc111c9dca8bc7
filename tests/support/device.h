// One test, every device: buffers, an Exec, and a fixture that keeps CUDA cases honest.
//
//   class AddTest : public DeviceTest {};
//   TEST_P(AddTest, AddsElementByElement) {
//     DeviceBuffer<float> x(device(), {1, 2, 3}), y(device(), 3);
//     add(exec(), ...);
//     EXPECT_EQ(y.download(), ...);
//   }
//   INSTANTIATE_TEST_SUITE_P(Devices, AddTest, testing::ValuesIn(available_devices()), device_name);
//
// A CUDA case fails if it launched nothing, left the simulator with a report, left a ticket of
// exec().scratch non-zero, or left device objects alive. On a machine whose CUDA is unusable it is
// skipped, saying so.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/exec.h"

namespace elbo {

using DeviceParam = Device;

// The CPU, and CUDA (real or simulated) in builds that have it.
std::vector<DeviceParam> available_devices();

// "cpu" or "cuda", for INSTANTIATE_TEST_SUITE_P.
std::string device_name(const testing::TestParamInfo<DeviceParam>& info);

// Empty if CUDA can be used, else why not.
std::string why_no_cuda();

// Memory of `bytes` bytes that starts `lead` bytes behind an aligned address. Fresh memory is all
// ones, which is NaN. Writes outside of it are found by red zones on both sides, except where a
// checker that wants exact bounds does it better (the simulator, AddressSanitizer).
class DeviceBytes {
 public:
  DeviceBytes(DeviceParam device, size_t bytes, size_t lead);
  ~DeviceBytes();
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;

  void* data() const { return data_; }
  void upload(const void* from);
  void download(void* to) const;  // waits for all work of the device, then checks the red zones

 private:
  void check_red_zones() const;
  void check_red_zone(const std::byte* zone, size_t size, long first_byte) const;

  DeviceParam device_;
  size_t bytes_, before_, after_;  // red zones; before_ counts the lead too
  std::byte* block_ = nullptr;
  std::byte* data_ = nullptr;
};

template <class T>
class DeviceBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  // `shift` elements of misalignment: kernels that vectorise must cope with shift 1, 2, 3.
  DeviceBuffer(DeviceParam device, size_t count, size_t shift = 0)
      : count_(count),
        bytes_(std::make_unique<DeviceBytes>(device, count * sizeof(T), shift * sizeof(T))) {}
  DeviceBuffer(DeviceParam device, const std::vector<T>& values, size_t shift = 0)
      : DeviceBuffer(device, values.size(), shift) {
    upload(values);
  }

  T* data() { return static_cast<T*>(bytes_->data()); }
  const T* data() const { return static_cast<const T*>(bytes_->data()); }
  size_t size() const { return count_; }

  void upload(const std::vector<T>& values) {
    ASSERT_EQ(values.size(), count_);
    bytes_->upload(values.data());
  }
  std::vector<T> download() const {
    std::vector<T> values(count_);
    bytes_->download(values.data());
    return values;
  }

 private:
  size_t count_;
  std::unique_ptr<DeviceBytes> bytes_;
};

// Owns what an Exec points to: a stream, scratch, tickets, vendor handles.
class TestExec {
 public:
  explicit TestExec(DeviceParam device);
  ~TestExec();
  TestExec(const TestExec&) = delete;
  TestExec& operator=(const TestExec&) = delete;

  const Exec& exec() const { return exec_; }
  std::vector<uint32_t> tickets() const;

 private:
  Exec exec_;
  std::unique_ptr<DeviceBytes> scratch_;
  std::unique_ptr<DeviceBytes> tickets_;
};

inline std::unique_ptr<TestExec> make_exec(DeviceParam device) {
  return std::make_unique<TestExec>(device);
}

// Tests of very many cases on a device run one in so many: the race checker is ten times as slow.
#ifdef ELBO_RACECHECK
inline constexpr int kCaseStep = 3;
#else
inline constexpr int kCaseStep = 1;
#endif

// Runs `run` once per way of scheduling its threads and fails the test when results differ in a bit:
// in the simulator forward, reverse and three random orders (ELBO_SIM_SEEDS changes how many), on a
// real GPU three times, on the CPU once.
void for_each_order(DeviceParam device, const std::function<std::string()>& run_to_bytes);

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  if constexpr (std::is_trivially_copyable_v<T>) {
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
  } else {
    std::string all;
    for (const auto& value : values) all += bytes_of(value);
    return all;
  }
}

// `run` returns a vector, or a vector of vectors, of what must repeat.
template <class Run>
void for_each_order(DeviceParam device, const Run& run) requires(
    !std::is_convertible_v<std::invoke_result_t<Run>, std::string>) {
  for_each_order(device, std::function<std::string()>([&] { return bytes_of(run()); }));
}

class DeviceTest : public testing::TestWithParam<DeviceParam> {
 protected:
  DeviceTest();
  ~DeviceTest() override;  // checks for leaks, after the members of derived fixtures are gone
  void SetUp() override;
  void TearDown() override;

  DeviceParam device() const { return GetParam(); }
  const Exec& exec();  // made at the first call

  // For cases that are about something else than a kernel, such as an empty input.
  void expect_no_launch() { launch_expected_ = false; }

 private:
  std::unique_ptr<TestExec> exec_;
  uint64_t launches_before_ = 0;
  bool launch_expected_ = true;
  bool skipped_ = false;
  struct Held;
  std::unique_ptr<Held> held_before_;
};

}  // namespace elbo
