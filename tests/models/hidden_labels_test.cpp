// Training sets of which few images have labels: who they are, what batches say of them, and what a
// model learns from the others.
#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "models/inference.h"
#include "models/labelled_subset.h"
#include "tests/models/trainer_fixture.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

using namespace trainer_test;

TEST(LabelledSubset, TakesAsManyOfEachClassAsThereAre) {
  // Of 200: 2 of class 0, 98 of class 3, 100 of class 7.
  std::vector<uint8_t> labels;
  for (int i = 0; i < 200; ++i) labels.push_back(i % 2 == 0 ? 7 : i == 5 || i == 77 ? 0 : 3);
  const auto counts = [&](int64_t count, uint64_t seed) {
    const auto chosen = choose_labelled(labels, count, seed);
    std::map<int, int64_t> found;
    for (size_t i = 0; i < labels.size(); ++i)
      if (chosen[i] != 0) ++found[labels[i]];
    return found;
  };
  using Counts = std::map<int, int64_t>;
  EXPECT_EQ(counts(3, 1), (Counts{{0, 1}, {3, 1}, {7, 1}}));
  EXPECT_EQ(counts(6, 1), (Counts{{0, 2}, {3, 2}, {7, 2}}));
  EXPECT_EQ(counts(12, 1), (Counts{{0, 2}, {3, 5}, {7, 5}}));
  EXPECT_EQ(counts(200, 1), (Counts{{0, 2}, {3, 98}, {7, 100}}));
  EXPECT_EQ(choose_labelled(labels, 12, 1), choose_labelled(labels, 12, 1));
  EXPECT_NE(choose_labelled(labels, 12, 1), choose_labelled(labels, 12, 2));
  EXPECT_EQ(error_of([&] { choose_labelled(labels, 2, 1); }),
            "2: data.labelled: labels of 2 images are known, and there are 3 classes; expected at "
            "least one of each");
}

TEST(LabelledSubset, IsANumberOrAShare) {
  EXPECT_EQ(labelled_count(0, 600), 600);
  EXPECT_EQ(labelled_count(1, 600), 600);
  EXPECT_EQ(labelled_count(0.05, 600), 30);
  EXPECT_EQ(labelled_count(100, 600), 100);
  for (const double wrong : {601.0, 12.5}) {
    EXPECT_EQ(error_of([&] { labelled_count(wrong, 600); }),
              concat("2: data.labelled is ", wrong,
                     "; expected a share up to 1, or a number of the 600 training images"));
  }
}

