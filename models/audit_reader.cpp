#include <cmath>
#include <cstring>

#include "kernels/error.h"
#include "models/audit_layers.h"

namespace elbo {
namespace {

template <class Number>
std::vector<double> as_doubles(const NamedBlob& tensor) {
  std::vector<Number> values(tensor.bytes.size() / sizeof(Number));
  if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return {values.begin(), values.end()};
}

}  // namespace

const NamedBlob& AuditReader::take(const std::string& name) {
  const NamedBlob* tensor = weights_.find(name);
  if (!tensor) {
    throw_error(ErrorCode::data, file_name_, ": no tensor ", in_quotes(name),
                "; expected PyTorch's names of ", family_);
  }
  taken_.insert(name);
  return *tensor;
}

std::vector<double> AuditReader::converted(const NamedBlob& tensor) const {
  if (tensor.type == StoredType::f32) return as_doubles<float>(tensor);
  if (tensor.type == StoredType::f64) return as_doubles<double>(tensor);
  throw_error(ErrorCode::data, file_name_, ": ", tensor.name, " is ", stored_type_name(tensor.type),
              "; expected F32 or F64");
}

std::vector<double> AuditReader::numbers(const std::string& name,
                                         const std::vector<int64_t>& shape) {
  const NamedBlob& tensor = take(name);
  if (tensor.shape != shape) {
    throw_error(ErrorCode::data, file_name_, ": ", name, " has shape ", shape_text(tensor.shape),
                "; expected ", shape_text(shape));
  }
  return converted(tensor);
}

AuditLayer AuditReader::linear(const std::string& name, Activation activation) {
  const auto of_rank = [&](const std::string& tensor_name, size_t rank) -> const NamedBlob& {
    const NamedBlob& tensor = take(tensor_name);
    if (tensor.shape.size() != rank) {
      throw_error(ErrorCode::data, file_name_, ": ", tensor_name, " has shape ",
                  shape_text(tensor.shape), "; expected ", rank, " dimension(s)");
    }
    return tensor;
  };
  const NamedBlob& weight = of_rank(name + ".weight", 2);
  const NamedBlob& bias = of_rank(name + ".bias", 1);
  AuditLayer layer;
  layer.out = weight.shape[0];
  layer.in = weight.shape[1];
  layer.activation = activation;
  if (bias.shape[0] != layer.out) {
    throw_error(ErrorCode::data, file_name_, ": ", name, ".bias has shape ", shape_text(bias.shape),
                "; expected [", layer.out, "] as ", name, ".weight is ", shape_text(weight.shape));
  }
  layer.bias = converted(bias);
  const std::vector<double> stored = converted(weight);
  layer.weight.resize(stored.size());
  for (int64_t o = 0; o < layer.out; ++o) {
    for (int64_t i = 0; i < layer.in; ++i) {
      layer.weight[i * layer.out + o] = stored[o * layer.in + i];
    }
  }
  return layer;
}

std::vector<AuditLayer> AuditReader::sequence(const std::string& prefix, Activation activation,
                                              bool activate_last) {
  std::vector<AuditLayer> layers;
  for (int place = 0; has(concat(prefix, ".", place)); place += 2) {
    layers.push_back(linear(concat(prefix, ".", place), activation));
  }
  if (!layers.empty() && !activate_last) layers.back().activation = Activation::identity;
  return layers;
}

AuditLayer AuditReader::batch_norm(const std::string& name, const AuditPicture& picture) {
  const std::vector<int64_t> channels = {picture.channels};
  const auto gamma = numbers(name + ".weight", channels), beta = numbers(name + ".bias", channels);
  const auto mean = numbers(name + ".running_mean", channels);
  const auto variance = numbers(name + ".running_var", channels);
  take(name + ".num_batches_tracked");
  AuditLayer layer;
  layer.kind = AuditLayer::Kind::scale_channels;
  layer.from = layer.to = picture;
  layer.in = layer.out = picture.size();
  for (size_t c = 0; c < gamma.size(); ++c) {
    const double factor = gamma[c] / std::sqrt(variance[c] + kAuditBatchEpsilon);
    layer.weight.push_back(factor);
    layer.bias.push_back(beta[c] - factor * mean[c]);
  }
  return layer;
}

AuditLayer AuditReader::group_norm(const std::string& name, const AuditPicture& picture,
                                   int64_t groups) {
  AuditLayer layer;
  layer.kind = AuditLayer::Kind::group_norm;
  layer.from = layer.to = picture;
  layer.in = layer.out = picture.size();
  layer.groups = groups;
  layer.weight = numbers(name + ".weight", {picture.channels});
  layer.bias = numbers(name + ".bias", {picture.channels});
  return layer;
}

void AuditReader::refuse_the_rest() const {
  for (const NamedBlob& tensor : weights_.tensors) {
    if (!taken_.contains(tensor.name)) {
      throw_error(ErrorCode::data, file_name_, ": tensor ", in_quotes(tensor.name),
                  " is not part of ", family_, "; is this another model's checkpoint?");
    }
  }
}

}  // namespace elbo
