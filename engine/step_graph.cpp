#include "engine/step_graph.h"

#include "kernels/error.h"
#ifdef ELBO_HAS_CUDA
#include "engine/cuda_device.h"
#include "kernels/gpu.h"
#endif

namespace elbo {

#ifdef ELBO_HAS_CUDA

bool StepGraph::available([[maybe_unused]] const Context& context) {
#ifdef ELBO_CHECKS
  return false;  // red zones are read back after every op
#else
  return context.exec().on_cuda() && !gpu::sync_after_launch();
#endif
}

StepGraph::Recording::Recording(Context& context) : context_(context) {
  context.open_branch();  // cannot be made while recording
  cuda_device::begin_recording(context.exec().stream);
  context.set_recording(true);
}

StepGraph::Recording::~Recording() {
  if (!open_) return;
  context_.set_recording(false);
  cuda_device::abandon_recording(context_.exec().stream);
}

StepGraph StepGraph::Recording::finish() {
  open_ = false;
  context_.set_recording(false);
  const cuda_device::Graph graph = cuda_device::end_recording(context_.exec().stream);
  return StepGraph(context_, graph.executable, graph.nodes, graph.kernels);
}

StepGraph::~StepGraph() {
  if (executable_) cuda_device::destroy_graph(executable_);
}

void StepGraph::launch() const { cuda_device::launch_graph(executable_, context_->exec().stream); }

#else

bool StepGraph::available(const Context&) { return false; }
StepGraph::Recording::Recording(Context& context) : context_(context) {
  throw_error(ErrorCode::device, "a step graph needs CUDA; this program was built without it");
}
StepGraph::Recording::~Recording() = default;
StepGraph StepGraph::Recording::finish() { return StepGraph(context_, nullptr, 0, 0); }
StepGraph::~StepGraph() = default;
void StepGraph::launch() const {}

#endif

}  // namespace elbo
