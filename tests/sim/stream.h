// Streams of the simulated runtime, and what recording one into a graph (runtime_graph.cpp) needs of them.
#pragma once

#include <cuda_runtime.h>

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "tests/sim/runtime.h"

namespace cudasim {

struct GraphNode {
  cudaGraphNodeType type;
  std::function<void()> work;
  std::vector<int> after;  // nodes that must have run, by index; all smaller than this one's
};

// One recording, shared by the stream it began on and those that joined it by waiting for an event.
struct Capture {
  std::vector<GraphNode> nodes;
  bool invalid = false;
};

struct Stream {
  std::deque<std::function<void()>> queue;
  bool blocking = true;
  std::shared_ptr<Capture> capture;  // null while not recorded
  bool began_capture = false;
  std::vector<int> tail;  // recorded nodes that the next one comes after
};

Stream* stream_of(cudaStream_t handle);
const std::set<Stream*>& all_streams();  // without the default stream

// Records work in place of running it.
cudaError_t record_node(Stream* stream, cudaGraphNodeType type, std::function<void()> work);
// Work arrives on a stream that is not recorded: refused if it would have to wait for a recorded one.
cudaError_t check_not_behind_capture(const Stream* stream);
// What an event stands for when it was recorded on a stream under capture.
struct CapturedPoint {
  std::shared_ptr<Capture> capture;
  std::vector<int> after;
};
cudaError_t join_capture(Stream* stream, const CapturedPoint& point);

// The call waits for the device or is otherwise refused while a stream is recorded; the recording is
// lost then. cudaSuccess if none is.
cudaError_t refuse_in_capture();
cudaError_t refuse_in_capture(const Stream* stream);  // if that stream is recorded

}  // namespace cudasim
