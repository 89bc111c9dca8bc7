#include "engine/buffer_store.h"

#include <algorithm>
#include <cstring>

#include "kernels/commit.h"
#include "kernels/error.h"

namespace elbo {
namespace {

constexpr size_t kAlignment = 256;  // of every buffer, as for parameters

template <class T>
void fill_host(std::byte* to, size_t bytes, double initial) {
  const T value = static_cast<T>(initial);
  for (size_t at = 0; at < bytes; at += sizeof(T)) std::memcpy(to + at, &value, sizeof(T));
}

}  // namespace

BufferStore::Id BufferStore::add(const std::string& name, Shape shape, double initial) {
  const StoredType type = dtype_ == DType::f64 ? StoredType::f64 : StoredType::f32;
  return add_piece(name, shape, type, static_cast<size_t>(shape.size()) * dtype_bytes(dtype_),
                   initial);
}

BufferStore::Id BufferStore::add_counter(const std::string& name) {
  return add_piece(name, Shape{}, StoredType::i64, sizeof(int64_t), 0.0);
}

BufferStore::Id BufferStore::add_piece(const std::string& name, Shape shape, StoredType type,
                                       size_t bytes, double initial) {
  ELBO_CHECK(!finalised_, "buffer ", name, " is added after finalise()");
  for (const Piece& piece : pieces_) {
    ELBO_CHECK(piece.name != name, "two buffers are called ", name);
  }
  pieces_.push_back({name, shape, type, 0, bytes, initial});
  return static_cast<Id>(pieces_.size()) - 1;
}

void BufferStore::finalise() {
  ELBO_CHECK(!finalised_, "finalise() is called twice");
  finalised_ = true;
  for (const bool counters : {false, true}) {
    for (Piece& piece : pieces_) {
      if ((piece.type == StoredType::i64) != counters) continue;
      piece.offset = bytes_;
      bytes_ = (bytes_ + piece.bytes + kAlignment - 1) / kAlignment * kAlignment;
    }
    if (!counters) float_bytes_ = bytes_;
  }
  value_ = DeviceBlock(*context_, bytes_, Role::buffers);
  next_ = DeviceBlock(*context_, bytes_, Role::buffers);
  reset();
}

void BufferStore::reset() {
  ELBO_CHECK(finalised_, "reset() needs finalise() first");
  std::vector<std::byte> host(bytes_);
  for (const Piece& piece : pieces_) {
    std::byte* to = host.data() + piece.offset;
    switch (piece.type) {
      case StoredType::f64:
        fill_host<double>(to, piece.bytes, piece.initial);
        break;
      case StoredType::i64:
        fill_host<int64_t>(to, piece.bytes, piece.initial);
        break;
      default:
        fill_host<float>(to, piece.bytes, piece.initial);
    }
  }
  upload(host.data());
}

const BufferStore::Piece& BufferStore::piece(Id id, bool counter) const {
  ELBO_CHECK(finalised_ && id >= 0 && id < static_cast<Id>(pieces_.size()), "no buffer ", id);
  const Piece& found = pieces_[static_cast<size_t>(id)];
  ELBO_CHECK((found.type == StoredType::i64) == counter, "buffer ", found.name, " holds ",
             stored_type_name(found.type));
  return found;
}

Tensor BufferStore::tensor(Id id, const DeviceBlock& copy) const {
  const Piece& found = piece(id, false);
  Tensor tensor;
  tensor.data = copy.data() + found.offset;
  tensor.shape = found.shape;
  tensor.dtype = dtype_;
  tensor.device = context_->device();
  return tensor;
}

Tensor BufferStore::next(Id id) const { return tensor(id, next_); }
Tensor BufferStore::value(Id id) const { return tensor(id, value_); }

std::span<const float> BufferStore::next_floats() const {
  ELBO_CHECK(dtype_ == DType::f32, "next_floats() of buffers that are ", dtype_name(dtype_));
  return {next_.as<float>(), float_bytes_ / sizeof(float)};
}

void BufferStore::set(Id id, std::span<const double> values) {
  const Piece& found = piece(id, false);
  ELBO_CHECK(std::ssize(values) == found.shape.size(), "buffer ", found.name, " holds ",
             found.shape.size(), " values, not ", values.size());
  const std::vector<float> singles(values.begin(), values.end());
  const void* host = dtype_ == DType::f64 ? static_cast<const void*>(values.data())
                                          : static_cast<const void*>(singles.data());
  for (const DeviceBlock* copy : {&value_, &next_})
    context_->upload(copy->data() + found.offset, host, found.bytes);
}

int64_t* BufferStore::next_counter(Id id) const {
  return reinterpret_cast<int64_t*>(next_.data() + piece(id, true).offset);
}

int64_t* BufferStore::counter(Id id) const {
  return reinterpret_cast<int64_t*>(value_.data() + piece(id, true).offset);
}

void BufferStore::commit(const Exec& exec, const StepState* state) const {
  commit_bytes(exec, value_.data(), next_.data(), bytes_, state);
}

void BufferStore::discard() const { context_->copy(next_.data(), value_.data(), bytes_); }

void BufferStore::download(std::byte* host) const {
  context_->download(host, value_.data(), bytes_);
}

void BufferStore::upload(const std::byte* host) {
  context_->upload(value_.data(), host, bytes_);
  context_->upload(next_.data(), host, bytes_);
}

}  // namespace elbo
