// The independent auditor: what a trained model is really worth, computed in double by code that
// shares neither formulas, nor kernels, nor random numbers with training.
//
//   q(z|x) = N(mu, diag e^v),  p(z) = N(0, I) or learned,  one z ~ q per image, beta = 1
//   recon    = -log p(x|z)                           nats per image, summed over pixels
//   kl       = sum_d (mu_d^2 + e^v_d - 1 - v_d) / 2  nats per image, summed over latents; where the prior
//              is learned log q(z|x) - log p(z), and none per latent
//   -ELBO    = recon + kl                            averaged over images
//   nll      = -log (1/K) sum_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q: an upper bound on average, and
//              the tighter the larger K (Burda, Grosse & Salakhutdinov 2015, arXiv:1509.00519)
//              or, to see why q is used, z_k ~ p: right too, and hardly ever near the z that explain x
//   samples  = (sum_k w_k)^2 / sum_k w_k^2, w_k the terms of that sum: how many of the K count
//   active   = latents whose posterior mean varies over the images: variance > 0.01 (ibid., 5.2)
//   bits     = -ELBO / (D log 2) of discrete data, and 8 more for a density of dequantised bytes
//   entropy  = sum_d H(x_d) of grey targets: what the Bernoulli cross-entropy cannot go below
//   accuracy = share of images whose own label is the likeliest of q(y|x), of models that guess it
//   codes    = exp of the entropy of how often each code of a codebook is used (perplexity),
//              and how many are
//   iou      = |x and r| / |x or r|, r the reconstruction from the posterior mean, cut at 1/2
//
// Numerics  sums over images run in their order: results do not depend on the number of threads
// Errors    ErrorCode::data if the images do not fit the network; ErrorCode::numeric naming the first
//           image whose figures are not finite
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/audit_corrupt.h"
#include "models/audit_data.h"
#include "models/audit_likelihood.h"
#include "models/audit_net.h"
#include "models/config.h"

namespace elbo {

inline constexpr double kActiveVariance = 0.01;

enum class NllProposal : int { posterior, prior };

struct AuditOptions {
  int64_t nll_samples = 0;  // K of the importance-sampled bound; 0: leave it out
  NllProposal proposal = NllProposal::posterior;  // where its samples come from
  uint64_t seed = 1;
  AuditDamage damage;  // to what the encoder sees; the likelihood is that of the clean image
};

// Of one image. What a model has no such figure for is 0.
struct AuditImage {
  double recon_nats = 0, kl_nats = 0, nll_nats = 0;
  double effective_samples = 0;  // of nll_nats
};

// Averages over the images. What a model or a variant of the data has no such figure for is empty.
struct AuditReport {
  int64_t images = 0;
  int64_t image_size = 0;
  int64_t latent_dim = 0;
  DataVariant variant = DataVariant::grey;
  double recon_nats = 0;
  std::optional<double> kl_nats, neg_elbo_nats;  // empty for a plain autoencoder
  std::optional<double> neg_elbo_stderr;         // from the spread over images and draws
  std::optional<double> nll_nats;
  std::optional<double> effective_samples;  // of nll_nats; 1 to K
  std::optional<double> bits_per_dim;       // of -ELBO; where there are bits of discrete data
  std::optional<double> entropy_floor_nats;
  std::optional<double> iou;
  std::optional<double> accuracy;  // of the classifier
  std::optional<int64_t> active_units;
  std::optional<double> perplexity;  // of the codes of a codebook, as are the two below
  std::optional<int64_t> codes_used;
  int64_t codes = 0;
  std::vector<double> kl_per_latent;
  std::vector<AuditImage> per_image;
};

AuditReport audit(const AuditNet& net, const AuditLikelihood& likelihood, const AuditData& data,
                  const AuditOptions& options);

}  // namespace elbo
