// The launches of one or more training steps, recorded once and replayed as a CUDA graph.
//
// A small VAE's step is bound by launches: some twenty kernels of a few microseconds. As one graph they
// cost one launch. Recording asks that nothing in a step depends on the host: what changes from step
// to step lies in device memory (kernels/step_state.h) and addresses are fixed (liveness_plan.h).
//
//   StepGraph graph = StepGraph::record(context, [&] { ...launches on context.exec()... });
//   graph.launch();
//
// While recording, nothing runs, and what would wait for the device (upload, download, synchronize,
// allocate) is refused by the runtime. Launches on context.branch() become nodes that run beside those
// of context.exec().
//
// Errors    ErrorCode::device with the runtime's reason if something in `body` cannot be recorded; an
//           exception of `body` itself passes through. The stream is usable again in either case.
#pragma once

#include <utility>

#include "engine/context.h"

namespace elbo {

class StepGraph {
 public:
  // Whether work of this context can be recorded: on CUDA, outside of checked builds, without ELBO_SYNC.
  static bool available(const Context& context);

  template <class Body>
  static StepGraph record(Context& context, Body&& body) {
    Recording recording(context);
    std::forward<Body>(body)();
    return recording.finish();
  }

  StepGraph(StepGraph&& other) noexcept { swap(other); }
  StepGraph& operator=(StepGraph&& other) noexcept {
    swap(other);
    return *this;
  }
  ~StepGraph();

  void launch() const;  // asynchronous

  // What was recorded: kernels, and with copies and fills all nodes.
  int kernel_count() const { return kernels_; }
  int node_count() const { return nodes_; }

 private:
  class Recording {
   public:
    explicit Recording(Context& context);
    ~Recording();  // abandons what was not finished
    StepGraph finish();

   private:
    Context& context_;
    bool open_ = true;
  };

  StepGraph(Context& context, void* executable, int nodes, int kernels)
      : context_(&context), executable_(executable), nodes_(nodes), kernels_(kernels) {}
  void swap(StepGraph& other) noexcept {
    std::swap(context_, other.context_);
    std::swap(executable_, other.executable_);
    std::swap(nodes_, other.nodes_);
    std::swap(kernels_, other.kernels_);
  }

  Context* context_ = nullptr;
  void* executable_ = nullptr;
  int nodes_ = 0, kernels_ = 0;
};

}  // namespace elbo
