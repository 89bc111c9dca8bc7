// Semi-supervised training: M2 of Kingma et al. 2014, arXiv:1406.5298, section 3.1.
//
// Every label is tried with every image: row b * C + c of what the networks see is image b as label
// c. An image's known label weighs 1 and the others nothing; of a hidden one each weighs what the
// classifier gives it. These weights are constants of the encoder's and decoder's gradients and
// known before the first layer, so that likelihood and KL carry them as any objective's weights;
// the classifier's own gradient starts at label_bound().
#include "engine/ops/basis_op.h"
#include "engine/ops/label_op.h"
#include "engine/ops/latent_op.h"
#include "engine/ops/loss_op.h"
#include "models/objective.h"

namespace elbo {

ObjectiveTerms label_objective(Tape& tape, const Autoencoder& model, const ImageBatch& images,
                               const ObjectiveInput& input) {
  const int64_t batch = images.target.shape[0], classes = model.config().classes;
  const Tensor logits = model.classify(tape, images.input);
  const HiddenLabels hidden =
      hidden_labels(tape, logits, images.condition, input.weights.recon, input.weights.kl);
  const LabelRows rows = label_rows(tape, hidden);
  const RowWeight recon_weight = batch_mean_weight(rows.recon, batch);
  const RowWeight kl_weight = batch_mean_weight(rows.kl, batch);
  const Tensor stats = model.encode(tape, repeat_rows(tape, images.input, classes), rows.label);
  const LatentSample latent = reparam_kl(tape, stats, input.noise, kl_weight);
  const Tensor target = repeat_rows(tape, images.target, classes);
  const Tensor nll = model.decode_nll(tape, latent.z, 0, target, recon_weight, rows.label);
  // A batch has this share of labelled images on average: what is summed is the mean over them.
  const double label_weight = input.config->classification / input.labelled_share;
  const RowWeight mean = batch_mean_weight(input.weights.one, batch);
  const LabelBoundTerms bound = label_bound(tape, hidden, nll, latent.kl, label_weight, mean);
  ObjectiveTerms terms;
  terms.nll = bound.nll;
  terms.kl = bound.kl;
  terms.has_kl = true;
  terms.total = weighted_loss(tape, bound.loss, mean);
  return terms;
}

}  // namespace elbo
