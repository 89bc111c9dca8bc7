// Plans: descriptions, layouts and the algorithm of each product, cached.
//
// Bits repeat: strict fp32 or TF32, as the Exec says; one heuristic answer per key, no timing; split-K only by partial
// results in the workspace that a second kernel adds in order, never in place.
#include "kernels/cublaslt_plan.h"

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "kernels/activation_op.h"
#include "kernels/cublaslt_objects.h"
#include "kernels/error.h"
#include "kernels/gpu.h"
#include "kernels/linear_backends.h"

namespace elbo {
namespace {

using namespace cublaslt;

struct PlanKeyHash {
  size_t operator()(const PlanKey& key) const {
    uint64_t hash = static_cast<uint64_t>(key.epilogue) << 4 |
                    static_cast<uint64_t>(key.precision) << 3 | uint64_t{key.a_transposed} << 2 |
                    uint64_t{key.b_transposed} << 1 | uint64_t{key.add};
    for (int64_t size : {key.m, key.n, key.k}) {
      hash = (hash ^ static_cast<uint64_t>(size)) * 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio
      hash ^= hash >> 32;
    }
    return hash;
  }
};

struct Plan {
  Description description;
  Layout a, b, d;
  cublasLtMatmulAlgo_t algorithm{};
  size_t workspace = 0;
  bool supported = false;
};

const char* epilogue_name(cublasLtEpilogue_t epilogue) {
  switch (epilogue) {
    case CUBLASLT_EPILOGUE_DEFAULT:
      return "plain";
    case CUBLASLT_EPILOGUE_BIAS:
      return "bias";
    case CUBLASLT_EPILOGUE_RELU:
      return "relu";
    case CUBLASLT_EPILOGUE_RELU_BIAS:
      return "relu_bias";
    case CUBLASLT_EPILOGUE_RELU_AUX:
      return "relu_aux";
    case CUBLASLT_EPILOGUE_RELU_AUX_BIAS:
      return "relu_aux_bias";
    case CUBLASLT_EPILOGUE_DRELU:
      return "drelu";
    case CUBLASLT_EPILOGUE_DRELU_BGRAD:
      return "drelu_bgrad";
    case CUBLASLT_EPILOGUE_BGRADB:
      return "bgradb";
    default:
      return "other";
  }
}

bool has_mask(cublasLtEpilogue_t epilogue) {
  return epilogue == CUBLASLT_EPILOGUE_RELU_AUX || epilogue == CUBLASLT_EPILOGUE_RELU_AUX_BIAS ||
         epilogue == CUBLASLT_EPILOGUE_DRELU || epilogue == CUBLASLT_EPILOGUE_DRELU_BGRAD;
}

// What NVIDIA's own nvmath-python does not ask for: gradients of ReLU behind an inner dimension of 1, and
// sums of a single column ("not supported by cuBLAS", linalg/_internal/epilog_protocol.py, and its tests,
// test_epilog.py). Nothing says that the library itself notices.
bool is_known_to_fail(const PlanKey& key) {
  switch (key.epilogue) {
    case CUBLASLT_EPILOGUE_DRELU:
    case CUBLASLT_EPILOGUE_DRELU_BGRAD:
      return key.k == 1;
    case CUBLASLT_EPILOGUE_BGRADB:
      return key.n == 1;
    default:
      return false;
  }
}

// Whether the heuristic says that the library will not carry an epilogue, which it does in either way. A
// plain product has no such excuse: there a value that is invalid is a mistake of ours.
bool is_refusal(cublasStatus_t status, const PlanKey& key) {
  return status == CUBLAS_STATUS_NOT_SUPPORTED ||
         (status == CUBLAS_STATUS_INVALID_VALUE && key.epilogue != CUBLASLT_EPILOGUE_DEFAULT);
}

bool has_bias(cublasLtEpilogue_t epilogue) {
  return epilogue == CUBLASLT_EPILOGUE_BIAS || epilogue == CUBLASLT_EPILOGUE_RELU_BIAS ||
         epilogue == CUBLASLT_EPILOGUE_RELU_AUX_BIAS || epilogue == CUBLASLT_EPILOGUE_DRELU_BGRAD ||
         epilogue == CUBLASLT_EPILOGUE_BGRADB;
}

template <class T>
void set(const Description& description, cublasLtMatmulDescAttributes_t attribute, T value) {
  check(cublasLtMatmulDescSetAttribute(description.get(), attribute, &value, sizeof value),
        "cublasLtMatmulDescSetAttribute");
}

template <class T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
        "cublasLtMatmulPreferenceSetAttribute");
}

Layout make_layout(int64_t rows, int64_t cols) {
  cublasLtMatrixLayout_t layout = nullptr;
  check(cublasLtMatrixLayoutCreate(&layout, CUDA_R_32F, static_cast<uint64_t>(rows),
                                   static_cast<uint64_t>(cols), rows),
        "cublasLtMatrixLayoutCreate");
  return Layout(layout);
}

