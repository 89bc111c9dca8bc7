// The tape: runs the ops of one step, remembers how to undo them, and owns the step's memory.
//
// Reading guide. One step is one call of Tape::run(signature, body). The body calls op wrappers
// (engine/ops/); each allocates its outputs (new_value), launches (op) and records a backward
// closure (record). backward() walks the closures in reverse. Start at run(), then op(), then
// backward().
//
//   Buffer  a piece of the activation block: a value, a gradient, something saved for backward
//   Value   the output of an op that takes a gradient, with its gradient once somebody contributed
//   Node    {name, backward closure}, in the tape's own memory
//
// Invariants
//   - The first run of a signature is a dry one: allocations and ops are recorded, nothing is
//   launched.
//     From it the liveness plan is made; after that the same body gets the same addresses every
//     time.
//   - So a body must do the same for the same signature, and must not look at tensor contents.
//   - Execution order is a topological order, so reverse order is a valid order for backward.
//   - An op names every tape tensor it reads and writes. What it does not name may be overwritten;
//   in
//     checked builds it *is*: buffers are filled with NaN when their life ends.
//   - The first contribution to a gradient writes, later ones add: gradients are never cleared.
//   - In the steady state nothing is allocated on the heap.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "engine/context.h"
#include "engine/liveness_plan.h"
#include "engine/op_range.h"
#include "engine/param_store.h"
#include "engine/step_graph.h"
#include "engine/tensor.h"
#include "kernels/activation.h"
#include "kernels/step_state.h"

namespace elbo {

// Where a backward closure puts the gradient of one of its inputs.
struct GradSlot {
  Tensor dx;
  GradMode mode = GradMode::write;
  bool wanted = false;  // false: the input takes no gradient, skip the work

  explicit operator bool() const { return wanted; }
};

// The backward of a linear layer's activation and bias, left to whoever computes the gradient of
// its output y, as an epilogue of that product.
struct Epilogue {
  Activation activation = Activation::identity;
  Tensor y;    // the layer's activated output
  Tensor aux;  // what its forward saved besides; no data if nothing
  ParamStore* params = nullptr;
  Param bias;
  bool has_bias = false;
};

// A linear layer's weight and bias gradient, for Tape::defer().
struct WeightGradient {
  Tensor x, dy;    // [B, in], [B, out]
  Tensor dweight;  // [out, in]
  GradMode mode = GradMode::write;
  Tensor dbias;  // [out]; no data: no bias, or somebody else's
  GradMode dbias_mode = GradMode::write;
  bool launched = false;
};

class Tape {
 public:
  explicit Tape(Context& context);
  ~Tape();

  Context& context() const { return *context_; }
  Device device() const { return context_->device(); }

  // One step. `signature` identifies the shapes: equal signatures must lead to equal allocations.
  template <class Body>
  void run(uint64_t signature, Body&& body) {
    if (!select_plan(signature)) {
      begin_run(Mode::dry);
      body(*this);
      make_plan(signature);
    }
    begin_run(Mode::live);
    body(*this);
    end_run();
  }

  // `steps` runs in a row. On CUDA the first call of a signature runs them plainly, which makes the plan
  // and lets the vendor libraries choose; the next is recorded as a graph (engine/step_graph.h), and
  // from then on it is replayed without `body` being called. Same bits either way. Needs
  // use_graphs(true), otherwise it is run() in a loop.
  template <class Body>
  void run_steps(uint64_t signature, int steps, Body&& body) {
    const auto run_all = [&] {
      for (int i = 0; i < steps; ++i) run(signature, body);
    };
    if (const StepGraph* graph = find_graph(signature, steps)) return graph->launch();
    if (!may_record(signature)) return run_all();
    add_graph(signature, steps, StepGraph::record(*context_, run_all)).launch();
  }
  // Before the first run, as it also decides how long memory that branch_op() reads must last.
  void use_graphs(bool on);
  const StepGraph* find_graph(uint64_t signature, int steps) const;

  // Whether ops record backward closures. Off for evaluation and sampling.
  bool recording() const { return recording_; }
  void set_recording(bool on) { recording_ = on; }

  // --- for op wrappers
  // ----------------------------------------------------------------------------

