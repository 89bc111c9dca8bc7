// Stream capture and graphs. A recorded stream runs nothing: its work becomes nodes, each after the
// stream's previous ones and after what the stream has waited for.
//
// Replay honours the recorded edges and nothing else: with Order::reverse or Order::random the nodes
// run in another order that the edges allow, so a fork that is never joined, or a join that comes too
// late, changes the result.
#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "tests/sim/reports.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/stream.h"

namespace cudasim {
namespace {

using Nodes = std::vector<GraphNode>;
struct Graph {
  std::shared_ptr<Nodes> nodes;
};
// Never destroyed, see runtime_call.cpp.
std::set<Graph*>& graphs = *new std::set<Graph*>;
std::set<Graph*>& executables = *new std::set<Graph*>;

template <class Handle>
Graph* find(const std::set<Graph*>& set, Handle handle) {
  auto* graph = reinterpret_cast<Graph*>(handle);
  return set.count(graph) ? graph : nullptr;
}

Graph* add(std::set<Graph*>& set, std::shared_ptr<Nodes> nodes) {
  auto* graph = new Graph{std::move(nodes)};
  set.insert(graph);
  ++live_objects.graphs;
  return graph;
}

template <class Handle>
cudaError_t remove(std::set<Graph*>& set, Handle handle) {
  ApiCall call;
  Graph* graph = find(set, handle);
  if (!graph) return call.finish(cudaErrorInvalidValue);
  set.erase(graph);
  --live_objects.graphs;
  delete graph;
  return call.finish(cudaSuccess);
}

// Every node that must have run when those in `tail` have.
std::vector<bool> reached_from(const Nodes& nodes, const std::vector<int>& tail) {
  std::vector<bool> reached(nodes.size(), false);
  for (int node : tail) reached[static_cast<size_t>(node)] = true;
  for (size_t i = nodes.size(); i-- > 0;) {
    if (!reached[i]) continue;
    for (int before : nodes[i].after) reached[static_cast<size_t>(before)] = true;
  }
  return reached;
}

void leave_capture(Stream* stream) {
  stream->capture.reset();
  stream->began_capture = false;
  stream->tail.clear();
}

void merge(std::vector<int>& into, const std::vector<int>& from) {
  for (int node : from) {
    if (std::find(into.begin(), into.end(), node) == into.end()) into.push_back(node);
  }
}

void replay(const Nodes& nodes) {
  std::vector<int> missing(nodes.size());
  std::vector<std::vector<int>> followers(nodes.size());
  std::vector<int> ready;
  for (size_t i = 0; i < nodes.size(); ++i) {
    missing[i] = static_cast<int>(nodes[i].after.size());
    for (int before : nodes[i].after) {
      followers[static_cast<size_t>(before)].push_back(static_cast<int>(i));
    }
    if (missing[i] == 0) ready.push_back(static_cast<int>(i));
  }
  std::mt19937_64 bits(config().seed);
  while (!ready.empty()) {
    auto next = std::min_element(ready.begin(), ready.end());  // the order of recording
    if (config().order == Order::reverse) next = std::max_element(ready.begin(), ready.end());
    if (config().order == Order::random) {
      next = ready.begin() + static_cast<ptrdiff_t>(bits() % ready.size());
    }
    const auto node = static_cast<size_t>(*next);
    ready.erase(next);
    nodes[node].work();
    for (int follower : followers[node]) {
      if (--missing[static_cast<size_t>(follower)] == 0) ready.push_back(follower);
    }
  }
}

}  // namespace

cudaError_t record_node(Stream* stream, cudaGraphNodeType type, std::function<void()> work) {
  Capture& capture = *stream->capture;
  if (capture.invalid) return cudaErrorStreamCaptureInvalidated;
  capture.nodes.push_back({type, std::move(work), stream->tail});
  stream->tail = {static_cast<int>(capture.nodes.size()) - 1};
  return cudaSuccess;
}

cudaError_t check_not_behind_capture(const Stream* stream) {
  if (stream != stream_of(nullptr)) return cudaSuccess;
  cudaError_t result = cudaSuccess;
  for (Stream* other : all_streams()) {
    if (!other->blocking || !other->capture) continue;
    other->capture->invalid = true;
    result = cudaErrorStreamCaptureImplicit;
  }
  return result;
}

cudaError_t join_capture(Stream* stream, const CapturedPoint& point) {
  if (stream->capture && stream->capture != point.capture) {
    stream->capture->invalid = point.capture->invalid = true;
    return cudaErrorStreamCaptureMerge;
  }
  if (point.capture->invalid) return cudaErrorStreamCaptureInvalidated;
  stream->capture = point.capture;
  merge(stream->tail, point.after);
  return cudaSuccess;
}

cudaError_t refuse_in_capture(const Stream* stream) {
  if (!stream->capture) return cudaSuccess;
  stream->capture->invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t refuse_in_capture() {
  cudaError_t result = cudaSuccess;
  for (const Stream* stream : all_streams()) {
    if (const cudaError_t error = refuse_in_capture(stream)) result = error;
  }
  return result;
}

}  // namespace cudasim

using namespace cudasim;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode) {
  ApiCall call;
  if (call.failed()) return call.error();
  if (!is_stream(handle)) return call.finish(cudaErrorInvalidResourceHandle);
  Stream* stream = stream_of(handle);
  if (stream == stream_of(nullptr)) return call.finish(cudaErrorStreamCaptureUnsupported);
  if (stream->capture) return call.finish(cudaErrorIllegalState);
  stream->capture = std::make_shared<Capture>();
  stream->began_capture = true;
  return cudaSuccess;
}

