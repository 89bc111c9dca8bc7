#include "engine/image_data.h"

#include <algorithm>

#include "kernels/error.h"
#include "kernels/sprites.h"

namespace elbo {

ImageData ImageData::from_split(Context& context, const ImageSplit& split, int64_t limit,
                                const ImageChanges& changes, Role role) {
  ImageData data;
  data.changes_ = changes;
  data.shape_ = {split.channels, split.height, split.width};
  data.count_ = limit > 0 ? std::min(limit, split.count) : split.count;
  const auto bytes = static_cast<size_t>(data.count_ * data.shape_.size());
  data.pixels_ = DeviceBlock(context, bytes, role);
  if (role == Role::host_data) {
    std::copy_n(split.pixels().data(), bytes, data.pixels_.as<uint8_t>());
  } else {
    context.upload(data.pixels_.data(), split.pixels().data(), bytes);
  }
  return data;
}

ImageData ImageData::sprites(int resolution, int64_t count, int64_t offset) {
  if (resolution < 8 || resolution > 1024) {
    throw_error(ErrorCode::usage, "data.resolution is ", resolution, "; expected 8 to 1024");
  }
  if (count < 1 || offset < 0 || count > kSpriteCount - offset) {
    throw_error(ErrorCode::usage, "sprites [", offset, ", ", offset + count,
                ") are asked for; there are ", kSpriteCount);
  }
  ImageData data;
  data.shape_ = {1, resolution, resolution};
  data.count_ = count;
  data.resolution_ = resolution;
  data.sprite_offset_ = offset;
  return data;
}

ImageBatch ImageData::gather(Tape& tape, BatchOrder order, int64_t batch, Binarise binarise,
                             DType input) const {
  ELBO_CHECK(input == DType::f32 || input == DType::bf16,
             "images are gathered as f32 or bf16, not ", dtype_name(input));
  if (order.samples == 0) order.samples = count_;
  const Tensor x = tape.new_buffer({batch, shape_.size()}, DType::f32);
  const bool rounds = input == DType::bf16;
  const Tensor rounded = rounds ? tape.new_buffer(x.shape, input) : Tensor{};
  tape.op("gather", {}, {x, rounded}, [&](const Exec& exec) {
    bf16* x_bf16 = rounds ? rounded.as<bf16>() : nullptr;
    if (is_sprites()) {
      SpriteGather args{};
      args.resolution = resolution_;
      args.batch = batch;
      args.order = order;
      args.offset = sprite_offset_;
      args.x = x.as<float>();
      args.x_bf16 = x_bf16;
      elbo::gather_sprites(exec, args);
      return;
    }
    Gather args{};
    args.data = pixels_.as<uint8_t>();
    args.dim = shape_.size();
    args.batch = batch;
    args.order = order;
    args.binarise = binarise;
    args.dequantise = changes_.dequantise;
    args.flip = changes_.flip;
    args.width = shape_.width;
    args.channels = shape_.channels;
    args.x = x.as<float>();
    args.x_bf16 = x_bf16;
    elbo::gather(exec, args);
  });
  return {rounds ? rounded : x, x};
}

}  // namespace elbo
