// Streams, events and kernel launches.
//
// With config().async a stream is a queue that runs only when something waits for it, so a missing
// synchronisation reads old data and a missing event runs work in the wrong order. Streams made
// with cudaStreamNonBlocking stand apart from the default stream, as on the real device; the others
// take turns with it.
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "tests/sim/reports.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/stream.h"

namespace cudasim {
namespace {

// What one cudaEventRecord waits for. A later record of the same event makes a new one.
struct Completion {
  bool done = false;
  Stream* stream = nullptr;
  std::chrono::steady_clock::time_point time;
};
struct Event {
  bool timing = true;
  std::shared_ptr<Completion> last;
  CapturedPoint captured;  // capture is set if the last record was on a stream under capture
};

// Never destroyed, see runtime_call.cpp.
Stream& default_stream = *new Stream;
std::set<Stream*>& streams = *new std::set<Stream*>;
std::set<Event*>& events = *new std::set<Event*>;
std::chrono::microseconds events_delay{0};  // what config() adds to the times that things take
std::map<const void*, size_t>& shared_limits = *new std::map<const void*, size_t>;

constexpr size_t kSharedDefault = 48 << 10, kSharedOptIn = 227 << 10;

void run_next(Stream* stream) {
  const auto work = std::move(stream->queue.front());
  stream->queue.pop_front();
  work();
}

void drain(Stream* stream) {
  while (!stream->queue.empty()) run_next(stream);
}

// Runs the recording stream until the event has happened. Its stream may be gone, but destroying a
// stream runs all of it first.
void finish(const Completion& completion) {
  while (!completion.done && !completion.stream->queue.empty()) run_next(completion.stream);
}

Event* find_event(cudaEvent_t handle) {
  auto* event = reinterpret_cast<Event*>(handle);
  return events.count(event) ? event : nullptr;
}

cudaError_t create_stream(cudaStream_t* handle, unsigned flags) {
  ApiCall call;
  if (call.failed()) return call.error();
  auto* stream = new Stream;
  stream->blocking = !(flags & cudaStreamNonBlocking);
  streams.insert(stream);
  ++live_objects.streams;
  *handle = reinterpret_cast<cudaStream_t>(stream);
  return cudaSuccess;
}

cudaError_t create_event(cudaEvent_t* handle, unsigned flags) {
  ApiCall call;
  if (call.failed()) return call.error();
  auto* event = new Event;
  event->timing = !(flags & cudaEventDisableTiming);
  events.insert(event);
  ++live_objects.events;
  *handle = reinterpret_cast<cudaEvent_t>(event);
  return cudaSuccess;
}

// The limits that a driver enforces at launch.
cudaError_t check_configuration(const Launch& launch) {
  const dim3 grid = launch.grid, block = launch.block;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMaxThreads || block.z > 64) return cudaErrorInvalidConfiguration;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaErrorInvalidConfiguration;
  if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) {
    return cudaErrorInvalidConfiguration;
  }
  const auto limit = shared_limits.find(launch.kernel);
  const size_t allowed = limit == shared_limits.end() ? kSharedDefault : limit->second;
  return launch.shared_bytes <= allowed ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace

Stream* stream_of(cudaStream_t handle) {
  const bool is_default =
      handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread;
  return is_default ? &default_stream : reinterpret_cast<Stream*>(handle);
}

const std::set<Stream*>& all_streams() { return streams; }

void delay_events(int microseconds) { events_delay += std::chrono::microseconds(microseconds); }

bool is_stream(cudaStream_t handle) {
  Stream* stream = stream_of(handle);
  return stream == &default_stream || streams.count(stream);
}

void drain_stream(cudaStream_t handle) { drain(stream_of(handle)); }

void drain_all_streams() {
  drain(&default_stream);
  for (Stream* stream : streams) drain(stream);
}

cudaError_t submit(cudaStream_t handle, std::function<void()> work, cudaGraphNodeType type) {
  Stream* stream = stream_of(handle);
  if (stream->capture) return record_node(stream, type, std::move(work));
  if (const cudaError_t error = check_not_behind_capture(stream)) return error;
  if (!config().async) {
    work();
    return sticky_error();
  }
  if (stream == &default_stream) {
    for (Stream* other : streams) {
      if (other->blocking) drain(other);
    }
  } else if (stream->blocking) {
    drain(&default_stream);
  }
  stream->queue.push_back(std::move(work));
  return cudaSuccess;
}

// A pointer that is a kernel's own parameter must be device memory when the kernel runs; pointers inside
// functors and structs are seen only by the race checker, when they are used.
bool check_pointers(const Launch& launch, const std::vector<const void*>& pointers) {
  bool all_good = true;
  for (size_t i = 0; i < pointers.size(); ++i) {
    if (!pointers[i] || is_kernel_range(pointers[i], 0)) continue;
    add_report("bad pointer", "parameter %zu of %s is not device memory", i + 1,
               kernel_name(launch.kernel).c_str());
    all_good = false;
  }
  return all_good;
}

cudaError_t launch_erased(Launch launch, cudaStream_t stream, const void* const* pointers,
                          int pointer_count) {
  ApiCall call;
  if (call.failed()) return call.error();
  if (!is_stream(stream)) return call.finish(cudaErrorInvalidResourceHandle);
  if (const cudaError_t error = check_configuration(launch)) return call.finish(error);
  const auto work = [launch, list = std::vector(pointers, pointers + pointer_count)] {
    delay_events(config().kernel_delay_us);
    if (sticky_error() == cudaSuccess && check_pointers(launch, list)) run_grid(launch);
  };
  return call.finish(submit(stream, work, cudaGraphNodeTypeKernel));
}

}  // namespace cudasim

