// The codes of a model with a codebook, found again in double: part of the auditor's licensed
// second copy (models/audit_net.h).
#pragma once

#include <cstdint>
#include <vector>

#include "models/audit_layers.h"

namespace elbo {

struct AuditCodebook {
  int64_t size = 0, dim = 0;  // of the codebook, of a code; size 0: the model has none
  int64_t pixels = 0;         // the latent is a picture of codes, C x H x W; 0: codes in a row
  std::vector<double> codes;  // [dim, size]

  // Takes codebook.* from a file, of latents of `latent_dim` values.
  void read(AuditReader& reader, int64_t latent_dim);

  // Puts the nearest code in the place of every piece of the latents, and says which they are, row
  // by row.
  std::vector<int32_t> quantise(AuditRows& latents) const;
};

// exp of the entropy of how often each code is used, and how many are used at all.
struct AuditCodeUse {
  double perplexity = 0;
  int64_t used = 0;
};
AuditCodeUse audit_code_use(const std::vector<int32_t>& codes, int64_t size);

}  // namespace elbo
