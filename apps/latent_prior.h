// What `elbo sample` draws latents from.
//
//   prior      N(0, I), or what model.prior says; of a model with a codebook codes, each on its own, as often as training
//              used them
//   aggregate  the Gaussian with the moments of the aggregate posterior of training images
//   gmm        a mixture of Gaussians fitted to one draw of the posterior per training image
//
// With codes of a plain autoencoder, which has no posterior, for draws and means alike. So the latter two
// are distributions to sample a plain autoencoder from.
#pragma once

#include <string>
#include <vector>

#include "apps/command_line.h"
#include "apps/trained_run.h"

namespace elbo {

// --from, --images, --components, --covariance, --data.
std::vector<Flag> latent_prior_flags(const std::string& group);

// Throws ErrorCode::usage for values of these flags that are none.
void check_latent_prior(const Arguments& arguments);

// [count, D]
std::vector<float> draw_latents(TrainedRun& run, const Arguments& arguments, int64_t count,
                                uint64_t seed, float temperature, Log& log);

}  // namespace elbo
