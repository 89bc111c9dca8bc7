// What our tensor-core products do with a sum before it is stored. Epilogues of kernels/tensor_gemm.cuh.
#pragma once

#include "kernels/activation.h"
#include "kernels/formulas.h"
#include "kernels/likelihood_layer.h"
#include "kernels/linear.h"
#include "kernels/row_loss.h"
#include "kernels/storage.h"

namespace elbo::cuda {

// Two neighbours of a row, moved by one access where `wide` says that their address allows it.
template <class T>
struct alignas(2 * sizeof(T)) Pair {
  T v[2];
};

template <class T>
bool pairs_are_wide(const T* base, int64_t row_length) {
  return row_length % 2 == 0 && reinterpret_cast<uintptr_t>(base) % sizeof(Pair<T>) == 0;
}

template <class T>
__device__ void load_pair(const T* p, int count, bool wide, float (&v)[2]) {
  if (wide) {
    const Pair<T> pair = *reinterpret_cast<const Pair<T>*>(p);
    v[0] = to_float(pair.v[0]), v[1] = to_float(pair.v[1]);
  } else {
    v[0] = to_float(p[0]);
    v[1] = count == 2 ? to_float(p[1]) : 0.0f;
  }
}

template <class T>
__device__ void store_pair(T* p, int count, bool wide, const float (&v)[2]) {
  if (wide) {
    *reinterpret_cast<Pair<T>*>(p) = {{from_float<T>(v[0]), from_float<T>(v[1])}};
  } else {
    p[0] = from_float<T>(v[0]);
    if (count == 2) p[1] = from_float<T>(v[1]);
  }
}

// y = act(v + bias), and the pre-activation where backward needs it.
template <class T>
struct ForwardEpilogue {
  static constexpr bool kSumsRows = false;
  const float* bias;
  T* y;
  T* pre;  // null: not wanted
  int64_t out;
  Activation activation;
  bool wide;

  __device__ float operator()(int64_t row, int64_t col, int count, float v0, float v1) const {
    float v[2] = {v0, v1};
    if (bias) {
      v[0] += bias[col];
      if (count == 2) v[1] += bias[col + 1];
    }
    const int64_t at = row * out + col;
    if (pre) {
      store_pair(pre + at, count, wide, v);
      // Backward will see the stored number, so forward's output must be its.
      v[0] = to_float(from_float<T>(v[0])), v[1] = to_float(from_float<T>(v[1]));
    }
    v[0] = activate(activation, v[0]), v[1] = activate(activation, v[1]);
    store_pair(y + at, count, wide, v);
    return 0.0f;
  }
};

template <class T>
ForwardEpilogue<T> make_forward_epilogue(const float* bias, T* y, T* pre, int64_t out,
                                         Activation activation) {
  return {bias, y, pre, out, activation, pairs_are_wide(y, out) && pairs_are_wide(pre, out)};
}

// dx = v act'(kept), or dx += v.
template <class T>
struct DataEpilogue {
  static constexpr bool kSumsRows = false;
  T* dx;
  const T* kept;  // what the activation kept of the input; null: nothing to undo
  int64_t in;
  Activation activation;
  bool add, wide;

  __device__ float operator()(int64_t row, int64_t col, int count, float v0, float v1) const {
    float v[2] = {v0, v1};
    const int64_t at = row * in + col;
    if (kept) {
      float k[2];
      load_pair(kept + at, count, wide, k);
      v[0] = activate_backward(activation, k[0], v[0]);
      v[1] = activate_backward(activation, k[1], v[1]);
    }
    if (add) {
      float old[2];
      load_pair(dx + at, count, wide, old);
      v[0] += old[0], v[1] += old[1];
    }
    store_pair(dx + at, count, wide, v);
    return 0.0f;
  }
};

template <class T>
DataEpilogue<T> make_data_epilogue(T* dx, int64_t in, GradMode mode,
                                   const BasicInputActivation<T>* input) {
  const T* kept = nullptr;
  if (input && input->activation != Activation::identity) {
    kept = needs_pre_activation(input->activation) ? static_cast<const T*>(input->aux) : input->y;
  }
  return {dx,
          kept,
          in,
          input ? input->activation : Activation::identity,
          mode == GradMode::add,
          pairs_are_wide(dx, in) && pairs_are_wide(kept, in)};
}

// dW = v or dW += v.
struct WeightEpilogue {
  static constexpr bool kSumsRows = false;
  float* dweight;
  int64_t in;
  bool add, wide;

  __device__ float operator()(int64_t row, int64_t col, int count, float v0, float v1) const {
    float v[2] = {v0, v1};
    float* p = dweight + row * in + col;
    if (add) {
      float old[2];
      load_pair(p, count, wide, old);
      v[0] += old[0], v[1] += old[1];
    }
    store_pair(p, count, wide, v);
    return 0.0f;
  }
};

template <Likelihood Kind>
__device__ float likelihood_term(float output, float target, float logvar) {
  if constexpr (Kind == Likelihood::bernoulli) {
    return formulas::bernoulli_nll(output, target);
  } else {
    return formulas::gaussian_nll(target, output, logvar);
  }
}
template <Likelihood Kind>
__device__ float likelihood_slope(float output, float target, float precision) {
  if constexpr (Kind == Likelihood::bernoulli) {
    return formulas::bernoulli_nll_dlogit(output, target);
  } else {
    return formulas::gaussian_nll_dmean(target, output, precision);
  }
}

// The decoder's output v + bias exists in registers only: what is stored is its gradient, times `scale`,
// and what is returned the loss.
template <Likelihood Kind, class T, class Target>
struct LikelihoodTerms {
  const float* bias;
  const Target* target;
  T* doutput;
  float logvar, precision;
  bool wide;

  __device__ float at(int64_t index, int64_t col, int count, float scale, float v0,
                      float v1) const {
    float v[2] = {v0, v1}, loss = 0.0f;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (i >= count) break;
      const float output = v[i] + (bias ? bias[col + i] : 0.0f);
      const float wanted = target_value<float>(target[index + i]);
      loss += likelihood_term<Kind>(output, wanted, logvar);
      v[i] = scale * likelihood_slope<Kind>(output, wanted, precision);
    }
    store_pair(doutput + index, count, wide, v);
    return loss;
  }
};

// Of LikelihoodLayer or ConvLikelihood, `dim` being the length of a row of the output.
template <Likelihood Kind, class T, class Target, template <class, class> class Args>
LikelihoodTerms<Kind, T, Target> make_likelihood_terms(const Args<T, Target>& args, int64_t dim) {
  const float logvar = formulas::bounded_logvar(args.log_variance);
  return {args.bias, args.target,        args.doutput,
          logvar,    math::exp(-logvar), pairs_are_wide(args.doutput, dim)};
}

// The loss as one sum per row and warp column.
template <Likelihood Kind, class T, class Target>
struct LikelihoodEpilogue {
  static constexpr bool kSumsRows = true;
  LikelihoodTerms<Kind, T, Target> terms;
  float* nll;
  LossWeight weight;
  int64_t batch, dim;

  __device__ float operator()(int64_t row, int64_t col, int count, float v0, float v1) const {
    return terms.at(row * dim + col, col, count, weight.at(row), v0, v1);
  }
  __device__ void finish_row(int64_t row, int64_t part, float sum) const {
    nll[part * batch + row] = sum;
  }
};

}  // namespace elbo::cuda
