// A likelihood and its gradient as one pass over a decoder's output, in place: what the fused last layers
// (likelihood_layer.h, conv_likelihood.h) do where no kernel of ours computes the layer itself.
#pragma once

#include "kernels/bernoulli_nll.h"
#include "kernels/gaussian_nll.h"
#include "kernels/likelihood_layer.h"

namespace elbo {

// Reads the output from args.doutput and leaves its gradient there. `Layer` is LikelihoodLayer or
// ConvLikelihood of T and Target; `dim` is the size of one sample's output.
template <class T, class Target, class Layer>
void likelihood_in_place(const Exec& exec, const Layer& args, int64_t batch, int64_t dim) {
  const auto fill = [&](auto nll) {
    nll.target = args.target;
    nll.batch = batch;
    nll.dim = dim;
    nll.nll = args.nll;
    nll.weight = args.loss_weight;
    return nll;
  };
  if (args.likelihood == Likelihood::bernoulli) {
    BernoulliNll<T, Target> nll = fill(BernoulliNll<T, Target>{});
    nll.logits = nll.dlogits = args.doutput;
    bernoulli_nll(exec, nll);
  } else {
    GaussianNll<T, Target> nll = fill(GaussianNll<T, Target>{});
    nll.mean = nll.dmean = args.doutput;
    nll.fixed_log_variance = args.log_variance;
    gaussian_nll(exec, nll);
  }
}

}  // namespace elbo
