// Convolutions of image models on the CPU: oneDNN's own primitives, our two implementations, and
// the one of them that kernels/conv_plan.cpp chooses.
//
//   GOMP_SPINCOUNT=1000 conv_bench [--model d1] [--batch 64] [--rounds 25] [--out FILE] [--smoke]
//
// Columns, medians in microseconds, measured in turns:
//   bare     oneDNN's primitive alone, its weight reordered beforehand: deconvolution for forward
//            of a transposed convolution, else convolution and its gradients
//   onednn   the layer through oneDNN: with the reorder of the weight, bias, activation and what
//            undoes it
//   native   the layer by our own kernels
//   ours     the layer through kernels/conv2d.h
//   bare/    bare over ours, median of the rounds
// for sums alone ("plain"), and with what a layer of a network adds ("fused": bias and ReLU
// forward; the input's ReLU undone, with its bias gradient, in data gradients). On a busy machine
// set OMP_NUM_THREADS=1: the clock then is the thread's own CPU time.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <vector>

#include "bench/bare_convs.h"
#include "bench/conv_layers.h"
#include "bench/device_timing.h"
#include "bench/timing.h"
#include "kernels/conv_backends.h"
#include "kernels/error.h"

namespace elbo::bench {
namespace {

struct Options {
  std::string model, out;
  int64_t batch = 64;
  int rounds = 25;
  bool smoke = false;
};

enum class Op : int { forward, data_gradient, weight_gradient };
constexpr Op kOps[] = {Op::forward, Op::data_gradient, Op::weight_gradient};
constexpr const char* kOpNames[] = {"forward", "data gradient", "weight gradient"};

enum Contender : int { kBare, kOnednn, kNative, kOurs, kContenders };
constexpr const char* kContenderNames[] = {"bare_us", "onednn_us", "native_us", "ours_us"};

// One layer's operands, and its three products by each contender.
class LayerBench {
 public:
  LayerBench(const Exec& exec, const ConvLayer& layer) : exec_(exec), layer_(layer) {
    const ConvGeometry& g = layer.geometry;
    image_ = values(g.batch * g.image.size());
    features_ = values(g.batch * g.features.size());
    kept_ = values(std::max(g.batch * g.image.size(), g.batch * g.features.size()));
    weight_ = values(g.weight_size());
    bias_ = values(std::max(g.image.channels, g.features.channels));
    dbias_ = bias_;
    input_ = {.activation = Activation::relu, .y = kept_.data(), .dbias = dbias_.data()};
  }

  // Medians of all contenders, and of the ratio bare / ours.
  std::vector<double> time(Op op, bool fused, int rounds) {
    BareConv bare(bare_kind(op), layer_.geometry, image_.data(), features_.data());
    const std::function<void()> calls[] = {[&] { bare.run(); }, [&] { by_onednn(op, fused); },
                                           [&] { by_native(op, fused); },
                                           [&] { by_choice(op, fused); }};
    std::vector<double> times[kContenders], ratios, medians;
    for (const auto& call : calls) call();
    for (int round = 0; round < rounds; ++round) {
      for (int i = 0; i < kContenders; ++i) times[i].push_back(time_us(calls[i], 1));
      ratios.push_back(times[kBare].back() / times[kOurs].back());
    }
    for (const auto& each : times) medians.push_back(quantile(each, 0.5));
    medians.push_back(quantile(ratios, 0.5));
    return medians;
  }

 private:
  static std::vector<float> values(int64_t count) {
    std::vector<float> v(static_cast<size_t>(count));
    for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>((i * 7919) % 1000) / 500 - 1;
    return v;
  }

  ConvTowards towards(Op op) const {
    return (op == Op::forward) == layer_.transpose ? ConvTowards::image : ConvTowards::features;
  }

  BareConvKind bare_kind(Op op) const {
    if (op == Op::weight_gradient) return BareConvKind::backward_weight;
    if (towards(op) == ConvTowards::features) return BareConvKind::forward;
    return layer_.transpose ? BareConvKind::deconvolution : BareConvKind::backward_data;
  }

  ConvProduct<float> product(Op op, bool fused) {
    const bool to_image = towards(op) == ConvTowards::image;
    ConvProduct<float> p{.geometry = layer_.geometry,
                         .towards = towards(op),
                         .in = to_image ? features_.data() : image_.data(),
                         .weight = weight_.data(),
                         .out = to_image ? image_.data() : features_.data()};
    if (fused && op == Op::forward) {
      p.bias = bias_.data();
      p.activation = Activation::relu;
    }
    if (fused && op == Op::data_gradient) p.input = &input_;
    return p;
  }