using namespace cudasim;

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return create_stream(stream, 0); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return create_stream(stream, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  ApiCall call;
  Stream* stream = stream_of(handle);
  if (stream == &default_stream || !streams.count(stream)) {
    return call.finish(cudaErrorInvalidResourceHandle);
  }
  refuse_in_capture(stream);  // the capture is lost with one of its streams
  drain(stream);
  streams.erase(stream);
  --live_objects.streams;
  delete stream;
  return call.finish(cudaSuccess);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  ApiCall call;
  if (call.failed()) return call.error();
  if (!is_stream(stream)) return call.finish(cudaErrorInvalidResourceHandle);
  if (const cudaError_t error = refuse_in_capture(stream_of(stream))) return call.finish(error);
  drain_stream(stream);
  return call.finish(sticky_error());
}
cudaError_t cudaDeviceSynchronize(void) {
  ApiCall call;
  if (call.failed()) return call.error();
  if (const cudaError_t error = refuse_in_capture()) return call.finish(error);
  drain_all_streams();
  return call.finish(sticky_error());
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  ApiCall call;
  if (call.failed()) return call.error();
  if (!is_stream(stream)) return call.finish(cudaErrorInvalidResourceHandle);
  if (const cudaError_t error = refuse_in_capture(stream_of(stream))) return call.finish(error);
  return stream_of(stream)->queue.empty() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return create_event(event, 0); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return create_event(event, flags);
}
cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  ApiCall call;
  Event* event = find_event(handle);
  if (!event) return call.finish(cudaErrorInvalidResourceHandle);
  events.erase(event);
  --live_objects.events;
  delete event;
  return call.finish(cudaSuccess);
}
cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream) {
  ApiCall call;
  if (call.failed()) return call.error();
  Event* event = find_event(handle);
  if (!event || !is_stream(stream)) return call.finish(cudaErrorInvalidResourceHandle);
  const Stream* recorder = stream_of(stream);
  event->captured = {recorder->capture, recorder->tail};
  if (recorder->capture) {
    return call.finish(recorder->capture->invalid ? cudaErrorStreamCaptureInvalidated
                                                  : cudaSuccess);
  }
  auto completion = std::make_shared<Completion>();
  completion->stream = stream_of(stream);
  event->last = completion;
  const auto work = [completion] {
    completion->time = std::chrono::steady_clock::now() + events_delay;
    completion->done = true;
  };
  return call.finish(submit(stream, work, cudaGraphNodeTypeEventRecord));
}
cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  ApiCall call;
  if (call.failed()) return call.error();
  Event* event = find_event(handle);
  if (!event) return call.finish(cudaErrorInvalidResourceHandle);
  if (event->captured.capture) return call.finish(cudaErrorCapturedEvent);
  if (event->last) finish(*event->last);
  return call.finish(sticky_error());
}
cudaError_t cudaEventQuery(cudaEvent_t handle) {
  ApiCall call;
  if (call.failed()) return call.error();
  Event* event = find_event(handle);
  if (!event) return call.finish(cudaErrorInvalidResourceHandle);
  if (event->captured.capture) return call.finish(cudaErrorCapturedEvent);
  return !event->last || event->last->done ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  ApiCall call;
  if (call.failed()) return call.error();
  const Event* first = find_event(from);
  const Event* second = find_event(to);
  if (!first || !second || !first->timing || !second->timing || !first->last || !second->last) {
    return call.finish(cudaErrorInvalidResourceHandle);
  }
  if (!first->last->done || !second->last->done) return call.finish(cudaErrorNotReady);
  *milliseconds =
      std::chrono::duration<float, std::milli>(second->last->time - first->last->time).count();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t handle, unsigned) {
  ApiCall call;
  if (call.failed()) return call.error();
  Event* event = find_event(handle);
  if (!event || !is_stream(stream)) return call.finish(cudaErrorInvalidResourceHandle);
  if (event->captured.capture) {
    return call.finish(join_capture(stream_of(stream), event->captured));
  }
  if (stream_of(stream)->capture) {  // the graph cannot wait for work outside of it
    stream_of(stream)->capture->invalid = true;
    return call.finish(cudaErrorStreamCaptureIsolation);
  }
  if (!event->last) return cudaSuccess;
  const auto work = [completion = event->last] { finish(*completion); };
  return call.finish(submit(stream, work, cudaGraphNodeTypeWaitEvent));
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  ApiCall call;
  if (call.failed()) return call.error();
  if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
    if (value < 0 || static_cast<size_t>(value) > kSharedOptIn) {
      return call.finish(cudaErrorInvalidValue);
    }
    shared_limits[kernel] = value;
  }
  return cudaSuccess;
}

}  // extern "C"
