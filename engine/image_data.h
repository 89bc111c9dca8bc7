// Images that training and evaluation draw batches from: a data set on the device as bytes, or sprites
// that are drawn when they are needed and never stored.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/condition.h"
#include "engine/context.h"
#include "engine/io/attributes.h"
#include "engine/io/image_set.h"
#include "engine/tape.h"
#include "kernels/conv_geometry.h"
#include "kernels/corruption.h"
#include "kernels/gather.h"
#include "kernels/row_stage.h"

namespace elbo {

struct ImageShape {
  int64_t channels = 1, height = 0, width = 0;
  int64_t size() const { return channels * height * width; }
  ImageSize as_size() const { return {height, width, channels}; }
  bool operator==(const ImageShape&) const = default;
};

// A batch of images: as a model's input, and exact as what a likelihood compares with. One tensor if the
// input is f32 and not corrupted.
struct ImageBatch {
  Tensor input, target;
  // What a model is told of each image: labels, int32 [B], or attributes, f32 [B, A], in the data's
  // units. No data unless it was asked for.
  Tensor condition = {};
};

// What is done to images on their way into a batch (kernels/gather.h, kernels/corruption.h).
struct ImageChanges {
  bool flip = false;        // of training batches only: those whose order follows a step's state
  bool dequantise = false;  // of all batches
  // Of a batch's input, one after the other; its target stays clean. Noise is drawn afresh each step of
  // training and always the same otherwise.
  std::vector<Corruption> corrupt = {};
};

// Where the next batch of a set in host memory arrives while a step trains (kernels/row_stage.h).
class BatchStage {
 public:
  BatchStage() = default;  // empty: batches are read from where the set is
  BatchStage(Context& context, int64_t rows, int64_t row_bytes);

  const RowStage& rows() const { return rows_; }
  explicit operator bool() const { return rows_.tag != nullptr; }

 private:
  DeviceBlock blocks_[2], tags_;
  RowStage rows_;
};

class ImageData {
 public:
  // Copies pixels to the device. `limit` > 0 keeps only the first so many.
  //
  // A set that does not fit there can stay in page-locked host memory (Role::host_data): the kernel
  // that gathers a batch then reads its rows, and no others, over the bus, or finds them in a stage.
  // The order of an epoch, every bit of a batch and recorded steps are the same; on the CPU the two are
  // one.
  static ImageData from_split(Context& context, const ImageSplit& split, int64_t limit = 0,
                              const ImageChanges& changes = {}, Role role = Role::data);

  // Items [offset, offset + count) of a fixed random order of all sprites, so that sets that do not
  // overlap in that range have no image in common.
  // With these attributes of kernels/sprites.h; all of them if none are named.
  static ImageData sprites(int resolution, int64_t count, int64_t offset,
                           const ImageChanges& changes = {},
                           const std::vector<std::string>& attributes = {});

  int64_t count() const { return count_; }
  const ImageShape& shape() const { return shape_; }
  bool is_sprites() const { return resolution_ > 0; }
  const std::vector<Corruption>& corruptions() const { return changes_.corrupt; }

  // The batch that `order` selects, [batch, height * width * channels] in [0, 1], channels last.
  // order.samples is filled in here.
  // `input` is the type of ImageBatch::input, f32 or bf16.
  ImageBatch gather(Tape& tape, BatchOrder order, int64_t batch, Binarise binarise,
                    DType input = DType::f32, Condition condition = Condition::none,
                    const BatchStage& stage = {}) const;

  // For training in batches of at most `batch`: empty unless the device reads this set over the bus.
  BatchStage make_stage(Context& context, int64_t batch) const;
  // Fetches the batch after the one at order.state, beside the ops that follow. Nothing if the stage is
  // empty.
  void fetch_next(Tape& tape, BatchOrder order, const StepRule& rule,
                  const BatchStage& stage) const;

  // 1 + the largest label; 0: the images have none. That of a sprite is its shape.
  int64_t classes() const;
  uint8_t label_of(int64_t image) const;

  // Of what attributes() tells of an image; empty: nothing. Those of a sprite are its factors.
  const std::vector<std::string>& attribute_names() const { return attribute_names_; }
  // Of images [first, first + n): [n, names], in the data's units.
  std::vector<float> attributes(int64_t first, int64_t n) const;

  // From now on batches tell the labels of these images alone, `shown` being one flag for each, and
  // -1 of the others. classes() and label_of() still know all.
  void show_labels(Context& context, std::span<const uint8_t> shown);
  int64_t labelled() const { return label_table_.bytes() > 0 ? labelled_ : count_; }

 private:
  struct Gathered {
    Tensor x, rounded, sample, label, attributes;
  };
  void launch_gather(Tape& tape, const BatchOrder& order, Binarise binarise, const RowStage& stage,
                     const Gathered& to) const;
  Tensor shown_labels(Tape& tape, const Tensor& sample) const;
  Tensor corrupted(Tape& tape, const BatchOrder& order, const Gathered& batch, DType type) const;

  DeviceBlock pixels_, device_labels_, device_attributes_;
  bool in_host_memory_ = false;
  DeviceBlock label_table_;  // int32 by index of the sample, where some are hidden
  int64_t labelled_ = 0;
  std::vector<uint8_t> labels_;
  std::vector<float> attributes_;  // of stored images
  std::vector<std::string> attribute_names_;
  std::vector<int64_t> sprite_columns_;  // of sprites: which of their attributes those are
  int64_t count_ = 0;
  ImageShape shape_;
  ImageChanges changes_;
  int resolution_ = 0;
  int64_t sprite_offset_ = 0;
};

}  // namespace elbo
