// For tests of the simulator itself: what it reported while something ran.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "kernels/error.h"
#include "kernels/gpu.h"
#include "tests/sim/control.h"

namespace elbo {

class SimTest : public testing::Test {
 protected:
  SimTest() { cudasim::config().print = false; }
  ~SimTest() override {
    EXPECT_EQ(cudasim::report_count(), 0) << cudasim::report(0).what << cudasim::report(0).text;
    EXPECT_EQ(cudasim::describe(cudasim::live()), cudasim::describe({}));
    cudasim::clear_reports();
    cudasim::config() = saved_;
  }

  // Runs `body`, which may throw elbo::Error, and returns the reports it caused as
  // "what: text\n..." ("" if none). They are forgotten then.
  template <class Body>
  std::string reports_of(Body body) {
    try {
      body();
      cudaDeviceSynchronize();
    } catch (const Error&) {
    }
    std::string all;
    for (int i = 0; i < cudasim::report_count(); ++i) {
      all += cudasim::report(i).what + ": " + cudasim::report(i).text + "\n";
    }
    cudasim::clear_reports();
    return all;
  }

  void use_order(const std::string& order) {
    ASSERT_TRUE(cudasim::parse_order(order, &cudasim::config()));
  }

 private:
  const cudasim::Config saved_ = cudasim::config();
};

// Zero-initialised device memory for the length of a scope.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) : DeviceArray() {  // so that a throw below frees the memory
    ELBO_CUDA_CHECK(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)));
    ELBO_CUDA_CHECK(cudaMemset(data_, 0, count * sizeof(T)));
    ELBO_CUDA_CHECK(cudaDeviceSynchronize());  // non-blocking streams do not wait for a memset
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* data() const { return data_; }
  T get(size_t index) const {
    T value;
    ELBO_CUDA_CHECK(cudaMemcpy(&value, data_ + index, sizeof(T), cudaMemcpyDeviceToHost));
    return value;
  }

 private:
  DeviceArray() = default;

  T* data_ = nullptr;
};

}  // namespace elbo

// `reports` is what SimTest::reports_of returned.
#define EXPECT_REPORT(reports, part)                                          \
  do {                                                                        \
    const std::string reports_ = (reports);                                   \
    EXPECT_NE(reports_.find(part), std::string::npos) << "got: " << reports_; \
  } while (false)

#define SKIP_WITHOUT_RACE_CHECKER()                                              \
  if (!cudasim::race_checker_enabled()) {                                        \
    GTEST_SKIP() << "needs the race checker: build the sim-race preset (clang)"; \
  }
