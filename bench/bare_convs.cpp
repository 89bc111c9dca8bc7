#include "bench/bare_convs.h"

#include <algorithm>
#include <array>
#include <oneapi/dnnl/dnnl.hpp>
#include <stdexcept>

namespace elbo::bench {
namespace {

using dnnl::memory;
constexpr auto kDirect = dnnl::algorithm::convolution_direct;
constexpr auto kTraining = dnnl::prop_kind::forward_training;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

const dnnl::stream& stream() {
  static const dnnl::stream s(engine());
  return s;
}

struct Shapes {
  memory::desc image, features, weight, deconvolution_weight;
  memory::dims strides, dilations, left, right;

  explicit Shapes(const ConvGeometry& g) {
    const ConvWindow& w = g.window;
    const auto pixels = [&](const ImageSize& s) {
      return memory::desc({g.batch, s.channels, s.height, s.width}, memory::data_type::f32,
                          memory::format_tag::nhwc);
    };
    const auto any = [&](int64_t out, int64_t in) {
      return memory::desc({out, in, w.kernel_h, w.kernel_w}, memory::data_type::f32,
                          memory::format_tag::any);
    };
    image = pixels(g.image);
    features = pixels(g.features);
    weight = any(g.features.channels, g.image.channels);
    deconvolution_weight = any(g.image.channels, g.features.channels);
    strides = {w.stride_h, w.stride_w};
    dilations = {w.dilation_h - 1, w.dilation_w - 1};
    left = {w.padding_h, w.padding_w};
    right = {(g.features.height - 1) * w.stride_h + w.dilation_h * (w.kernel_h - 1) + 1 -
                 g.image.height - w.padding_h,
             (g.features.width - 1) * w.stride_w + w.dilation_w * (w.kernel_w - 1) + 1 -
                 g.image.width - w.padding_w};
  }
};

#if DNNL_VERSION_MAJOR >= 3
template <class P, class... Args>
typename P::primitive_desc describe(const Args&... args) {
  return {engine(), args...};
}
#else
// Version 2 has an operation descriptor between, and takes the hint behind the engine.
template <class P, class... Args>
typename P::primitive_desc describe(const Args&... args) {
  return {typename P::desc(args...), engine()};
}
template <class P, class... Args>
typename P::primitive_desc describe_backward(const dnnl::convolution_forward::primitive_desc& hint,
                                             const Args&... args) {
  return {typename P::desc(args...), engine(), hint};
}
#endif

dnnl::convolution_forward::primitive_desc forward_of(const Shapes& s) {
  return describe<dnnl::convolution_forward>(kTraining, kDirect, s.image, s.weight, s.features,
                                             s.strides, s.dilations, s.left, s.right);
}

template <class P>
typename P::primitive_desc backward_of(const Shapes& s, const memory::desc& first,
                                       const memory::desc& second, const memory::desc& third) {
#if DNNL_VERSION_MAJOR >= 3
  return describe<P>(kDirect, first, second, third, s.strides, s.dilations, s.left, s.right,
                     forward_of(s));
#else
  return describe_backward<P>(forward_of(s), kDirect, first, second, third, s.strides, s.dilations,
                              s.left, s.right);
#endif
}

}  // namespace

struct BareConv::Primitive {
  dnnl::primitive primitive{};
  memory image{}, features{}, weight{};
  std::array<int, 3> arguments{};  // of image, features and weight
  std::string implementation;

  template <class P>
  void set(const typename P::primitive_desc& descriptor, const memory::desc& weight_desc,
           std::array<int, 3> names) {
    primitive = P(descriptor);
    implementation = descriptor.impl_info_str();
    arguments = names;
    weight = memory(weight_desc, engine());
    std::fill_n(static_cast<float*>(weight.get_data_handle()),
                weight_desc.get_size() / sizeof(float), 0.01f);
  }
};

BareConv::BareConv(BareConvKind kind, const ConvGeometry& g, float* image, float* features)
    : primitive_(std::make_unique<Primitive>()) {
  const Shapes s(g);
  Primitive& p = *primitive_;
  p.image = memory(s.image, engine(), image);
  p.features = memory(s.features, engine(), features);
  if (kind == BareConvKind::forward) {
    const auto d = forward_of(s);
    p.set<dnnl::convolution_forward>(d, d.weights_desc(),
                                     {DNNL_ARG_SRC, DNNL_ARG_DST, DNNL_ARG_WEIGHTS});
  } else if (kind == BareConvKind::backward_data) {
    const auto d = backward_of<dnnl::convolution_backward_data>(s, s.image, s.weight, s.features);
    p.set<dnnl::convolution_backward_data>(
        d, d.weights_desc(), {DNNL_ARG_DIFF_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS});
  } else if (kind == BareConvKind::backward_weight) {
    const auto d =
        backward_of<dnnl::convolution_backward_weights>(s, s.image, s.weight, s.features);
    p.set<dnnl::convolution_backward_weights>(
        d, d.diff_weights_desc(), {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS});
  } else {
    const auto d = describe<dnnl::deconvolution_forward>(
        kTraining, dnnl::algorithm::deconvolution_direct, s.features, s.deconvolution_weight,
        s.image, s.strides, s.dilations, s.left, s.right);
    p.set<dnnl::deconvolution_forward>(d, d.weights_desc(),
                                       {DNNL_ARG_DST, DNNL_ARG_SRC, DNNL_ARG_WEIGHTS});
  }
}

BareConv::~BareConv() = default;

const std::string& BareConv::implementation() const { return primitive_->implementation; }

void BareConv::run() {
  const Primitive& p = *primitive_;
  const std::array<dnnl_exec_arg_t, 3> args{{{p.arguments[0], p.image.get()},
                                             {p.arguments[1], p.features.get()},
                                             {p.arguments[2], p.weight.get()}}};
  if (dnnl_primitive_execute(p.primitive.get(), stream().get(), 3, args.data()) != dnnl_success) {
    throw std::runtime_error("oneDNN: the convolution failed");
  }
}

}  // namespace elbo::bench
