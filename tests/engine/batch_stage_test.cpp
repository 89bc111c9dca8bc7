// Batches of a set in host memory: that one comes out of the stage which the step before has filled.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "engine/image_data.h"
#include "engine/tape.h"
#include "kernels/step_state.h"
#include "tests/support/device.h"

namespace elbo {
namespace {

constexpr int64_t kImages = 10, kPixels = 4;

// Image i is 10 i, 10 i + 1, ...
ImageSplit numbered_images() {
  ImageSplit split;
  split.count = kImages;
  split.height = 2;
  split.width = 2;
  split.channels = 1;
  for (int64_t i = 0; i < kImages; ++i) {
    for (int64_t d = 0; d < kPixels; ++d) split.file.push_back(static_cast<std::byte>(10 * i + d));
  }
  return split;
}

class BatchStageTest : public DeviceTest {
 protected:
  static std::vector<int> bytes_of(Context& context, const Tensor& x) {
    std::vector<float> values(static_cast<size_t>(x.size()));
    context.download(values.data(), x.data, values.size() * sizeof(float));
    std::vector<int> bytes;
    for (const float v : values) bytes.push_back(static_cast<int>(v * 255.0f + 0.5f));
    return bytes;
  }
};

TEST_P(BatchStageTest, OnlyASetThatIsReadOverTheBusHasOne) {
  Context context({device(), 0, ""});
  expect_no_launch();
  EXPECT_FALSE(ImageData::from_split(context, numbered_images()).make_stage(context, 3));
  EXPECT_FALSE(ImageData::sprites(12, 20, 0).make_stage(context, 3));
  const ImageData in_host =
      ImageData::from_split(context, numbered_images(), 0, {}, Role::host_data);
  EXPECT_EQ(static_cast<bool>(in_host.make_stage(context, 3)), device() == Device::cuda);
  if (device() == Device::cpu) return;
  const BatchStage stage = in_host.make_stage(context, 3);
  EXPECT_EQ(stage.rows().rows, 3);
  EXPECT_NE(stage.rows().block[0], stage.rows().block[1]);
}

// What the stage holds is spoilt between two steps; the second shows it, and the third, whose batch was
// fetched after that, does not.
TEST_P(BatchStageTest, ABatchComesOutOfItsBlock) {
  if (device() == Device::cpu) GTEST_SKIP() << "the CPU reads the set itself";
  Context context({device(), 0, ""});
  const ImageData data = ImageData::from_split(context, numbered_images(), 0, {}, Role::host_data);
  StepRule rule;
  rule.samples = kImages;
  rule.batch = 3;
  const BatchStage stage = data.make_stage(context, 3);
  const DeviceBlock block(context, sizeof(StepState), Role::state);
  StepState state;
  Tape tape(context);
  const auto train = [&] {
    context.upload(block.data(), &state, sizeof state);
    BatchOrder order;
    order.state = block.as<StepState>();
    Tensor x;
    tape.run(1, [&](Tape& t) {
      x = data.gather(t, order, 3, Binarise::none, DType::f32, Condition::none, stage).target;
      t.keep(x);
      data.fetch_next(t, order, rule, stage);
    });
    next_batch(state, rule);
    return bytes_of(context, x);
  };
  EXPECT_EQ(train(), (std::vector<int>{0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23}));
  context.fill_bytes(stage.rows().block[1], 77, 3 * kPixels);
  EXPECT_EQ(train(), std::vector<int>(12, 77));
  EXPECT_EQ(train(), (std::vector<int>{60, 61, 62, 63, 70, 71, 72, 73, 80, 81, 82, 83}));
}

INSTANTIATE_TEST_SUITE_P(Devices, BatchStageTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
