// What a trainer tells its observer and when: epochs, saves, the best so far; and which states it
// goes on from.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "models/trainer.h"
#include "tests/models/trainer_fixture.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

using namespace trainer_test;

// "epoch 1", "save 5 best", "done 1": in the order of the calls.
struct Events : TrainObserver {
  const Trainer& trainer;
  std::vector<std::string> all;
  std::vector<EpochReport> epochs;
  std::vector<std::string> begun;  // "epoch 1 of 5 steps"
  int64_t stop_after = -1;

  explicit Events(const Trainer& trainer_of) : trainer(trainer_of) {}
  void on_epoch_begin(int64_t epoch, int64_t steps, int64_t first) override {
    begun.push_back(concat("epoch ", epoch, ", ", first, " of ", steps));
  }
  void on_epoch_end(const EpochReport& report) override {
    epochs.push_back(report);
    all.push_back(concat("epoch ", report.epoch));
  }
  void on_save(bool is_best) override {
    all.push_back(concat("save ", trainer.step(), is_best ? " best" : ""));
  }
  void on_epoch_done(const EpochReport& report) override {
    all.push_back(concat("done ", report.epoch));
  }
  bool stop_requested() override { return trainer.step() == stop_after; }
};

using Strings = std::vector<std::string>;

TEST(TrainerEvents, SavesComeBeforeWhatMayFail) {
  Session session(tiny_config());
  Events events(session.trainer);
  EXPECT_TRUE(session.trainer.run(events));
  EXPECT_EQ(events.all, (Strings{"epoch 1", "save 5 best", "done 1",  //
                                 "epoch 2", "save 10 best", "done 2"}));
}

TEST(TrainerEvents, EveryBestStepIsSavedWhateverTheInterval) {
  RunConfig config = tiny_config();
  config.train.epochs = 3;
  config.output.save_interval = 4;
  Session session(config);
  Events events(session.trainer);
  EXPECT_TRUE(session.trainer.run(events));
  EXPECT_EQ(events.all, (Strings{"save 4", "epoch 1", "save 5 best", "done 1", "save 8",  //
                                 "epoch 2", "save 10 best", "done 2", "save 12",          //
                                 "epoch 3", "save 15 best", "done 3"}));
}

TEST(TrainerEvents, NoStepIsSavedTwice) {
  RunConfig config = tiny_config();
  config.output.save_interval = 5;
  Session session(config);
  Events events(session.trainer);
  events.stop_after = 5;
  EXPECT_FALSE(session.trainer.run(events));
  EXPECT_EQ(events.all, (Strings{"epoch 1", "save 5 best", "done 1"}));
}

TEST(TrainerEvents, ARunWithoutStepsIsSavedAndAFinishedOneIsNotAgain) {
  RunConfig config = tiny_config();
  config.train.epochs = 0;
  Session session(config);
  Events events(session.trainer);
  EXPECT_TRUE(session.trainer.run(events));
  EXPECT_EQ(events.all, Strings{"save 0"});
  const TempDir dir;
  const LoadedCheckpoint checkpoint = loaded(session.trainer, dir);
  Session again(config);
  again.trainer.restore(checkpoint);
  Events none(again.trainer);
  EXPECT_TRUE(again.trainer.run(none));
  EXPECT_EQ(none.all, Strings{});
}

// max_steps that fall into an epoch end the run, not the epoch.
TEST(TrainerEvents, GoingOnAfterAnEndWithinAnEpochIsBitExact) {
  RunConfig config = tiny_config();
  config.train.epochs = 4;
  Session whole(config);
  Events whole_events(whole.trainer);
  whole.trainer.run(whole_events);
  for (const int64_t steps : {3, 7, 18}) {
    RunConfig limited = config;
    limited.train.max_steps = steps;
    Session first(limited);
    Events first_events(first.trainer);
    EXPECT_TRUE(first.trainer.run(first_events));
    EXPECT_EQ(first_events.epochs.back().epoch, steps / 5 + 1);
    EXPECT_EQ(first_events.epochs.back().train.steps, steps % 5);
    EXPECT_GT(first_events.epochs.back().test.steps, 0);
    EXPECT_FALSE(first_events.epochs.back().is_best);

    const TempDir dir;
    Session rest(config);
    rest.trainer.restore(loaded(first.trainer, dir));
    Events rest_events(rest.trainer);
    EXPECT_TRUE(rest.trainer.run(rest_events));
    EXPECT_EQ(bytes_of(rest.trainer.snapshot()), bytes_of(whole.trainer.snapshot()));
    EXPECT_EQ(rest.trainer.snapshot().state, whole.trainer.snapshot().state) << steps;
    const EpochReport& report = rest_events.epochs.front();
    const EpochReport& expected = whole_events.epochs[static_cast<size_t>(steps / 5)];
    EXPECT_EQ(report.train.steps, 5);
    EXPECT_EQ(report.train.loss, expected.train.loss) << steps;
  }
}

