// Is a VAE still using its latent? What posteriors say of each dimension, and what to change if they say
// nothing.
//
// A posterior that is the prior for every image carries no information: the decoder draws the same
// picture whatever it is given, and the loss looks fine. This happens within some hundred steps, or not
// at all; so that is when it pays to look.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/config.h"

namespace elbo {

struct LatentActivity {
  std::vector<double> kl_nats;  // per dimension, mean over images
  double total_nats = 0;
  int64_t active = 0;  // dimensions whose mean varies by more than 0.01 over images

  // No dimension is active, and what is left of the KL could not tell ten images from eleven.
  bool collapsed() const { return active == 0 && total_nats < 0.1; }
};

// mean, logvar [n, latent] as Inference::encode gives them. Source of the threshold: Burda et al. 2015,
// arXiv:1509.00519, section 5.2.
LatentActivity latent_activity(const std::vector<float>& mean, const std::vector<float>& logvar,
                               int64_t latent);

// One line: what most likely makes this run's latent collapse, and the flag that cures it. `kl_weight` is
// the present one, which a schedule may still be raising.
std::string collapse_advice(const RunConfig& config, int64_t pixels, float kl_weight);

}  // namespace elbo
