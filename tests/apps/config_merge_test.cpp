#include "apps/config_merge.h"

#include "apps/config_keys.h"
#include "tests/apps/program_fixture.h"

namespace elbo {
namespace {

class ConfigMerge : public testing_apps::ProgramTest {
 protected:
  RunConfig merged() const { return merge_config(real_fs(), sources_).config; }
  std::string error() const {
    try {
      merge_config(real_fs(), sources_);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      return error.what();
    }
    return "no error";
  }
  void set(const std::string& argument) {
    sources_.settings.push_back(parse_set_argument(argument));
  }

  ConfigSources sources_;
};

TEST_F(ConfigMerge, LaterSourcesWin) {
  // One key, set by one source after the other; each time a different value.
  EXPECT_EQ(merged().model.latent_dim, 20);
  sources_.preset = "sprites";
  EXPECT_EQ(merged().model.latent_dim, 10);
  sources_.files = {write("a.toml", "[model]\nlatent_dim = 11\n")};
  EXPECT_EQ(merged().model.latent_dim, 11);
  sources_.files.push_back(write("b.toml", "model.latent_dim = 12\n"));
  EXPECT_EQ(merged().model.latent_dim, 12);
  sources_.environment = {"PATH=x", "ELBO_LATENT_DIM=13"};
  EXPECT_EQ(merged().model.latent_dim, 13);
  set("model.latent_dim=14");
  EXPECT_EQ(merged().model.latent_dim, 14);
}

TEST_F(ConfigMerge, EverySourceMayNameThePresetAndTheLastWins) {
  sources_.files = {write("a.toml", "preset = \"sprites\"\n")};
  EXPECT_EQ(merged().preset, "sprites");
  EXPECT_EQ(merged().data.kind, DataKind::sprites);
  sources_.environment = {"ELBO_PRESET=mlp-mnist"};
  EXPECT_EQ(merged().preset, "mlp-mnist");
  EXPECT_EQ(merged().data.kind, DataKind::images);
  sources_.preset = "sprites";
  EXPECT_EQ(merged().preset, "sprites");
}

TEST_F(ConfigMerge, ParentsComeFirstAndAreRelativeToTheirChildren) {
  write("base/grand.toml", "train.epochs = 1\ntrain.beta = 2\nmodel.latent_dim = 3\n");
  write("base/parent.toml", "parent = \"grand.toml\"\ntrain.beta = 5\nmodel.latent_dim = 6\n");
  sources_.files = {
      write("child.toml", "parent = \"base/parent.toml\"\n[model]\nlatent_dim = 9\n")};
  const RunConfig config = merged();
  EXPECT_EQ(config.train.epochs, 1);
  EXPECT_EQ(config.train.beta, 5.0f);
  EXPECT_EQ(config.model.latent_dim, 9);
}

TEST_F(ConfigMerge, RefusesCycles) {
  write("b.toml", "parent = \"a.toml\"\n");
  sources_.files = {write("a.toml", "# first\nparent = \"b.toml\"\n")};
  EXPECT_EQ(error(), path("b.toml") + ":1:10: parent: \"a.toml\" leads back to itself");
}

TEST_F(ConfigMerge, NamesAMissingFile) {
  sources_.files = {path("none.toml")};
  EXPECT_NE(error().find(path("none.toml")), std::string::npos);
}

TEST_F(ConfigMerge, RemembersWhatWasGiven) {
  sources_.preset = "sprites";
  sources_.environment = {"ELBO_THREADS=2"};
  set("train.epochs=3");
  const std::set<std::string> expected = {"threads", "train.epochs"};
  EXPECT_EQ(merge_config(real_fs(), sources_).given, expected);
}

TEST_F(ConfigMerge, WarnsOfVariablesThatLookLikeTypingErrorsOnly) {
  sources_.environment = {"ELBO_BTACH_SIZE=5", "ELBO_CUDA=OFF", "ELBO_SYNC=1"};
  const MergedConfig merged = merge_config(real_fs(), sources_);
  ASSERT_EQ(merged.warnings.size(), 1u);
  EXPECT_EQ(merged.warnings[0],
            "environment variable ELBO_BTACH_SIZE is not a setting; did you mean ELBO_BATCH_SIZE?");
}

TEST_F(ConfigMerge, EnvironmentNamesAreDistinct) {
  std::set<std::string> names = {"ELBO_PRESET"};
  for (const ConfigKey& key : config_keys())
    EXPECT_TRUE(names.insert(key.environment()).second) << key.environment();
}

TEST_F(ConfigMerge, CommandLineTextNeedsNoQuoting) {
  set("model.hidden=400,200");
  set("train.learning_rate=1e-4");
  set("data.path=some dir");
  set("output.name=2024");
  set("train.drop_last=1");
  set("train.beta=+2");
  const RunConfig config = merged();
  EXPECT_EQ(config.model.hidden, (std::vector<int64_t>{400, 200}));
  EXPECT_EQ(config.train.learning_rate.base, 1e-4f);
  EXPECT_EQ(config.data.path, "some dir");
  EXPECT_EQ(config.output.name, "2024");
  EXPECT_TRUE(config.train.drop_last);
  EXPECT_EQ(config.train.beta, 2.0f);
}

// What was copied out of a configuration, or out of the documentation.
TEST_F(ConfigMerge, CommandLineTextMayLookLikeTomlToo) {
  set("model.encoder = [\"conv 8 k3 relu\", \"linear 4\"]");
  set("model.decoder=[linear 8, linear flat]");
  set("data.attributes=[\"size\", \"x\"]");
  set("data.leave_out = 7");
  set("model.hidden = []");
  set("data.path = [x]");
  using Texts = std::vector<std::string>;
  const RunConfig config = merged();
  EXPECT_EQ(config.model.encoder, (Texts{"conv 8 k3 relu", "linear 4"}));
  EXPECT_EQ(config.model.decoder, (Texts{"linear 8", "linear flat"}));
  EXPECT_EQ(config.data.attributes, (Texts{"size", "x"}));
  EXPECT_EQ(config.data.leave_out, 7);
  EXPECT_TRUE(config.model.hidden.empty());
  EXPECT_EQ(config.data.path, "[x]");
}

TEST_F(ConfigMerge, ASchedulesBaseDefaultsToTheSettingsOwn) {
  set("train.kl_schedule={kind=\"warmup\", steps=10}");
  set("train.learning_rate={kind=\"warmup\", steps=10}");
  EXPECT_EQ(merged().train.kl_schedule.base, 1.0f);
  EXPECT_EQ(merged().train.learning_rate.base, 1e-3f);
}

TEST_F(ConfigMerge, RefusesTwoCommandLineValuesForOneKey) {
  sources_.settings = {{"train.epochs", "3", "--epochs"}};
  set("train.epochs=5");
  EXPECT_EQ(error(),
            "--set train.epochs: train.epochs is given twice (\"3\" and \"5\"); give it once");
}

TEST_F(ConfigMerge, AWrittenConfigurationNeedsNoPreset) {
  const RunConfig config = parse_written_config("preset = \"of old\"\ntrain.epochs = 4\n", "f");
  EXPECT_EQ(config.preset, "of old");
  EXPECT_EQ(config.train.epochs, 4);
}

}  // namespace
}  // namespace elbo
