// Dense layers: every bare product of the two MLP workloads by sgemm and by matmul, a whole step of
// them, and the same step through kernels/linear.h with biases and activations.
//
//   GOMP_SPINCOUNT=1000 gemm_bench [--benchmark_filter=...]
//
// Read the ratio at the end: layer passes (bias, activation, their gradients) over bare products,
// measured in turns in one run. On a busy machine set OMP_NUM_THREADS=1: the clock then is the
// thread's own CPU time.
#include <benchmark/benchmark.h>

#include <cstdio>

#include "bench/bare_gemms.h"
#include "bench/timing.h"
#include "kernels/gemm_handles.h"
#include "kernels/linear.h"

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
  return 0;
}
