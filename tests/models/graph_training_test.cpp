// Training by replayed graphs is training: the same bits as launching every kernel, in every order
// that the graph allows, over tail batches, evaluations and resumes; and the number of its nodes.
#include <gtest/gtest.h>

#include "tests/models/trainer_fixture.h"
#include "tests/support/device.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

using namespace trainer_test;

class GraphTraining : public testing::Test {
 protected:
  void SetUp() override {
    if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
    Context context({Device::cuda, 0, ""});
    if (!StepGraph::available(context)) GTEST_SKIP() << "this build records no graphs";
  }

  // 40 epochs of 4 full batches and a tail of 6: 200 steps, an evaluation after each epoch.
  static RunConfig config(int graph_steps) {
    RunConfig config = tiny_config();
    config.train.epochs = 40;
    config.train.clip_grad = 1.0f;
    config.output.log_interval = 7;
    config.graph_steps = graph_steps;
    return config;
  }

  struct Result {
    std::vector<std::byte> bytes;
    std::vector<double> losses;
  };
  static Result train(const RunConfig& config) {
    Session session(config, Device::cuda);
    Recorder record;
    session.trainer.run(record);
    Result result;
    result.bytes = bytes_of(session.trainer.snapshot());
    for (const StepReport& report : record.reports) result.losses.push_back(report.window.loss);
    for (const EpochReport& report : record.epochs) result.losses.push_back(report.test.loss);
    return result;
  }
};

TEST_F(GraphTraining, TwoHundredStepsGiveTheBitsOfPlainLaunches) {
  const Result plain = train(config(0));
  EXPECT_EQ(plain.losses.size(), 200u / 7 + 40);
  for (const int steps : {1, 2, 3}) {
    const Result graphs = train(config(steps));
    EXPECT_EQ(graphs.bytes, plain.bytes) << steps << " steps per graph";
    EXPECT_EQ(graphs.losses, plain.losses) << steps << " steps per graph";
  }
}

// The simulator reports a kernel that touches memory before it has waited, or never waits.
TEST_F(GraphTraining, OverlappingLaunchesGiveTheSameBits) {
#ifdef ELBO_SIM  // a GPU may be too old
  Context context({Device::cuda, 0, ""});
  context.set_overlap_launches(true);
  EXPECT_TRUE(context.exec().overlap_launches);
#endif
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
    RunConfig one_by_one = config(1), overlapping = config(1);
    one_by_one.precision = overlapping.precision = precision;
    one_by_one.train.epochs = overlapping.train.epochs = 2;
    overlapping.overlap_launches = true;
    EXPECT_EQ(train(overlapping).bytes, train(one_by_one).bytes) << precision_name(precision);
  }
}

TEST_F(GraphTraining, EveryPrecisionGivesTheBitsOfPlainLaunches) {
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    RunConfig plain = config(0), graphs = config(2);
    plain.precision = graphs.precision = precision;
    plain.train.epochs = graphs.train.epochs = 4;
    const Result expected = train(plain), found = train(graphs);
    EXPECT_EQ(found.bytes, expected.bytes) << precision_name(precision);
    EXPECT_EQ(found.losses, expected.losses) << precision_name(precision);
  }
}

// Epochs of 5 steps, reports every 7 and saves every 4: chunks of 3 must end at each of them.
TEST_F(GraphTraining, ChunksEndWhereTheHostHasSomethingToDo) {
  for (const bool overfit_batch : {false, true}) {
    RunConfig plain = config(0), graphs = config(3);
    for (RunConfig* each : {&plain, &graphs}) {
      each->train.epochs = 6;
      each->train.overfit_batch = overfit_batch;
      each->output.save_interval = 4;
    }
    const Result expected = train(plain), found = train(graphs);
    EXPECT_EQ(expected.losses.size(), 30u / 7 + 6);
    EXPECT_EQ(found.losses, expected.losses) << overfit_batch;
    EXPECT_EQ(found.bytes, expected.bytes) << overfit_batch;
  }
}

// A profiler sees whole steps, exactly those that were asked for, however many a graph holds.
TEST_F(GraphTraining, ProfiledStepsAreNoPartOfLongerGraphs) {
  struct Edges : TrainObserver {
    const Trainer* trainer = nullptr;
    std::vector<int64_t> steps;
    void on_profile(bool) override { steps.push_back(trainer->step()); }
  };
  RunConfig graphs = config(3);
  graphs.train.epochs = 6;
  const Result expected = train(graphs);
  for (const StepWindow window : {StepWindow{7, 12}, StepWindow{0, 1}, StepWindow{28, 99}}) {
    graphs.profile = window;
    Session session(graphs, Device::cuda);
    Edges edges;
    edges.trainer = &session.trainer;
    session.trainer.run(edges);
    EXPECT_EQ(edges.steps, (std::vector{window.first, std::min<int64_t>(window.end, 30)}));
    EXPECT_EQ(bytes_of(session.trainer.snapshot()), expected.bytes);
  }
}

TEST_F(GraphTraining, EveryOrderThatTheGraphAllowsGivesTheSameBits) {
  RunConfig short_config = config(2);
  short_config.train.epochs = 4;
  for_each_order(Device::cuda, [&] {
    const Result result = train(short_config);
    return std::string(reinterpret_cast<const char*>(result.bytes.data()), result.bytes.size());
  });
}

