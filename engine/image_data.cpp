#include "engine/image_data.h"

#include <algorithm>

#include "kernels/error.h"
#include "kernels/pick_labels.h"
#include "kernels/sprites.h"

namespace elbo {

BatchStage::BatchStage(Context& context, int64_t rows, int64_t row_bytes)
    : tags_(context, 2 * sizeof(StageTag), Role::data) {
  context.fill_bytes(tags_.data(), 0, tags_.bytes());
  rows_.tag = tags_.as<StageTag>();
  rows_.rows = rows;
  for (int turn = 0; turn < 2; ++turn) {
    blocks_[turn] = DeviceBlock(context, static_cast<size_t>(rows * row_bytes), Role::data);
    rows_.block[turn] = blocks_[turn].as<uint8_t>();
  }
}

ImageData ImageData::from_split(Context& context, const ImageSplit& split, int64_t limit,
                                const ImageChanges& changes, Role role) {
  ImageData data;
  data.changes_ = changes;
  data.shape_ = {split.channels, split.height, split.width};
  data.count_ = limit > 0 ? std::min(limit, split.count) : split.count;
  const auto bytes = static_cast<size_t>(data.count_ * data.shape_.size());
  data.pixels_ = DeviceBlock(context, bytes, role);
  data.in_host_memory_ = role == Role::host_data && context.device() == Device::cuda;
  if (role == Role::host_data) {
    std::copy_n(split.pixels().data(), bytes, data.pixels_.as<uint8_t>());
  } else {
    context.upload(data.pixels_.data(), split.pixels().data(), bytes);
  }
  if (!split.labels.empty()) {
    data.labels_.assign(split.labels.begin(), split.labels.begin() + data.count_);
    data.device_labels_ = DeviceBlock(context, data.labels_.size(), Role::data);
    context.upload(data.device_labels_.data(), data.labels_.data(), data.labels_.size());
  }
  const int64_t numbers = std::ssize(split.attribute_names);
  if (numbers > 0) {
    ELBO_CHECK(std::ssize(split.attributes) == split.count * numbers, split.source, ": ",
               split.attributes.size(), " numbers are not ", numbers, " attributes of ",
               split.count, " images");
    data.attribute_names_ = split.attribute_names;
    data.attributes_.assign(split.attributes.begin(),
                            split.attributes.begin() + data.count_ * numbers);
    data.device_attributes_ =
        DeviceBlock(context, data.attributes_.size() * sizeof(float), Role::data);
    context.upload(data.device_attributes_.data(), data.attributes_.data(),
                   data.device_attributes_.bytes());
  }
  return data;
}

int64_t ImageData::classes() const {
  if (is_sprites()) return kSpriteShapes;
  return labels_.empty() ? 0 : 1 + *std::max_element(labels_.begin(), labels_.end());
}

uint8_t ImageData::label_of(int64_t image) const {
  // The split's seed is 0, as the kernel's.
  if (is_sprites())
    return static_cast<uint8_t>(sprite_factors(sprite_of_item(0, sprite_offset_ + image)).shape);
  return labels_.at(static_cast<size_t>(image));
}

std::vector<float> ImageData::attributes(int64_t first, int64_t n) const {
  ELBO_CHECK(first >= 0 && n >= 0 && first + n <= count_, "attributes of images [", first, ", ",
             first + n, ") are asked for; the set has ", count_);
  const int64_t numbers = std::ssize(attribute_names_);
  if (!is_sprites()) {
    const auto begin = attributes_.begin() + first * numbers;
    return {begin, begin + n * numbers};
  }
  std::vector<float> rows;
  rows.reserve(static_cast<size_t>(n * numbers));
  for (int64_t i = first; i < first + n; ++i) {
    const SpriteFactors factors = sprite_factors(sprite_of_item(0, sprite_offset_ + i));
    for (const int64_t column : sprite_columns_)
      rows.push_back(sprite_attribute(factors, static_cast<int>(column)));
  }
  return rows;
}

void ImageData::show_labels(Context& context, std::span<const uint8_t> shown) {
  ELBO_CHECK(std::ssize(shown) == count_ && classes() > 0, "show_labels: ", shown.size(),
             " flags for ", count_, " images with ", classes(), " classes");
  // The index that a batch says of a sprite is its own, not that of its place in the set.
  std::vector<int32_t> table(static_cast<size_t>(is_sprites() ? kSpriteCount : count_), -1);
  labelled_ = 0;
  for (int64_t i = 0; i < count_; ++i) {
    if (shown[static_cast<size_t>(i)] == 0) continue;
    const int64_t at = is_sprites() ? sprite_of_item(0, sprite_offset_ + i) : i;
    table[static_cast<size_t>(at)] = label_of(i);
    ++labelled_;
  }
  label_table_ = DeviceBlock(context, table.size() * sizeof(int32_t), Role::data);
  context.upload(label_table_.data(), table.data(), label_table_.bytes());
}

ImageData ImageData::sprites(int resolution, int64_t count, int64_t offset,
                             const ImageChanges& changes,
                             const std::vector<std::string>& attributes) {
  if (resolution < 8 || resolution > 1024) {
    throw_error(ErrorCode::usage, "data.resolution is ", resolution, "; expected 8 to 1024");
  }
  if (count < 1 || offset < 0 || count > kSpriteCount - offset) {
    throw_error(ErrorCode::usage, "sprites [", offset, ", ", offset + count,
                ") are asked for; there are ", kSpriteCount);
  }
  ImageData data;
  data.changes_ = changes;
  data.shape_ = {1, resolution, resolution};
  data.count_ = count;
  data.resolution_ = resolution;
  data.sprite_offset_ = offset;
  data.sprite_columns_ = attribute_columns(attributes, sprite_attribute_names(), "sprites");
  data.attribute_names_ = attributes.empty() ? sprite_attribute_names() : attributes;
  return data;
}

void ImageData::launch_gather(Tape& tape, const BatchOrder& order, Binarise binarise,
                              const RowStage& stage, const Gathered& to) const {
  tape.op("gather", {}, {to.x, to.rounded, to.sample, to.label, to.attributes},
          [&](const Exec& exec) {
            bf16* x_bf16 = to.rounded.data ? to.rounded.as<bf16>() : nullptr;
            int32_t* index = to.sample.data ? to.sample.as<int32_t>() : nullptr;
            int32_t* label = to.label.data ? to.label.as<int32_t>() : nullptr;
            float* attributes = to.attributes.data ? to.attributes.as<float>() : nullptr;
            if (is_sprites()) {
              SpriteGather args{};
              args.resolution = resolution_;
              args.batch = to.x.shape[0];
              args.order = order;
              args.offset = sprite_offset_;
              args.x = to.x.as<float>();
              args.x_bf16 = x_bf16;
              args.index = index;
              args.shape = label;
              args.attributes = attributes;
              if (attributes) args.attribute_count = static_cast<int>(sprite_columns_.size());
              std::copy(sprite_columns_.begin(), sprite_columns_.end(), args.attribute);
              elbo::gather_sprites(exec, args);
              return;
            }
            Gather args{};
            args.data = pixels_.as<uint8_t>();
            args.dim = shape_.size();
            args.batch = to.x.shape[0];
            args.order = order;
            args.stage = stage;
            args.binarise = binarise;
            args.dequantise = changes_.dequantise;
            args.flip = changes_.flip;
            args.width = shape_.width;
            args.channels = shape_.channels;
            args.x = to.x.as<float>();
            args.x_bf16 = x_bf16;
            args.index = index;
            args.labels = label ? device_labels_.as<uint8_t>() : nullptr;
            args.label_out = label;
            if (attributes) {
              args.attributes = device_attributes_.as<float>();
              args.attribute_count = std::ssize(attribute_names_);
              args.attribute_out = attributes;
            }
            elbo::gather(exec, args);
          });
}

Tensor ImageData::shown_labels(Tape& tape, const Tensor& sample) const {
  const Tensor label = tape.new_buffer(sample.shape, DType::i32);
  tape.op("pick_labels", {sample}, {label}, [&](const Exec& exec) {
    pick_labels(exec, sample.size(), sample.as<int32_t>(), label_table_.as<int32_t>(),
                label.as<int32_t>());
  });
  return label;
}

// What the chain makes of a batch, in the type of the model's input.
Tensor ImageData::corrupted(Tape& tape, const BatchOrder& order, const Gathered& batch,
                            DType type) const {
  Tensor x = batch.x;
  Tensor rounded;
  for (size_t i = 0; i < changes_.corrupt.size(); ++i) {
    const Corruption& link = changes_.corrupt[i];
    const Tensor y = tape.new_buffer(x.shape, DType::f32);
    const bool rounds = i + 1 == changes_.corrupt.size() && type == DType::bf16;
    if (rounds) rounded = tape.new_buffer(x.shape, type);
    const int64_t work = corruption_between(link, shape_.as_size());
    Tensor between;
    if (work > 0) between = tape.new_buffer({x.shape[0], work}, DType::f32);
    tape.op("corrupt", {x, batch.sample, between}, {y, rounded}, [&](const Exec& exec) {
      Corrupt args{};
      args.link = link;
      args.number = static_cast<uint32_t>(i);
      args.seed = order.seed;
      args.state = order.state;
      args.sample = batch.sample.as<int32_t>();
      args.batch = x.shape[0];
      args.image = shape_.as_size();
      args.x = x.as<float>();
      args.y = y.as<float>();
      args.y_bf16 = rounds ? rounded.as<bf16>() : nullptr;
      args.between = work > 0 ? between.as<float>() : nullptr;
      elbo::corrupt(exec, args);
    });
    x = y;
  }
  return type == DType::bf16 ? rounded : x;
}

ImageBatch ImageData::gather(Tape& tape, BatchOrder order, int64_t batch, Binarise binarise,
                             DType input, Condition condition, const BatchStage& stage) const {
  const bool with_labels = condition == Condition::label;
  const int64_t numbers = std::ssize(attribute_names_);
  ELBO_CHECK(condition != Condition::attributes || numbers > 0, "the images have no attributes");
  ELBO_CHECK(!with_labels || is_sprites() || !labels_.empty(), "the images have no labels");
  ELBO_CHECK(input == DType::f32 || input == DType::bf16,
             "images are gathered as f32 or bf16, not ", dtype_name(input));
  if (order.samples == 0) order.samples = count_;
  const bool corrupts = !changes_.corrupt.empty();
  const bool rounds = input == DType::bf16;
  Gathered to;
  to.x = tape.new_buffer({batch, shape_.size()}, DType::f32);
  if (rounds && !corrupts) to.rounded = tape.new_buffer(to.x.shape, input);
  const bool hides = with_labels && label_table_.bytes() > 0;
  if (corrupts || hides) to.sample = tape.new_buffer({batch}, DType::i32);
  if (with_labels && !hides) to.label = tape.new_buffer({batch}, DType::i32);
  if (condition == Condition::attributes)
    to.attributes = tape.new_buffer({batch, numbers}, DType::f32);
  launch_gather(tape, order, binarise, stage.rows(), to);
  if (hides) to.label = shown_labels(tape, to.sample);
  const Tensor told = with_labels ? to.label : to.attributes;
  if (corrupts) return {corrupted(tape, order, to, input), to.x, told};
  return {rounds ? to.rounded : to.x, to.x, told};
}

BatchStage ImageData::make_stage(Context& context, int64_t batch) const {
  return in_host_memory_ ? BatchStage(context, batch, shape_.size()) : BatchStage();
}

void ImageData::fetch_next(Tape& tape, BatchOrder order, const StepRule& rule,
                           const BatchStage& stage) const {
  if (!stage) return;
  if (order.samples == 0) order.samples = count_;
  tape.branch_op("stage_rows", {}, {}, [&](const Exec& exec) {
    stage_rows(exec, {pixels_.as<uint8_t>(), shape_.size(), order, rule, stage.rows()});
  });
}

}  // namespace elbo
