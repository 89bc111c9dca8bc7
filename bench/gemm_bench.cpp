// Dense layers: every bare product of the two MLP workloads by sgemm and by matmul, a whole step of
// them, and the same step through kernels/linear.h with biases and activations; then each layer by our
// own products (kernels/cpu_product.h) and by oneDNN, with all that follows the product. Pixels there
// are drawn sprites, of which 5 % are not zero; --pixels FILE takes them from a file of 784 bytes an
// image instead (MNIST's: 19 %).
//
//   GOMP_SPINCOUNT=1000 gemm_bench [--pixels FILE] [--benchmark_filter=...]
//
// Read the ratio below the products: layer passes (bias, activation, their gradients) over bare products,
// measured in turns in one run. On a busy machine set OMP_NUM_THREADS=1: the clock then is the
// thread's own CPU time.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>

#include "bench/bare_gemms.h"
#include "bench/timing.h"
#include "bench/workloads.h"
#include "kernels/error.h"
#include "kernels/gemm_handles.h"
#include "kernels/linear.h"
#include "kernels/linear_backends.h"

namespace elbo::bench {
namespace {

// A step of the model's layers through linear.h: forward, then weight and data gradients with the
// activation and bias gradient of the layer below as epilogue.
class LayerStep {
 public:
  LayerStep(const DenseModel& model, Activation hidden) : batch_(model.batch) {
    exec_.gemm = create_gemm_handles(Device::cpu);
    for (const DenseLayer& l : model.layers) {
      layers_.push_back({l, l.hidden ? hidden : Activation::identity, values(batch_ * l.in),
                         values(l.in * l.out), values(l.out), values(batch_ * l.out),
                         values(batch_ * l.in), values(l.in * l.out), values(l.out)});
    }
  }
  ~LayerStep() { destroy_gemm_handles(exec_.gemm); }
  LayerStep(const LayerStep&) = delete;
  LayerStep& operator=(const LayerStep&) = delete;

  void run() {
    for (Layer& l : layers_) {
      linear_forward(exec_, LinearForward{.x = l.x.data(),
                                          .weight = l.weight.data(),
                                          .bias = l.bias.data(),
                                          .y = l.y.data(),
                                          .batch = batch_,
                                          .in = l.shape.in,
                                          .out = l.shape.out,
                                          .activation = l.activation});
    }
    for (size_t i = layers_.size(); i-- > 0;) backward(i);
  }

 private:
  struct Layer {
    DenseLayer shape;
    Activation activation;
    std::vector<float> x, weight, bias, y, dx, dweight, dbias;
  };

  static std::vector<float> values(int64_t count) {
    return std::vector<float>(static_cast<size_t>(count), 0.01f);
  }

  void backward(size_t i) {
    Layer& l = layers_[i];
    const bool bias_done =
        l.activation != Activation::identity;  // as an epilogue of the layer above
    linear_backward_weight(exec_,
                           LinearBackwardWeight{.x = l.x.data(),
                                                .dy = l.y.data(),
                                                .dweight = l.dweight.data(),
                                                .dbias = bias_done ? nullptr : l.dbias.data(),
                                                .batch = batch_,
                                                .in = l.shape.in,
                                                .out = l.shape.out});
    if (!l.shape.input_gradient) return;
    Layer& producer = layers_[i - 1];
    const InputActivation input{
        .activation = producer.activation, .y = l.x.data(), .dbias = producer.dbias.data()};
    const bool fuse = producer.activation != Activation::identity;
    linear_backward_data(exec_, LinearBackwardData{.dy = l.y.data(),
                                                   .weight = l.weight.data(),
                                                   .dx = l.dx.data(),
                                                   .batch = batch_,
                                                   .in = l.shape.in,
                                                   .out = l.shape.out,
                                                   .input = fuse ? &input : nullptr});
  }

