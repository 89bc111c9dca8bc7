// Convolutions of image models on CUDA: cuDNN against our own kernels with phases apart and together, and
// a last layer with its likelihood in one kernel against one pass after the other.
//
//   conv_device_bench [--model d1] [--batch 64] [--cache cold|warm] [--samples 11] [--json FILE] [--quick]
//
// Forward has a bias and ReLU, the weight gradient that of the bias; "likelihood" is a last layer's forward with
// a Bernoulli's loss and gradient. A time is that of one call among many in a graph. cold: calls go
// round operands that are several times the L2 together, as in a step of a large model; warm: the
// same ones again and again. A "-" is what the library refuses or the kernels cannot do.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include "bench/conv_layers.h"
#include "bench/device_timing.h"
#include "kernels/conv_backends.h"
#include "kernels/conv_likelihood.h"
#include "kernels/error.h"
#include "kernels/tensor_conv.h"

namespace elbo::bench {
namespace {

constexpr int kRepeats = 32;  // calls in a graph, and more where there are more sets of operands

struct Options {
  std::string model, json, cache = "warm";
  int64_t batch = 64;
  int samples = 11;
  double rotate_mb = 256.0;  // four times an H200's L2
  bool quick = false;
};

enum class Op : int { forward, data_gradient, weight_gradient, likelihood };
constexpr Op kOps[] = {Op::forward, Op::data_gradient, Op::weight_gradient, Op::likelihood};
constexpr const char* kOpNames[] = {"forward", "data gradient", "weight gradient", "likelihood"};

enum class Who : int { cudnn, apart, joint };
struct Contender {
  const char* name;
  Who who;
  ProductPrecision precision;
  bool is_bf16;
};
constexpr Contender kContenders[] = {
    {"cudnn fp32", Who::cudnn, ProductPrecision::fp32, false},
    {"own fp32", Who::apart, ProductPrecision::fp32, false},
    {"cudnn tf32", Who::cudnn, ProductPrecision::tf32, false},
    {"own tf32", Who::apart, ProductPrecision::tf32, false},
    {"joint tf32", Who::joint, ProductPrecision::tf32, false},
    {"own bf16", Who::apart, ProductPrecision::tf32, true},
    {"joint bf16", Who::joint, ProductPrecision::tf32, true},
};

constexpr int64_t kMostOutputChannels = 4;  // of a layer that pictures come out of

#ifdef ELBO_HAS_CUDNN
bool by_library(const Exec& exec, const ConvProduct<float>& product) {
  return cudnn::convolve(exec, product);
}
bool by_library(const Exec& exec, const ConvWeightProduct<float>& product) {
  return cudnn::conv_weight_gradient(exec, product);
}
#endif
template <class Product>
bool by_library(const Exec&, const Product&) {
  return false;
}

// One set of a layer's operands, and what can be done with them.
template <class T>
class LayerWork {
 public:
  LayerWork(Context& context, const ConvLayer& layer)
      : context_(context),
        layer_(layer),
        image_(values(layer.geometry.batch * layer.geometry.image.size(), sizeof(T))),
        features_(values(layer.geometry.batch * layer.geometry.features.size(), sizeof(T))),
        weight_(values(layer.geometry.weight_size(), sizeof(T))),
        dweight_(values(layer.geometry.weight_size(), sizeof(float))),
        bias_(values(channels(), sizeof(float))),
        dbias_(values(channels(), sizeof(float))),
        target_(values(layer.geometry.batch * layer.geometry.image.size(), 1)) {
    const float one = 1.0f;
    one_ = values(1, sizeof one);
    context.upload(one_.data(), &one, sizeof one);
  }

  static double bytes(const ConvGeometry& g) {
    return static_cast<double>(sizeof(T)) *
           static_cast<double>(g.batch * (g.image.size() + g.features.size()) + g.weight_size());
  }

