// The layer by the products of kernels/cpu_product.h, and which calls get them.
#include <algorithm>

#include "kernels/activation_op.h"
#include "kernels/cpu_product.h"
#include "kernels/linear_backends.h"

namespace elbo::native {
namespace {

using cpu::CpuProduct, cpu::Finish;

CpuProduct product_of(const Product<float>& p) {
  CpuProduct product{};
  product.rows = p.rows;
  product.cols = p.cols;
  product.inner = p.inner;
  product.a = p.a;
  product.a_row = p.a_row;
  product.a_col = p.a_col;
  product.b = p.b;
  product.b_row = p.b_row;
  product.b_col = p.b_col;
  product.c = p.c;
  product.add = p.mode == GradMode::add;
  return product;
}

CpuProduct forward_of(const LinearForward& args) {
  CpuProduct product = product_of(forward_product(args, args.y));
  product.finish = Finish::activate;
  product.activation = args.activation;
  product.bias = args.bias;
  if (needs_pre_activation(args.activation)) product.pre = static_cast<float*>(args.aux);
  return product;
}

// The transpose, dW^T = x^T dy: pixels that are neighbours are often zero together.
CpuProduct transposed_weight_of(const LinearBackwardWeight& args) {
  CpuProduct product{};
  product.rows = args.in;
  product.cols = args.out;
  product.inner = args.batch;
  product.a = args.x;
  product.a_row = 1;
  product.a_col = args.in;
  product.b = args.dy;
  product.b_row = args.out;
  product.b_col = 1;
  product.c = args.dweight;
  product.add = args.mode == GradMode::add;
  product.finish = Finish::store_transposed;
  return product;
}

constexpr int64_t kSmallBatch = 64;
constexpr int64_t kSmallProduct = 4'000'000;  // multiplications: 120 us on one Zen 4 core

// Share of steps to be left out from which looking for them pays: lists and packing of B cost a
// tenth of a product.
constexpr double kForwardZeros = 0.15;
// The same per tile of the transposed weight product, in steps: what storing it by columns costs.
constexpr double kWeightZeroSteps = 12;

// Where a pass over the result of its own is worth more than the few per cent by which oneDNN's
// products are faster.
bool is_small(int64_t batch, int64_t in, int64_t out) {
  return batch <= kSmallBatch || batch * in * out <= kSmallProduct;
}

bool skips_forward(const CpuProduct& p) { return cpu::share_of_zero_steps(p) > kForwardZeros; }

bool skips_weight(const CpuProduct& p) {
  return static_cast<double>(p.inner) * cpu::share_of_zero_steps(p) > kWeightZeroSteps;
}

}  // namespace

bool takes_forward(const LinearForward& args) {
  return is_small(args.batch, args.in, args.out) || skips_forward(forward_of(args));
}

bool takes_backward_data(const LinearBackwardData& args) {
  return is_small(args.batch, args.in, args.out);
}

bool takes_backward_weight(const LinearBackwardWeight& args) {
  return skips_weight(transposed_weight_of(args));
}

void linear_forward(const Exec&, const LinearForward& args) {
  CpuProduct product = forward_of(args);
  product.a_zeros = skips_forward(product);
  cpu::multiply(product);
}

void linear_backward_data(const Exec&, const LinearBackwardData& args) {
  CpuProduct product = product_of(backward_data_product(args));
  if (args.input) {
    const InputActivation& input = *args.input;
    product.finish = Finish::undo;
    product.activation = input.activation;
    product.kept =
        needs_pre_activation(input.activation) ? static_cast<const float*>(input.aux) : input.y;
    product.sums = input.dbias;
    product.add_sums = input.dbias_mode == GradMode::add;
  }
  cpu::multiply(product);
}

void linear_backward_weight(const Exec& exec, const LinearBackwardWeight& args) {
  CpuProduct product = transposed_weight_of(args);
  product.a_zeros = skips_weight(product);
  if (!product.a_zeros) product = product_of(backward_weight_product(args));
  cpu::multiply(product);
  bias_gradient(exec, args);
}

}  // namespace elbo::native
