// Every key, written and read again, is the same; so is every float.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <map>
#include <random>

#include "apps/config_keys.h"
#include "apps/config_merge.h"

namespace elbo {
namespace {

// A value other than the default for every key, as on a command line.
const std::map<std::string, std::string>& other_values() {
  static const std::map<std::string, std::string> values = {
      {"device", "cuda:1"},
      {"precision", "tf32"},
      {"product_kernels", "own"},
      {"plan_mode", "heuristic"},
      {"threads", "3"},
      {"graph_steps", "4"},
      {"overlap_launches", "true"},
      {"check_finite", "true"},
      {"profile", "3:9"},
      {"data.kind", "sprites"},
      {"data.path", "a \"quoted\" \\ directory\twith a tab"},
      {"data.image_size", "48x64"},
      {"data.channels", "3"},
      {"data.cache", "off"},
      {"data.test_fraction", "0.25"},
      {"data.attributes", "size, the angle,x"},
      {"data.binarise", "dynamic"},
      {"data.leave_out", "7"},
      {"data.labelled", "0.05"},
      {"data.flip", "true"},
      {"data.dequantise", "true"},
      {"data.corrupt", "gaussian:0.3,blur:2"},
      {"data.resolution", "48"},
      {"data.train_samples", "9000000000"},
      {"data.test_samples", "17"},
      {"data.device_mb", "4096"},
      {"model.kind", "mlp-ae"},
      {"model.hidden", "512,256,64"},
      {"model.encoder", "conv 8 k4 s2 relu, linear 20 tanh"},
      {"model.decoder", "linear flat relu, convt image k4 s2"},
      {"model.latent_dim", "7"},
      {"model.latent_channels", "4"},
      {"model.activation", "silu"},
      {"model.code_activation", "sigmoid"},
      {"model.init", "he"},
      {"model.condition", "label"},
      {"model.classes", "11"},
      {"model.attributes", "3"},
      {"model.classifier", "true"},
      {"model.likelihood", "gaussian-diagonal"},
      {"model.log_variance", "-1.3"},
      {"model.log_scale", "-0.6"},
      {"model.codebook", "96"},
      {"model.code_size", "5"},
      {"model.codebook_decay", "0.97"},
      {"model.codebook_restart", "0.02"},
      {"model.prior", "vamp"},
      {"model.pseudo_inputs", "40"},
      {"train.batch_size", "100"},
      {"train.epochs", "33"},
      {"train.max_steps", "12345678901"},
      {"train.drop_last", "true"},
      {"train.learning_rate", "{kind=\"cosine\", base=0.003, start=1e-5, steps=4690}"},
      {"train.beta", "4.1"},
      {"train.beta_norm", "0.02"},
      {"train.kl_schedule", "{kind=\"stages\", until=[10, 20], value=[0, 0.1, 1]}"},
      {"train.clip_grad", "0.7"},
      {"train.seed", "9223372036854775807"},
      {"train.overfit_batch", "true"},
      {"train.optimizer.kind", "adamw"},
      {"train.optimizer.beta1", "0.85"},
      {"train.optimizer.beta2", "0.9991"},
      {"train.optimizer.epsilon", "1e-10"},
      {"train.optimizer.weight_decay", "0.01"},
      {"train.optimizer.momentum", "0.3"},
      {"train.optimizer.nesterov", "true"},
      {"train.objective.bound", "tcvae"},
      {"train.objective.samples", "5"},
      {"train.objective.recon_weight", "0.5"},
      {"train.objective.free_bits", "0.25"},
      {"train.objective.capacity_weight", "1000"},
      {"train.objective.capacity", "{kind=\"warmup\", base=25, start=0, steps=1000}"},
      {"train.objective.mutual_information", "0.9"},
      {"train.objective.dimension_kl", "1.1"},
      {"train.objective.dip_off_diagonal", "10"},
      {"train.objective.dip_diagonal", "5"},
      {"train.objective.dip_covariance", "samples"},
      {"train.objective.mmd", "500"},
      {"train.objective.factor", "35"},
      {"train.objective.discriminator", "50,20"},
      {"train.objective.l1", "0.01"},
      {"train.objective.sparsity", "3"},
      {"train.objective.sparsity_target", "0.1"},
      {"train.objective.contractive", "0.1"},
      {"train.objective.classification", "0.5"},
      {"train.objective.commitment", "0.4"},
      {"output.dir", "runs/x y"},
      {"output.name", "2024"},
      {"output.log_interval", "7"},
      {"output.save_interval", "50"},
      {"output.sample_interval", "0"},
      {"output.eval_interval", "3"},
      {"output.keep", "5"},
  };
  return values;
}

RunConfig with_setting(const std::string& key, const std::string& text) {
  ConfigSources sources;
  sources.settings = {parse_set_argument(key + "=" + text)};
  return merge_config(real_fs(), sources).config;
}

TEST(ConfigRoundTrip, CoversEveryKey) {
  for (const ConfigKey& key : config_keys())
    EXPECT_TRUE(other_values().contains(key.name)) << "no test value for " << key.name;
  EXPECT_EQ(other_values().size(), config_keys().size());
}

TEST(ConfigRoundTrip, EveryKeySurvivesWritingAndReading) {
  const std::string unchanged = config_toml(RunConfig{});
  for (const auto& [key, text] : other_values()) {
    const std::string written = config_toml(with_setting(key, text));
    EXPECT_NE(written, unchanged) << key;
    EXPECT_EQ(config_toml(parse_written_config(written, "test.toml")), written) << key;
  }
}

TEST(ConfigRoundTrip, PresetsSurviveAsFiles) {
  for (const Preset& preset : presets()) {
    const std::string written = config_toml(preset.config);
    EXPECT_EQ(config_toml(parse_written_config(written, "test.toml")), written) << preset.name;
  }
}

TEST(ConfigRoundTrip, LeavesOutThePlaceOfTheRunWhereItMustNotMatter) {
  RunConfig config;
  config.output.dir = "somewhere";
  config.output.name = "someone";
  const std::string text = config_toml(config, ConfigScope::repeatable);
  EXPECT_EQ(text, config_toml(RunConfig{}, ConfigScope::repeatable));
  EXPECT_EQ(text.find("somewhere"), std::string::npos);
}

TEST(ConfigRoundTrip, FloatsKeepTheirBits) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    const auto value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isfinite(value)) continue;
    const double read = parse_number(read_toml_value(toml_text(value)));
    ASSERT_EQ(std::bit_cast<uint32_t>(static_cast<float>(read)), std::bit_cast<uint32_t>(value))
        << toml_text(value);
  }
}