// Ends the capture even where it fails, as the real one does.
cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  ApiCall call;
  *graph = nullptr;
  if (!is_stream(handle)) return call.finish(cudaErrorInvalidResourceHandle);
  Stream* origin = stream_of(handle);
  if (!origin->capture) return call.finish(cudaErrorIllegalState);
  if (!origin->began_capture) {
    origin->capture->invalid = true;
    return call.finish(cudaErrorStreamCaptureUnmatched);
  }
  const std::shared_ptr<Capture> capture = origin->capture;
  const std::vector<bool> joined = reached_from(capture->nodes, origin->tail);
  cudaError_t outcome = capture->invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
  for (Stream* stream : all_streams()) {
    if (stream->capture != capture) continue;
    for (int node : stream->tail) {
      if (!joined[static_cast<size_t>(node)] && outcome == cudaSuccess) {
        outcome = cudaErrorStreamCaptureUnjoined;
      }
    }
    leave_capture(stream);
  }
  capture->invalid = true;  // for events that still name it
  if (outcome != cudaSuccess || call.failed()) return call.finish(outcome);
  auto nodes = std::make_shared<Nodes>(std::move(capture->nodes));
  *graph = reinterpret_cast<cudaGraph_t>(add(graphs, std::move(nodes)));
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  ApiCall call;
  if (call.failed()) return call.error();
  if (!is_stream(handle)) return call.finish(cudaErrorInvalidResourceHandle);
  const Stream* stream = stream_of(handle);
  *status = !stream->capture           ? cudaStreamCaptureStatusNone
            : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                       : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t handle, cudaGraphNode_t* nodes, size_t* count) {
  ApiCall call;
  if (call.failed()) return call.error();
  Graph* graph = find(graphs, handle);
  if (!graph) return call.finish(cudaErrorInvalidValue);
  const size_t wanted = nodes ? *count : 0;
  for (size_t i = 0; i < wanted; ++i) {
    nodes[i] =
        i < graph->nodes->size() ? reinterpret_cast<cudaGraphNode_t>(&(*graph->nodes)[i]) : nullptr;
  }
  *count = nodes ? std::min(wanted, graph->nodes->size()) : graph->nodes->size();
  return cudaSuccess;
}

cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  ApiCall call;
  if (call.failed()) return call.error();
  *type = reinterpret_cast<const GraphNode*>(node)->type;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t handle,
                                 unsigned long long) {
  ApiCall call;
  if (call.failed()) return call.error();
  Graph* graph = find(graphs, handle);
  if (!graph) return call.finish(cudaErrorInvalidValue);
  *executable = reinterpret_cast<cudaGraphExec_t>(add(executables, graph->nodes));
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream) {
  ApiCall call;
  if (call.failed()) return call.error();
  Graph* executable = find(executables, handle);
  if (!executable || !is_stream(stream)) return call.finish(cudaErrorInvalidResourceHandle);
  if (const cudaError_t error = refuse_in_capture(stream_of(stream))) return call.finish(error);
  return call.finish(submit(
      stream, [nodes = executable->nodes] { replay(*nodes); }, cudaGraphNodeTypeGraph));
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return remove(graphs, graph); }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return remove(executables, executable);
}

}  // extern "C"
