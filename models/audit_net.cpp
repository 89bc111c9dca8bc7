#include "models/audit_net.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <set>

#include "kernels/error.h"
#include "kernels/portability.h"

namespace elbo {
namespace {

// Takes tensors by name and remembers which, so that what is left over can be refused.
class TensorReader {
 public:
  TensorReader(const SafetensorsView& weights, const std::string& file_name)
      : weights_(weights), file_name_(file_name) {}

  bool has(const std::string& layer) const { return weights_.find(layer + ".weight") != nullptr; }

  AuditLayer layer(const std::string& name, bool activated) {
    const NamedBlob& weight = take(name + ".weight", 2);
    const NamedBlob& bias = take(name + ".bias", 1);
    AuditLayer layer;
    layer.out = weight.shape[0];
    layer.in = weight.shape[1];
    layer.activated = activated;
    if (bias.shape[0] != layer.out) {
      throw_error(ErrorCode::data, file_name_, ": ", name, ".bias has shape ",
                  shape_text(bias.shape), "; expected [", layer.out, "] as ", name, ".weight is ",
                  shape_text(weight.shape));
    }
    layer.bias = numbers(bias);
    const std::vector<double> stored = numbers(weight);
    layer.weight.resize(stored.size());
    for (int64_t o = 0; o < layer.out; ++o) {
      for (int64_t i = 0; i < layer.in; ++i) {
        layer.weight[i * layer.out + o] = stored[o * layer.in + i];
      }
    }
    return layer;
  }

  // prefix.0, prefix.2, ...: linear layers of an nn.Sequential; all but the last are activated,
  // and the last one too if `activate_last`.
  std::vector<AuditLayer> sequence(const std::string& prefix, bool activate_last) {
    std::vector<AuditLayer> layers;
    for (int place = 0; has(concat(prefix, ".", place)); place += 2) {
      layers.push_back(layer(concat(prefix, ".", place), true));
    }
    if (!layers.empty()) layers.back().activated = activate_last;
    return layers;
  }

  void refuse_the_rest() const {
    for (const NamedBlob& tensor : weights_.tensors) {
      if (!taken_.contains(tensor.name)) {
        throw_error(ErrorCode::data, file_name_, ": tensor ", in_quotes(tensor.name),
                    " is not part of an MLP autoencoder; is this another model's checkpoint?");
      }
    }
  }

 private:
  const NamedBlob& take(const std::string& name, size_t rank) {
    const NamedBlob* tensor = weights_.find(name);
    if (!tensor) {
      throw_error(ErrorCode::data, file_name_, ": no tensor ", in_quotes(name),
                  "; expected PyTorch's names of an MLP autoencoder");
    }
    if (tensor->shape.size() != rank) {
      throw_error(ErrorCode::data, file_name_, ": ", name, " has shape ", shape_text(tensor->shape),
                  "; expected ", rank, " dimension(s)");
    }
    taken_.insert(name);
    return *tensor;
  }

  template <class Number>
  static std::vector<double> converted(const NamedBlob& tensor) {
    std::vector<Number> values(tensor.bytes.size() / sizeof(Number));
    if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return {values.begin(), values.end()};
  }

  std::vector<double> numbers(const NamedBlob& tensor) const {
    if (tensor.type == StoredType::f32) return converted<float>(tensor);
    if (tensor.type == StoredType::f64) return converted<double>(tensor);
    throw_error(ErrorCode::data, file_name_, ": ", tensor.name, " is ",
                stored_type_name(tensor.type), "; expected F32 or F64");
  }