TEST(ConfigRoundTrip, DoublesKeepTheirBits) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 20000; ++i) {
    const auto value = std::bit_cast<double>(static_cast<uint64_t>(random()));
    if (!std::isfinite(value)) continue;
    const double read = parse_number(read_toml_value(toml_text(value)));
    ASSERT_EQ(std::bit_cast<uint64_t>(read), std::bit_cast<uint64_t>(value)) << toml_text(value);
  }
}

TEST(ConfigRoundTrip, FloatsAreWrittenAsPeopleWouldWriteThem) {
  EXPECT_EQ(toml_text(1e-3f), "0.001");
  EXPECT_EQ(toml_text(1.0f), "1.0");
  EXPECT_EQ(toml_text(0.999), "0.999");
}

TEST(ConfigRoundTrip, SchedulesOfEveryKindSurvive) {
  for (const char* text :
       {"0.25", "{kind = \"warmup\", base = 0.5, start = 0.25, steps = 100}",
        "{kind = \"cyclical\", base = 1.0, start = 0.0, steps = 10, ratio = 0.3}",
        "{kind = \"cosine\", base = 1.0, start = 0.001, steps = 9}",
        "{kind = \"stages\", until = [], value = [0.5]}",
        "{kind = \"stages\", until = [5, 6], value = [0.0, 1.0, 2.0]}"}) {
    const Schedule schedule = parse_schedule(read_toml_value(text), 1.0f);
    EXPECT_EQ(toml_text(schedule), text);
  }
}

TEST(ConfigRoundTrip, StagesHoldTheirLastValueForEver) {
  const Schedule schedule =
      parse_schedule(read_toml_value("{kind=\"stages\", until=[5], value=[0, 1]}"), 1.0f);
  EXPECT_EQ(schedule_value(schedule, 0), 0.0f);
  EXPECT_EQ(schedule_value(schedule, 4), 0.0f);
  EXPECT_EQ(schedule_value(schedule, 5), 1.0f);
  EXPECT_EQ(schedule_value(schedule, uint64_t{1} << 62), 1.0f);
}

// Or a run begun by rules would go on with other kernels.
TEST(ConfigRoundTrip, ARunFromBeforePlansWereTimedKeepsToRules) {
  EXPECT_EQ(parse_written_config("", "config.toml").plan_mode, PlanMode::heuristic);
  EXPECT_EQ(RunConfig().plan_mode, PlanMode::timed);
}

}  // namespace
}  // namespace elbo
