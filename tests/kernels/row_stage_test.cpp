// The stage of a data set in host memory: that it holds the next batch, and that gather() believes its
// tag and nothing else.
#include "kernels/row_stage.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "kernels/gather.h"
#include "tests/kernels/state_at.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

constexpr uint8_t kUntouched = 0xa5;

uint8_t pixel_of(int64_t sample, int64_t d) {
  return static_cast<uint8_t>(sample * 31 + d * 7 + d / 251);
}

StepRule rule_of(uint64_t samples, uint64_t batch, bool drop_last = false) {
  StepRule rule;
  rule.samples = samples;
  rule.batch = batch;
  rule.drop_last = drop_last;
  return rule;
}

class RowStageTest : public DeviceTest {
 protected:
  struct Request {
    int64_t samples = 50, dim = 16, rows = 8;
    StepState state = {};
    StepRule rule = rule_of(50, 8);
    bool shuffle = false;
    size_t data_shift = 0;
    size_t block_shift[2] = {0, 0};
  };
  struct Staged {
    std::vector<uint8_t> block[2];
    std::vector<StageTag> tag;
  };

  Staged run(const Request& r) {
    std::vector<uint8_t> pixels;
    for (int64_t i = 0; i < r.samples * r.dim; ++i)
      pixels.push_back(pixel_of(i / r.dim, i % r.dim));
    DeviceBuffer<uint8_t> data(device(), pixels, r.data_shift);
    const std::vector<uint8_t> untouched(static_cast<size_t>(r.rows * r.dim), kUntouched);
    DeviceBuffer<uint8_t> even(device(), untouched, r.block_shift[0]),
        odd(device(), untouched, r.block_shift[1]);
    DeviceBuffer<StageTag> tag(device(), std::vector<StageTag>(2));
    DeviceBuffer<StepState> state(device(), std::vector<StepState>{r.state});
    StageRows args;
    args.data = data.data();
    args.dim = r.dim;
    args.order = {42, state.data(), r.samples, r.shuffle, 0};
    args.rule = r.rule;
    args.stage = {{even.data(), odd.data()}, tag.data(), r.rows};
    stage_rows(exec(), args);
    return {{even.download(), odd.download()}, tag.download()};
  }

  // That the block of turn `turn` holds what the order has from `position` of `epoch` on, and that the
  // other one was left alone.
  static void expect_batch(const Staged& staged, const Request& r, size_t turn, uint64_t epoch,
                           uint64_t position) {
    EXPECT_EQ(staged.tag[turn].epoch, epoch);
    EXPECT_EQ(staged.tag[turn].position, position);
    EXPECT_EQ(staged.tag[turn].rows, static_cast<uint64_t>(r.rows));
    EXPECT_EQ(staged.tag[1 - turn].rows, 0u);
    const StepState there = state_at(0, epoch, position);
    const BatchOrder order{42, &there, r.samples, r.shuffle, 0};
    for (int64_t i = 0; i < r.rows * r.dim; ++i) {
      const int64_t sample = ordered_sample(order, i / r.dim);
      ASSERT_EQ(staged.block[turn][static_cast<size_t>(i)], pixel_of(sample, i % r.dim))
          << "row " << i / r.dim << ", pixel " << i % r.dim << " of " << r.dim;
      ASSERT_EQ(staged.block[1 - turn][static_cast<size_t>(i)], kUntouched);
    }
  }
};

// Every width of access, with operands that allow it and operands that do not; more units than a block
// has threads.
TEST_P(RowStageTest, HoldsTheNextBatchWhateverTheSizeOfARow) {
  for (const int64_t dim : {1, 3, 4, 12, 16, 48, 257, 1028, 4112}) {
    for (const size_t shift : {0, 1, 4}) {
      for (const int shifted : {0, 1, 2}) {
        Request r{.dim = dim, .state = state_at(6, 2, 16), .shuffle = true};
        (shifted == 0 ? r.data_shift : r.block_shift[shifted - 1]) = shift;
        expect_batch(run(r), r, 1, 2, 24);
      }
    }
  }
}

TEST_P(RowStageTest, StepsTakeTurns) {
  for (const uint64_t step : {0, 1, 2, 7}) {
    const Request r{.state = state_at(step, 0, 8)};
    expect_batch(run(r), r, (step + 1) % 2, 0, 16);
  }
}

TEST_P(RowStageTest, OneRow) {
  const Request r{.rows = 1, .state = state_at(0, 0, 7), .rule = rule_of(50, 1)};
  expect_batch(run(r), r, 1, 0, 8);
}

TEST_P(RowStageTest, MoreRowsThanBlocks) {
  Request r{.samples = 200, .rows = 130, .rule = rule_of(200, 130), .shuffle = true};
  r.state = state_at(0, 0, 0);
  expect_batch(run(r), r, 1, 0, 130);  // 70 of them; the others wrap
}

TEST_P(RowStageTest, TheLastBatchIsFollowedByTheNextEpoch) {
  Request r{.state = state_at(5, 3, 40), .shuffle = true};
  expect_batch(run(r), r, 0, 3, 48);
  r.rule = rule_of(50, 8, true);
  expect_batch(run(r), r, 0, 4, 0);
  r.rule = rule_of(48, 8);
  expect_batch(run(r), r, 0, 4, 0);
}

