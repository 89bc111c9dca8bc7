#include "apps/unused_settings.h"

#include "apps/config_keys.h"

namespace elbo {
namespace {

struct Need {
  std::vector<const char*> keys;
  bool met;
  const char* without;  // why the keys have no effect if it is not
};

std::vector<Need> needs_of(const RunConfig& config) {
  const ModelConfig& model = config.model;
  const ObjectiveConfig& objective = config.train.objective;
  const Likelihood likelihood = model.likelihood;
  const bool many_draws = objective.bound == Bound::iwae || objective.bound == Bound::dreg;
  const bool dip = objective.dip_off_diagonal > 0 || objective.dip_diagonal > 0;
  const bool gaussian = likelihood == Likelihood::gaussian ||
                        likelihood == Likelihood::gaussian_learned ||
                        likelihood == Likelihood::gaussian_optimal;
  return {
      {{"train.beta", "train.beta_norm", "train.kl_schedule", "model.prior"},
       model.variational(),
       "a plain autoencoder has no KL"},
      {{"train.beta"}, config.train.beta_norm == 0, "train.beta_norm takes its place"},
      {{"train.beta", "train.beta_norm", "train.kl_schedule"},
       objective.capacity_weight == 0,
       "train.objective.capacity_weight puts a target in the KL's place"},
      {{"train.objective.samples"}, many_draws, "only the bounds iwae and dreg draw more than one"},
      {{"train.objective.capacity"},
       objective.capacity_weight > 0,
       "it needs train.objective.capacity_weight"},
      {{"train.objective.mutual_information", "train.objective.dimension_kl"},
       objective.bound == Bound::tcvae,
       "only the bound tcvae takes the KL apart"},
      {{"train.objective.dip_covariance"},
       dip,
       "it needs train.objective.dip_off_diagonal or dip_diagonal"},
      {{"train.objective.discriminator"}, objective.factor > 0, "it needs train.objective.factor"},
      {{"train.objective.sparsity_target"},
       objective.sparsity > 0,
       "it needs train.objective.sparsity"},
      {{"train.objective.commitment", "model.code_size", "model.codebook_decay",
        "model.codebook_restart"},
       model.quantised(),
       "it needs model.codebook"},
      {{"train.objective.classification"}, model.classifier, "it needs model.classifier"},
      {{"model.classes"},
       model.condition == Condition::label,
       "the model is told no label; add --condition label"},
      {{"model.attributes", "data.attributes"},
       model.condition == Condition::attributes,
       "the model is told none; add --condition attributes"},
      {{"model.pseudo_inputs"}, model.prior == Prior::vamp, "it needs --prior vamp"},
      {{"model.log_variance"}, gaussian, "the likelihood is no Gaussian of one variance"},
      {{"model.log_scale"},
       likelihood == Likelihood::laplace,
       "the likelihood is not the Laplace distribution"},
      {{"model.code_activation"}, !model.variational(), "the code of a VAE has no activation"},
      {{"model.hidden", "model.activation"},
       !model.convolutional(),
       "a convolutional network's layers are model.encoder and model.decoder"},
      {{"model.encoder", "model.decoder", "model.latent_channels"},
       model.convolutional(),
       "an MLP's layers are model.hidden"},
      {{"data.resolution"}, config.data.kind == DataKind::sprites, "only sprites are drawn"},
  };
}

}  // namespace

std::vector<std::string> unused_settings(const MergedConfig& merged) {
  const RunConfig defaults;
  std::vector<std::string> lines;
  for (const Need& need : needs_of(merged.config)) {
    if (need.met) continue;
    for (const char* name : need.keys) {
      const ConfigKey& key = *find_config_key(name);
      if (!merged.given.contains(name) || key.toml(merged.config) == key.toml(defaults)) continue;
      lines.push_back(std::string(name) + " has no effect: " + need.without);
    }
  }
  return lines;
}

}  // namespace elbo
