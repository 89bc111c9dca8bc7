// A vector or a picture as the nearest codes of a codebook.
//
//   quantise   x's values, taken in rows of D: q the nearest of K codes to each row, squares its
//              squared distance, index which it is. With `learning` the codes then move towards
//              the rows.
//
// Shapes    x, q [B, N D / B] or any shape whose values are rows of D; squares [N]; index [N]
//           int32; perplexity [1], with `learning` only
// Gradient  of x: that of q as it is (straight through), and of squares 2 (x - q). Codes take none.
// Buffers   NAME.codes, NAME.sums [D, K], NAME.counts [K], NAME.batches: what learning changes,
//           committed at the end of a step that went well (engine/buffer_store.h). The codes are
//           zeros until the first batch that is learned from gives them their start.
// Formulas  kernels/vector_quantise.h
// Errors    elbo::Error if x does not divide into rows of D
#pragma once

#include <string>

#include "engine/tape.h"
#include "kernels/noise_source.h"

namespace elbo {

struct Codebook {
  BufferStore::Id codes = -1, sums = -1, counts = -1, batches = -1;
  int64_t size = 0, dim = 0;  // K, D
};

Codebook add_codebook(ParamStore& params, const std::string& name, int64_t size, int64_t dim);

struct CodebookLearning {
  double decay = 0.99;
  double restart = 0.0;  // of an even share of the vectors; 0: codes never start again
  NoiseSource noise;     // its purpose is set by the op
};

struct QuantisedCode {
  Tensor q, squares, index, perplexity;
};

// Without `learning` by the codes of the last step that was finished.
QuantisedCode quantise(Tape& tape, const ParamStore& params, const Tensor& x,
                       const Codebook& codebook, const CodebookLearning* learning = nullptr);

}  // namespace elbo
