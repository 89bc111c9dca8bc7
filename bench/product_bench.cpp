// Every product of a training step of the two small VAEs by cuBLASLt: time and number of kernels, in fp32,
// TF32 and bf16, plain and with the epilogue that training wants.
//
//   product_bench [--samples 21] [--json FILE]
//
// Times are of one product among many in a graph, warm. A "-" is a product that the library refuses.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "bench/device_timing.h"
#include "bench/product.h"
#include "engine/step_graph.h"
#include "kernels/error.h"

namespace elbo::bench {
namespace {

constexpr int kRepeats = 32;  // products in a graph

struct Options {
  std::string json;
  int samples = 21;
  bool quick = false;
};

struct Layer {
  const char* name;
  int64_t in, out;
  bool hidden;  // followed by an activation
};

struct Workload {
  const char* name;
  bool relu;  // else an activation that no epilogue knows
  std::vector<Layer> layers;
  std::vector<int64_t> batches;
};

std::vector<Workload> workloads() {
  return {{"mlp-mnist",
           true,
           {{"fc1", 784, 400, true},
            {"heads", 400, 40, false},
            {"fc3", 20, 400, true},
            {"fc4", 400, 784, false}},
           {128, 512, 4096}},
          {"burda",
           false,
           {{"enc1", 784, 200, true},
            {"enc2", 200, 200, true},
            {"heads", 200, 100, false},
            {"dec1", 50, 200, true},
            {"dec2", 200, 200, true},
            {"dec3", 200, 784, false}},
           {20, 100, 1000}}};
}

// As kernels/linear_cuda.cpp has them. The first layer's input is data and wants no gradient; whether
// the input comes from a hidden layer decides on the data gradient's epilogue.
std::vector<ProductShape> shapes_of(const Workload& workload, int64_t batch) {
  std::vector<ProductShape> shapes;
  for (size_t i = 0; i < workload.layers.size(); ++i) {
    const Layer& layer = workload.layers[i];
    const auto forward =
        layer.hidden && workload.relu ? CUBLASLT_EPILOGUE_RELU_AUX_BIAS : CUBLASLT_EPILOGUE_BIAS;
    const std::string name = layer.name;
    shapes.push_back({name + " forward", layer.out, batch, layer.in, true, false, forward});
    shapes.push_back(
        {name + " weight", layer.in, layer.out, batch, false, true, CUBLASLT_EPILOGUE_BGRADB});
    if (i == 0) continue;
    const bool undo = workload.relu && workload.layers[i - 1].hidden;
    shapes.push_back({name + " data", layer.in, batch, layer.out, false, false,
                      undo ? CUBLASLT_EPILOGUE_DRELU_BGRAD : CUBLASLT_EPILOGUE_DEFAULT});
  }
  return shapes;
}

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options), choice_(choose_device("cuda")), context_(choice_) {
    if (cublasLtCreate(&library_) != CUBLAS_STATUS_SUCCESS) {
      throw_error(ErrorCode::device, "cublasLtCreate failed");
    }
  }
  ~Bench() { cublasLtDestroy(library_); }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  void run() {
    std::printf("%-10s %6s %-14s %-5s %-6s %10s %9s %8s %6s\n", "workload", "batch", "product",
                "type", "", "us", "GFLOP/s", "kernels", "nodes");
    for (const Workload& workload : workloads()) {
      for (const int64_t batch : workload.batches) {
        if (options_.quick && batch != workload.batches.front()) continue;
        for (const ProductShape& shape : shapes_of(workload, batch)) run(workload, batch, shape);
      }
    }
  }

 private:
  void run(const Workload& workload, int64_t batch, const ProductShape& shape) {
    for (const ProductType type : {ProductType::fp32, ProductType::tf32, ProductType::bf16}) {
      for (const bool fused : {false, true}) {
        if (fused && shape.epilogue == CUBLASLT_EPILOGUE_DEFAULT) continue;
        const nlohmann::json row = measure(shape, type, fused);
        rows_.push_back(row);
        rows_.back().update({{"workload", workload.name},
                             {"batch", batch},
                             {"product", shape.name},
                             {"type", product_type_name(type)},
                             {"fused", fused}});
        print(rows_.back());
      }
    }
    save_rows(options_.json, device_description(choice_), rows_);
  }

  nlohmann::json measure(const ProductShape& shape, ProductType type, bool fused) {
    const Product product(context_, library_, shape, type, fused);
    nlohmann::json row = {{"m", shape.m}, {"n", shape.n}, {"k", shape.k}};
    row["supported"] = product.supported();
    if (!product.supported()) return row;
    product.launch();  // loads its kernels, which a recording cannot do
    const StepGraph once = StepGraph::record(context_, [&] { product.launch(); });
    const int repeats = options_.quick ? 2 : kRepeats;
    const double us = repeated_us(
        context_, [&](int) { product.launch(); }, repeats, options_.samples);
    row.update({{"us", us},
                {"gflop_per_s", 2e-3 * static_cast<double>(shape.m * shape.n * shape.k) / us},
                {"kernels", once.kernel_count()},
                {"nodes", once.node_count()},
                {"workspace", product.workspace()}});
    return row;
  }

  static void print(const nlohmann::json& row) {
    std::printf("%-10s %6lld %-14s %-5s %-6s ", row["workload"].get<std::string>().c_str(),
                row["batch"].get<long long>(), row["product"].get<std::string>().c_str(),
                row["type"].get<std::string>().c_str(), row["fused"].get<bool>() ? "fused" : "");
    if (!row["supported"].get<bool>()) {
      std::printf("%10s\n", "-");
    } else {
      std::printf("%10.2f %9.0f %8d %6d\n", row["us"].get<double>(),
                  row["gflop_per_s"].get<double>(), row["kernels"].get<int>(),
                  row["nodes"].get<int>());
    }
    std::fflush(stdout);
  }

  Options options_;
  DeviceChoice choice_;
  Context context_;
  cublasLtHandle_t library_ = nullptr;
  nlohmann::json rows_ = nlohmann::json::array();
};

}  // namespace
}  // namespace elbo::bench

int main(int argc, char** argv) {
  elbo::bench::Options options;
  CLI::App app("The products of a training step by cuBLASLt.", "product_bench");
  app.add_option("--samples", options.samples)->check(CLI::PositiveNumber);
  app.add_option("--json", options.json, "also write the figures there");
  app.add_flag("--quick", options.quick, "the smallest batches only");
  CLI11_PARSE(app, argc, argv);
  try {
    elbo::bench::Bench(options).run();
  } catch (const elbo::Error& error) {
    std::fprintf(stderr, "product_bench: %s\n", error.what());
    return error.exit_status();
  }
}
