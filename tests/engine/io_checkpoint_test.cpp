#include "engine/io/checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/io/crc32.h"
#include "tests/support/checkpoint_samples.h"
#include "tests/support/crash_fs.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

constexpr uint64_t kAnySize = uint64_t{1} << 30;

class CheckpointTest : public testing::Test {
 protected:
  void save(int64_t step, int generation, bool is_best = false, int keep = 2) {
    CheckpointWriter(fs, dir / "checkpoints", keep)
        .save(SampleCheckpoint(step, generation).contents(), is_best);
  }
  LoadedCheckpoint load_latest() { return load_latest_checkpoint(fs, dir / "checkpoints"); }
  std::vector<std::string> names() { return list_directory(fs, dir / "checkpoints"); }
  std::string file(const std::string& name) { return dir / ("checkpoints/" + name); }

  void flip_bit(const std::string& path, size_t byte, int bit) {
    std::string text = read_text_file(fs, path, kAnySize);
    text.at(byte) = static_cast<char>(text[byte] ^ (1 << bit));
    write_file(fs, path, text);
  }

  Fs& fs = real_fs();
  TempDir dir;
};

using Names = std::vector<std::string>;

TEST_F(CheckpointTest, LoadsWhatWasSaved) {
  save(938, 7);
  const LoadedCheckpoint loaded = load_latest();
  EXPECT_EQ(generation_of(loaded), 7);
  EXPECT_EQ(loaded.path, file("step_00000938"));
  EXPECT_TRUE(loaded.warnings.empty());
  EXPECT_EQ(generation_of(load_checkpoint(fs, file("latest"))), 7);
}

TEST_F(CheckpointTest, KeepsTheStateToTheLastBit) {
  RunState state;
  state.step = 123456789;
  state.epoch = 9;
  state.batch = 468;
  state.seed = std::numeric_limits<uint64_t>::max();
  state.threads = 2;
  state.device = "cuda";
  state.precision = "bf16";
  state.best_metric = 0.1 + 0.2;
  state.best_step = 123456000;
  state.counters = {{"noise", 1ull << 63}, {"shuffle", 0}};
  state.values = {{"denormal", 5e-324}, {"inf", INFINITY}, {"third", 1.0 / 3}, {"-", -INFINITY}};
  state.plan = {{"fc1", "algo 3, \"quoted\"\n"}};
  const StateFile back = parse_state_file(state_file_text({state, {}}), "state.json");
  EXPECT_EQ(back.state, state);

  state.values = {{"nan", std::nan("")}};
  state.best_metric.reset();
  const StateFile with_nan = parse_state_file(state_file_text({state, {}}), "state.json");
  EXPECT_TRUE(std::isnan(with_nan.state.values.at("nan")));
  EXPECT_FALSE(with_nan.state.best_metric.has_value());
}

TEST_F(CheckpointTest, EqualContentsGiveEqualBytes) {
  save(100, 3);
  std::vector<std::string> first;
  for (const std::string& name : list_directory(fs, file("step_00000100"))) {
    first.push_back(read_text_file(fs, file("step_00000100/" + name), kAnySize));
  }
  EXPECT_EQ(first.size(), 4u);
  TempDir other;
  CheckpointWriter(fs, other / "elsewhere").save(SampleCheckpoint(100, 3).contents(), true);
  size_t i = 0;
  for (const std::string& name : list_directory(fs, other / "elsewhere/step_00000100")) {
    const std::string path = other / ("elsewhere/step_00000100/" + name);
    EXPECT_EQ(read_text_file(fs, path, kAnySize), first.at(i++)) << name;
  }
}

TEST_F(CheckpointTest, KeepsTheNewestAndTheBest) {
  save(100, 0, true);
  for (int i = 1; i <= 4; ++i) save(100 * (i + 1), i);
  EXPECT_EQ(names(), (Names{"best", "latest", "step_00000100", "step_00000400", "step_00000500"}));
  EXPECT_EQ(read_link(fs, file("best")), "step_00000100");
  EXPECT_EQ(read_link(fs, file("latest")), "step_00000500");
  save(600, 5, true);
  EXPECT_EQ(names(), (Names{"best", "latest", "step_00000500", "step_00000600"}));
}