  Exec exec_;
  int64_t batch_;
  std::vector<Layer> layers_;
};

void report_products(const DenseModel& model, const BareGemms& bare) {
  std::printf("\n%s, batch %ld: %.3f GFLOP per step\n", model.name.c_str(),
              static_cast<long>(model.batch), bare.gflop());
  std::printf("  %-14s %9s %9s   GFLOP/s of the faster\n", "product", "sgemm us", "matmul us");
  for (const ProductTime& t : bare.products()) {
    std::printf("  %-14s %9.1f %9.1f   %.0f\n", t.name.c_str(), t.sgemm_us, t.matmul_us,
                t.gflop / std::min(t.sgemm_us, t.matmul_us) * 1e6);
  }
}

void report_ratio(const DenseModel& model, Activation hidden) {
  BareGemms bare(model);
  report_products(model, bare);
  LayerStep layers(model, hidden);
  const PairedTimes times = time_paired([&] { bare.run(); }, [&] { layers.run(); });
  std::printf("  bare step %.0f us, layers %.0f us, ratio %.3f (10-90 %%: %.3f to %.3f)\n",
              times.base_us, times.other_us, times.ratio, times.ratio_10_percent,
              times.ratio_90_percent);
}

// One layer by both backends.
class LayerByBackend {
 public:
  LayerByBackend(const DenseLayer& shape, int64_t batch, Activation hidden,
                 const std::vector<float>& pixels)
      : shape_(shape), batch_(batch), activation_(shape.hidden ? hidden : Activation::identity) {
    exec_.gemm = create_gemm_handles(Device::cpu);
    fill(x_, batch * shape.in);
    fill(weight_, shape.in * shape.out);
    fill(bias_, shape.out);
    fill(dy_, batch * shape.out);
    y_ = dy_;
    dx_ = x_;
    dweight_ = weight_;
    dbias_.resize(static_cast<size_t>(std::max(shape.in, shape.out)));
    if (!shape.input_gradient && pixels.size() >= x_.size()) {
      std::copy_n(pixels.begin(), x_.size(), x_.begin());
    }
  }
  ~LayerByBackend() { destroy_gemm_handles(exec_.gemm); }
  LayerByBackend(const LayerByBackend&) = delete;
  LayerByBackend& operator=(const LayerByBackend&) = delete;

  void report() {
    const LinearForward forward{.x = x_.data(),
                                .weight = weight_.data(),
                                .bias = bias_.data(),
                                .y = y_.data(),
                                .batch = batch_,
                                .in = shape_.in,
                                .out = shape_.out,
                                .activation = activation_};
    report("forward", native::takes_forward(forward), native::linear_forward,
           onednn::linear_forward, forward);
    // As in LayerStep, the producer's activation is the hidden one where there is a gradient.
    const InputActivation input{
        .activation = Activation::relu, .y = x_.data(), .dbias = dbias_.data()};
    const LinearBackwardData data{.dy = dy_.data(),
                                  .weight = weight_.data(),
                                  .dx = dx_.data(),
                                  .batch = batch_,
                                  .in = shape_.in,
                                  .out = shape_.out,
                                  .input = &input};
    if (shape_.input_gradient) {
      report("data", native::takes_backward_data(data), native::linear_backward_data,
             onednn::linear_backward_data, data);
    }
    const LinearBackwardWeight weight{.x = x_.data(),
                                      .dy = dy_.data(),
                                      .dweight = dweight_.data(),
                                      .batch = batch_,
                                      .in = shape_.in,
                                      .out = shape_.out};
    report("weight", native::takes_backward_weight(weight), native::linear_backward_weight,
           onednn::linear_backward_weight, weight);
  }

 private:
  static void fill(std::vector<float>& values, int64_t count) {
    values.resize(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = 0.01f * static_cast<float>(i % 23 + 1);  // no zeros, no denormals
    }
  }

