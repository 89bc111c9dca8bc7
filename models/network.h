// A chain of layers with its parameters: an encoder or a decoder.
//
// Parameters bear the names that PyTorch's nn.Sequential would give them, each of flatten, layer,
// normalisation and activation counting as one module: encoder.0.weight, encoder.1.running_mean, ...
#pragma once

#include <string>
#include <vector>

#include "engine/param_store.h"
#include "engine/tape.h"
#include "models/blocks.h"

namespace elbo {

class Network {
 public:
  // `names` replaces the names counted from `prefix`, one per layer with weights.
  Network(ParamStore& params, std::vector<LayerPlan> plans, const std::string& prefix,
          InitKind init, const std::vector<std::string>& names = {});

  size_t size() const { return layers_.size(); }
  const LayerPlan& plan(size_t i) const { return layers_[i].plan; }
  const LayerWeights& weights(size_t i) const { return layers_[i].weights; }
  const NormParams& norm(size_t i) const { return layers_[i].norm; }
  int64_t parameters(size_t i) const { return layers_[i].parameters; }

  // Layers [first, last) of x. Pictures are [B, H, W, C], vectors [B, D]; x may be either form of the
  // same values. Batch normalisation takes the batch's statistics while the tape records, which is to
  // say in training, and its running ones otherwise.
  Tensor run(Tape& tape, Tensor x, size_t first, size_t last) const;
  Tensor run(Tape& tape, const Tensor& x) const { return run(tape, x, 0, size()); }

  // Layers applied to x, and what a small change of x along `tangent` makes of the result: the Jacobian
  // times the tangent, as ops that can be differentiated in turn.
  // ErrorCode::usage for layers other than linear ones and convolutions without normalisation.
  struct WithTangent {
    Tensor value, tangent;
  };
  WithTangent run_tangent(Tape& tape, const Tensor& x, const Tensor& tangent) const;

  // Whether layer i is fully connected and nothing but an activation follows it.
  bool is_plain_linear(size_t i) const;

 private:
  struct Layer {
    LayerPlan plan;
    LayerWeights weights;
    NormParams norm;
    ResidualBlock residual;
    AttentionBlock attention;
    int64_t parameters = 0;
  };

  Tensor apply(Tape& tape, const Layer& layer, const Tensor& x) const;
  Tensor apply_to_tangent(Tape& tape, const Layer& layer, const Tensor& tangent) const;

  ParamStore* params_;
  std::vector<Layer> layers_;
};

// x as what `state` says, [B, H, W, C] or [B, D], without copying.
Tensor view_as(Tape& tape, const Tensor& x, const LayerState& state);

}  // namespace elbo
