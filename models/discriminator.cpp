#include "models/discriminator.h"

#include "engine/ops/basis_op.h"
#include "engine/ops/density_ratio_op.h"
#include "engine/ops/likelihood_op.h"
#include "engine/ops/loss_op.h"

namespace elbo {
namespace {

std::vector<LayerPlan> plans_of(int64_t latent_dim, const std::vector<int64_t>& hidden) {
  std::vector<LayerSpec> layers;
  const auto add_layer = [&](int64_t out, Activation activation) {
    LayerSpec layer;
    layer.out = out;
    layer.activation = activation;
    layer.text = concat("linear ", out);
    layers.push_back(layer);
  };
  for (const int64_t width : hidden) add_layer(width, Activation::leaky_relu);
  add_layer(1, Activation::identity);
  return plan_encoder(layers, {1, 1, latent_dim});
}

}  // namespace

Discriminator::Discriminator(ParamStore& params, int64_t latent_dim,
                             const std::vector<int64_t>& hidden, InitKind init)
    : network_(params, plans_of(latent_dim, hidden), "discriminator", init) {}

OptimizerHyper Discriminator::optimizer() {
  OptimizerHyper hyper;
  hyper.beta1 = 0.5;
  hyper.beta2 = 0.9;
  return hyper;
}

Discriminator::Terms Discriminator::terms(Tape& tape, const Tensor& z, float factor,
                                          const NoiseSource& noise, const Tensor& one) const {
  const int64_t batch = z.shape[0];
  NoiseSource order = noise;
  order.purpose = NoisePurpose::permute;
  const PermutedLatents latents = permute_dimensions(tape, z, order);
  const Tensor w = tape.new_buffer({2 * batch}, z.dtype);
  const Tensor logits =
      reshape(tape, network_.run(tape, scale_grad_rows(tape, latents.rows, w)), {2 * batch, 1});
  ratio_weights(tape, logits, factor, w);
  const RowWeight mean{one, 0.5 / static_cast<double>(batch)};
  const Tensor losses = bernoulli_nll(tape, logits, latents.target, mean);

  // The values alone: their gradients are under way.
  Terms terms;
  terms.loss = weighted_loss(tape, detach(losses), mean);
  const Tensor halves = reshape(tape, detach(logits), {2, batch});
  const Tensor sums = reshape(tape, sum_rows(tape, halves), {1, 2});
  terms.total_correlation = reshape(
      tape, scale(tape, slice_cols(tape, sums, 0, 1), -factor / static_cast<double>(batch)), {1});
  return terms;
}

}  // namespace elbo
