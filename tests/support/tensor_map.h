// Tensors of a network written down by hand, as the view that a parsed safetensors file gives.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"

namespace elbo {

class TensorMap {
 public:
  // Doubles, so that what a test writes down is exactly what the network holds.
  TensorMap& add(const std::string& name, std::vector<int64_t> shape, std::vector<double> values) {
    tensors_[name] = {std::move(shape), std::move(values)};
    return *this;
  }
  // name.weight [out, in] and name.bias [out].
  TensorMap& layer(const std::string& name, int64_t out, int64_t in, std::vector<double> weight,
                   std::vector<double> bias) {
    return add(name + ".weight", {out, in}, std::move(weight))
        .add(name + ".bias", {out}, std::move(bias));
  }
  TensorMap& remove(const std::string& name) {
    tensors_.erase(name);
    return *this;
  }

  // Points into this object.
  SafetensorsView view() const {
    SafetensorsView view;
    for (const auto& [name, tensor] : tensors_) {
      view.tensors.push_back(
          {name, StoredType::f64, tensor.shape, std::as_bytes(std::span(tensor.values))});
    }
    return view;
  }

 private:
  struct Tensor {
    std::vector<int64_t> shape;
    std::vector<double> values;
  };
  std::map<std::string, Tensor> tensors_;
};

}  // namespace elbo
