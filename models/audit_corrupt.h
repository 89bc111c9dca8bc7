// Corrupted inputs for the auditor: the chain that kernels/corruption.h defines, in double and by loops
// and random numbers of its own. Part of the auditor's licensed second copy: of the kernels' files only
// the description of a link is shared.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/corruption.h"
#include "models/audit_layers.h"

namespace elbo {

struct AuditDamage {
  std::vector<Corruption> chain;
  ImageSize image;
};

// x [count, image.size()], of the images [first, first + count) of a set, as the model gets to see it.
// Draws depend on the seed, the image and the link only.
AuditRows audit_corrupted(const AuditDamage& damage, AuditRows x, int64_t first, uint64_t seed);

}  // namespace elbo