class HiddenLabels : public testing::TestWithParam<Device> {
 protected:
  void SetUp() override {
    if (GetParam() == Device::cuda && !why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  }

  // 4 x 4 pixels: the label says which row is bright, of either brightness and in noise.
  static ImageSplit images(int64_t count, int64_t offset) {
    ImageSplit split;
    split.count = count;
    split.height = split.width = 4;
    split.channels = 1;
    for (int64_t i = offset; i < offset + count; ++i) {
      const int64_t label = 3 * i % 7 % 4;
      split.labels.push_back(static_cast<uint8_t>(label));
      for (int64_t p = 0; p < 16; ++p) {
        const int64_t noise = (i * 31 + p * 17 + i * p * 5) % 80;
        split.file.push_back(static_cast<std::byte>(p / 4 == label ? 255 - 2 * noise : noise));
      }
    }
    return split;
  }

  struct Run {
    Context context;
    ImageData train, test;
    std::unique_ptr<Trainer> trainer;
    Run(const RunConfig& config, Device device, int64_t labelled)
        : context({device, 0, ""}),
          train(ImageData::from_split(context, images(70, 0))),
          test(ImageData::from_split(context, images(40, 70))) {
      std::vector<uint8_t> labels;
      for (int64_t i = 0; i < train.count(); ++i) labels.push_back(train.label_of(i));
      if (labelled < 70) train.show_labels(context, choose_labelled(labels, labelled, 1));
      trainer = std::make_unique<Trainer>(context, config, train, &test);
    }
  };

  static RunConfig config() {
    RunConfig config = tiny_config();
    config.data.kind = DataKind::images;
    config.model.latent_dim = 2;
    config.model.condition = Condition::label;
    config.model.classes = 4;
    config.model.classifier = true;
    config.train.learning_rate.base = 5e-3f;
    config.train.objective.classification = 1;
    return config;
  }
};

// Labels that batches tell, by image; whatever their order is.
std::vector<int32_t> told(Context& context, const ImageData& data) {
  Tape tape(context);
  std::vector<int32_t> labels(static_cast<size_t>(data.count()));
  Tensor label;
  tape.run(1, [&](Tape& t) {
    BatchOrder order;
    order.shuffle = false;
    label =
        data.gather(t, order, data.count(), Binarise::none, DType::f32, Condition::label).condition;
    t.keep(label);
  });
  context.download(labels.data(), label.data, label.bytes());
  return labels;
}

TEST_P(HiddenLabels, BatchesTellThoseThatAreShown) {
  Context context({GetParam(), 0, ""});
  ImageData pictures = ImageData::from_split(context, images(37, 0));
  ImageData sprites = ImageData::sprites(8, 37, 11);
  ImageChanges noisy;
  noisy.corrupt = {{}};  // which also wants the index of an image
  ImageData corrupted = ImageData::from_split(context, images(37, 0), 0, noisy);
  for (ImageData* data : {&pictures, &sprites, &corrupted}) {
    EXPECT_EQ(data->labelled(), 37);
    std::vector<uint8_t> shown;
    std::vector<int32_t> expected;
    for (int64_t i = 0; i < 37; ++i) {
      shown.push_back(i % 5 < 2);
      expected.push_back(i % 5 < 2 ? data->label_of(i) : -1);
    }
    data->show_labels(context, shown);
    EXPECT_EQ(data->labelled(), 16);
    EXPECT_EQ(told(context, *data), expected);
  }
  EXPECT_NE(error_of([&] { pictures.show_labels(context, std::vector<uint8_t>(36, 1)); }), "");
}

TEST_P(HiddenLabels, FiftyStepsLowerTheLoss) {
  RunConfig few = config();
  few.train.epochs = 10;
  Run run(few, GetParam(), 8);
  Recorder record;
  run.trainer->run(record);
  EXPECT_LT(record.epochs.back().train.loss, 0.95 * record.epochs.front().train.loss);
}

TEST_P(HiddenLabels, GraphsAndResumesChangeNoBit) {
  RunConfig plain = config();
  plain.graph_steps = 0;
  Run whole(plain, GetParam(), 8);
  Recorder record;
  whole.trainer->run(record);
  const auto expected = bytes_of(whole.trainer->snapshot());
  RunConfig graphs = plain;
  graphs.graph_steps = 2;
  Run replayed(graphs, GetParam(), 8);
  replayed.trainer->run(record);
  EXPECT_EQ(bytes_of(replayed.trainer->snapshot()), expected);
  TempDir dir;
  Run first(plain, GetParam(), 8);
  Recorder stopped;
  stopped.trainer = first.trainer.get();
  stopped.stop_after = 7;
  EXPECT_FALSE(first.trainer->run(stopped));
  Run second(plain, GetParam(), 8);
  second.trainer->restore(loaded(*first.trainer, dir));
  second.trainer->run(record);
  EXPECT_EQ(bytes_of(second.trainer->snapshot()), expected);
  Run others(plain, GetParam(), 12);
  others.trainer->run(record);
  EXPECT_NE(bytes_of(others.trainer->snapshot()), expected);
}

TEST_P(HiddenLabels, CudaTakesTheStepsOfTheCpu) {
  if (GetParam() == Device::cpu) GTEST_SKIP() << "compares with CUDA";
  RunConfig few = config();
  few.train.max_steps = 4;
  few.output.log_interval = 1;
  Recorder cpu, cuda;
  Run(few, Device::cpu, 8).trainer->run(cpu);
  Run(few, Device::cuda, 8).trainer->run(cuda);
  ASSERT_EQ(cpu.reports.size(), 4u);
  ASSERT_EQ(cuda.reports.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(cuda.reports[i].window.loss, cpu.reports[i].window.loss,
                2e-4 * cpu.reports[i].window.loss);
  }
}

// Two labels of each class are enough where images of a class look alike; on the CPU, as simulated
// steps take long.
TEST_P(HiddenLabels, TheClassifierLearnsFromFewLabels) {
  if (GetParam() == Device::cuda) GTEST_SKIP() << "trains too long for a simulated device";
  RunConfig long_run = config();
  long_run.train.epochs = 60;
  Run run(long_run, GetParam(), 8);
  Recorder record;
  run.trainer->run(record);
  Inference inference(run.context, run.trainer->model());
  EXPECT_GE(classification_accuracy(inference, run.test, Binarise::none, 1), 0.95);
}

TEST_P(HiddenLabels, NeedAClassifier) {
  RunConfig without = config();
  without.model.classifier = false;
  EXPECT_EQ(error_of([&] { Run(without, GetParam(), 8); }),
            "2: labels are known of 8 of 70 training images, and model.classifier, which would "
            "guess the others, is false");
}

INSTANTIATE_TEST_SUITE_P(Devices, HiddenLabels, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
