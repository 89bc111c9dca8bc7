// The simulated runtime as host code sees it: errors, limits, streams, events, leaks, injected faults.
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "tests/sim/sim_fixture.h"

namespace elbo {
namespace {

class RuntimeTest : public SimTest {};

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::device);
    return error.what();
  }
  return "";
}

TEST_F(RuntimeTest, FailedCallsAreNamedWithTheReasonAndAHint) {
  cudasim::config().memory_limit = 1000;
  void* p = nullptr;
  const std::string message = message_of([&] { ELBO_CUDA_CHECK(cudaMalloc(&p, 1001)); });
  EXPECT_EQ(message.substr(0, message.find(" [")),
            "cudaMalloc(&p, 1001) failed: out of memory (cudaErrorMemoryAllocation); the GPU's "
            "memory is full: use a smaller batch, close other programs, or --device cpu");
  EXPECT_NE(message.find("[sim/runtime_test.cpp:"), std::string::npos) << message;
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "the error was left behind for the next call";
}

TEST_F(RuntimeTest, MemoryLimitCountsWhatIsAlive) {
  cudasim::config().memory_limit = 1000;
  void *a = nullptr, *b = nullptr;
  ASSERT_EQ(cudaMalloc(&a, 600), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&b, 600), cudaErrorMemoryAllocation);
  size_t free_bytes = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&free_bytes, &total), cudaSuccess);
  EXPECT_EQ(free_bytes, 400u);
  EXPECT_EQ(total, 1000u);
  EXPECT_EQ(cudaFree(a), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&b, 600), cudaSuccess);
  EXPECT_EQ(cudaFree(b), cudaSuccess);
}

TEST_F(RuntimeTest, WrongFreesAreReported) {
  char* p = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&p), 64), cudaSuccess);
  EXPECT_REPORT(reports_of([&] { EXPECT_EQ(cudaFree(p + 1), cudaErrorInvalidValue); }),
                "bad free: ");
  EXPECT_REPORT(reports_of([&] { EXPECT_EQ(cudaFreeHost(p), cudaErrorInvalidValue); }),
                "bad free: ");
  EXPECT_EQ(cudaFree(p), cudaSuccess);
  EXPECT_REPORT(reports_of([&] { EXPECT_EQ(cudaFree(p), cudaErrorInvalidValue); }), "bad free: ");
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
}

TEST_F(RuntimeTest, WhatIsHeldIsCounted) {
  void *device = nullptr, *host = nullptr;
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaMalloc(&device, 100), cudaSuccess);
  ASSERT_EQ(cudaMallocHost(&host, 100), cudaSuccess);
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  ASSERT_EQ(cudaEventCreate(&event), cudaSuccess);
  EXPECT_EQ(cudasim::live(), (cudasim::Live{.device_bytes = 100,
                                            .allocations = 1,
                                            .host_allocations = 1,
                                            .streams = 1,
                                            .events = 1}));
  EXPECT_EQ(cudaFree(device), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(host), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventDestroy(event), cudaErrorInvalidResourceHandle);
}

TEST_F(RuntimeTest, CopiesCheckDirectionAndBounds) {
  DeviceArray<float> x(4);
  std::vector<float> host(8);
  EXPECT_EQ(cudaMemcpy(host.data(), x.data(), 16, cudaMemcpyHostToDevice),
            cudaErrorInvalidMemcpyDirection);
  EXPECT_EQ(cudaMemcpy(x.data(), host.data(), 16, cudaMemcpyDeviceToDevice),
            cudaErrorInvalidMemcpyDirection);
  EXPECT_EQ(cudaMemcpy(x.data(), host.data(), 20, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(x.data() + 1, 0, 16), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(host.data(), 0, 4), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(x.data(), host.data(), 16, cudaMemcpyDefault), cudaSuccess);
}

TEST_F(RuntimeTest, AMachineWithoutADriverLeavesTheCountAlone) {
  cudasim::config().devices = 0;
  int count = 42, driver = 42;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
  EXPECT_EQ(count, 42);
  EXPECT_EQ(cudaDriverGetVersion(&driver), cudaSuccess);
  EXPECT_EQ(driver, 0);
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 4), cudaErrorInsufficientDriver);
}

// ---- streams and events -------------------------------------------------------------------------

class StreamTest : public RuntimeTest {
 protected:
  void SetUp() override {
    cudasim::config().async = true;
    for (cudaStream_t* stream : {&first_, &second_}) {
      ASSERT_EQ(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), cudaSuccess);
    }
    ASSERT_EQ(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), cudaSuccess);
  }
  void TearDown() override {
    EXPECT_EQ(cudaStreamDestroy(first_), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(second_), cudaSuccess);
    EXPECT_EQ(cudaEventDestroy(event_), cudaSuccess);
  }

  cudaStream_t first_ = nullptr, second_ = nullptr;
  cudaEvent_t event_ = nullptr;
};

TEST_F(StreamTest, ForgettingToSynchroniseShowsTheOldValue) {
  DeviceArray<int> x(1);
  int seen = 7;
  ASSERT_EQ(cudaMemsetAsync(x.data(), 1, 4, first_), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(&seen, x.data(), 4, cudaMemcpyDeviceToHost, first_), cudaSuccess);
  EXPECT_EQ(seen, 7);
  EXPECT_EQ(cudaStreamQuery(first_), cudaErrorNotReady);
  ASSERT_EQ(cudaStreamSynchronize(first_), cudaSuccess);
  EXPECT_EQ(seen, 0x01010101);
  EXPECT_EQ(cudaStreamQuery(first_), cudaSuccess);
}