  const SafetensorsView& weights_;
  const std::string& file_name_;
  std::set<std::string> taken_;
};

// y[r, :] += sum_i x[r, i] w[i, :] for Rows rows at a time: each weight is read once for all of them.
// Sums run in the order of i whatever the instruction set, so all clones give the same bits.
template <int Rows>
inline __attribute__((always_inline)) void accumulate_rows(int64_t in, int64_t out, int64_t begin,
                                                           int64_t end, const double* x,
                                                           const double* weight,
                                                           double* __restrict y) {
  for (int64_t i = 0; i < in; ++i) {
    const double* __restrict w = weight + i * out;
    for (int r = 0; r < Rows; ++r) {
      const double factor = x[r * in + i];
      for (int64_t o = begin; o < end; ++o) y[r * out + o] += factor * w[o];
    }
  }
}

constexpr int kRowBlock = 8;
constexpr int64_t kColumnBlock = 256;  // 8 rows of 256 doubles: 16 kB, which stay in the L1 cache

ELBO_CLONES void accumulate(int64_t rows, int64_t in, int64_t out, const double* x,
                            const double* weight, double* y) {
  for (int64_t begin = 0; begin < out; begin += kColumnBlock) {
    const int64_t end = std::min(begin + kColumnBlock, out);
    int64_t row = 0;
    for (; row + kRowBlock <= rows; row += kRowBlock) {
      accumulate_rows<kRowBlock>(in, out, begin, end, x + row * in, weight, y + row * out);
    }
    for (; row < rows; ++row) {
      accumulate_rows<1>(in, out, begin, end, x + row * in, weight, y + row * out);
    }
  }
}

double activate_in_double(Activation activation, double x) {
  switch (activation) {
    case Activation::identity:
      return x;
    case Activation::relu:
      return x < 0 ? 0.0 : x;
    case Activation::leaky_relu:
      return x < 0 ? 0.01 * x : x;
    case Activation::tanh:
      return std::tanh(x);
    case Activation::sigmoid:
      return 1.0 / (1.0 + std::exp(-x));
    case Activation::silu:
      return x / (1.0 + std::exp(-x));
    case Activation::gelu:
      return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    case Activation::softplus:
      return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
  }
  throw Error("unknown activation");
}

}  // namespace

double audit_bounded_logvar(double raw) {
  if (raw > 10.0) return 20.0 - 100.0 / raw;
  if (raw < -10.0) return -20.0 - 100.0 / raw;
  return raw;
}

AuditNet::AuditNet(const SafetensorsView& weights, const std::string& file_name,
                   Activation activation)
    : activation_(activation) {
  TensorReader reader(weights, file_name);
  variational_ = true;
  if (reader.has("fc1")) {
    encoder_ = {reader.layer("fc1", true)};
    mean_ = reader.layer("fc21", false);
    logvar_ = reader.layer("fc22", false);
    decoder_ = {reader.layer("fc3", true), reader.layer("fc4", false)};
  } else {
    variational_ = reader.has("fc_mu");
    encoder_ = reader.sequence("encoder", variational_);
    if (variational_) {
      mean_ = reader.layer("fc_mu", false);
      logvar_ = reader.layer("fc_logvar", false);
    }
    decoder_ = reader.sequence("decoder", false);
  }
  reader.refuse_the_rest();
  check_chain(file_name);
}

void AuditNet::check_chain(const std::string& file_name) const {
  if (decoder_.empty() || (encoder_.empty() && !variational_)) {
    throw_error(ErrorCode::data, file_name,
                ": no encoder and decoder in it; expected tensors fc1.weight, ... or "
                "encoder.0.weight, ..., decoder.0.weight, ...");
  }
  std::vector<const AuditLayer*> chain;
  for (const AuditLayer& layer : encoder_) chain.push_back(&layer);
  if (variational_) chain.push_back(&mean_);
  for (const AuditLayer& layer : decoder_) chain.push_back(&layer);
  bool fits = chain.front()->in == chain.back()->out;
  for (size_t i = 1; i < chain.size(); ++i) fits = fits && chain[i]->in == chain[i - 1]->out;
  if (variational_) fits = fits && logvar_.in == mean_.in && logvar_.out == mean_.out;
  for (const AuditLayer* layer : chain) fits = fits && layer->in > 0 && layer->out > 0;
  if (!fits) {
    throw_error(ErrorCode::data, file_name,
                ": the layers do not fit together; each must take what the one before it gives, "
                "and the last give what the first takes");
  }
}

AuditRows AuditNet::apply(const AuditLayer& layer, const AuditRows& input) const {
  const auto rows = static_cast<int64_t>(input.size()) / layer.in;
  AuditRows output(static_cast<size_t>(rows * layer.out));
  for (int64_t r = 0; r < rows; ++r) {
    std::copy(layer.bias.begin(), layer.bias.end(), output.begin() + r * layer.out);
  }
  accumulate(rows, layer.in, layer.out, input.data(), layer.weight.data(), output.data());
  if (layer.activated) {
    for (double& value : output) value = activate_in_double(activation_, value);
  }
  return output;
}

AuditRows AuditNet::run(const std::vector<AuditLayer>& layers, const AuditRows& input) const {
  AuditRows rows = input;
  for (const AuditLayer& layer : layers) rows = apply(layer, rows);
  return rows;
}

AuditPosterior AuditNet::encode(const AuditRows& images) const {
  const AuditRows top = run(encoder_, images);
  if (!variational_) return {top, {}};
  AuditPosterior posterior{apply(mean_, top), apply(logvar_, top)};
  for (double& v : posterior.logvar) v = audit_bounded_logvar(v);
  return posterior;
}

AuditRows AuditNet::decode(const AuditRows& latents) const { return run(decoder_, latents); }

}  // namespace elbo