  // False if `with` cannot do it.
  bool launch(Op op, const Contender& with) {
    Exec exec = context_.exec();
    exec.products = with.precision;
    if (op == Op::likelihood) return launch_likelihood(exec, with);
    if (op == Op::weight_gradient) return launch_weight_gradient(exec, with);
    const bool to_features = layer_.transpose != (op == Op::forward);
    const ConvTowards towards = to_features ? ConvTowards::features : ConvTowards::image;
    ConvProduct<T> product{layer_.geometry, towards, side(!to_features), weight_.template as<T>(),
                           side(to_features)};
    if (op == Op::forward) {
      product.bias = bias_.template as<float>();
      product.activation = Activation::relu;
    }
    using tensor_core::Phases;
    if (with.who == Who::cudnn) return by_library(exec, product);
    if (with.who == Who::joint && !tensor_core::can_join_phases(layer_.geometry, towards))
      return false;
    tensor_core::convolve(exec, product, with.who == Who::joint ? Phases::joint : Phases::apart);
    return true;
  }

 private:
  // Neither zeros, which cost a GPU less power, nor anything that overflows: 0.0115 as float or bf16.
  DeviceBlock values(int64_t count, size_t size) {
    DeviceBlock block(context_, size * static_cast<size_t>(count), Role::data);
    context_.fill_bytes(block.data(), 0x3c, block.bytes());
    return block;
  }
  int64_t channels() const {
    return std::max(layer_.geometry.image.channels, layer_.geometry.features.channels);
  }
  T* side(bool features) const { return (features ? features_ : image_).template as<T>(); }

  bool launch_weight_gradient(const Exec& exec, const Contender& with) {
    if (with.who == Who::joint) return false;  // there is one way only
    ConvWeightProduct<T> product{layer_.geometry, side(false), side(true),
                                 dweight_.template as<float>()};
    product.dy_side = layer_.transpose ? ConvTowards::image : ConvTowards::features;
    product.dbias = dbias_.template as<float>();
    if (with.who == Who::cudnn) return by_library(exec, product);
    tensor_core::conv_weight_gradient(exec, product);
    return true;
  }

  // Ours in one kernel, phases by the rule; the library's sums, then bias and loss.
  bool launch_likelihood(Exec& exec, const Contender& with) {
    const ConvGeometry& g = layer_.geometry;
    const ImageSize& output = layer_.transpose ? g.image : g.features;
    if (output.channels > kMostOutputChannels || with.who == Who::joint) return false;
    if (with.who == Who::cudnn && !std::is_same_v<T, float>) return false;
    exec.product_kernels = with.who == Who::cudnn ? ProductKernels::vendor : ProductKernels::own;
    ConvLikelihood<T, uint8_t> args{};
    args.geometry = g;
    args.x = side(layer_.transpose);
    args.weight = weight_.template as<T>();
    args.bias = bias_.template as<float>();
    args.target = target_.template as<uint8_t>();
    args.doutput = side(!layer_.transpose);
    args.loss_weight = {one_.template as<float>(), 0, 1.0f / static_cast<float>(g.batch)};
    const int64_t parts = layer_.transpose ? conv_transpose2d_likelihood_parts<T>(exec, g)
                                           : conv2d_likelihood_parts<T>(exec, g);
    if (nll_.bytes() < sizeof(float) * static_cast<size_t>(parts * g.batch))
      nll_ = values(parts * g.batch, sizeof(float));
    args.nll = nll_.template as<float>();
    layer_.transpose ? conv_transpose2d_likelihood(exec, args) : conv2d_likelihood(exec, args);
    return true;
  }

  Context& context_;
  ConvLayer layer_;
  DeviceBlock image_, features_, weight_, dweight_, bias_, dbias_, target_, one_, nll_;
};

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options), choice_(choose_device("cuda")), context_(choice_) {}

