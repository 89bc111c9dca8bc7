#include "models/audit_codebook.h"

#include <cmath>
#include <limits>

namespace elbo {

void AuditCodebook::read(AuditReader& reader, int64_t latent_dim) {
  if (size == 0) return;
  if (pixels > 0) dim = latent_dim / pixels;
  if (dim == 0) dim = latent_dim;
  codes = reader.numbers("codebook.codes", {dim, size});
  for (const char* state : {"sums", "counts", "batches"}) {
    reader.skip(std::string("codebook.") + state);
  }
}

std::vector<int32_t> AuditCodebook::quantise(AuditRows& latents) const {
  std::vector<int32_t> indices;
  const int64_t pieces = static_cast<int64_t>(latents.size()) / dim;
  // Value d of a piece: in a picture its channels are `pixels` apart.
  const int64_t step = pixels > 0 ? pixels : 1;
  for (int64_t piece = 0; piece < pieces; ++piece) {
    const int64_t first = pixels > 0 ? piece / pixels * pixels * dim + piece % pixels : piece * dim;
    int32_t nearest = 0;
    double least = std::numeric_limits<double>::infinity();
    for (int64_t k = 0; k < size; ++k) {
      double square = 0;
      for (int64_t d = 0; d < dim; ++d) {
        const double off = latents[first + d * step] - codes[d * size + k];
        square += off * off;
      }
      if (square < least) {
        least = square;
        nearest = static_cast<int32_t>(k);
      }
    }
    indices.push_back(nearest);
    for (int64_t d = 0; d < dim; ++d) latents[first + d * step] = codes[d * size + nearest];
  }
  return indices;
}

AuditCodeUse audit_code_use(const std::vector<int32_t>& codes, int64_t size) {
  std::vector<double> counts(static_cast<size_t>(size));
  for (const int32_t code : codes) counts[code] += 1;
  AuditCodeUse use;
  double entropy = 0;
  for (const double count : counts) {
    if (count == 0) continue;
    const double share = count / static_cast<double>(codes.size());
    entropy -= share * std::log(share);
    ++use.used;
  }
  use.perplexity = std::exp(entropy);
  return use;
}

}  // namespace elbo
