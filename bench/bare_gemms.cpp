#include "bench/bare_gemms.h"

#include <array>
#include <oneapi/dnnl/dnnl.hpp>
#include <stdexcept>

#include "bench/timing.h"

namespace elbo::bench {
namespace {

using dnnl::memory;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

const dnnl::stream& stream() {
  static const dnnl::stream s(engine());
  return s;
}

void check(dnnl_status_t status) {
  if (status != dnnl_success) throw std::runtime_error("oneDNN status " + std::to_string(status));
}

memory::desc matrix(int64_t rows, int64_t cols, bool transposed) {
  return {memory::dims{rows, cols}, memory::data_type::f32,
          transposed ? memory::format_tag::ba : memory::format_tag::ab};
}

}  // namespace

// C[rows,cols] = op(A) op(B), row-major.
struct BareGemms::Product {
  int64_t rows, cols, inner;
  bool a_transposed, b_transposed;
  float *a, *b, *c;
  bool by_sgemm = false;
  dnnl::matmul matmul{};
  memory a_memory{}, b_memory{}, c_memory{};

  void prepare_matmul() {
    const memory::desc ad = matrix(rows, inner, a_transposed),
                       bd = matrix(inner, cols, b_transposed), cd = matrix(rows, cols, false);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc descriptor(engine(), ad, bd, cd);
#else
    const dnnl::matmul::primitive_desc descriptor(dnnl::matmul::desc(ad, bd, cd), engine());
#endif
    matmul = dnnl::matmul(descriptor);
    a_memory = memory(ad, engine(), a);
    b_memory = memory(bd, engine(), b);
    c_memory = memory(cd, engine(), c);
  }

  void run_matmul() const {
    const std::array<dnnl_exec_arg_t, 3> args{{{DNNL_ARG_SRC, a_memory.get()},
                                               {DNNL_ARG_WEIGHTS, b_memory.get()},
                                               {DNNL_ARG_DST, c_memory.get()}}};
    check(dnnl_primitive_execute(matmul.get(), stream().get(), 3, args.data()));
  }

  void run_sgemm() const {
    check(dnnl_sgemm(a_transposed ? 'T' : 'N', b_transposed ? 'T' : 'N', rows, cols, inner, 1.0f, a,
                     a_transposed ? rows : inner, b, b_transposed ? inner : cols, 0.0f, c, cols));
  }

  void run() const { by_sgemm ? run_sgemm() : run_matmul(); }
};

BareGemms::BareGemms(const DenseModel& model) {
  const auto buffer = [&](int64_t count) {
    return buffers_.emplace_back(static_cast<size_t>(count), 0.5f).data();
  };
  const auto add = [&](const std::string& name, Product product) {
    product.prepare_matmul();
    const double gflop = 2e-9 * static_cast<double>(product.rows * product.cols * product.inner);
    const ProductTime time{name, gflop, median_us([&] { product.run_sgemm(); }),
                           median_us([&] { product.run_matmul(); })};
    product.by_sgemm = time.sgemm_us < time.matmul_us;
    times_.push_back(time);
    products_.push_back(std::make_unique<Product>(product));
  };
  struct Buffers {
    float *x, *w, *y, *dx, *dw;
  };
  std::vector<Buffers> layers;
  const int64_t batch = model.batch;
  for (const DenseLayer& l : model.layers) {
    const Buffers b{buffer(batch * l.in), buffer(l.in * l.out), buffer(batch * l.out),
                    buffer(batch * l.in), buffer(l.in * l.out)};
    layers.push_back(b);
    add(l.name + " forward", {batch, l.out, l.in, false, true, b.x, b.w, b.y});
  }
  for (size_t i = layers.size(); i-- > 0;) {
    const DenseLayer& l = model.layers[i];
    const Buffers& b = layers[i];
    add(l.name + " weight", {l.out, l.in, batch, true, false, b.y, b.x, b.dw});
    if (l.input_gradient) add(l.name + " data", {batch, l.in, l.out, false, false, b.y, b.w, b.dx});
  }
}

BareGemms::~BareGemms() = default;

void BareGemms::run() {
  for (const auto& product : products_) product->run();
}

double BareGemms::gflop() const {
  double sum = 0;
  for (const ProductTime& time : times_) sum += time.gflop;
  return sum;
}

DenseModel mlp_mnist(int64_t batch) {
  return {"mlp-mnist",
          batch,
          {{"fc1", 784, 400, false, true},
           {"fc2", 400, 40, true, false},
           {"fc3", 20, 400, true, true},
           {"fc4", 400, 784, true, false}}};
}

DenseModel burda(int64_t batch) {
  return {"burda",
          batch,
          {{"e1", 784, 200, false, true},
           {"e2", 200, 200, true, true},
           {"e3", 200, 100, true, false},
           {"d1", 50, 200, true, true},
           {"d2", 200, 200, true, true},
           {"d3", 200, 784, true, false}}};
}

}  // namespace elbo::bench
