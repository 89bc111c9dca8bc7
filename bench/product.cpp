#include "bench/product.h"

#include <algorithm>

#include "kernels/activation_op.h"
#include "kernels/cublaslt_objects.h"
#include "kernels/error.h"
#include "kernels/linear.h"

namespace elbo::bench {
namespace {

using namespace cublaslt;

cudaDataType_t data_type(ProductType type) {
  return type == ProductType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

bool has_mask(cublasLtEpilogue_t epilogue) {
  return epilogue == CUBLASLT_EPILOGUE_RELU_AUX_BIAS || epilogue == CUBLASLT_EPILOGUE_DRELU_BGRAD;
}

template <class T>
void set(const Description& description, cublasLtMatmulDescAttributes_t attribute, T value) {
  check(cublasLtMatmulDescSetAttribute(description.get(), attribute, &value, sizeof value),
        "cublasLtMatmulDescSetAttribute");
}

Layout make_layout(ProductType type, int64_t rows, int64_t cols) {
  cublasLtMatrixLayout_t layout = nullptr;
  check(cublasLtMatrixLayoutCreate(&layout, data_type(type), static_cast<uint64_t>(rows),
                                   static_cast<uint64_t>(cols), rows),
        "cublasLtMatrixLayoutCreate");
  return Layout(layout);
}

}  // namespace

const char* product_type_name(ProductType type) {
  constexpr const char* kNames[] = {"fp32", "tf32", "bf16"};
  return kNames[static_cast<int>(type)];
}

struct Product::State {
  Context& context;
  cublasLtHandle_t library;
  Description description;
  Layout a, b, d;
  DeviceBlock a_data, b_data, d_data, bias, mask;
  cublasLtMatmulAlgo_t algorithm{};
  size_t workspace = 0;
  bool supported = false;

  State(Context& with, cublasLtHandle_t handle) : context(with), library(handle) {}

  // Neither zeros, which cost a GPU less power, nor anything that overflows: this byte makes 0.0115 in
  // both formats.
  DeviceBlock matrix(ProductType type, int64_t elements) {
    const size_t size = type == ProductType::bf16 ? 2 : 4;
    DeviceBlock block(context, size * static_cast<size_t>(elements), Role::data);
    context.fill_bytes(block.data(), 0x3c, block.bytes());
    return block;
  }

  void describe(const ProductShape& shape, ProductType type, cublasLtEpilogue_t epilogue) {
    cublasLtMatmulDesc_t raw = nullptr;
    const auto compute =
        type == ProductType::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    check(cublasLtMatmulDescCreate(&raw, compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
    description = Description(raw);
    const auto op = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
    set(description, CUBLASLT_MATMUL_DESC_TRANSA, op(shape.a_transposed));
    set(description, CUBLASLT_MATMUL_DESC_TRANSB, op(shape.b_transposed));
    set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    if (epilogue == CUBLASLT_EPILOGUE_DEFAULT) return;
    bias = matrix(type, std::max(shape.m, shape.n));
    set(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.data());
    if (!has_mask(epilogue)) return;
    const auto row_bytes = static_cast<int64_t>(relu_mask_row_bytes(shape.m));
    mask = matrix(type, row_bytes * shape.n);
    set(description, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, mask.data());
    set(description, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, 8 * row_bytes);
  }

  void find_algorithm() {
    cublasLtMatmulPreference_t raw = nullptr;
    check(cublasLtMatmulPreferenceCreate(&raw), "cublasLtMatmulPreferenceCreate");
    const Preference preference(raw);
    const uint64_t bytes = kGemmWorkspaceBytes;
    check(cublasLtMatmulPreferenceSetAttribute(raw, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                               &bytes, sizeof bytes),
          "cublasLtMatmulPreferenceSetAttribute");
    // As in training: split-K only by partial results that a second kernel adds in order.
    const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    check(cublasLtMatmulPreferenceSetAttribute(raw, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                               &schemes, sizeof schemes),
          "cublasLtMatmulPreferenceSetAttribute");
    cublasLtMatmulHeuristicResult_t answer = {};
    int answers = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        library, description.get(), a.get(), b.get(), d.get(), d.get(), raw, 1, &answer, &answers);
    // Of an epilogue it says either.
    if (status != CUBLAS_STATUS_NOT_SUPPORTED && status != CUBLAS_STATUS_INVALID_VALUE)
      check(status, "cublasLtMatmulAlgoGetHeuristic");
    supported =
        status == CUBLAS_STATUS_SUCCESS && answers > 0 && answer.state == CUBLAS_STATUS_SUCCESS;
    algorithm = answer.algo;
    workspace = supported ? answer.workspaceSize : 0;
  }
};

Product::Product(Context& context, cublasLtHandle_t library, const ProductShape& shape,
                 ProductType type, bool fused)
    : state_(std::make_unique<State>(context, library)) {
  State& s = *state_;
  s.describe(shape, type, fused ? shape.epilogue : CUBLASLT_EPILOGUE_DEFAULT);
  s.a = shape.a_transposed ? make_layout(type, shape.k, shape.m)
                           : make_layout(type, shape.m, shape.k);
  s.b = shape.b_transposed ? make_layout(type, shape.n, shape.k)
                           : make_layout(type, shape.k, shape.n);
  s.d = make_layout(type, shape.m, shape.n);
  s.a_data = s.matrix(type, shape.m * shape.k);
  s.b_data = s.matrix(type, shape.k * shape.n);
  s.d_data = s.matrix(type, shape.m * shape.n);
  s.find_algorithm();
}

Product::~Product() = default;

bool Product::supported() const { return state_->supported; }
size_t Product::workspace() const { return state_->workspace; }

void Product::launch() const {
  const State& s = *state_;
  const Exec& exec = s.context.exec();
  ELBO_CHECK(s.supported && s.workspace <= exec.scratch.bytes, "product: cannot be launched");
  const float one = 1.0f, zero = 0.0f;
  check(cublasLtMatmul(s.library, s.description.get(), &one, s.a_data.data(), s.a.get(),
                       s.b_data.data(), s.b.get(), &zero, s.d_data.data(), s.d.get(),
                       s.d_data.data(), s.d.get(), &s.algorithm,
                       s.workspace ? exec.scratch.data : nullptr, s.workspace, exec.stream),
        "cublasLtMatmul");
}

}  // namespace elbo::bench