TEST_F(GraphTraining, AResumeInTheMiddleIsBitExact) {
  RunConfig graphs = config(2);
  graphs.train.epochs = 4;
  RunConfig plain = graphs;
  plain.graph_steps = 0;
  const Result whole = train(plain);
  const TempDir dir;
  CheckpointWriter writer(real_fs(), dir.path() + "/checkpoints");
  Session before(graphs, Device::cuda);
  Recorder record;
  record.trainer = &before.trainer;
  record.stop_after = 9;
  EXPECT_FALSE(before.trainer.run(record));
  const Trainer::Snapshot& saved = before.trainer.snapshot();
  writer.save({saved.model, saved.optimizer, saved.state, ""}, false);
  Session after(graphs, Device::cuda);
  after.trainer.restore(load_latest_checkpoint(real_fs(), dir.path() + "/checkpoints"));
  Recorder record_after;
  EXPECT_TRUE(after.trainer.run(record_after));
  EXPECT_EQ(bytes_of(after.trainer.snapshot()), whole.bytes);
}

// Launches are what a small VAE's step costs. An epilogue that silently becomes two kernels shows here.
class StepNodes : public GraphTraining {
 protected:
  static int nodes(const ModelConfig& model, int64_t batch, Precision precision) {
    Context context({Device::cuda, 0, ""});
    const ImageData images = ImageData::sprites(28, 256, 0);
    RunConfig config = find_preset("mlp-mnist").config;
    config.model = model;
    config.train.batch_size = batch;
    config.data.kind = DataKind::sprites;
    config.data.resolution = 28;
    config.precision = precision;
    config.plan_mode = PlanMode::heuristic;
    Trainer trainer(context, config, images, nullptr);
    for (int i = 0; i < 2; ++i) trainer.train_step();
    const StepGraph* graph = trainer.tape().find_graph(static_cast<uint64_t>(batch), 1);
    if (!graph) return -1;
    if (precision != Precision::fp32 || kLibraryIsKnown) {
      EXPECT_EQ(graph->node_count(), graph->kernel_count()) << "no copies, no fills";
    }
    return graph->kernel_count();
  }

  // Fully connected layers in fp32 are the library's. On a GPU it may take two kernels for a product, or
  // leave an epilogue to us: which, product_bench tells. The simulator's does neither.
#ifdef ELBO_SIM
  static constexpr bool kLibraryIsKnown = true;
#else
  static constexpr bool kLibraryIsKnown = false;
#endif
  static void expect_with_the_library(int found, int expected) {
    if (kLibraryIsKnown) {
      EXPECT_EQ(found, expected);
    } else {
      EXPECT_GE(found, expected);
      EXPECT_LE(found, 2 * expected);
    }
  }

  static ModelConfig classic() { return find_preset("mlp-mnist").config.model; }
  static ModelConfig burda() {  // as bench/workloads.cpp
    ModelConfig model;
    model.hidden = {200, 200};
    model.latent_dim = 50;
    model.activation = Activation::tanh;
    return model;
  }
};

// Forward 5: gather, fc1, the latent block (heads, sample, KL, fc3), fc4, the loss with its gradient.
// Backward 6: fc4's weight and input, fc3's weight, the latent block, the weights of heads and fc1.
// Then 2: the record with the gradient norm, the optimiser. Biases, ReLU, its mask and the gradients of
// biases ride in these.
TEST_F(StepNodes, OfTheClassicVaeWithTheLibrarysProducts) {
  expect_with_the_library(nodes(classic(), 128, Precision::fp32), 13);
}

// Our own products: the loss is fc4's epilogue, and the weight gradients of all layers are one launch.
TEST_F(StepNodes, OfTheClassicVaeWithOurOwnProducts) {
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    EXPECT_EQ(nodes(classic(), 128, precision), 9) << precision_name(precision);
  }
}

// One more layer on either side of the block, three nodes each, and tanh, which a library's product
// cannot carry: forward a node for each of the three layers outside of the block, and as many backward.
TEST_F(StepNodes, OfTheDeeperTanhVae) {
  expect_with_the_library(nodes(burda(), 20, Precision::fp32), 25);
  EXPECT_EQ(nodes(burda(), 20, Precision::tf32), 13);
  EXPECT_EQ(nodes(burda(), 20, Precision::bf16), 13);
}

// Forward 8: gather, three convolutions, the latent block, two transposed ones, the last with the loss in
// its epilogue. Backward a weight and a data gradient of each but the first, which needs no data gradient:
// 11, and one more for the bias of each transposed one, whose sum runs over pixels that its weight gradient
// reads out of order: 3. Linear layers: a derivative of an activation on either side of the latent block, its
// backward, and their weight gradients, one node of our own products and two of the library's. Then 2.
TEST_F(StepNodes, OfAConvolutionalVae) {
  const ModelConfig model = find_preset("conv32").config.model;
  expect_with_the_library(nodes(model, 4, Precision::fp32), 29);
  EXPECT_EQ(nodes(model, 4, Precision::tf32), 28);
  EXPECT_EQ(nodes(model, 4, Precision::bf16), 28);
}

}  // namespace
}  // namespace elbo