  // Memory until the last op that names it. Contents are undefined.
  Tensor new_buffer(Shape shape, DType dtype);
  // The same as the output of an op that can be differentiated.
  Tensor new_value(Shape shape, DType dtype);
  // Another value with the same memory: reshapes, scale_grad.
  Tensor new_alias(const Tensor& of, Shape shape);
  // Outside memory that wants a gradient (readable by grad() until the next run).
  Tensor leaf(const Tensor& external);

  // Launches one op, unless this is a dry run. `launch` takes (const Exec&).
  template <class Launch>
  void op(const char* name, std::initializer_list<Tensor> reads,
          std::initializer_list<Tensor> writes, Launch&& launch) {
    begin_op(name, reads, writes);
    if (mode_ == Mode::live) {
      const OpRange range(phase_, label_, name, op_times_);
      launch(context_->exec());
      finish_op(writes);
    }
  }

  // The same beside the ops that follow, until join(): a branch of the graph where one is recorded.
  // Nothing may use what it writes before join(); what it reads stays untouched until then. It writes
  // memory outside of the tape: gradients of parameters.
  template <class Launch>
  void branch_op(const char* name, std::initializer_list<Tensor> reads,
                 std::initializer_list<Tensor> writes, Launch&& launch) {
    begin_op(name, reads, writes);
    if (use_graphs_) branched_.insert(branched_.end(), reads);
    if (mode_ != Mode::live) return;
    const OpRange range(phase_, label_, name, op_times_);
    if (context_->recording()) {
      context_->fork();
      branch_open_ = true;
      launch(context_->branch());
    } else {
      launch(context_->exec());
      finish_op(writes);
    }
  }
  // Ops from here on come after all branch ops before it. backward() ends with one.
  void join();

  // Leaves a weight gradient, which nothing but the optimiser waits for, to one launch for all layers at
  // the end of backward(). While ops are checked one by one it is launched at once instead.
  void defer(const WeightGradient& gradient);

  // Remembers how to undo an op. `backward` is called as backward(Tape&) and must be trivially
  // copyable: it captures tensors and params by value. `inputs` are the values it may send
  // gradients to.
  template <class Backward>
  void record(const char* name, std::initializer_list<Tensor> inputs, const Backward& backward) {
    static_assert(std::is_trivially_copyable_v<Backward>, "closures live in the tape's raw memory");
    if (!recording_) return;
    void* memory = new_closure(sizeof(Backward), alignof(Backward));
    new (memory) Backward(backward);
    push_node(name, inputs, memory, [](const void* closure, Tape& tape) {
      (*static_cast<const Backward*>(closure))(tape);
    });
  }

  // The gradient that consumers of y have left, if any did.
  std::optional<Tensor> upstream(const Tensor& y) const;
  // Where to put a contribution to the gradient of x.
  GradSlot grad_slot(const Tensor& x);
  // Makes dy, under x's shape, the gradient of x, if x has none yet; for views, whose gradients have the
  // same elements. Who contributes to x later adds to dy's memory, so the caller must be its last reader.
  bool adopt_grad(const Tensor& x, const Tensor& dy);
  bool wants_grad(const Tensor& x) const { return recording_ && x.value >= 0; }

  // take_epilogue gives null unless y has a single consumer, whose product is then the only
  // contribution to dy. The producer asks epilogue_taken when its own backward runs.
  void offer_epilogue(const Epilogue& epilogue);
  const Epilogue* take_epilogue(const Tensor& y);
  bool epilogue_taken(const Tensor& y) const;

  // --- backward
  // -----------------------------------------------------------------------------------

  // Starts gradient flow at y with a given cotangent: dy += cotangent (same shape and type as y).
  void seed(const Tensor& y, const Tensor& cotangent);

  // Runs all recorded closures in reverse. Losses carry their weights, so there is no seed
  // argument.
  void backward(ParamStore& params, GradMode mode = GradMode::write);

  // Gradient of a value after backward(), valid until the next run.
  std::optional<Tensor> grad(const Tensor& x) const { return upstream(x); }

  // Keeps a buffer alive until the end of the run, so that its contents can be read afterwards.
  void keep(const Tensor& tensor);