  template <class Function, class Args>
  void report(const char* name, bool taken, Function own, Function library, const Args& args) {
    const int repeats =
        std::max(1, static_cast<int>(500 / std::max(1.0, time_us([&] { own(exec_, args); }, 3))));
    const PairedTimes times =
        time_paired([&] { own(exec_, args); }, [&] { library(exec_, args); }, 61, repeats);
    std::printf("  %-4s %-8s %9.1f %9.1f   %5.2f (%.2f-%.2f) %s\n", shape_.name.c_str(), name,
                times.base_us, times.other_us, times.ratio, times.ratio_10_percent,
                times.ratio_90_percent, taken ? "own" : "oneDNN");
  }

  Exec exec_;
  DenseLayer shape_;
  int64_t batch_;
  Activation activation_;
  std::vector<float> x_, weight_, bias_, y_, dy_, dx_, dweight_, dbias_;
};

void report_backends(const DenseModel& model, Activation hidden, const std::vector<float>& pixels) {
  std::printf("\n%s, batch %ld, layers by our own products and by oneDNN\n", model.name.c_str(),
              static_cast<long>(model.batch));
  std::printf("  %-13s %9s %9s   oneDNN / own (10-90 %%), and which of them linear.h takes\n",
              "layer", "own us", "oneDNN us");
  for (const DenseLayer& layer : model.layers) {
    LayerByBackend(layer, model.batch, hidden, pixels).report();
  }
}

// Takes `--pixels FILE` out of the arguments.
std::vector<float> read_pixels(int& argc, char** argv) {
  constexpr int64_t kMost = 128 * 784;  // the largest batch here
  std::vector<std::byte> bytes;
  if (argc > 2 && std::string(argv[1]) == "--pixels") {
    std::ifstream file(argv[2], std::ios::binary);
    bytes.resize(static_cast<size_t>(kMost));
    file.read(reinterpret_cast<char*>(bytes.data()), kMost);
    if (!file) throw std::runtime_error(concat(argv[2], ": fewer than 128 images"));
    std::copy(argv + 3, argv + argc, argv + 1);
    argc -= 2;
  } else {
    bytes = drawn_images("mlp-mnist").file;
  }
  std::vector<float> pixels(static_cast<size_t>(kMost));
  for (size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<float>(std::to_integer<int>(bytes[i])) / 255.0f;
  }
  return pixels;
}

void bare_step(benchmark::State& state, const DenseModel& model) {
  BareGemms bare(model);
  for (auto _ : state) bare.run();
  state.counters["GFLOP/s"] =
      benchmark::Counter(bare.gflop(), benchmark::Counter::kIsIterationInvariantRate);
}

void layer_step(benchmark::State& state, const DenseModel& model, Activation hidden) {
  LayerStep layers(model, hidden);
  for (auto _ : state) layers.run();
  state.counters["images/s"] = benchmark::Counter(static_cast<double>(model.batch),
                                                  benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace
}  // namespace elbo::bench

int main(int argc, char** argv) {
  using namespace elbo;
  using namespace elbo::bench;
  const std::vector<float> pixels = read_pixels(argc, argv);
  benchmark::Initialize(&argc, argv);
  const std::vector<std::pair<DenseModel, Activation>> workloads = {
      {mlp_mnist(128), Activation::relu},
      {burda(20), Activation::tanh},
      {burda(100), Activation::tanh}};
  for (const auto& [model, hidden] : workloads) {
    const std::string name = model.name + "/" + std::to_string(model.batch);
    benchmark::RegisterBenchmark((name + "/bare").c_str(), bare_step, model)->UseRealTime();
    benchmark::RegisterBenchmark((name + "/layers").c_str(), layer_step, model, hidden)
        ->UseRealTime();
  }
  benchmark::RunSpecifiedBenchmarks();
  for (const auto& [model, hidden] : workloads) report_ratio(model, hidden);
  for (const auto& [model, hidden] : workloads) report_backends(model, hidden, pixels);
  return 0;
}
