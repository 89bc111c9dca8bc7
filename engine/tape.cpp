#include "engine/tape.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "kernels/elementwise.h"
#include "kernels/finite_check.h"
#include "kernels/linear.h"

namespace elbo {
namespace {

constexpr size_t kChunkBytes = 64 << 10;
constexpr int32_t kUntilTheEnd = std::numeric_limits<int32_t>::max();
constexpr size_t kMostDeferred = 16;   // weight gradients of one launch, see kernels/linear.h
constexpr uint32_t kOutputsPerOp = 8;  // ids of the finite check: op * 8 + output

#ifdef ELBO_CHECKS
constexpr bool kChecked = true;
constexpr size_t kRedZone = 256;
#else
constexpr bool kChecked = false;
constexpr size_t kRedZone = 0;
#endif
constexpr unsigned char kPoison = 0xff;  // a NaN in every float format

}  // namespace

Tape::Tape(Context& context) : context_(&context) {}
Tape::~Tape() = default;

void Tape::use_graphs(bool on) {
  ELBO_CHECK(plans_.empty(), "use_graphs() comes too late: steps have been planned");
  use_graphs_ = on && StepGraph::available(*context_);
}

const StepGraph* Tape::find_graph(uint64_t signature, int steps) const {
  for (const RecordedSteps& recorded : graphs_) {
    if (recorded.signature == signature && recorded.steps == steps) return &recorded.graph;
  }
  return nullptr;
}

bool Tape::may_record(uint64_t signature) const {
  return use_graphs_ && plans_.find(signature) != plans_.end();
}

const StepGraph& Tape::add_graph(uint64_t signature, int steps, StepGraph graph) {
  graphs_.push_back({signature, steps, std::move(graph)});
  return graphs_.back().graph;
}

void Tape::set_finite_check(StepState* state) {
  if (state != finite_check_) graphs_.clear();
  finite_check_ = state;
}

bool Tape::select_plan(uint64_t signature) {
  ELBO_CHECK(mode_ == Mode::idle, "Tape::run was called from inside a run");
  const auto found = plans_.find(signature);
  plan_ = found == plans_.end() ? nullptr : &found->second;
  return plan_ != nullptr;
}

void Tape::begin_run(Mode mode) {
  mode_ = mode;
  buffers_.clear();
  values_.clear();
  nodes_.clear();
  ops_.clear();
  branched_.clear();
  deferred_.clear();
  branch_open_ = false;
  chunk_ = chunk_used_ = 0;
  phase_ = "fwd";
  label_ = "";
  ++generation_;
}

void Tape::make_plan(uint64_t signature) {
  std::vector<BufferLife> lives;
  lives.reserve(buffers_.size());
  for (const Buffer& buffer : buffers_) {
    lives.push_back({buffer.bytes, buffer.first_use, buffer.last_use});
  }
  plan_ = &plans_.emplace(signature, plan_liveness(std::move(lives), kRedZone)).first->second;
  if (plan_->total_bytes > block_.bytes()) {
    context_->synchronize();  // the old block may still be read by work in flight
    graphs_.clear();          // they hold its address
    block_.reset();
    block_ = DeviceBlock(*context_, plan_->total_bytes, Role::activations);
  }
}

void Tape::end_run() {
  ELBO_CHECK(buffers_.size() == plan_->lives.size(), "a step made ", buffers_.size(),
             " buffers where the first one of its signature made ", plan_->lives.size());
  if (kChecked) {
    for (size_t i = 0; i < buffers_.size(); ++i) {
      if (plan_->lives[i].last_use >= static_cast<int32_t>(ops_.size())) check_red_zone(i);
    }
  }
  mode_ = Mode::idle;
}

Tensor Tape::new_buffer(Shape shape, DType dtype) {
  ELBO_CHECK(mode_ != Mode::idle, "tape memory is asked for outside of Tape::run");
  Tensor tensor;
  tensor.shape = shape;
  tensor.dtype = dtype;
  tensor.device = device();
  tensor.buffer = static_cast<int32_t>(buffers_.size());
  tensor.arena_generation = &generation_;
  tensor.generation = generation_;
  const auto now = static_cast<int32_t>(ops_.size());
  buffers_.push_back({tensor.bytes(), now, now});
  if (mode_ == Mode::live) {
    const size_t index = buffers_.size() - 1;
    ELBO_CHECK(index < plan_->lives.size() && plan_->lives[index].bytes == tensor.bytes(),
               "buffer ", index, " of shape ", shape.to_string(),
               " differs from the first step of the same signature");
    tensor.data = block_.data() + plan_->offsets[index];
    if (kChecked) poison_new(tensor);
  }
  return tensor;
}

Tensor Tape::new_value(Shape shape, DType dtype) {
  Tensor tensor = new_buffer(shape, dtype);
  if (recording_) {
    tensor.value = static_cast<int32_t>(values_.size());
    values_.emplace_back();
  }
  return tensor;
}

Tensor Tape::new_alias(const Tensor& of, Shape shape) {
  ELBO_CHECK(shape.size() == of.size(), "cannot view ", of.shape.to_string(), " as ",
             shape.to_string());
  Tensor tensor = of;
  tensor.shape = shape;
  tensor.value = -1;
  if (recording_ && of.value >= 0) {
    tensor.value = static_cast<int32_t>(values_.size());
    values_.emplace_back();
  }
  return tensor;
}

Tensor Tape::leaf(const Tensor& external) {
  Tensor tensor = external;
  tensor.value = static_cast<int32_t>(values_.size());
  values_.emplace_back();
  return tensor;
}

void Tape::begin_op(const char* name, std::initializer_list<Tensor> reads,
                    std::initializer_list<Tensor> writes) {
  ELBO_CHECK(mode_ != Mode::idle, name, " was called outside of Tape::run");
  for (const Tensor& tensor : reads) touch(tensor);
  for (const Tensor& tensor : writes) touch(tensor);
  ops_.push_back({name, label_, phase_});
}

void Tape::touch(const Tensor& tensor) {
  if (tensor.buffer < 0) return;
#ifdef ELBO_CHECKS
  ELBO_CHECK(tensor.generation == generation_, "tensor ", tensor.shape.to_string(),
             " belongs to an earlier run of the tape");
#endif
  Buffer& buffer = buffers_[tensor.buffer];
  buffer.last_use = std::max(buffer.last_use, static_cast<int32_t>(ops_.size()));
}

void Tape::finish_op(std::initializer_list<Tensor> writes) {
  if (probe_) probe_(op_path(phase_, label_, ops_.back().name), writes);
  if (finite_check_) {
    uint32_t id = static_cast<uint32_t>(ops_.size() - 1) * kOutputsPerOp;
    for (const Tensor& tensor : writes) {
      if (tensor.dtype == DType::f32 && tensor.data) {
        check_finite(context_->exec(), tensor.as<float>(), tensor.size(), id, finite_check_);
      } else if (tensor.dtype == DType::bf16 && tensor.data) {
        check_finite(context_->exec(), tensor.as<bf16>(), tensor.size(), id, finite_check_);
      }
      ++id;
    }
  }
  if (kChecked) check_and_poison_dead();
}

void* Tape::new_closure(size_t bytes, size_t alignment) {
  ELBO_CHECK(bytes <= kChunkBytes, "a backward closure of ", bytes, " bytes is too large");
  size_t start = (chunk_used_ + alignment - 1) / alignment * alignment;
  if (start + bytes > kChunkBytes && chunk_ < chunks_.size()) {
    ++chunk_;
    start = 0;
  }
  if (chunk_ == chunks_.size()) {
    chunks_.push_back(std::make_unique<std::byte[]>(kChunkBytes));
    start = 0;
  }
  chunk_used_ = start + bytes;
  return chunks_[chunk_].get() + start;
}

void Tape::push_node(const char* name, std::initializer_list<Tensor> inputs, const void* closure,
                     void (*call)(const void*, Tape&)) {
  for (const Tensor& input : inputs) {
    if (input.value >= 0) ++values_[input.value].consumers;
  }
  nodes_.push_back({name, label_, closure, call});
}

std::optional<Tensor> Tape::upstream(const Tensor& y) const {
  if (y.value < 0 || !values_[y.value].has_grad) return std::nullopt;
  return values_[y.value].grad;
}

GradSlot Tape::grad_slot(const Tensor& x) {
  if (!wants_grad(x)) return {};
  if (values_[x.value].has_grad) return {values_[x.value].grad, GradMode::add, true};
  const Tensor dx = new_buffer(x.shape, x.dtype);
  values_[x.value].grad = dx;
  values_[x.value].has_grad = true;
  return {dx, GradMode::write, true};
}

bool Tape::adopt_grad(const Tensor& x, const Tensor& dy) {
  ELBO_CHECK(x.size() == dy.size() && x.dtype == dy.dtype, "the gradient of ", x.shape.to_string(),
             " cannot be ", dy.shape.to_string());
  if (!wants_grad(x) || values_[x.value].has_grad) return false;
  values_[x.value].grad = dy;
  values_[x.value].grad.shape = x.shape;
  values_[x.value].has_grad = true;
  return true;
}

void Tape::offer_epilogue(const Epilogue& epilogue) {
  if (epilogue.y.value < 0) return;
  values_[epilogue.y.value].has_epilogue = true;
  values_[epilogue.y.value].epilogue = epilogue;
}

const Epilogue* Tape::take_epilogue(const Tensor& y) {
  if (y.value < 0) return nullptr;
  Value& value = values_[y.value];
  if (!value.has_epilogue || value.consumers != 1 || value.has_grad) return nullptr;
  if (!linear_can_fuse(context_->exec(), value.epilogue.activation)) return nullptr;
  value.epilogue_taken = true;
  return &value.epilogue;
}

bool Tape::epilogue_taken(const Tensor& y) const {
  return y.value >= 0 && values_[y.value].epilogue_taken;
}

void Tape::seed(const Tensor& y, const Tensor& cotangent) {
  ELBO_CHECK(cotangent.shape == y.shape && cotangent.dtype == y.dtype, "seed: y is ",
             y.shape.to_string(), ", its cotangent ", cotangent.shape.to_string());
  record("seed", {y}, [y, cotangent](Tape& tape) {
    const GradSlot slot = tape.grad_slot(y);
    if (!slot) return;
    tape.op("seed", {cotangent, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      const auto copy = [&]<class T>(T) {
        copy_matrix(exec, 1, y.size(), cotangent.as<T>(), y.size(), slot.dx.as<T>(), y.size(),
                    slot.mode);
      };
      y.dtype == DType::f64 ? copy(double{}) : copy(float{});
    });
  });
}

void Tape::backward(ParamStore& params, GradMode mode) {
  ELBO_CHECK(recording_, "backward() needs a recording tape");
  phase_ = "bwd";
  params.begin_backward(mode);
  for (size_t i = nodes_.size(); i-- > 0;) {
    label_ = nodes_[i].label;
    nodes_[i].call(nodes_[i].closure, *this);
  }
  label_ = "";
  launch_deferred();
  join();
  if (mode_ == Mode::live) params.finish_backward();
  phase_ = "";
}

void Tape::defer(const WeightGradient& gradient) {
  // Blocks of one launch run in any order, so a gradient that is added to must have been written.
  const auto same = [&](const WeightGradient& other) {
    return other.dweight.data == gradient.dweight.data ||
           (gradient.dbias.data && other.dbias.data == gradient.dbias.data);
  };
  if (deferred_.size() == kMostDeferred || std::any_of(deferred_.begin(), deferred_.end(), same)) {
    launch_deferred();
  }
  deferred_.push_back(gradient);
  // An op of its own either way, so that ops have the same numbers, hence buffers the same lives.
  begin_op("linear_dweight", {gradient.x, gradient.dy}, {});
  if (mode_ != Mode::live || !(finite_check_ || probe_)) return;
  const OpRange range(phase_, label_, "linear_dweight", op_times_);
  launch_weight_gradients(&deferred_.back(), 1);
  finish_op({gradient.dweight, gradient.dbias});
}

void Tape::launch_deferred() {
  if (deferred_.empty()) return;
  for (const WeightGradient& gradient : deferred_) {
    touch(gradient.x);
    touch(gradient.dy);
  }
  op("linear_dweights", {}, {},
     [&](const Exec&) { launch_weight_gradients(deferred_.data(), deferred_.size()); });
  deferred_.clear();
}

void Tape::launch_weight_gradients(WeightGradient* gradients, size_t count) {
  gradients->x.dtype == DType::bf16 ? launch_weight_gradients_of<bf16>(gradients, count)
                                    : launch_weight_gradients_of<float>(gradients, count);
}

template <class T>
void Tape::launch_weight_gradients_of(WeightGradient* gradients, size_t count) {
  std::array<BasicLinearBackwardWeight<T>, kMostDeferred> layers;
  int64_t waiting = 0;
  for (size_t i = 0; i < count; ++i) {
    WeightGradient& g = gradients[i];
    if (g.launched) continue;
    g.launched = true;
    layers[waiting++] = {.x = g.x.as<T>(),
                         .dy = g.dy.as<T>(),
                         .dweight = g.dweight.as<float>(),
                         .mode = g.mode,
                         .dbias = g.dbias.data ? g.dbias.as<float>() : nullptr,
                         .dbias_mode = g.dbias_mode,
                         .batch = g.x.shape[0],
                         .in = g.dweight.shape[1],
                         .out = g.dweight.shape[0]};
  }
  linear_backward_weights(context_->exec(), layers.data(), waiting);
}

void Tape::join() {
  if (branch_open_) context_->join();
  branch_open_ = false;
  // Their memory may be handed out again from the next op on.
  for (const Tensor& tensor : branched_) touch(tensor);
  branched_.clear();
}

void Tape::keep(const Tensor& tensor) {
  if (tensor.buffer >= 0) buffers_[tensor.buffer].last_use = kUntilTheEnd;
}

std::string Tape::describe_bad_op(uint32_t bad_op) const {
  ELBO_CHECK(bad_op > 0, "no bad op is recorded");
  const uint32_t op = (bad_op - 1) / kOutputsPerOp, output = (bad_op - 1) % kOutputsPerOp;
  if (op >= ops_.size()) return concat("op ", op);
  const OpRecord& record = ops_[op];
  return concat(op_path(record.phase, record.label, record.name), ", output ", output);
}

const LivenessPlan* Tape::plan(uint64_t signature) const {
  const auto found = plans_.find(signature);
  return found == plans_.end() ? nullptr : &found->second;
}

// --- checked builds
// -------------------------------------------------------------------------------

void Tape::poison_new(const Tensor& tensor) {
  context_->fill_bytes(tensor.data, kPoison, tensor.bytes() + kRedZone);
}

void Tape::check_and_poison_dead() {
  const auto now = static_cast<int32_t>(ops_.size()) - 1;
  for (size_t i = 0; i < buffers_.size(); ++i) {
    if (plan_->lives[i].last_use != now) continue;
    check_red_zone(i);
    context_->fill_bytes(block_.data() + plan_->offsets[i], kPoison, plan_->lives[i].bytes);
  }
}

void Tape::check_red_zone(size_t buffer) {
  unsigned char zone[kRedZone + 1];
  const std::byte* end = block_.data() + plan_->offsets[buffer] + plan_->lives[buffer].bytes;
  context_->download(zone, end, kRedZone);
  for (size_t i = 0; i < kRedZone; ++i) {
    if (zone[i] == kPoison) continue;
    const OpRecord& op = ops_.back();
    throw Error(concat("buffer ", buffer, " was overrun by ", i + 1, " bytes, noticed after ",
                       op.label, *op.label ? "/" : "", op.name));
  }
}

}  // namespace elbo