TEST_F(CheckpointTest, RefusesToKeepFewerThanTwo) {
  EXPECT_EQ(error_of([&] { CheckpointWriter(fs, dir.path(), 1); }),
            "2: --keep 1: expected at least 2, so that damage to the newest leaves one to fall "
            "back to");
}

TEST_F(CheckpointTest, SavingAStepAgainReplacesIt) {
  save(100, 0);
  save(200, 1);
  save(200, 2);
  EXPECT_EQ(names(), (Names{"latest", "step_00000100", "step_00000200"}));
  EXPECT_EQ(generation_of(load_latest()), 2);
}

TEST_F(CheckpointTest, GoingOnFromAnEarlierStepAbandonsLaterOnes) {
  save(100, 0);
  save(200, 1);
  save(300, 2, true, 3);
  save(150, 3, false, 3);
  EXPECT_EQ(names(), (Names{"latest", "step_00000100", "step_00000150"}));
  EXPECT_EQ(generation_of(load_latest()), 3);
}

TEST_F(CheckpointTest, LatestLinkDecides) {
  save(100, 0);
  save(200, 1);
  remove_tree(fs, file("latest"));
  EXPECT_EQ(generation_of(load_latest()), 1);
  replace_symlink(fs, file("latest"), "step_00000100");
  EXPECT_EQ(generation_of(load_latest()), 0);
  replace_symlink(fs, file("latest"), "../../etc");
  EXPECT_EQ(generation_of(load_latest()), 1);
  EXPECT_EQ(
      load_latest().warnings.at(0),
      file("latest") + " names \"../../etc\", which is missing; using " + file("step_00000200"));
}

TEST_F(CheckpointTest, FallsBackToThePreviousOneAndSaysSo) {
  save(100, 0);
  save(200, 1);
  flip_bit(file("step_00000200/config.toml"), 3, 0);
  const LoadedCheckpoint loaded = load_latest();
  EXPECT_EQ(generation_of(loaded), 0);
  ASSERT_EQ(loaded.warnings.size(), 1u);
  EXPECT_EQ(loaded.warnings[0],
            "passed over a damaged checkpoint: " + file("step_00000200/config.toml") +
                ": checksum b11671e4, expected 2ab33d8b; using " + file("step_00000100"));
}

TEST_F(CheckpointTest, NamesTheDamagedTensor) {
  save(100, 0);
  const std::string path = file("step_00000100/model.safetensors");
  const size_t size = read_text_file(fs, path, kAnySize).size();
  flip_bit(path, size - 1, 7);
  const std::string message = error_of([&] { load_latest(); });
  EXPECT_TRUE(message.starts_with("4: " + dir.path())) << message;
  EXPECT_TRUE(message.ends_with("; tensor \"fc1.weight\" is damaged")) << message;
}

