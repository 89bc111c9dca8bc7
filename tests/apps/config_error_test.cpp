// The exact line that a mistake in a configuration is answered with.
#include <gtest/gtest.h>

#include "apps/config_merge.h"

namespace elbo {
namespace {

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "no error";
}

struct Case {
  std::string text, message;
};

TEST(ConfigError, NamesPlaceFoundAndExpected) {
  const std::vector<Case> cases = {
      {"[train]\nbatch_sze = 3",
       "f.toml:2:1: unknown key train.batch_sze; did you mean "
       "train.batch_size?"},
      {"latent_dim = 3", "f.toml:1:1: unknown key latent_dim; did you mean model.latent_dim?"},
      {"weather = 3", "f.toml:1:1: unknown key weather"},
      {"[trian]\nepochs = 3", "f.toml:1:2: unknown key trian; did you mean train?"},
      {"train = 3", "f.toml:1:9: train: found 3, expected a section [train]"},
      {"[train]\n  epochs = \"ten\"",
       "f.toml:2:12: train.epochs: found \"ten\", expected an integer from 0 to 1000000"},
      {"train.epochs = 2.5",
       "f.toml:1:16: train.epochs: found 2.5, expected an integer from 0 to 1000000"},
      {"train.batch_size = 0",
       "f.toml:1:20: train.batch_size: found 0, expected an integer from 1 to 1048576"},
      {"output.log_interval = 0",
       "f.toml:1:23: output.log_interval: found 0, expected an integer from 1 up"},
      {"train.beta = nan", "f.toml:1:14: train.beta: found nan, expected a number"},
      {"train.beta = -1", "f.toml:1:14: train.beta: found -1, expected a number from 0 to 1e+06"},
      {"train.optimizer.beta1 = 1.0",
       "f.toml:1:25: train.optimizer.beta1: found 1.0, expected a number from 0 to below 1"},
      {"profile = 5",
       "f.toml:1:11: profile: found 5, expected steps A:B with A below B, like 100:120"},
      {"train.drop_last = \"yes\"",
       "f.toml:1:19: train.drop_last: found \"yes\", expected true or false"},
      {"data.path = 5", "f.toml:1:13: data.path: found 5, expected text"},
      {"data.kind = \"sprite\"",
       "f.toml:1:13: data.kind: found \"sprite\", expected one of images, sprites; did you mean "
       "sprites?"},
      {"model.hidden = 400",
       "f.toml:1:16: model.hidden: found 400, expected a list of integers from 1 to 65536, like "
       "[400, 200]"},
      {"model.hidden = [400, 1979-05-27]",
       "f.toml:1:16: model.hidden: found [400, a date or time], expected a list of integers from 1 "
       "to 65536, like [400, 200]"},
      {"train.learning_rate = true",
       "f.toml:1:23: train.learning_rate: found true, expected a number, or a table like {kind = "
       "\"warmup\", base = 1.0, steps = 500}"},
      {"train.learning_rate = {base = 1}",
       "f.toml:1:23: train.learning_rate: found {base = 1}, expected a schedule with a kind, one "
       "of "
       "constant, warmup, cyclical, cosine, stages"},
      {"train.kl_schedule = {kind = \"warmpu\"}",
       "f.toml:1:21: train.kl_schedule: found {kind = \"warmpu\"}, expected a schedule with a "
       "kind, "
       "one of constant, warmup, cyclical, cosine, stages; did you mean warmup?"},
      {"train.kl_schedule = {kind = \"warmup\"}",
       "f.toml:1:21: train.kl_schedule: found {kind = \"warmup\"}, expected steps to be an integer "
       "from 1 up in a schedule of kind \"warmup\""},
      {"train.kl_schedule = {kind = \"warmup\", stpes = 4}",
       "f.toml:1:21: train.kl_schedule: found {kind = \"warmup\", stpes = 4}, expected no stpes in "
       "a schedule of kind \"warmup\", which has base, start, steps; did you mean steps?"},
      {"train.kl_schedule = {kind = \"cyclical\", steps = 4, ratio = 0}",
       "f.toml:1:21: train.kl_schedule: found {kind = \"cyclical\", ratio = 0, steps = 4}, "
       "expected "
       "ratio to be a number from 0.001 to 1"},
      {"train.kl_schedule = {kind = \"stages\", until = [5, 5], value = [1, 2, 3]}",
       "f.toml:1:21: train.kl_schedule: found {kind = \"stages\", until = [5, 5], value = [1, 2, "
       "3]}, "
       "expected lists until = [n rising steps] and value = [n + 1 numbers], at most 16 values"},
      {"parent = 3", "f.toml:1:10: parent: found 3, expected the path of a TOML file"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(message_of([&] { parse_written_config(c.text, "f.toml"); }), c.message) << c.text;
  }
}

TEST(ConfigError, PointsIntoBrokenToml) {
  for (const char* text : {"train.epochs = ", "[train\n", "train.epochs = 1\ntrain.epochs = 2\n",
                           "a = 1 b = 2", "\xff\xfe", "x = \"\n"}) {
    const std::string message = message_of([&] { parse_written_config(text, "f.toml"); });
    EXPECT_TRUE(message.starts_with("f.toml:")) << message;
    EXPECT_NE(message.find("not valid TOML"), std::string::npos) << message;
  }
}

TEST(ConfigError, ReportsTheFirstMistakeOfTheFile) {
  EXPECT_EQ(message_of([] { parse_written_config("zzz = 1\naaa = 1\n", "f.toml"); }),
            "f.toml:1:1: unknown key zzz");
}

TEST(ConfigError, CutsLongValues) {
  const std::string message = message_of(
      [] { parse_written_config("train.epochs = \"" + std::string(500, 'x') + "\"", "f.toml"); });
  EXPECT_LT(message.size(), 200u);
}

std::string command_line_error(const std::string& argument) {
  return message_of([&] {
    ConfigSources sources;
    sources.settings = {parse_set_argument(argument)};
    merge_config(real_fs(), sources);
  });
}

TEST(ConfigError, NamesTheCommandLineSetting) {
  EXPECT_EQ(command_line_error("epochs"),
            "--set: found \"epochs\", expected key=value, like --set model.hidden=400,200");
  EXPECT_EQ(command_line_error("train.epoch=4"),
            "--set train.epoch: unknown key; did you mean train.epochs?");
  EXPECT_EQ(command_line_error("train.epochs=four"),
            "--set train.epochs: found \"four\", expected an integer from 0 to 1000000");
  EXPECT_EQ(command_line_error("train.seed=99999999999999999999"),
            "--set train.seed: found 1e+20, expected an integer from 0 up");
  EXPECT_EQ(command_line_error("preset=sprites"), "--set preset: use --preset instead");
}

TEST(ConfigError, NamesTheVariable) {
  ConfigSources sources;
  sources.environment = {"ELBO_EPOCHS=-1"};
  EXPECT_EQ(message_of([&] { merge_config(real_fs(), sources); }),
            "ELBO_EPOCHS: found -1, expected an integer from 0 to 1000000");
}

TEST(ConfigError, NamesTheNearestPreset) {
  ConfigSources sources;
  sources.preset = "mlp-minst";
  EXPECT_EQ(message_of([&] { merge_config(real_fs(), sources); }),
            "--preset: unknown preset \"mlp-minst\"; did you mean mlp-mnist? elbo train "
            "--list-presets shows all");
}

}  // namespace
}  // namespace elbo