  ConvWeightProduct<float> weight_product() {
    return {.geometry = layer_.geometry,
            .image = image_.data(),
            .features = features_.data(),
            .dweight = weight_.data(),
            .dy_side = layer_.transpose ? ConvTowards::image : ConvTowards::features};
  }

  void by_onednn(Op op, bool fused) {
    const bool done = op == Op::weight_gradient
                          ? onednn::conv_weight_gradient(exec_, weight_product())
                          : onednn::convolve(exec_, product(op, fused));
    ELBO_CHECK(done, "oneDNN has no ", kOpNames[static_cast<int>(op)], " of ",
               layer_.geometry.to_string());
  }

  void by_native(Op op, bool fused) {
    if (op == Op::weight_gradient) return native::conv_weight_gradient(exec_, weight_product());
    native::convolve(exec_, product(op, fused));
  }

  void by_choice(Op op, bool fused) {
    if (op == Op::weight_gradient) return weight_gradient_on_cpu(exec_, weight_product());
    convolve_on_cpu(exec_, product(op, fused));
  }

  const Exec& exec_;
  ConvLayer layer_;
  std::vector<float> image_, features_, kept_, weight_, bias_, dbias_;
  InputActivation input_;
};

void print_row(const ConvLayer& layer, Op op, bool fused, const std::vector<double>& us) {
  const ConvGeometry& g = layer.geometry;
  const double gflop = 2e-9 * static_cast<double>(g.feature_rows() * g.weight_size());
  std::printf("%-3s %-3s %-15s %-5s %9.0f %9.0f %9.0f %9.0f %7.2f %7.1f\n", layer.model.c_str(),
              layer.name.c_str(), kOpNames[static_cast<int>(op)], fused ? "fused" : "plain",
              us[kBare], us[kOnednn], us[kNative], us[kOurs], us[kContenders],
              1e6 * gflop / us[kOurs]);
  std::fflush(stdout);
}

void run(const Options& options) {
  Context context;
  const std::string device = device_description({Device::cpu, 0, ""});
  std::printf("%s, batch %ld\n%-3s %-3s %-15s %-5s %9s %9s %9s %9s %7s %7s\n", device.c_str(),
              static_cast<long>(options.batch), "", "", "", "", "bare", "onednn", "native", "ours",
              "bare/", "GF/s");
  nlohmann::json rows = nlohmann::json::array();
  for (const ConvLayer& layer : conv_layers(options.batch)) {
    if (options.model.empty() ? layer.model == "c1" : layer.model != options.model) continue;
    LayerBench bench(context.exec(), layer);
    for (const Op op : kOps) {
      for (const bool fused : {false, true}) {
        if (fused && op == Op::weight_gradient) continue;
        const std::vector<double> us = bench.time(op, fused, options.rounds);
        print_row(layer, op, fused, us);
        nlohmann::json row{{"model", layer.model},
                           {"layer", layer.name},
                           {"op", kOpNames[static_cast<int>(op)]},
                           {"geometry", layer.geometry.to_string()},
                           {"fused", fused},
                           {"bare_over_ours", us[kContenders]}};
        for (int i = 0; i < kContenders; ++i) row[kContenderNames[i]] = us[static_cast<size_t>(i)];
        rows.push_back(row);
      }
    }
  }
  save_rows(options.out, device, rows);
}

}  // namespace
}  // namespace elbo::bench

int main(int argc, char** argv) {
  elbo::bench::Options options;
  CLI::App app("Convolutions of image models on the CPU.", "conv_bench");
  app.add_option("--model", options.model,
                 "c1, c2, d1 or d2; by default all but c1, which takes minutes");
  app.add_option("--batch", options.batch)->check(CLI::PositiveNumber);
  app.add_option("--rounds", options.rounds)->check(CLI::PositiveNumber);
  app.add_option("--out", options.out, "also write the figures there, as JSON");
  app.add_flag("--smoke", options.smoke, "two samples, one round: whether it runs");
  CLI11_PARSE(app, argc, argv);
  if (options.smoke) options.batch = 2, options.rounds = 1;
  try {
    elbo::bench::run(options);
  } catch (const elbo::Error& error) {
    std::fprintf(stderr, "conv_bench: %s\n", error.what());
    return error.exit_status();
  }
}
