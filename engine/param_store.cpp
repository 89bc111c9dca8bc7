#include "engine/param_store.h"

#include "kernels/elementwise.h"
#include "kernels/error.h"

namespace elbo {
namespace {

// Elements between parameters are multiples of this, so that each starts on 256 bytes in fp32.
constexpr int64_t kAlignElements = 64;

}  // namespace

void ParamStore::add_group(std::string name, const OptimizerHyper& optimizer, bool training_only) {
  ELBO_CHECK(!finalised_, "parameter group ", name, " is added after finalise()");
  groups_.push_back({std::move(name), optimizer, false, training_only, span_, 0});
}

ParamStore::Id ParamStore::add(std::string name, Shape shape, const Initialiser& init,
                               FileLayout file) {
  return add_stacked({std::move(name)}, shape, init, file);
}

ParamStore::Id ParamStore::add_stacked(const std::vector<std::string>& names, Shape shape_of_each,
                                       const Initialiser& init, const FileLayout& file_of_each) {
  ELBO_CHECK(!finalised_, "parameter ", names.front(), " is added after finalise()");
  if (groups_.empty()) add_group("all");
  const auto id = static_cast<Id>(entries_.size());
  const int64_t parts = static_cast<int64_t>(names.size());
  const int64_t each = shape_of_each.size();
  FileLayout file = file_of_each;
  if (file.dims.empty()) file.dims = dims_of(shape_of_each);
  ELBO_CHECK(!file.moves() || file.outer * file.channels * file.spatial * file.inner == each,
             "the file layout of ", names.front(), " does not have its ", each, " elements");
  int64_t offset = span_;
  for (const std::string& name : names) {
    for (const Piece& piece : pieces_) {
      ELBO_CHECK(piece.name != name, "two parameters are called ", name);
    }
    pieces_.push_back(
        {name, shape_of_each, offset, each, id, init, file, groups_.back().training_only});
    offset += each;
  }
  Shape stacked = shape_of_each;
  if (parts > 1) {
    stacked = shape_of_each.rank() == 1 ? Shape{parts * shape_of_each[0]}
                                        : Shape{parts * shape_of_each[0], each / shape_of_each[0]};
  }
  entries_.push_back({stacked, span_});
  count_ += parts * each;
  span_ = (span_ + parts * each + kAlignElements - 1) / kAlignElements * kAlignElements;
  groups_.back().count = span_ - groups_.back().offset;
  return id;
}

int64_t ParamStore::model_count() const {
  int64_t count = 0;
  for (const Piece& piece : pieces_) count += piece.training_only ? 0 : piece.count;
  return count;
}

void ParamStore::finalise() {
  ELBO_CHECK(!finalised_, "finalise() is called twice");
  finalised_ = true;
  const size_t bytes = static_cast<size_t>(span_) * dtype_bytes(dtype_);
  values_ = DeviceBlock(*context_, bytes, Role::parameters);
  gradients_ = DeviceBlock(*context_, bytes, Role::gradients);
  // Padding is part of the span that the optimiser and the norm walk over: it must stay zero.
  context_->fill_bytes(values_.data(), 0, bytes);
  context_->fill_bytes(gradients_.data(), 0, bytes);
  buffers_.finalise();
}

void ParamStore::initialise(uint64_t seed) {
  ELBO_CHECK(finalised_, "initialise() needs finalise() first");
  buffers_.reset();
  std::vector<float> host(static_cast<size_t>(span_), 0.0f);
  uint32_t stream = 0;
  for (const Piece& piece : pieces_) {
    initialise_host(piece.init, seed, stream++, piece.count, host.data() + piece.offset);
  }
  if (dtype_ == DType::f64) {
    const std::vector<double> wide(host.begin(), host.end());
    context_->upload(values_.data(), wide.data(), wide.size() * sizeof(double));
  } else {
    context_->upload(values_.data(), host.data(), host.size() * sizeof(float));
  }
}

void ParamStore::allocate_shadow() {
  ELBO_CHECK(finalised_ && dtype_ == DType::f32, "a bf16 shadow is of fp32 parameters");
  shadow_ = DeviceBlock(*context_, static_cast<size_t>(span_) * sizeof(bf16), Role::shadow);
  refresh_shadow();
}

void ParamStore::refresh_shadow() {
  if (shadow()) convert<float>(context_->exec(), span_, values_.as<float>(), shadow());
}

void ParamStore::allocate_moments() {
  for (const ParamGroup& group : groups_) {
    const int wanted = static_cast<int>(optimizer_moments(group.optimizer));
    moment_count_ = std::max(moment_count_, wanted);
  }
  const size_t bytes = static_cast<size_t>(span_) * sizeof(float);
  for (int i = 0; i < moment_count_; ++i) {
    moments_[i] = DeviceBlock(*context_, bytes, Role::moments);
    context_->fill_bytes(moments_[i].data(), 0, bytes);
  }
}

Param ParamStore::param(Id id) const {
  ELBO_CHECK(finalised_ && id >= 0 && id < static_cast<Id>(entries_.size()), "no parameter ", id);
  const Entry& entry = entries_[id];
  const size_t offset = static_cast<size_t>(entry.offset) * dtype_bytes(dtype_);
  Param param;
  param.index = id;
  param.value.shape = entry.shape;
  param.value.dtype = dtype_;
  param.value.device = context_->device();
  param.grad = param.value;
  param.value.data = values_.data() + offset;
  param.grad.data = gradients_.data() + offset;
  param.shadow = param.value;
  param.shadow.dtype = DType::bf16;
  param.shadow.data = shadow() ? shadow() + entry.offset : nullptr;
  return param;
}

GradMode ParamStore::next_grad_mode(Id id) {
  Entry& entry = entries_[id];
  const bool first = !entry.contributed;
  entry.contributed = true;
  return first ? backward_mode_ : GradMode::add;
}

void ParamStore::begin_backward(GradMode mode) {
  backward_mode_ = mode;
  for (Entry& entry : entries_) entry.contributed = false;
}

void ParamStore::finish_backward() {
  if (backward_mode_ == GradMode::add) return;
  for (Entry& entry : entries_) {
    if (entry.contributed) continue;
    const size_t element = dtype_bytes(dtype_);
    context_->fill_bytes(gradients_.data() + static_cast<size_t>(entry.offset) * element, 0,
                         static_cast<size_t>(entry.shape.size()) * element);
  }
}

}  // namespace elbo
