// Registering the parameters of single layers under PyTorch's names and layouts.
#pragma once

#include <string>
#include <vector>

#include "engine/ops/norm_op.h"
#include "engine/param_store.h"
#include "models/network_plan.h"

namespace elbo {

// A weight and its bias, and what ops call them.
struct LayerWeights {
  std::string label;  // for op names; must outlive the tape's runs
  ParamStore::Id weight = -1, bias = -1;
};

// A fully connected layer of one name, or of several whose outputs lie behind one another. `in` and `out`
// are what its inputs and outputs are, pixels of pictures included.
LayerWeights add_linear(ParamStore& params, InitKind init, const std::vector<std::string>& names,
                        const LayerState& in, const LayerState& out);

LayerWeights add_conv(ParamStore& params, InitKind init, const std::string& name,
                      int64_t in_channels, int64_t out_channels, const ConvWindow& window,
                      bool transpose = false);

// 1x1 convolutions that are applied as linear layers to [B * H * W, C].
LayerWeights add_pointwise(ParamStore& params, InitKind init, const std::string& name, int64_t in,
                           int64_t out);

NormParams add_norm(ParamStore& params, NormKind kind, const std::string& name, int64_t channels);

}  // namespace elbo
