// The layer's products by oneDNN: the only file that knows the library, versions 2 and 3. Which calls
// come here and not to our own products says linear_native.cpp.
//
// Reading guide. execute() looks up the Plan of a shape, makes it (make_plan) when new, and runs it.
// Three kinds of product (kernels/linear_backends.h), two implementations: matmul primitives, which
// add the bias, and dnnl_sgemm. Start at linear_forward().
//
// ReLU is a pass of our own although oneDNN has it as a post-op: the library's maps NaN to 0, which
// would hide a broken input from every check behind it. The pass costs 4 us of 435.
//
// Which one a shape gets is a rule and not a timing, so that bits repeat (see use_sgemm). Weights stay
// in PyTorch's order: they change at every step, and packing them into the library's own order costs
// as much as it gains (fc1 of 784-400 at batch 128: packing 85 us, gain 83 us of 435).
#ifdef ELBO_HAS_ONEDNN

#include <algorithm>
#include <array>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>

#include "kernels/activation_op.h"
#include "kernels/error.h"
#include "kernels/linear_backends.h"

namespace elbo {
namespace {

enum class Kind : int { forward, backward_data, backward_weight };

struct PlanKey {
  Kind kind;
  int64_t batch, in, out;
  bool bias, add;

  bool operator==(const PlanKey&) const = default;
};

struct PlanKeyHash {
  size_t operator()(const PlanKey& key) const {
    const uint64_t flags =
        static_cast<uint64_t>(key.kind) | uint64_t{key.bias} << 2 | uint64_t{key.add} << 3;
    uint64_t hash = flags;
    for (int64_t size : {key.batch, key.in, key.out}) {
      hash = (hash ^ static_cast<uint64_t>(size)) * 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio
      hash ^= hash >> 32;
    }
    return hash;
  }
};

// A matmul primitive with its memory objects, whose pointers are set at each execution; or, without
// a primitive, a dnnl_sgemm call, which needs nothing prepared.
struct Plan {
  dnnl::matmul primitive{};
  dnnl::memory a{}, b{}, c{}, bias{};
  std::string implementation;
};

// Measured on Zen 4 with 2 threads, oneDNN 2.6: matmul is level or ahead by up
// to 1.5x for forward and data products. The weight product has the batch as its inner dimension;
// there matmul packs its transposed operand for too little arithmetic, and sgemm leads by up to
// 1.6x when the batch is small or the layer is narrow.
bool use_sgemm(const PlanKey& key) {
  constexpr int64_t kNarrow = 64, kSmallBatch = 256;
  return key.kind == Kind::backward_weight &&
         (std::min(key.in, key.out) < kNarrow || key.batch <= kSmallBatch);
}

std::string describe_key(const PlanKey& key) {
  static constexpr const char* kNames[] = {"forward", "backward data", "backward weight"};
  return concat(kNames[static_cast<int>(key.kind)], " ", key.batch, "x", key.in, "->", key.out,
                key.bias ? " bias" : "", key.add ? " add" : "");
}

void check(dnnl_status_t status, const char* call, const PlanKey& key) {
  ELBO_CHECK(status == dnnl_success, "oneDNN: ", call, " failed with status ",
             static_cast<int>(status), " for ", describe_key(key));
}

}  // namespace

struct CpuGemm {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::unordered_map<PlanKey, Plan, PlanKeyHash> plans;
};

namespace onednn {
namespace {

using dnnl::memory;

memory::desc matrix(int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride) {
  return {memory::dims{rows, cols}, memory::data_type::f32, memory::dims{row_stride, col_stride}};
}

dnnl::matmul::primitive_desc make_descriptor(const CpuGemm& gemm, const PlanKey& key,
                                             const Product<float>& p) {
  const memory::desc a = matrix(p.rows, p.inner, p.a_row, p.a_col);
  const memory::desc b = matrix(p.inner, p.cols, p.b_row, p.b_col);
  const memory::desc c = matrix(p.rows, p.cols, p.cols, 1);
  const memory::desc bias = key.bias ? matrix(1, p.cols, p.cols, 1) : memory::desc{};
  dnnl::primitive_attr attributes;
  if (key.add) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
#if DNNL_VERSION_MAJOR >= 3
  return {gemm.engine, a, b, bias, c, attributes};
#else
  return {dnnl::matmul::desc(a, b, bias, c), attributes, gemm.engine};
#endif
}

Plan make_plan(const CpuGemm& gemm, const PlanKey& key, const Product<float>& product) {
  if (use_sgemm(key)) return Plan{.implementation = "sgemm"};
  try {
    const dnnl::matmul::primitive_desc descriptor = make_descriptor(gemm, key, product);
    const auto unbound = [&](const memory::desc& desc) {
      return memory(desc, gemm.engine, DNNL_MEMORY_NONE);
    };
    return Plan{.primitive = dnnl::matmul(descriptor),
                .a = unbound(descriptor.src_desc()),
                .b = unbound(descriptor.weights_desc()),
                .c = unbound(descriptor.dst_desc()),
                .bias = key.bias ? unbound(descriptor.bias_desc()) : memory(),
                .implementation = concat("matmul ", descriptor.impl_info_str())};
  } catch (const dnnl::error& error) {
    throw_error(ErrorCode::failure, "oneDNN: no matmul for ", describe_key(key), ": ",
                error.what());
  }
}

void set_pointer(const memory& object, const float* data, const PlanKey& key) {
  check(dnnl_memory_set_data_handle(object.get(), const_cast<float*>(data)),
        "dnnl_memory_set_data_handle", key);
}

// The C call: dnnl::primitive::execute takes an unordered_map, which would allocate at every step.
void execute_matmul(const CpuGemm& gemm, const PlanKey& key, const Plan& plan,
                    const Product<float>& p, const float* bias) {
  set_pointer(plan.a, p.a, key);
  set_pointer(plan.b, p.b, key);
  set_pointer(plan.c, p.c, key);
  std::array<dnnl_exec_arg_t, 4> args{{{DNNL_ARG_SRC, plan.a.get()},
                                       {DNNL_ARG_WEIGHTS, plan.b.get()},
                                       {DNNL_ARG_DST, plan.c.get()},
                                       {}}};
  if (key.bias) {
    set_pointer(plan.bias, bias, key);
    args[3] = {DNNL_ARG_BIAS, plan.bias.get()};
  }
  check(dnnl_primitive_execute(plan.primitive.get(), gemm.stream.get(), key.bias ? 4 : 3,
                               args.data()),
        "dnnl_primitive_execute", key);
}

// dnnl_sgemm is row-major; a transposed operand is one whose columns are contiguous. An operand of a
// single row or column may claim any stride, so the leading dimension is at least the row's length.
void execute_sgemm(const PlanKey& key, const Product<float>& p) {
  const bool a_transposed = p.a_col != 1, b_transposed = p.b_col != 1;
  const int64_t lda = a_transposed ? p.a_col : std::max(p.a_row, p.inner);
  const int64_t ldb = b_transposed ? p.b_col : std::max(p.b_row, p.cols);
  check(dnnl_sgemm(a_transposed ? 'T' : 'N', b_transposed ? 'T' : 'N', p.rows, p.cols, p.inner,
                   1.0f, p.a, lda, p.b, ldb, key.add ? 1.0f : 0.0f, p.c, p.cols),
        "dnnl_sgemm", key);
}

void execute(CpuGemm& gemm, const PlanKey& key, const Product<float>& product,
             const float* bias = nullptr) {
  auto found = gemm.plans.find(key);
  if (found == gemm.plans.end()) {
    found = gemm.plans.emplace(key, make_plan(gemm, key, product)).first;
  }
  if (found->second.primitive) {
    execute_matmul(gemm, key, found->second, product, bias);
  } else {
    execute_sgemm(key, product);
  }
}

}  // namespace

CpuGemm* create() { return new CpuGemm; }
void destroy(CpuGemm* gemm) noexcept { delete gemm; }

std::vector<std::string> describe(const CpuGemm& gemm) {
  std::vector<std::string> lines;
  for (const auto& [key, plan] : gemm.plans) {
    lines.push_back(concat(describe_key(key), ": ", plan.implementation));
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

void linear_forward(const Exec& exec, const LinearForward& args) {
  // Where backward needs the pre-activation, the product goes there and the activation reads it.
  const bool keeps_pre = needs_pre_activation(args.activation) && args.aux;
  float* product = keeps_pre ? static_cast<float*>(args.aux) : args.y;
  const PlanKey key{.kind = Kind::forward,
                    .batch = args.batch,
                    .in = args.in,
                    .out = args.out,
                    .bias = args.bias != nullptr,
                    .add = false};
  execute(*exec.gemm->cpu, key, forward_product(args, product), args.bias);
  if (args.activation != Activation::identity) {
    activation_forward(exec, args.activation, args.batch * args.out, product, args.y);
  }
}

void linear_backward_data(const Exec& exec, const LinearBackwardData& args) {
  const PlanKey key{.kind = Kind::backward_data,
                    .batch = args.batch,
                    .in = args.in,
                    .out = args.out,
                    .bias = false,
                    .add = args.mode == GradMode::add};
  execute(*exec.gemm->cpu, key, backward_data_product(args));
  undo_input_activation(exec, args);
}

void linear_backward_weight(const Exec& exec, const LinearBackwardWeight& args) {
  const PlanKey key{.kind = Kind::backward_weight,
                    .batch = args.batch,
                    .in = args.in,
                    .out = args.out,
                    .bias = false,
                    .add = args.mode == GradMode::add};
  execute(*exec.gemm->cpu, key, backward_weight_product(args));
  bias_gradient(exec, args);
}

}  // namespace onednn
}  // namespace elbo

#endif  // ELBO_HAS_ONEDNN
