#include "models/audit_convolutional.h"

#include "kernels/error.h"

namespace elbo {
namespace {

AuditWindow audit_window(const ConvWindow& w) {
  return {w.kernel_h,  w.kernel_w,  w.stride_h,   w.stride_w,
          w.padding_h, w.padding_w, w.dilation_h, w.dilation_w};
}

class ConvolutionalReader {
 public:
  ConvolutionalReader(AuditReader& reader, std::string prefix)
      : reader_(reader), prefix_(std::move(prefix)) {}

  std::vector<AuditLayer> read(const std::vector<LayerPlan>& plans) {
    for (const LayerPlan& plan : plans) {
      module_ += plan.flattens + plan.unflattens;
      add(plan);
    }
    return layers_;
  }

 private:
  std::string next_name() { return concat(prefix_, ".", module_++); }

  void add(const LayerPlan& plan) {
    const LayerSpec& spec = plan.spec;
    switch (spec.kind) {
      case LayerKind::residual:
        return layers_.push_back(residual(plan, next_name()));
      case LayerKind::attention:
        return layers_.push_back(attention(plan, next_name()));
      case LayerKind::linear:
        layers_.push_back(reader_.linear(next_name(), Activation::identity));
        break;
      case LayerKind::conv:
      case LayerKind::conv_transpose:
        layers_.push_back(convolution(plan));
        break;
      case LayerKind::upsample:
      case LayerKind::avg_pool:
        layers_.push_back(resampling(plan));
        break;
      case LayerKind::reshape:
      case LayerKind::norm:
        break;
    }
    if (spec.norm != NormKind::none) {
      layers_.push_back(normalisation(spec, next_name(), channels_of(plan.out)));
    }
    if (spec.activation != Activation::identity) {
      layers_.back().activation = spec.activation;
      ++module_;
    }
  }

  // Of a vector every value is a channel.
  static AuditPicture channels_of(const LayerState& state) {
    return state.flat ? AuditPicture{state.size.size(), 1, 1} : audit_picture(state.size);
  }

  static AuditLayer layer_between(AuditLayer::Kind kind, const AuditPicture& from,
                                  const AuditPicture& to) {
    AuditLayer layer;
    layer.kind = kind;
    layer.from = from;
    layer.to = to;
    layer.in = from.size();
    layer.out = to.size();
    return layer;
  }

  static AuditLayer layer_of(const LayerPlan& plan, AuditLayer::Kind kind) {
    AuditLayer layer =
        layer_between(kind, audit_picture(plan.in.size), audit_picture(plan.out.size));
    layer.window = audit_window(plan.spec.window);
    return layer;
  }

  AuditLayer convolution(const LayerPlan& plan) {
    const bool transposed = plan.spec.kind == LayerKind::conv_transpose;
    AuditLayer layer =
        layer_of(plan, transposed ? AuditLayer::Kind::conv_transpose : AuditLayer::Kind::conv);
    read_weights(layer, next_name());
    return layer;
  }

  // A square window that keeps the size of pictures.
  AuditLayer same_size(const std::string& name, const AuditPicture& from, int64_t channels,
                       int64_t kernel) {
    AuditLayer layer =
        layer_between(AuditLayer::Kind::conv, from, {channels, from.height, from.width});
    layer.window.kernel_h = layer.window.kernel_w = kernel;
    layer.window.padding_h = layer.window.padding_w = kernel / 2;
    read_weights(layer, name);
    return layer;
  }

  void read_weights(AuditLayer& layer, const std::string& name) {
    const bool transposed = layer.kind == AuditLayer::Kind::conv_transpose;
    const int64_t in = layer.from.channels, out = layer.to.channels;
    layer.weight =
        reader_.numbers(name + ".weight", {transposed ? in : out, transposed ? out : in,
                                           layer.window.kernel_h, layer.window.kernel_w});
    layer.bias = reader_.numbers(name + ".bias", {out});
  }

  AuditLayer resampling(const LayerPlan& plan) {
    ++module_;
    const bool up = plan.spec.kind == LayerKind::upsample;
    AuditLayer layer = layer_of(plan, up ? AuditLayer::Kind::upsample : AuditLayer::Kind::average);
    layer.bilinear = plan.spec.bilinear;
    return layer;
  }

  AuditLayer normalisation(const LayerSpec& spec, const std::string& name,
                           const AuditPicture& picture) {
    return spec.norm == NormKind::batch ? reader_.batch_norm(name, picture)
                                        : reader_.group_norm(name, picture, spec.groups);
  }

  AuditLayer residual(const LayerPlan& plan, const std::string& name) {
    AuditLayer block = layer_of(plan, AuditLayer::Kind::residual);
    const AuditPicture &from = block.from, &to = block.to;
    block.branch = {normalisation(plan.spec, name + ".norm1", from),
                    same_size(name + ".conv1", from, to.channels, 3),
                    normalisation(plan.spec, name + ".norm2", to),
                    same_size(name + ".conv2", to, to.channels, 3)};
    block.branch[0].activation = block.branch[2].activation = plan.spec.activation;
    if (from.channels != to.channels) {
      block.skip = {same_size(name + ".nin_shortcut", from, to.channels, 1)};
    }
    return block;
  }

  AuditLayer attention(const LayerPlan& plan, const std::string& name) {
    AuditLayer block = layer_of(plan, AuditLayer::Kind::attention);
    block.branch = {normalisation(plan.spec, name + ".norm", block.from)};
    for (const char* part : {".q", ".k", ".v", ".proj_out"}) {
      block.branch.push_back(same_size(name + part, block.from, block.from.channels, 1));
    }
    return block;
  }

  AuditReader& reader_;
  std::string prefix_;
  int64_t module_ = 0;
  std::vector<AuditLayer> layers_;
};

}  // namespace

AuditPicture audit_picture(const ImageSize& size) {
  return {size.channels, size.height, size.width};
}

std::vector<AuditLayer> audit_convolutional(AuditReader& reader, const std::string& prefix,
                                            const std::vector<LayerPlan>& plans) {
  return ConvolutionalReader(reader, prefix).read(plans);
}

}  // namespace elbo