TEST_P(RowStageTest, AnOverfittedBatchFollowsItself) {
  const Request r{.samples = 8, .state = state_at(4, 4, 0), .rule = rule_of(8, 8)};
  expect_batch(run(r), r, 1, 5, 0);
}

class StagedGatherTest : public DeviceTest {
 protected:
  // The first pixel of each row of a batch of 4 at (step, epoch, position), with a data set of zeros and
  // a stage whose blocks are all ones (even turns) and twos.
  std::vector<float> first_pixels(const StepState& state, const std::vector<StageTag>& tags,
                                  bool has_state = true, bool flip = false, int64_t dim = 8) {
    const auto bytes = static_cast<size_t>(4 * dim);
    DeviceBuffer<uint8_t> data(device(), std::vector<uint8_t>(static_cast<size_t>(20 * dim), 0));
    DeviceBuffer<uint8_t> even(device(), std::vector<uint8_t>(bytes, 51));
    DeviceBuffer<uint8_t> odd(device(), std::vector<uint8_t>(bytes, 102));
    for (const int64_t row : {0, 1, 2, 3}) {  // rows differ
      std::vector<uint8_t> values = even.download();
      values[static_cast<size_t>(row * dim)] = static_cast<uint8_t>(51 * (row + 1));
      even.upload(values);
    }
    DeviceBuffer<StageTag> tag(device(), tags);
    DeviceBuffer<StepState> dstate(device(), std::vector<StepState>{state});
    DeviceBuffer<float> x(device(), bytes);
    Gather args;
    args.data = data.data();
    args.dim = dim;
    args.batch = 4;
    args.order = {7, has_state ? dstate.data() : nullptr, 20, true, 0};
    args.stage = {{even.data(), odd.data()}, tag.data(), 4};
    args.flip = flip;
    args.width = 1;
    args.channels = dim;
    args.x = x.data();
    gather(exec(), args);
    const std::vector<float> all = x.download();
    std::vector<float> firsts;
    for (size_t row = 0; row < 4; ++row) firsts.push_back(all[row * static_cast<size_t>(dim)]);
    return firsts;
  }

  const std::vector<float> from_data_{0, 0, 0, 0}, from_even_{0.2f, 0.4f, 0.6f, 0.8f},
      from_odd_{0.4f, 0.4f, 0.4f, 0.4f};
};

TEST_P(StagedGatherTest, ReadsTheBlockWhoseTurnItIs) {
  const std::vector<StageTag> tags{{3, 8, 4}, {3, 8, 4}};
  for (const int64_t dim : {8, 7}) {
    for (const bool flip : {false, true}) {
      EXPECT_EQ(first_pixels(state_at(6, 3, 8), tags, true, flip, dim), from_even_);
      EXPECT_EQ(first_pixels(state_at(7, 3, 8), tags, true, flip, dim), from_odd_);
    }
  }
}

TEST_P(StagedGatherTest, ReadsTheDataUnlessTheTagNamesItsBatch) {
  const StepState state = state_at(6, 3, 8);
  const StageTag other{0, 0, 0};
  EXPECT_EQ(first_pixels(state, {{3, 8, 5}, other}), from_even_);
  for (const StageTag tag : {StageTag{3, 8, 3}, {2, 8, 4}, {3, 4, 4}, {0, 0, 0}})
    EXPECT_EQ(first_pixels(state, {tag, {3, 8, 4}}), from_data_)
        << tag.epoch << ' ' << tag.position << ' ' << tag.rows;
  EXPECT_EQ(first_pixels(state, {{3, 8, 4}, other}, false), from_data_) << "an evaluation";
}

TEST(RowStage, ErrorsSayWhatIsWrong) {
  uint8_t bytes[8] = {};
  StageTag tags[2];
  StepState state;
  StageRows args;
  args.dim = 4;
  args.order = {0, &state, 2, false, 0};
  args.rule = rule_of(2, 2);
  args.stage = {{bytes, bytes}, tags, 2};
  const auto error = [&](const StageRows& wrong) {
    return error_of([&] { stage_rows({}, wrong); });
  };
  EXPECT_EQ(error(args), "1: stage_rows: data is null");
  args.data = bytes;
  StageRows wrong = args;
  wrong.stage.block[1] = nullptr;
  EXPECT_EQ(error(wrong), "1: stage_rows: the stage is null");
  wrong = args;
  wrong.stage.tag = nullptr;
  EXPECT_EQ(error(wrong), "1: stage_rows: the stage is null");
  wrong = args;
  wrong.order.state = nullptr;
  EXPECT_EQ(error(wrong), "1: stage_rows: the step state is null");
  wrong = args;
  wrong.order.samples = 0;
  EXPECT_NE(error(wrong).find("the data set has 0 samples"), std::string::npos) << error(wrong);
  wrong = {};
  EXPECT_EQ(error(wrong), "no error");  // no rows: nothing to do
  Gather batch;
  float x[4];
  batch.data = bytes;
  batch.dim = 4;
  batch.batch = 1;
  batch.order = args.order;
  batch.stage.tag = tags;
  batch.x = x;
  EXPECT_EQ(error_of([&] { gather({}, batch); }), "1: gather: a block of the stage is null");
}

INSTANTIATE_TEST_SUITE_P(Devices, RowStageTest, testing::ValuesIn(available_devices()),
                         device_name);
INSTANTIATE_TEST_SUITE_P(Devices, StagedGatherTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