// The default stream does not wait for streams made with cudaStreamNonBlocking.
TEST_F(StreamTest, PlainCopiesDoNotWaitForNonBlockingStreams) {
  DeviceArray<int> x(1);
  ASSERT_EQ(cudaMemsetAsync(x.data(), 1, 4, first_), cudaSuccess);
  EXPECT_EQ(x.get(0), 0);
  ASSERT_EQ(cudaStreamSynchronize(first_), cudaSuccess);
  EXPECT_EQ(x.get(0), 0x01010101);
}

TEST_F(StreamTest, PlainCopiesWaitForOrdinaryStreams) {
  DeviceArray<int> x(1);
  cudaStream_t ordinary = nullptr;
  ASSERT_EQ(cudaStreamCreate(&ordinary), cudaSuccess);
  ASSERT_EQ(cudaMemsetAsync(x.data(), 1, 4, ordinary), cudaSuccess);
  EXPECT_EQ(x.get(0), 0x01010101);
  EXPECT_EQ(cudaStreamDestroy(ordinary), cudaSuccess);
}

TEST_F(StreamTest, EventsOrderStreamsAndTheirAbsenceShows) {
  DeviceArray<int> x(1);
  int seen = 7;
  const auto read_on_second = [&] {
    ASSERT_EQ(cudaMemcpyAsync(&seen, x.data(), 4, cudaMemcpyDeviceToHost, second_), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(second_), cudaSuccess);
  };
  ASSERT_EQ(cudaMemsetAsync(x.data(), 1, 4, first_), cudaSuccess);
  read_on_second();
  EXPECT_EQ(seen, 0) << "nothing ordered the second stream after the first";
  ASSERT_EQ(cudaEventRecord(event_, first_), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event_), cudaErrorNotReady);
  ASSERT_EQ(cudaMemsetAsync(x.data(), 2, 4, first_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(second_, event_, 0), cudaSuccess);
  read_on_second();
  EXPECT_EQ(seen, 0x01010101);
  EXPECT_EQ(cudaEventQuery(event_), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(first_), cudaSuccess);
  EXPECT_EQ(x.get(0), 0x02020202);
}

TEST_F(StreamTest, PageableMemoryMayBeReusedAtOncePinnedMemoryMayNot) {
  DeviceArray<int> x(2);
  int pageable = 1;
  int* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(reinterpret_cast<void**>(&pinned), 4), cudaSuccess);
  *pinned = 1;
  ASSERT_EQ(cudaMemcpyAsync(x.data(), &pageable, 4, cudaMemcpyHostToDevice, first_), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(x.data() + 1, pinned, 4, cudaMemcpyHostToDevice, first_), cudaSuccess);
  pageable = *pinned = 2;
  ASSERT_EQ(cudaStreamSynchronize(first_), cudaSuccess);
  EXPECT_EQ(x.get(0), 1);
  EXPECT_EQ(x.get(1), 2);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

// ---- injected faults ----------------------------------------------------------------------------

// What engine code looks like: objects that release what they hold on every path.
int upload_and_read_back(int value) {
  int result = 0;
  DeviceArray<int> x(1);
  ELBO_CUDA_CHECK(cudaMemcpyAsync(x.data(), &value, 4, cudaMemcpyHostToDevice, nullptr));
  ELBO_CUDA_CHECK(cudaStreamSynchronize(nullptr));
  ELBO_CUDA_CHECK(cudaMemcpy(&result, x.data(), 4, cudaMemcpyDeviceToHost));
  return result;
}

TEST_F(RuntimeTest, EachCallCanBeMadeToFailAndNothingLeaks) {
  const long before = cudasim::call_count();
  ASSERT_EQ(upload_and_read_back(5), 5);
  const long calls = cudasim::call_count() - before;
  ASSERT_EQ(calls, 7);  // malloc, memset, synchronize, memcpy, synchronize, memcpy, free
  int errors = 0;
  for (long n = 1; n <= calls; ++n) {
    cudasim::config().fail_call = n;
    try {
      EXPECT_EQ(upload_and_read_back(5), 5);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("cudaErrorMemoryAllocation"), std::string::npos);
      ++errors;
    }
    EXPECT_EQ(cudasim::config().fail_call, 0) << "call " << n << " was never made";
    EXPECT_EQ(cudasim::describe(cudasim::live()), cudasim::describe({})) << "failing call " << n;
    cudaGetLastError();
  }
  EXPECT_EQ(errors, 6) << "all but the free";
  EXPECT_EQ(upload_and_read_back(6), 6);
}

TEST_F(RuntimeTest, OrdersAreParsed) {
  cudasim::Config config;
  EXPECT_TRUE(cudasim::parse_order("random:12", &config));
  EXPECT_EQ(config.order, cudasim::Order::random);
  EXPECT_EQ(config.seed, 12u);
  for (const char* wrong : {"", "random", "random:", "random:1x", "backward"}) {
    EXPECT_FALSE(cudasim::parse_order(wrong, &config)) << wrong;
  }
}

// ---- a process without a test fixture -----------------------------------------------------------

using ExitTest = RuntimeTest;

TEST_F(ExitTest, AProcessWithReportsFails) {
  EXPECT_EXIT(
      {
        cudasim::config().print = true;
        cudaFree(reinterpret_cast<void*>(8));
        std::exit(0);
      },
      testing::ExitedWithCode(3), "bad free");
}

TEST_F(ExitTest, AProcessThatLeaksDeviceMemoryFails) {
  EXPECT_EXIT(
      {
        void* p = nullptr;
        cudaMalloc(&p, 100);
        std::exit(0);
      },
      testing::ExitedWithCode(3), "held at exit: 100 bytes in 1 device allocations");
}

TEST_F(ExitTest, ACleanProcessSucceeds) {
  EXPECT_EXIT(
      {
        upload_and_read_back(1);
        std::exit(0);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace elbo
