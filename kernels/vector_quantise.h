// Vector quantisation: the nearest of K codes for every vector, and codes that are running means of
// the vectors they stand for.
//
//   index[n]  = argmin_k s_nk,  s_nk = sum_d (x[n,d] - codes[d,k])^2     the lowest k of equal ones
//   q[n,d]    = codes[d, index[n]],   squares[n] = s_n,index[n]
//
//   counts[k]  = decay counts[k]  + (1 - decay) n_k          n_k vectors with index k in the batch
//   sums[d,k]  = decay sums[d,k]  + (1 - decay) sum of their x[n,d]
//   codes[d,k] = sums[d,k] / ((counts[k] + eps) / (total + K eps) total),   total = sum_k counts[k]
//   perplexity = exp(-sum_k p_k log p_k),  p_k = n_k / N: as many codes as if all were used alike
//
// Counts and sums begin at 0, codes at vectors of the first batch; as both means have the same
// weights, their quotient needs no correction for that. A code whose count falls below `restart`
// times that of an even share, total / K, becomes a vector of the batch with the count of the
// threshold: it is tried again, with another vector, in every step until it is used. Which vectors
// these are is a permutation keyed by Philox: the same on both devices.
//
// Shapes    x, q, dx [N, D]; codes, sums [D, K] (as Sonnet keeps them: neighbouring codes are
//           neighbours in memory, which is what the search reads); index [N]; squares [N]; counts
//           [K]
// Gradient  straight through: dx = dq + 2 dsquares (x - q). Codes take none: they learn by their
//           means.
// Work      nearest_codes: one launch of N D K multiply-adds; on CUDA a warp owns 4 vectors. No
//           product x codes^T: |x|^2 - 2 x e + |e|^2 cancels where codes are close, which is where
//           the choice is made. learn_codes: three launches, the sums in one pass per 32 (CPU: 16)
//           dimensions, begin_codes one. Sums by a product with one-hot rows would need N K floats.
// Numerics  index, squares and the batch's sums have the same bits on both devices: each code's
//           distance is summed over d in order, and its vectors in order within 8 parts of the
//           batch. Distances that are not finite give index 0 and an infinite square. A code that
//           is never restarted tends to 0 once its count has fallen below eps.
// Scratch   CPU: 32 K numbers
// Errors    elbo::Error if a pointer is missing, D or K < 1, or 2^31 <= K; N == 0 is a no-op
// Source    van den Oord, Vinyals & Kavukcuoglu 2017, arXiv:1711.00937, section 3 and appendix A.1;
//           restarts as in Dhariwal et al. 2020, arXiv:2005.00341, section 3.1, relative to an even
//           share so that they mean the same for every batch size and number of codes
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/noise_source.h"
#include "kernels/storage.h"

namespace elbo {

void check_codebook_sizes(const char* op, int64_t rows, int64_t dim, int64_t size);

// T is float, or double on the CPU.
template <class T>
struct NearestCodes {
  int64_t rows = 0, dim = 0, size = 0;  // N, D, K
  const T* x = nullptr;
  const T* codes = nullptr;
  int32_t* index = nullptr;
  T* q = nullptr;
  T* squares = nullptr;
};

template <class T>
void nearest_codes(const Exec& exec, const NearestCodes<T>& args);

template <class T>
struct NearestCodesBackward {
  int64_t rows = 0, dim = 0;
  const T* x = nullptr;
  const T* q = nullptr;
  const T* dq = nullptr;        // null: zero
  const T* dsquares = nullptr;  // null: zero
  T* dx = nullptr;
  GradMode mode = GradMode::write;
};

template <class T>
void nearest_codes_backward(const Exec& exec, const NearestCodesBackward<T>& args);

template <class T>
struct LearnCodes {
  int64_t rows = 0, dim = 0, size = 0;
  const T* x = nullptr;
  const int32_t* index = nullptr;  // in [0, K)
  T* codes = nullptr;
  T* sums = nullptr;
  T* counts = nullptr;
  int64_t* batches = nullptr;  // learned from so far
  T* members = nullptr;        // [K]: n_k
  T* total = nullptr;          // [1]
  T* perplexity = nullptr;     // [1]
  T decay = T(0.99), restart = T(0);
  NoiseSource noise;
};

inline constexpr double kCodeSmoothing = 1e-5;  // eps, Sonnet's

// Before nearest_codes(): gives the codes their start if there was no batch yet, else does nothing.
// Looks at neither index nor what follows `batches`, but for the noise.
template <class T>
void begin_codes(const Exec& exec, const LearnCodes<T>& args);

// Behind nearest_codes(): counts, sums, codes, members, total, perplexity; one batch more.
template <class T>
void learn_codes(const Exec& exec, const LearnCodes<T>& args);

}  // namespace elbo
