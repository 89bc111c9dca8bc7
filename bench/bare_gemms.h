// The products of one training step and nothing else: the denominator of step times.
//
// A step of L layers is L forward products, L weight gradients and a data gradient for every layer
// whose input wants one. Each is timed as oneDNN's sgemm and as a cached matmul primitive, and the
// faster one is kept, so the denominator owes nothing to this project's own choice between them.
// run() then executes them in a step's order, on buffers of a step's sizes and sharing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace elbo::bench {

struct DenseLayer {
  std::string name;
  int64_t in, out;
  bool input_gradient;  // false for a layer on data
  bool hidden;          // followed by an activation
};

struct DenseModel {
  std::string name;
  int64_t batch;
  std::vector<DenseLayer> layers;
};

// Workload "a": 784-400-20, mu and logvar in one product.
DenseModel mlp_mnist(int64_t batch);
// Workload "b": Burda et al., 784-200-200-50.
DenseModel burda(int64_t batch);

struct ProductTime {
  std::string name;  // "fc1 forward 128x784->400"
  double gflop;
  double sgemm_us, matmul_us;  // medians
};

class BareGemms {
 public:
  explicit BareGemms(const DenseModel& model);  // takes about a second to choose
  ~BareGemms();

  void run();  // the products of one step
  const std::vector<ProductTime>& products() const { return times_; }
  double gflop() const;

 private:
  struct Product;
  std::vector<std::unique_ptr<Product>> products_;
  std::vector<ProductTime> times_;
  std::vector<std::vector<float>> buffers_;
};

}  // namespace elbo::bench
