// The layers of an audited network, in double and by loops of their own: part of the auditor's licensed
// second copy (models/audit_net.h). Pictures are C x H x W here, as files have them.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "kernels/activation.h"

namespace elbo {

using AuditRows = std::vector<double>;  // row-major

// What training adds to a variance: PyTorch's default for batches, that of KL autoencoders for groups.
inline constexpr double kAuditBatchEpsilon = 1e-5, kAuditGroupEpsilon = 1e-6;

struct AuditPicture {
  int64_t channels = 1, height = 1, width = 1;
  int64_t size() const { return channels * height * width; }
};

struct AuditWindow {
  int64_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1;
  int64_t padding_h = 0, padding_w = 0, dilation_h = 1, dilation_w = 1;
};

struct AuditLayer {
  enum class Kind {
    linear,
    conv,
    conv_transpose,
    scale_channels,
    group_norm,
    upsample,
    average,
    residual,  // y = skip(x) + branch(x)
    attention  // y = x + p(softmax(q k' / sqrt(C)) v); branch: normalisation, q, k, v, p
  };

  Kind kind = Kind::linear;
  int64_t in = 0, out = 0;  // values per image
  Activation activation = Activation::identity;
  std::vector<double>
      weight;  // linear: [in, out], transposed, so that the inner loop runs along out;
               // conv: OIHW, conv_transpose: IOHW; scale_channels, group_norm: [channels]
  std::vector<double> bias;              // one per output, channel where there are channels
  AuditPicture from, to;                 // of all kinds but linear
  AuditWindow window;                    // of upsample: the factors are the strides
  bool bilinear = false;                 // upsample
  int64_t groups = 0;                    // group_norm
  std::vector<AuditLayer> branch, skip;  // of residual and attention; an empty skip is x itself
};

AuditRows audit_apply(const AuditLayer& layer, const AuditRows& input);
AuditRows audit_run(const std::vector<AuditLayer>& layers, const AuditRows& input);

// Takes tensors by name and remembers which, so that what is left over can be refused.
class AuditReader {
 public:
  // `family` is for messages: "an MLP autoencoder".
  AuditReader(const SafetensorsView& weights, const std::string& file_name, std::string family)
      : weights_(weights), file_name_(file_name), family_(std::move(family)) {}

  bool has(const std::string& layer) const { return has_tensor(layer + ".weight"); }
  bool has_tensor(const std::string& name) const { return weights_.find(name) != nullptr; }
  std::vector<double> numbers(const std::string& name, const std::vector<int64_t>& shape);
  AuditLayer linear(const std::string& name, Activation activation);

  // prefix.0, prefix.2, ...: linear layers of an nn.Sequential; all but the last are activated, and the
  // last one too if `activate_last`.
  std::vector<AuditLayer> sequence(const std::string& prefix, Activation activation,
                                   bool activate_last);

  // Of batch normalisation by its running statistics: a factor and a shift per channel.
  AuditLayer batch_norm(const std::string& name, const AuditPicture& picture);
  AuditLayer group_norm(const std::string& name, const AuditPicture& picture, int64_t groups);

  void skip(const std::string& name) { take(name); }  // which must be there and is not needed
  void refuse_the_rest() const;

 private:
  const NamedBlob& take(const std::string& name);
  std::vector<double> converted(const NamedBlob& tensor) const;

  const SafetensorsView& weights_;
  const std::string& file_name_;
  std::string family_;
  std::set<std::string> taken_;
};

}  // namespace elbo
