// Recording streams into graphs: what is refused, what is kept, and in which orders it may run.
#include <memory>

#include "tests/sim/sim_fixture.h"

namespace elbo {
namespace {

__global__ void append_kernel(int* list, int value) {
  list[1 + list[0]] = value;
  ++list[0];
}

class GraphTest : public SimTest {
 protected:
  GraphTest() {
    for (cudaStream_t& stream : streams_) {
      EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    }
    for (cudaEvent_t& event : events_) EXPECT_EQ(cudaEventCreate(&event), cudaSuccess);
  }
  ~GraphTest() override {
    for (cudaStream_t stream : streams_) cudaStreamDestroy(stream);
    for (cudaEvent_t event : events_) cudaEventDestroy(event);
  }

  cudaStream_t main() const { return streams_[0]; }
  cudaStream_t side() const { return streams_[1]; }
  cudaError_t begin() { return cudaStreamBeginCapture(main(), cudaStreamCaptureModeThreadLocal); }
  cudaError_t end() {
    const cudaError_t status = cudaStreamEndCapture(main(), &graph_);
    cudaGetLastError();
    return status;
  }
  void append(cudaStream_t stream, int value) {
    gpu::launch(append_kernel, 1, 1, 0, stream, list_.data(), value);
  }
  void order(cudaStream_t before, cudaStream_t after, int event) {
    EXPECT_EQ(cudaEventRecord(events_[event], before), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(after, events_[event], 0), cudaSuccess);
  }
  void replay() {
    cudaGraphExec_t executable = nullptr;
    ASSERT_EQ(cudaGraphInstantiate(&executable, graph_, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph_), cudaSuccess);  // an executable graph stands on its own
    EXPECT_EQ(cudaGraphLaunch(executable, main()), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(main()), cudaSuccess);
    EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
  }
  std::string list() {
    std::string text;
    for (int i = 0; i < list_.get(0); ++i) text += std::to_string(list_.get(1 + i)) + " ";
    return text;
  }

  DeviceArray<int> list_{16};
  cudaStream_t streams_[2] = {};
  cudaEvent_t events_[2] = {};
  cudaGraph_t graph_ = nullptr;
};

TEST_F(GraphTest, RecordsWithoutRunningAndReplaysInOrder) {
  ASSERT_EQ(begin(), cudaSuccess);
  append(main(), 1);
  append(main(), 2);
  EXPECT_EQ(cudaMemsetAsync(list_.data() + 8, 0, 4, main()), cudaSuccess);
  cudaStreamCaptureStatus status{};
  EXPECT_EQ(cudaStreamIsCapturing(main(), &status), cudaSuccess);
  EXPECT_EQ(status, cudaStreamCaptureStatusActive);
  ASSERT_EQ(end(), cudaSuccess);
  EXPECT_EQ(list(), "");
  size_t count = 0;
  EXPECT_EQ(cudaGraphGetNodes(graph_, nullptr, &count), cudaSuccess);
  ASSERT_EQ(count, 3u);
  cudaGraphNode_t nodes[3];
  EXPECT_EQ(cudaGraphGetNodes(graph_, nodes, &count), cudaSuccess);
  cudaGraphNodeType first{}, last{};
  EXPECT_EQ(cudaGraphNodeGetType(nodes[0], &first), cudaSuccess);
  EXPECT_EQ(cudaGraphNodeGetType(nodes[2], &last), cudaSuccess);
  EXPECT_EQ(first, cudaGraphNodeTypeKernel);
  EXPECT_EQ(last, cudaGraphNodeTypeMemset);
  for (const char* order : {"forward", "reverse", "random:1"}) {
    use_order(order);
    cudaGraphExec_t executable = nullptr;
    ASSERT_EQ(cudaGraphInstantiate(&executable, graph_, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphLaunch(executable, main()), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(main()), cudaSuccess);
    EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
  }
  EXPECT_EQ(list(), "1 2 1 2 1 2 ");
  EXPECT_EQ(cudaGraphDestroy(graph_), cudaSuccess);
}

TEST_F(GraphTest, BranchesRunInAnyOrderThatTheEventsAllow) {
  const auto record = [&] {
    EXPECT_EQ(begin(), cudaSuccess);
    append(main(), 1);
    order(main(), side(), 0);
    append(side(), 20);
    append(side(), 21);
    append(main(), 3);
    order(side(), main(), 1);
    append(main(), 4);
    EXPECT_EQ(end(), cudaSuccess);
  };
  record();
  replay();
  EXPECT_EQ(list(), "1 20 21 3 4 ");
  EXPECT_EQ(cudaMemset(list_.data(), 0, 4), cudaSuccess);
  use_order("reverse");
  record();
  replay();
  EXPECT_EQ(list(), "1 3 20 21 4 ");
}

TEST_F(GraphTest, ABranchThatIsNotJoinedIsAnError) {
  ASSERT_EQ(begin(), cudaSuccess);
  append(main(), 1);
  order(main(), side(), 0);
  append(side(), 2);
  EXPECT_EQ(end(), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(graph_, nullptr);
  append(side(), 7);  // both streams are ordinary again
  append(main(), 8);
  EXPECT_EQ(list(), "7 8 ");
}

TEST_F(GraphTest, WhatWaitsForTheDeviceIsRefusedAndEndsTheRecording) {
  const auto refused = [&](auto call) {
    EXPECT_EQ(begin(), cudaSuccess);
    append(main(), 1);
    EXPECT_EQ(call(), cudaErrorStreamCaptureUnsupported);
    EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
  };
  void* memory = nullptr;
  int host = 0;
  refused([&] { return cudaStreamSynchronize(main()); });
  refused([&] { return cudaDeviceSynchronize(); });
  refused([&] { return cudaMalloc(&memory, 4); });
  refused([&] { return cudaMemcpy(&host, list_.data(), 4, cudaMemcpyDeviceToHost); });
  refused([&] { return cudaStreamQuery(main()); });
  EXPECT_EQ(list(), "");
}

TEST_F(GraphTest, RecordedAndOtherWorkCannotWaitForEachOther) {
  EXPECT_EQ(cudaEventRecord(events_[0], side()), cudaSuccess);
  ASSERT_EQ(begin(), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(main(), events_[0], 0), cudaErrorStreamCaptureIsolation);
  EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);

  ASSERT_EQ(begin(), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(events_[1], main()), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(events_[1]), cudaErrorCapturedEvent);
  ASSERT_EQ(end(), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(side(), events_[1], 0), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(cudaGraphDestroy(graph_), cudaSuccess);
  cudaGetLastError();
}

TEST_F(GraphTest, MisuseIsNamed) {
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal),
            cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(end(), cudaErrorIllegalState);
  ASSERT_EQ(begin(), cudaSuccess);
  EXPECT_EQ(begin(), cudaErrorIllegalState);
  order(main(), side(), 0);
  EXPECT_EQ(cudaStreamEndCapture(side(), &graph_), cudaErrorStreamCaptureUnmatched);
  EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
}

TEST_F(GraphTest, AReplayThatOutlivesItsMemoryIsReported) {
  auto gone = std::make_unique<DeviceArray<int>>(16);
  ASSERT_EQ(begin(), cudaSuccess);
  gpu::launch(append_kernel, 1, 1, 0, main(), gone->data(), 1);
  ASSERT_EQ(end(), cudaSuccess);
  gone.reset();
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph_, 0), cudaSuccess);
  EXPECT_REPORT(reports_of([&] { cudaGraphLaunch(executable, main()); }), "bad pointer: ");
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph_), cudaSuccess);
}

}  // namespace
}  // namespace elbo