Description make_description(const PlanKey& key) {
  cublasLtMatmulDesc_t raw = nullptr;
  const cublasComputeType_t compute =
      key.precision == ProductPrecision::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  check(cublasLtMatmulDescCreate(&raw, compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
  Description description(raw);
  const auto op = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
  set(description, CUBLASLT_MATMUL_DESC_TRANSA, op(key.a_transposed));
  set(description, CUBLASLT_MATMUL_DESC_TRANSB, op(key.b_transposed));
  set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, key.epilogue);
  if (has_mask(key.epilogue)) {
    const auto mask_row_bits = static_cast<int64_t>(8 * relu_mask_row_bytes(key.m));
    set(description, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, mask_row_bits);
  }
  return description;
}

Preference make_preference() {
  cublasLtMatmulPreference_t raw = nullptr;
  check(cublasLtMatmulPreferenceCreate(&raw), "cublasLtMatmulPreferenceCreate");
  Preference preference(raw);
  constexpr uint32_t kOperandAlignment = 16;  // what kernels/linear.cpp demands
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kGemmWorkspaceBytes});
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, kOperandAlignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, kOperandAlignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, kOperandAlignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, kOperandAlignment);
  return preference;
}

// Also before the heuristic is asked: it takes the operands' alignment from these pointers.
void set_epilogue_pointers(const Plan& plan, const PlanKey& key, const Operands& operands) {
  if (has_bias(key.epilogue)) {
    set(plan.description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias);
  }
  if (has_mask(key.epilogue)) {
    set(plan.description, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, operands.mask);
  }
}

}  // namespace

struct CudaGemm {
  cublasLtHandle_t library = nullptr;
  std::unordered_map<PlanKey, Plan, PlanKeyHash> plans;

  CudaGemm() { check(cublasLtCreate(&library), "cublasLtCreate"); }
  ~CudaGemm() {
    plans.clear();
    cublasLtDestroy(library);
  }
  CudaGemm(const CudaGemm&) = delete;
  CudaGemm& operator=(const CudaGemm&) = delete;
};

namespace cublaslt {
namespace {

Plan make_plan(const CudaGemm& gemm, const PlanKey& key, const Operands& operands) {
  Plan plan;
  if (is_known_to_fail(key)) return plan;
  plan.description = make_description(key);
  plan.a = key.a_transposed ? make_layout(key.k, key.m) : make_layout(key.m, key.k);
  plan.b = key.b_transposed ? make_layout(key.n, key.k) : make_layout(key.k, key.n);
  plan.d = make_layout(key.m, key.n);
  set_epilogue_pointers(plan, key, operands);
  cublasLtMatmulHeuristicResult_t answer = {};
  int answers = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      gemm.library, plan.description.get(), plan.a.get(), plan.b.get(), plan.d.get(), plan.d.get(),
      make_preference().get(), 1, &answer, &answers);
  if (!is_refusal(status, key)) check(status, "cublasLtMatmulAlgoGetHeuristic");
  plan.supported =
      status == CUBLAS_STATUS_SUCCESS && answers > 0 && answer.state == CUBLAS_STATUS_SUCCESS;
  plan.algorithm = answer.algo;
  plan.workspace = plan.supported ? answer.workspaceSize : 0;
  return plan;
}

Plan& find_plan(CudaGemm& gemm, const PlanKey& key, const Operands& operands) {
  auto found = gemm.plans.find(key);
  if (found == gemm.plans.end()) {
    found = gemm.plans.emplace(key, make_plan(gemm, key, operands)).first;
  }
  return found->second;
}

}  // namespace

bool multiply(const Exec& exec, PlanKey key, const Operands& operands) {
  key.precision = exec.products;
  CudaGemm& gemm = *exec.gemm->cuda;
  Plan& plan = find_plan(gemm, key, operands);
  if (!plan.supported) return false;
  ELBO_CHECK(plan.workspace <= exec.scratch.bytes, "linear: a product needs ", plan.workspace,
             " bytes of scratch, has ", exec.scratch.bytes);
  set_epilogue_pointers(plan, key, operands);
  const float one = 1.0f, beta = key.add ? 1.0f : 0.0f;
  const cublasStatus_t status = cublasLtMatmul(
      gemm.library, plan.description.get(), &one, operands.a, plan.a.get(), operands.b,
      plan.b.get(), &beta, operands.d, plan.d.get(), operands.d, plan.d.get(), &plan.algorithm,
      plan.workspace ? exec.scratch.data : nullptr, plan.workspace, exec.stream);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED && key.epilogue != CUBLASLT_EPILOGUE_DEFAULT) {
    plan.supported = false;  // though the heuristic had promised it
    return false;
  }
  check(status, "cublasLtMatmul");
  gpu::note_launch();
  return true;
}

void multiply_plain(const Exec& exec, PlanKey key, const Operands& operands) {
  key.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  if (multiply(exec, key, operands)) return;
  throw_error(ErrorCode::device, "cuBLASLt has no fp32 product for m ", key.m, ", n ", key.n,
              ", k ", key.k);
}

CudaGemm* create() { return new CudaGemm; }
void destroy(CudaGemm* gemm) noexcept { delete gemm; }

std::vector<std::string> describe(const CudaGemm& gemm) {
  std::vector<std::string> lines;
  for (const auto& [key, plan] : gemm.plans) {
    lines.push_back(
        concat("m ", key.m, " n ", key.n, " k ", key.k, " ", key.a_transposed ? "T" : "N",
               key.b_transposed ? "T" : "N", key.precision == ProductPrecision::tf32 ? " tf32" : "",
               key.add ? " add " : " ", epilogue_name(key.epilogue), ": ",
               plan.supported ? "cublasLt" : "refused", ", workspace ", plan.workspace));
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace cublaslt
}  // namespace elbo
