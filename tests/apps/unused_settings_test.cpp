#include "apps/unused_settings.h"

#include <gtest/gtest.h>

#include "apps/config_keys.h"
#include "tests/apps/program_fixture.h"

namespace elbo {
namespace {

using testing_apps::Strings;
using testing_apps::operator+;

Strings unused(const Strings& settings, const std::string& preset = "") {
  ConfigSources sources;
  sources.preset = preset;
  for (const std::string& one : settings) sources.settings.push_back(parse_set_argument(one));
  return unused_settings(merge_config(real_fs(), sources));
}

struct Case {
  std::string setting;
  std::string reason;  // part of it
  Strings remedy;      // with which it has an effect
};

TEST(UnusedSettings, AreNamedUnlessTheirPartIsThere) {
  const std::string ae = "model.kind=mlp-ae", conv = "model.kind=conv-vae";
  const std::vector<Case> cases = {
      {"train.objective.samples=5", "iwae and dreg", {"train.objective.bound=iwae"}},
      {"train.objective.capacity=10", "capacity_weight", {"train.objective.capacity_weight=100"}},
      {"train.objective.mutual_information=2", "tcvae", {"train.objective.bound=tcvae"}},
      {"train.objective.dimension_kl=2", "tcvae", {"train.objective.bound=tcvae"}},
      {"train.objective.dip_covariance=samples", "dip_", {"train.objective.dip_diagonal=1"}},
      {"train.objective.discriminator=8", "factor", {"train.objective.factor=6"}},
      {"train.objective.sparsity_target=0.1", "sparsity", {"train.objective.sparsity=1"}},
      {"train.objective.classification=3", "classifier", {"model.classifier=true"}},
      {"model.classes=5", "--condition label", {"model.condition=label"}},
      {"model.attributes=5", "--condition attributes", {"model.condition=attributes"}},
      {"data.attributes=x,size", "--condition attributes", {"model.condition=attributes"}},
      {"model.pseudo_inputs=50", "--prior vamp", {"model.prior=vamp"}},
      {"model.log_variance=-1", "Gaussian", {"model.likelihood=gaussian-learned"}},
      {"model.log_scale=-1", "Laplace", {"model.likelihood=laplace"}},
      {"model.code_activation=tanh", "code of a VAE", {ae}},
      {"model.encoder=conv 4 k3", "MLP's layers", {conv}},
      {"model.latent_channels=2", "MLP's layers", {conv}},
      {"data.resolution=64", "sprites", {"data.kind=sprites"}},
  };
  for (const Case& test : cases) {
    const std::string key = test.setting.substr(0, test.setting.find('='));
    const Strings found = unused({test.setting});
    ASSERT_EQ(found.size(), 1u) << test.setting;
    EXPECT_TRUE(found[0].starts_with(key + " has no effect: ")) << found[0];
    EXPECT_NE(found[0].find(test.reason), std::string::npos) << found[0];
    EXPECT_EQ(unused(Strings{test.setting} + test.remedy), Strings{}) << test.setting;
  }
}

TEST(UnusedSettings, DependOnTheModel) {
  EXPECT_EQ(unused({"train.beta=4"}), Strings{});
  EXPECT_EQ(unused({"train.beta=4", "model.kind=mlp-ae"}).size(), 1u);
  EXPECT_EQ(unused({"train.beta=4", "train.beta_norm=0.01"}).size(), 1u);
  EXPECT_EQ(unused({"train.beta=4", "train.objective.capacity_weight=100"}).size(), 1u);
  EXPECT_EQ(unused({"model.hidden=7", "model.activation=tanh"}, "burgess64").size(), 2u);
  EXPECT_EQ(unused({"model.codebook_decay=0.9", "train.objective.commitment=1"}, "vq-mnist"),
            Strings{});
  EXPECT_EQ(unused({"model.codebook_decay=0.9", "train.objective.commitment=1"}).size(), 2u);
}

// A preset's own values, and a default that somebody spelled out, say nothing about intentions.
TEST(UnusedSettings, AreOnlyThoseThatSomebodyChanged) {
  for (const Preset& preset : presets()) EXPECT_EQ(unused({}, preset.name), Strings{});
  EXPECT_EQ(unused({"train.objective.samples=1"}), Strings{});
}

TEST(UnusedSettings, KnowTheirKeys) {
  // Whatever the configuration, every need's keys must exist, or looking one up would crash.
  MergedConfig everything;
  for (const std::string& key : config_key_names()) everything.given.insert(key);
  for (const ModelKind kind : {ModelKind::mlp_vae, ModelKind::mlp_ae, ModelKind::conv_vae}) {
    everything.config.model.kind = kind;
    EXPECT_EQ(unused_settings(everything), Strings{});  // as all else has its default
  }
}

}  // namespace
}  // namespace elbo