  void run() {
    std::printf("%s, batch %lld, %s, microseconds\n%-12s %-16s",
                device_description(choice_).c_str(), static_cast<long long>(options_.batch),
                options_.cache.c_str(), "layer", "");
    for (const Contender& contender : kContenders) std::printf(" %10s", contender.name);
    std::puts("");
    for (const ConvLayer& layer : conv_layers(options_.batch)) {
      if (!options_.model.empty() && layer.model != options_.model) continue;
      if (options_.quick && layer.name != "c1" && layer.name != "t3") continue;
      for (const Op op : kOps) measure(layer, op);
      save_rows(options_.json, device_description(choice_), rows_);
    }
    if (rows_.empty()) throw_error(ErrorCode::usage, "no layer of a model '", options_.model, "'");
  }

 private:
  void measure(const ConvLayer& layer, Op op) {
    const ConvGeometry& g = layer.geometry;
    const double flop = 2.0 * static_cast<double>(g.batch * g.features.pixels()) *
                        static_cast<double>(g.weight_size());
    std::string line;
    bool any = false;
    for (const Contender& contender : kContenders) {
      const double us =
          contender.is_bf16 ? time<bf16>(layer, op, contender) : time<float>(layer, op, contender);
      char text[32] = "          -";
      if (us > 0) std::snprintf(text, sizeof text, " %10.2f", us);
      line += text;
      if (us <= 0) continue;
      any = true;
      rows_.push_back({{"model", layer.model},
                       {"layer", layer.name},
                       {"op", kOpNames[static_cast<int>(op)]},
                       {"batch", g.batch},
                       {"cache", options_.cache},
                       {"contender", contender.name},
                       {"us", us},
                       {"gflop_per_s", 1e-3 * flop / us}});
    }
    if (!any) return;
    std::printf("%-2s %-9s %-16s%s\n", layer.model.c_str(), layer.name.c_str(),
                kOpNames[static_cast<int>(op)], line.c_str());
    std::fflush(stdout);
  }

  // 0 if the contender cannot do it.
  template <class T>
  double time(const ConvLayer& layer, Op op, const Contender& contender) {
    const double set_bytes = LayerWork<T>::bytes(layer.geometry);
    const auto sets = options_.cache == "cold"
                          ? static_cast<int>(std::ceil(1e6 * options_.rotate_mb / set_bytes)) + 1
                          : 1;
    std::vector<std::unique_ptr<LayerWork<T>>> works;
    for (int i = 0; i < sets; ++i) {
      works.push_back(std::make_unique<LayerWork<T>>(context_, layer));
      // Also lets the library find its algorithm and memory be taken, which a recording cannot do.
      if (!works.back()->launch(op, contender)) return 0;
    }
    const int repeats = std::max(options_.quick ? 2 : kRepeats, sets);
    return repeated_us(
        context_, [&](int i) { works[static_cast<size_t>(i % sets)]->launch(op, contender); },
        repeats, options_.samples);
  }

  Options options_;
  DeviceChoice choice_;
  Context context_;
  nlohmann::json rows_ = nlohmann::json::array();
};

}  // namespace
}  // namespace elbo::bench

int main(int argc, char** argv) {
  elbo::bench::Options options;
  CLI::App app("Convolutions by cuDNN and by our own kernels.", "conv_device_bench");
  app.add_option("--model", options.model, "c1, c2, d1 or d2; default: all");
  app.add_option("--batch", options.batch)->check(CLI::PositiveNumber);
  app.add_option("--cache", options.cache)->check(CLI::IsMember({"cold", "warm"}));
  app.add_option("--samples", options.samples)->check(CLI::PositiveNumber);
  app.add_option("--rotate-mb", options.rotate_mb, "cold: all sets of operands together");
  app.add_option("--json", options.json, "also write the figures there");
  app.add_flag("--quick", options.quick, "two layers, few calls");
  CLI11_PARSE(app, argc, argv);
  try {
    elbo::bench::Bench(options).run();
  } catch (const elbo::Error& error) {
    std::fprintf(stderr, "conv_device_bench: %s\n", error.what());
    return error.exit_status();
  }
}
