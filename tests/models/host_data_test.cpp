// A data set in host memory trains to the same bits as one on the device.
#include <gtest/gtest.h>

#include "tests/models/trainer_fixture.h"
#include "tests/support/device.h"

namespace elbo {
namespace {

using namespace trainer_test;

class HostData : public testing::TestWithParam<Device> {
 protected:
  void SetUp() override {
    if (GetParam() == Device::cuda && !why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  }

  // 70 images of 6 x 8 x 3: a tail batch of 6 behind four of 16.
  static ImageSplit images(int64_t count) {
    ImageSplit split;
    split.count = count;
    split.height = 6;
    split.width = 8;
    split.channels = 3;
    for (int64_t i = 0; i < count * split.image_bytes(); ++i)
      split.file.push_back(static_cast<std::byte>(i * i % 253));
    return split;
  }

  struct Result {
    std::vector<std::byte> bytes;
    std::vector<double> losses;
    size_t on_device = 0, in_host = 0;
    int kernels = 0;  // of a recorded step
  };
  static Result train(const RunConfig& config, Role role, const ImageChanges& changes) {
    Context context({GetParam(), 0, ""});
    const ImageData train = ImageData::from_split(context, images(70), 0, changes, role);
    const ImageData test =
        ImageData::from_split(context, images(20), 0, {false, changes.dequantise}, role);
    Trainer trainer(context, config, train, &test);
    Recorder record;
    trainer.run(record);
    Result result;
    result.bytes = bytes_of(trainer.snapshot());
    for (const EpochReport& report : record.epochs) result.losses.push_back(report.test.loss);
    result.on_device = context.memory(Role::data).bytes;
    result.in_host = context.memory(Role::host_data).bytes;
    if (const StepGraph* graph = trainer.tape().find_graph(16, 1))
      result.kernels = graph->kernel_count();
    return result;
  }

  // On the device of a set in host memory: two batches and what says which they are.
  static size_t stage_bytes(int graph_steps) {
    return GetParam() == Device::cuda && graph_steps > 0 ? 2 * (16 * 144 + sizeof(StageTag)) : 0;
  }
};

TEST_P(HostData, TrainsToTheSameBitsWithGraphsAndWithout) {
  RunConfig config = tiny_config();
  config.train.epochs = 2;
  config.data.kind = DataKind::images;
  for (const ImageChanges& changes : {ImageChanges{false, false}, {true, true}}) {
    config.data.binarise = changes.flip ? Binarise::none : Binarise::dynamic;
    config.graph_steps = 0;
    const Result expected = train(config, Role::data, changes);
    EXPECT_EQ(expected.losses.size(), 2u);
    EXPECT_EQ(expected.on_device, 90u * 144u);
    EXPECT_EQ(expected.in_host, 0u);
    for (const int graph_steps : {0, 2}) {
      config.graph_steps = graph_steps;
      const Result found = train(config, Role::host_data, changes);
      EXPECT_EQ(found.bytes, expected.bytes) << graph_steps << " steps per graph";
      EXPECT_EQ(found.losses, expected.losses) << graph_steps << " steps per graph";
      EXPECT_EQ(found.on_device, stage_bytes(graph_steps));
      EXPECT_EQ(found.in_host, 90u * 144u);
    }
  }
}

// Its first batch has not been fetched by anybody.
TEST_P(HostData, GoesOnInTheMiddleOfAnEpoch) {
  RunConfig config = tiny_config();
  config.train.epochs = 3;
  config.data.kind = DataKind::images;
  config.graph_steps = 1;
  const Result whole = train(config, Role::data, {});
  const TempDir dir;
  Context context({GetParam(), 0, ""});
  const ImageData images_in_host =
      ImageData::from_split(context, images(70), 0, {}, Role::host_data);
  Trainer before(context, config, images_in_host, nullptr);
  for (int step = 0; step < 7; ++step) before.train_step();
  Trainer after(context, config, images_in_host, nullptr);
  after.restore(loaded(before, dir));
  Recorder record;
  EXPECT_TRUE(after.run(record));
  EXPECT_EQ(bytes_of(after.snapshot()), whole.bytes);
}

// One kernel fetches the next batch, on the branch, beside those of the step.
TEST_P(HostData, FetchingIsOneNodeMore) {
  if (GetParam() == Device::cpu) GTEST_SKIP() << "steps are recorded on CUDA";
  RunConfig config = tiny_config();
  config.train.epochs = 1;
  config.data.kind = DataKind::images;
  config.graph_steps = 1;
  const Result on_device = train(config, Role::data, {});
  ASSERT_GT(on_device.kernels, 0);
  EXPECT_EQ(train(config, Role::host_data, {}).kernels, on_device.kernels + 1);
}

TEST_P(HostData, FlippingChangesWhatIsTrainedOn) {
  RunConfig config = tiny_config();
  config.train.epochs = 1;
  const Result plain = train(config, Role::data, {});
  EXPECT_NE(train(config, Role::data, {true, false}).bytes, plain.bytes);
  EXPECT_NE(train(config, Role::data, {false, true}).bytes, plain.bytes);
}

INSTANTIATE_TEST_SUITE_P(Devices, HostData, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
