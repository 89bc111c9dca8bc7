// Normalisation layers, each with the activation that follows it.
//
//   batch_norm   y = act(gamma (x - mean_c) / sqrt(var_c + epsilon) + beta), over all but the last axis
//   group_norm   the same over the positions and C/G channels of each group of each sample
//
// Shapes    x, y [B, H, W, C] (NHWC) or [B, C]; weight (gamma), bias (beta) [C]
// Gradient  kernels/batch_norm.h, kernels/group_norm.h. The pre-activation is not kept but computed again.
// Buffers   batch_norm in training moves the running statistics on in ParamStore::buffers(), to be
//           committed at the end of the step (engine/buffer_store.h). A step that goes bad leaves them
//           alone, as the optimiser does the weights.
// Errors    elbo::Error if shapes disagree, groups does not divide C, or training has one value per channel
#pragma once

#include <string>

#include "engine/tape.h"
#include "kernels/activation.h"

namespace elbo {

struct NormParams {
  ParamStore::Id weight = -1, bias = -1;
  BufferStore::Id running_mean = -1, running_var = -1, batches = -1;  // batch norm only
};

// Registers a layer under PyTorch's names: NAME.weight of ones, NAME.bias of zeros, and for batch norm
// NAME.running_mean, NAME.running_var and NAME.num_batches_tracked.
NormParams add_batch_norm(ParamStore& params, const std::string& name, int64_t channels);
NormParams add_group_norm(ParamStore& params, const std::string& name, int64_t channels);

struct BatchNormOptions {
  bool training = true;  // false: by running statistics, which stay as they are
  Activation activation = Activation::identity;
  double epsilon = 1e-5;  // PyTorch's defaults
  double momentum = 0.1;
};

Tensor batch_norm(Tape& tape, ParamStore& params, const Tensor& x, const NormParams& layer,
                  const BatchNormOptions& options);

struct GroupNormOptions {
  int64_t groups = 32;
  Activation activation = Activation::identity;
  double epsilon = 1e-6;  // of KL autoencoders; PyTorch's default is 1e-5
};

Tensor group_norm(Tape& tape, ParamStore& params, const Tensor& x, const NormParams& layer,
                  const GroupNormOptions& options);

}  // namespace elbo
