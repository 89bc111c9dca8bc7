// Parameters of a model: values, gradients and optimiser moments in flat spans.
//
// All parameters of a group lie behind one another, so that Adam, a gradient norm or a checkpoint
// is one launch over one span. Names, shapes and order are PyTorch's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/buffer_store.h"
#include "engine/context.h"
#include "engine/file_layout.h"
#include "engine/initialiser.h"
#include "engine/tensor.h"
#include "kernels/optimizer.h"

namespace elbo {

// A parameter as ops see it.
struct Param {
  Tensor value;
  Tensor grad;
  Tensor shadow;  // value rounded to bf16; no data unless the store keeps one
  int32_t index = -1;
};

// What one optimiser updates.
struct ParamGroup {
  std::string name;
  OptimizerHyper optimizer;
  bool frozen = false;
  bool training_only = false;  // no part of the model: kept with the optimiser's state
  int64_t offset = 0;          // of the span, in elements
  int64_t count = 0;
};

class ParamStore {
 public:
  using Id = int32_t;

  explicit ParamStore(Context& context, DType dtype = DType::f32)
      : context_(&context), dtype_(dtype), buffers_(context, dtype) {}

  // Starts a group; parameters added later belong to it. A store begins with the group "all".
  void add_group(std::string name, const OptimizerHyper& optimizer = {},
                 bool training_only = false);

  Id add(std::string name, Shape shape, const Initialiser& init, FileLayout file = {});

  // Several parameters stacked along axis 0 into one: [mu | logvar] as a single product, stored and
  // initialised under the names of its parts.
  Id add_stacked(const std::vector<std::string>& names, Shape shape_of_each,
                 const Initialiser& init, const FileLayout& file_of_each = {});

  // What steps change and no optimiser updates.
  BufferStore& buffers() { return buffers_; }
  const BufferStore& buffers() const { return buffers_; }

  // Allocates the spans, and the buffers. Nothing can be added afterwards.
  void finalise();

  // Draws every parameter from its own stream of `seed`; the same numbers on every device. Buffers get
  // their initial values.
  void initialise(uint64_t seed);

  Param param(Id id) const;
  int64_t count() const { return count_; }      // elements, padding not counted
  int64_t model_count() const;                  // without those of training alone
  int64_t span_count() const { return span_; }  // elements of the flat spans
  DType dtype() const { return dtype_; }
  Context& context() const { return *context_; }

  std::vector<ParamGroup>& groups() { return groups_; }
  const std::vector<ParamGroup>& groups() const { return groups_; }

  void* values() const { return values_.data(); }
  void* gradients() const { return gradients_.data(); }
  float* moment(int which) const { return which < 2 ? moments_[which].as<float>() : nullptr; }
  int moment_count() const { return moment_count_; }

  // Keeps a copy of all values rounded to bf16, which products of bf16 activations read. The optimiser
  // rewrites it with the values; whoever else changes them calls refresh_shadow().
  void allocate_shadow();
  void refresh_shadow();
  bf16* shadow() const { return shadow_.as<bf16>(); }  // null if there is none

  // Allocates and clears the optimiser moments the groups ask for. Call before training.
  void allocate_moments();

  // One named piece of the span: what a checkpoint stores.
  struct Piece {
    std::string name;
    Shape shape;
    int64_t offset;  // elements from the start of the span
    int64_t count;
    Id param;
    Initialiser init;
    FileLayout file;  // with its dims set
    bool training_only = false;
  };
  const std::vector<Piece>& pieces() const { return pieces_; }

  // --- bookkeeping of the tape
  // -------------------------------------------------------------------- First contribution in a
  // backward pass writes (or adds, when gradients accumulate), later ones add.
  GradMode next_grad_mode(Id id);
  void begin_backward(GradMode mode);
  void finish_backward();  // clears gradients that nothing contributed to

 private:
  struct Entry {
    Shape shape;
    int64_t offset;
    bool contributed = false;
  };

  Context* context_;
  DType dtype_;
  std::vector<ParamGroup> groups_;
  std::vector<Entry> entries_;
  std::vector<Piece> pieces_;
  int64_t count_ = 0, span_ = 0;
  bool finalised_ = false;
  GradMode backward_mode_ = GradMode::write;
  DeviceBlock values_, gradients_, moments_[2], shadow_;
  int moment_count_ = 0;
  BufferStore buffers_;
};

}  // namespace elbo
