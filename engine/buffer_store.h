// Buffers of a model: what a step changes and a checkpoint keeps, though no optimiser updates it, such as
// the running statistics of batch norm. Names, shapes and types are PyTorch's.
//
// Every buffer exists twice. `next` is what ops read and write during a step; `value` is what evaluation
// and checkpoints see. commit() makes the one the other at the end of a step, unless the step found
// a value that is not finite: then the buffers stay those of the last good step, as the weights do.
// So two uses of one layer in a step both count, in their order, and a step can be run again.
//
//   step      ops work on next -> record_step -> optimiser -> commit(state)
//   restart   upload() or reset() set both; discard() forgets what an uncommitted step has made
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/io/blob.h"
#include "engine/tensor.h"
#include "kernels/step_state.h"

namespace elbo {

class BufferStore {
 public:
  using Id = int32_t;

  // `dtype` is what add() makes: f32, or f64 for the oracle.
  BufferStore(Context& context, DType dtype) : context_(&context), dtype_(dtype) {}

  Id add(const std::string& name, Shape shape, double initial);
  Id add_counter(const std::string& name);  // int64, of rank 0, from 0

  // Allocates both copies and sets them to their initial values. Nothing can be added afterwards.
  void finalise();
  void reset();

  Tensor next(Id id) const;
  Tensor value(Id id) const;
  int64_t* next_counter(Id id) const;
  int64_t* counter(Id id) const;

  // Sets both copies of a buffer that is no counter.
  void set(Id id, std::span<const double> values);

  // value = next unless state->bad_op is set. `state` is device memory; null: always.
  void commit(const Exec& exec, const StepState* state) const;
  void discard() const;  // next = value

  // One named buffer within the bytes of a copy: what a checkpoint stores.
  struct Piece {
    std::string name;
    Shape shape;
    StoredType type;
    size_t offset, bytes;
    double initial;
  };
  const std::vector<Piece>& pieces() const { return pieces_; }
  bool empty() const { return pieces_.empty(); }

  // All floats of `next`, one after the other, with zeros between them.
  std::span<const float> next_floats() const;

  size_t bytes() const { return bytes_; }
  void download(std::byte* host) const;  // of `value`, all bytes()
  void upload(const std::byte* host);    // to both copies

 private:
  Id add_piece(const std::string& name, Shape shape, StoredType type, size_t bytes, double initial);
  const Piece& piece(Id id, bool counter) const;
  Tensor tensor(Id id, const DeviceBlock& copy) const;

  Context* context_;
  DType dtype_;
  std::vector<Piece> pieces_;
  size_t bytes_ = 0, float_bytes_ = 0;  // floats stand before counters
  bool finalised_ = false;
  DeviceBlock value_, next_;
};

}  // namespace elbo