TEST(TrainerEvents, OneBatchHasEpochsAsLongAsAllTheDataHas) {
  for (const bool drop_last : {false, true}) {
    const int64_t per_epoch = drop_last ? 4 : 5;
    RunConfig config = tiny_config();
    config.train.overfit_batch = true;
    config.train.drop_last = drop_last;
    Session session(config);
    Events events(session.trainer);
    EXPECT_TRUE(session.trainer.run(events));
    EXPECT_EQ(events.all, (Strings{"epoch 1", concat("save ", per_epoch, " best"), "done 1",  //
                                   "epoch 2", concat("save ", 2 * per_epoch, " best"), "done 2"}));
    EXPECT_EQ(events.begun,
              (Strings{concat("epoch 1, 0 of ", per_epoch), concat("epoch 2, 0 of ", per_epoch)}));
    EXPECT_EQ(events.epochs[0].train.steps, per_epoch);
  }
}

TEST(TrainerEvents, OneBatchGoesOnBitForBit) {
  RunConfig config = tiny_config();
  config.train.overfit_batch = true;
  Session whole(config), first(config), rest(config);
  Events whole_events(whole.trainer), first_events(first.trainer), rest_events(rest.trainer);
  whole.trainer.run(whole_events);
  first_events.stop_after = 7;
  EXPECT_FALSE(first.trainer.run(first_events));
  const TempDir dir;
  rest.trainer.restore(loaded(first.trainer, dir));
  EXPECT_TRUE(rest.trainer.run(rest_events));
  EXPECT_EQ(bytes_of(rest.trainer.snapshot()), bytes_of(whole.trainer.snapshot()));
  EXPECT_EQ(rest.trainer.snapshot().state, whole.trainer.snapshot().state);
}

TEST(TrainerEvents, ATestLossThatIsNotFiniteIsAnErrorAndNeverTheBest) {
  RunConfig config = tiny_config();
  config.model.hidden = {64, 64, 64};
  config.train.learning_rate = {ScheduleKind::constant, 1e6f};
  config.train.max_steps = 5;
  config.train.batch_size = 70;  // the only step's loss is that of the weights before it
  config.train.epochs = 1;
  Session session(config);
  Events events(session.trainer);
  const std::string error = error_of([&] { session.trainer.run(events); });
  EXPECT_EQ(error.substr(0, error.find(';')), "5: step 1: the test loss is not finite");
  EXPECT_EQ(events.all, Strings{"epoch 1"}) << "neither saved nor done";
  EXPECT_FALSE(events.epochs.at(0).is_best);
}

TEST(TrainerEvents, ABestOfNaNIsBeaten) {
  Session first(tiny_config()), rest(tiny_config());
  Events first_events(first.trainer), rest_events(rest.trainer);
  first_events.stop_after = 5;
  first.trainer.run(first_events);
  const TempDir dir;
  LoadedCheckpoint checkpoint = loaded(first.trainer, dir);
  checkpoint.state.best_metric = std::numeric_limits<double>::quiet_NaN();
  rest.trainer.restore(checkpoint);
  rest.trainer.run(rest_events);
  EXPECT_TRUE(rest_events.epochs.at(0).is_best);
}

class TrainerRestore : public testing::Test {
 protected:
  TrainerRestore() {
    Events events(session.trainer);
    events.stop_after = 8;
    session.trainer.run(events);
    checkpoint = loaded(session.trainer, dir);
  }

  // What is refused, without the path.
  template <class Change>
  std::string refusal(Change change) {
    LoadedCheckpoint changed = load_latest_checkpoint(real_fs(), dir / "checkpoints");
    change(changed.state);
    Session other(tiny_config());
    const std::string error = error_of([&] { other.trainer.restore(changed); });
    const size_t file = error.find("state.json: ");
    return file == std::string::npos ? error : error.substr(file + 12);
  }

  TempDir dir;
  Session session{tiny_config()};
  LoadedCheckpoint checkpoint;
};

TEST_F(TrainerRestore, RefusesNumbersThatDoNotBelongTogether) {
  EXPECT_EQ(refusal([](RunState&) {}), "no error");
  EXPECT_EQ(refusal([](RunState& state) { state.values.erase("train.images"); }), "no error")
      << "older checkpoints";
  EXPECT_EQ(refusal([](RunState& state) { state.batch = 300; }),
            "step 8 is not epoch 1, batch 300 of epochs of 5 batches; the file is damaged, or the "
            "data is not that of the run");
  const std::vector<void (*)(RunState&)> forged = {
      [](RunState& state) { state.batch = -1; },
      [](RunState& state) { state.epoch = 2; },
      [](RunState& state) { state.epoch = std::numeric_limits<int64_t>::max(); },
      [](RunState& state) { state.step = -8; },
      [](RunState& state) { state.step = state.epoch = state.batch = -1; },
      [](RunState& state) { state.values["epoch.steps"] = std::nan(""); },
      [](RunState& state) { state.values["window.steps"] = 1e300; },
      [](RunState& state) { state.values["window.steps"] = -1; },
      [](RunState& state) { state.values["train.images"] = INFINITY; },
  };
  for (size_t i = 0; i < forged.size(); ++i) EXPECT_NE(refusal(forged[i]), "no error") << i;
}

TEST_F(TrainerRestore, RefusesAnotherNumberOfImages) {
  Context context({Device::cpu, 0, ""});
  // As many steps per epoch, but another order.
  const ImageData more = ImageData::sprites(12, 71, 0);
  Trainer trainer(context, tiny_config(), more, nullptr);
  const std::string error = error_of([&] { trainer.restore(checkpoint); });
  EXPECT_EQ(error.substr(0, 2), "4:");
  EXPECT_NE(error.find("the run was trained on 70 images and there are 71"), std::string::npos)
      << error;
}

}  // namespace
}  // namespace elbo
