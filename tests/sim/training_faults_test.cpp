// A training run in which one runtime call fails, for each of its first calls in turn, and one in which
// device memory ends at any of many sizes: always one clear error, and nothing left behind.
#include <gtest/gtest.h>

#include "models/inference.h"
#include "models/trainer.h"
#include "tests/sim/control.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

// Set up, three steps, an evaluation, what a checkpoint needs, and a picture.
void train_a_little() {
  RunConfig config;
  config.model.hidden = {8};
  config.model.latent_dim = 2;
  config.train.batch_size = 4;
  Context context({Device::cuda, 0, ""});
  const ImageData data = ImageData::sprites(8, 10, 0);
  Trainer trainer(context, config, data, nullptr);
  for (int i = 0; i < 3; ++i) trainer.train_step();
  trainer.evaluate(data);
  trainer.snapshot();
  Inference inference(context, trainer.model());
  inference.decode(inference.prior_latents(3, 1));
}

class TrainingFaults : public testing::Test {
 protected:
  void SetUp() override { before_ = cudasim::live(); }
  void TearDown() override {
    cudasim::config() = cudasim::Config{};
    cudasim::clear_reports();
  }
  void expect_nothing_left(const std::string& when) {
    EXPECT_EQ(cudasim::live(), before_) << when << ": " << cudasim::describe(cudasim::live());
  }

 private:
  cudasim::Live before_;
};

TEST_F(TrainingFaults, AFailingRuntimeCallIsAnErrorAndLeavesNothing) {
  int errors = 0;
  for (long call = 1; call <= 200; ++call) {
    cudasim::config().fail_call = call;
    const std::string error = error_of(train_a_little);
    cudasim::config().fail_call = 0;
    // Freeing never throws: a failed free at the end of a run goes unnoticed, by design.
    if (error != "no error") {
      ++errors;
      EXPECT_EQ(error.substr(0, 2), "3:") << "call " << call << ": " << error;
      EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    }
    expect_nothing_left("call " + std::to_string(call));
    ASSERT_EQ(error_of(train_a_little), "no error") << "after call " << call << " had failed";
  }
  EXPECT_GT(errors, 100) << "the injected failures did not arrive";
}

TEST_F(TrainingFaults, RunningOutOfMemoryNamesWhatWasWanted) {
  int errors = 0;
  for (size_t limit = size_t{1} << 12; limit <= (size_t{64} << 20); limit += limit / 3) {
    cudasim::config().memory_limit = limit;
    const std::string error = error_of(train_a_little);
    if (error != "no error") {
      ++errors;
      EXPECT_NE(error.find("out of memory: "), std::string::npos) << error;
      EXPECT_NE(error.find("bytes wanted for "), std::string::npos) << error;
    }
    expect_nothing_left("limit " + std::to_string(limit));
  }
  EXPECT_GT(errors, 20);
  cudasim::config().memory_limit = size_t{2} << 30;
  EXPECT_EQ(error_of(train_a_little), "no error");
}

}  // namespace
}  // namespace elbo