  // --- names and checks
  // ---------------------------------------------------------------------------

  // A label in front of op names: "enc.fc1".
  class Scope {
   public:
    Scope(Tape& tape, const char* label) : tape_(tape), outer_(tape.label_) { tape.label_ = label; }
    ~Scope() { tape_.label_ = outer_; }

   private:
    Tape& tape_;
    const char* outer_;
  };

  // From now on every op's outputs are checked for NaN and infinity; the first bad one is recorded
  // in state->bad_op (device memory). Null turns it off.
  void set_finite_check(StepState* state);
  // "bwd/enc.fc1/linear, output 0" for a bad_op found by the check.
  std::string describe_bad_op(uint32_t bad_op) const;
  // Ids at and above this one are the trainer's own (losses, gradient norm).
  static constexpr uint32_t kFirstFreeOpId = 1u << 30;

  // For tests that spoil what an op has written: called after every op that was launched.
  using Probe = std::function<void(const std::string& path, std::initializer_list<Tensor> writes)>;
  void set_probe(Probe probe) { probe_ = std::move(probe); }

  // From now on every op's time is added there. Null turns it off.
  void set_op_times(OpTimes* times) { op_times_ = times; }
  OpTimes* op_times() const { return op_times_; }

  const LivenessPlan* plan(uint64_t signature) const;
  size_t op_count() const { return ops_.size(); }
  size_t buffer_count() const { return buffers_.size(); }

 private:
  enum class Mode { idle, dry, live };

  struct Buffer {
    size_t bytes;
    int32_t first_use, last_use;
  };
  struct Value {
    Tensor grad;
    bool has_grad = false;
    int32_t consumers = 0;
    bool has_epilogue = false;
    bool epilogue_taken = false;
    Epilogue epilogue;
  };
  struct Node {
    const char* name;
    const char* label;
    const void* closure;
    void (*call)(const void*, Tape&);
  };
  struct OpRecord {
    const char* name;
    const char* label;
    const char* phase;
  };

  bool may_record(uint64_t signature) const;
  const StepGraph& add_graph(uint64_t signature, int steps, StepGraph graph);
  bool select_plan(uint64_t signature);
  void begin_run(Mode mode);
  void make_plan(uint64_t signature);
  void end_run();
  void begin_op(const char* name, std::initializer_list<Tensor> reads,
                std::initializer_list<Tensor> writes);
  void finish_op(std::initializer_list<Tensor> writes);
  void touch(const Tensor& tensor);
  void launch_deferred();
  void launch_weight_gradients(WeightGradient* gradients, size_t count);
  template <class T>
  void launch_weight_gradients_of(WeightGradient* gradients, size_t count);
  void* new_closure(size_t bytes, size_t alignment);
  void push_node(const char* name, std::initializer_list<Tensor> inputs, const void* closure,
                 void (*call)(const void*, Tape&));
  void poison_new(const Tensor& tensor);
  void check_and_poison_dead();
  void check_red_zone(size_t buffer);

  Context* context_;
  bool recording_ = true;
  Mode mode_ = Mode::idle;
  const char* phase_ = "";  // "fwd", "bwd", and nothing for what follows backward()
  const char* label_ = "";
  StepState* finite_check_ = nullptr;
  Probe probe_;
  OpTimes* op_times_ = nullptr;

  std::vector<Buffer> buffers_;
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<OpRecord> ops_;

  // Closure memory: chunks that never move, reused from run to run.
  std::vector<std::unique_ptr<std::byte[]>> chunks_;
  size_t chunk_ = 0, chunk_used_ = 0;

  std::unordered_map<uint64_t, LivenessPlan> plans_;
  const LivenessPlan* plan_ = nullptr;

  struct RecordedSteps {
    uint64_t signature;
    int steps;
    StepGraph graph;
  };
  bool use_graphs_ = false;
  std::vector<RecordedSteps> graphs_;  // a few: full and last batches, one or many steps
  std::vector<Tensor> branched_;       // what open branches read
  bool branch_open_ = false;
  std::vector<WeightGradient> deferred_;
  DeviceBlock block_;
  uint32_t generation_ = 0;
};

}  // namespace elbo