TEST(CheckpointDamage, EveryFlippedBitOfEveryFileIsNoticed) {
  CrashFs memory;  // in memory: thousands of files are rewritten
  CheckpointWriter(memory, "c").save(SampleCheckpoint(100, 0).contents(), false);
  const auto load = [&] {
    return error_of([&] { load_latest_checkpoint(memory, "c"); }).substr(0, 3);
  };
  EXPECT_EQ(load(), "no ");  // "no error"
  int64_t flips = 0;
  for (const std::string& name : list_directory(memory, "c/step_00000100")) {
    const std::string path = "c/step_00000100/" + name;
    const std::string original = read_text_file(memory, path, kAnySize);
    for (size_t bit = 0; bit < 8 * original.size(); ++bit, ++flips) {
      std::string damaged = original;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
      write_file(memory, path, damaged);
      EXPECT_EQ(load(), "4: ") << name << " bit " << bit;
    }
    write_file(memory, path, original.substr(0, original.size() - 1));
    EXPECT_EQ(load(), "4: ") << name << " cut short";
    write_file(memory, path, original + " ");
    EXPECT_EQ(load(), "4: ") << name << " too long";
    write_file(memory, path, original);
  }
  EXPECT_GT(flips, 8'000);
  EXPECT_EQ(load(), "no ");
}

TEST_F(CheckpointTest, MissingFilesAreNamed) {
  save(100, 0);
  remove_tree(fs, file("step_00000100/optimizer.safetensors"));
  EXPECT_EQ(error_of([&] { load_checkpoint(fs, file("step_00000100")); }),
            "4: cannot open " + file("step_00000100/optimizer.safetensors") +
                ": No such file or directory; check the path");
}

TEST_F(CheckpointTest, NoCheckpointIsAnErrorWithARemedy) {
  const std::string expected = "4: " + (dir / "checkpoints") +
                               ": no checkpoint found; the run ended before its first "
                               "one, train it again with --overwrite";
  EXPECT_EQ(error_of([&] { load_latest(); }), expected);
  make_directories(fs, file("step_00000100.tmp"));
  make_directories(fs, file("step_7"));
  EXPECT_EQ(error_of([&] { load_latest(); }), expected);
}

// Made anew, checkpoints/ would be all that is left of the run, and nobody would notice.
TEST_F(CheckpointTest, ASaveFailsWhereTheDirectoryIsGone) {
  CheckpointWriter writer(fs, dir / "checkpoints");
  remove_tree(fs, dir / "checkpoints");
  EXPECT_EQ(error_of([&] { writer.save(SampleCheckpoint(100, 0).contents(), false); }),
            "1: " + (dir / "checkpoints") +
                ": is gone, so step 100 cannot be saved; somebody removed or renamed it");
  EXPECT_FALSE(exists(fs, dir / "checkpoints"));
}

TEST_F(CheckpointTest, ListsFinishedCheckpointsOldestFirst) {
  EXPECT_EQ(list_checkpoints(fs, dir / "checkpoints"), Names{});
  save(200, 0);
  save(123'456'789, 1);  // more digits than the name is padded to
  make_directories(fs, file("step_00000300.tmp"));
  make_directories(fs, file("step_00000100.old"));
  make_directories(fs, file("step_0000000200"));  // not how step 200 is spelled
  make_directories(fs, file("step_-0000001"));
  write_file(fs, file("step_00000400"), "a file");
  EXPECT_EQ(list_checkpoints(fs, dir / "checkpoints"), (Names{"step_00000200", "step_123456789"}));
}

// A state.json whose checksum is right, but whose contents are not.
std::string refusal_of_state(const std::string& body) {
  const auto bytes = std::as_bytes(std::span(body));
  const std::string text = "{\n\"crc32\": \"" + crc32_text(crc32(bytes)) + "\",\n" + body;
  return error_of([&] { parse_state_file(text, "state.json"); });
}

TEST(StateFile, ContentsAreCheckedBehindTheChecksum) {
  const std::string good = state_file_text({RunState{}, {{"f", {1, 2, {{"w", 3}}}}}}).substr(24);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string body = good;
    return refusal_of_state(body.replace(body.find(from), from.size(), to));
  };
  EXPECT_EQ(refusal_of_state(good), "no error");
  EXPECT_EQ(with("\"version\": 1", "\"version\": 2"),
            "4: state.json: checkpoint format 2, expected 1; use the program version that wrote "
            "it");
  EXPECT_EQ(with("00000003", "0000000Z"), "4: state.json: expected a checksum, found \"0000000Z\"");
  EXPECT_EQ(with("\"best_metric\": null", "\"best_metric\": \"high\""),
            "4: state.json: expected a number, found \"high\"");
  for (const auto& message :
       {with("\"step\": 0", "\"steps\": 0"), with("\"step\": 0", "\"step\": {}"),
        with("\"plan\": {}", "\"plan\": {\"a\": 1}"), with("\"files\": {", "\"files\": {{"),
        refusal_of_state(""), refusal_of_state("}")}) {
    EXPECT_TRUE(message.starts_with("4: state.json: [json.exception.")) << message;
  }
  EXPECT_EQ(error_of([] { parse_state_file("{}", "state.json"); }),
            "4: state.json: does not begin with a checksum");
  EXPECT_EQ(error_of([] { parse_state_file("{\n\"crc32\": \"00000000\",\n}", "state.json"); }),
            "4: state.json: checksum fcb6e20c, expected \"00000000\"");
}

}  // namespace
}  // namespace elbo
