// The heuristic's answer and the product itself.
#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "tests/sim/fake_cublaslt.h"
#include "tests/sim/race_hooks.h"
#include "tests/sim/reports.h"

namespace cudasim {
namespace {
long products = 0;
}
long product_count() { return products; }

namespace lt {
namespace {

// An inner dimension from which the heuristic splits it in two and wants workspace for the halves.
constexpr int64_t kSplitFrom = 512;

uint64_t fingerprint(const Problem& p) {
  uint64_t hash = p.op.epilogue * 64u + p.op.transpose_a * 8u + p.op.transpose_b;
  const auto mix = [&hash](uint64_t v) { hash = (hash ^ v) * 0x9E3779B97F4A7C15ull; };
  for (const Matrix* x : {&p.a, &p.b, &p.c, &p.d}) {
    mix(x->rows);
    mix(x->cols);
    mix(static_cast<uint64_t>(x->ld) * 64 + x->type);
  }
  mix(static_cast<uint64_t>(p.op.aux_ld));
  return hash | 1;
}

uint32_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  return address ? 1u << std::min(std::countr_zero(address), 8) : 256;
}

Algorithm choose(const Problem& p, const Preference& wish) {
  Algorithm algorithm = {};
  algorithm.parts = 1;
  algorithm.fingerprint = fingerprint(p);
  const uint32_t align[] = {wish.align_a, wish.align_b, wish.align_c, wish.align_d};
  std::copy(std::begin(align), std::end(align), algorithm.align);
  algorithm.epilogue_align = std::min(16u, alignment_of(p.op.bias));
  const uint64_t bytes = 2ull * p.m() * p.n() * sizeof(float);
  const bool may_split = wish.reduction_mask & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  if (p.k() >= kSplitFrom && may_split && bytes <= wish.workspace) {
    algorithm.parts = 2;
    algorithm.workspace = bytes;
  }
  return algorithm;
}

// ---- what the product touches -------------------------------------------------------------------

// A matrix (or a mask, whose columns are `column_bytes` long) in device memory.
struct Region {
  const char* name;
  const void* data;
  int64_t columns;
  size_t column_bytes, stride_bytes;
  bool is_read, is_written;

  size_t bytes() const { return (columns - 1) * stride_bytes + column_bytes; }
  const char* column(int64_t i) const { return static_cast<const char*>(data) + i * stride_bytes; }
};

Region region_of(const char* name, const void* data, const Matrix& x, bool is_read) {
  const size_t size = element_size(x.type);
  return {name, data, static_cast<int64_t>(x.cols), x.rows * size, x.ld * size, is_read, !is_read};
}

std::vector<Region> regions(const Work& w) {
  const Problem& p = w.problem;
  const uint32_t epilogue = p.op.epilogue;
  std::vector<Region> list = {region_of("A", w.a, p.a, true), region_of("B", w.b, p.b, true),
                              region_of("D", w.d, p.d, false)};
  if (w.scalars_on_device()) {
    list.push_back({"alpha", w.alpha, 1, 4, 4, true, false});
    list.push_back({"beta", w.beta, 1, 4, 4, true, false});
  }
  // Manual: with beta == 0, C is not read.
  if (w.scalars_on_device() || w.host_beta != 0) list.push_back(region_of("C", w.c, p.c, true));
  if (uses_bias(epilogue)) {
    const size_t bytes = bias_length(p) * element_size(p.d.type);
    const bool out = is_bias_gradient(epilogue);
    list.push_back({"bias", p.op.bias, 1, bytes, bytes, !out, out});
  }
  if (uses_mask(epilogue)) {
    const bool out = epilogue & CUBLASLT_EPILOGUE_RELU;
    const auto used = static_cast<size_t>((p.m() + 7) / 8);
    list.push_back({"aux", p.op.aux, p.n(), used, static_cast<size_t>(p.op.aux_ld / 8), !out, out});
  }
  if (w.algorithm.workspace) {
    list.push_back(
        {"workspace", w.workspace, 1, w.algorithm.workspace, w.algorithm.workspace, false, true});
  }
  return list;
}

// True if every operand is device memory; a real GPU would fault.
bool check_operands(const std::vector<Region>& list) {
  bool good = true;
  for (const Region& region : list) {
    if (is_device_range(region.data, region.bytes())) continue;
    add_report("bad pointer", "cublasLtMatmul: %s is not device memory of %zu bytes", region.name,
               region.bytes());
    good = false;
  }
  return good;
}

void check_written(const std::vector<Region>& list) {
  for (const Region& region : list) {
    for (int64_t i = 0; region.is_read && i < region.columns; ++i) {
      if (race::is_written(region.column(i), region.column_bytes)) continue;
      add_report("unwritten read", "cublasLtMatmul: column %ld of %s was never written",
                 static_cast<long>(i), region.name);
      break;
    }
  }
}

void mark_written(const std::vector<Region>& list) {
  for (const Region& region : list) {
    for (int64_t i = 0; region.is_written && i < region.columns; ++i) {
      race::host_write(region.column(i), region.column_bytes, nullptr);
    }
  }
}

cublasStatus_t check_call(const Work& w, size_t workspace_bytes) {
  const Problem& p = w.problem;
  if (!w.alpha || !w.beta || !w.a || !w.b || !w.d) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "null operand");
  }
  // Manual: in place means C == D with equal layouts; they must not overlap otherwise.
  if (w.c == w.d && !(p.c == p.d)) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "in place with different layouts");
  }
  if (w.algorithm.fingerprint != fingerprint(p)) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "algorithm made for another problem");
  }
  const void* pointers[] = {w.a, w.b, w.c, w.d};
  for (int i = 0; i < 4; ++i) {
    if (alignment_of(pointers[i]) < w.algorithm.align[i]) {
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "operand less aligned than promised");
    }
  }
  // Header, CUBLASLT_MATMUL_DESC_BIAS_POINTER: the heuristic derives the alignment from its value.
  if (uses_bias(p.op.epilogue) && alignment_of(p.op.bias) < w.algorithm.epilogue_align) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "bias less aligned than the heuristic saw");
  }
  // Header, cublasLtMatmul: invalid value if the workspace is less than the algorithm requires.
  if (w.algorithm.workspace > workspace_bytes || (w.algorithm.workspace && !w.workspace)) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "workspace too small");
  }
  // Manual: the workspace must be 16-byte aligned.
  if (reinterpret_cast<uintptr_t>(w.workspace) % 16 != 0) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "workspace alignment");
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t launch(const Work& work, cudaStream_t stream) {
  const std::vector<Region> list = regions(work);
  if (!check_operands(list)) {
    return refuse(CUBLAS_STATUS_EXECUTION_FAILED, "operand outside of device memory");
  }
  ++products;
  const cudaError_t error = submit(
      stream,
      [work, list] {
        if (sticky_error() != cudaSuccess) return;
        check_written(list);
        compute(work);
        mark_written(list);
      },
      cudaGraphNodeTypeKernel);
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace
}  // namespace lt
}  // namespace cudasim

using namespace cudasim;
using namespace cudasim::lt;

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t op,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t wish, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* count) {
  LtCall call;
  if (call.failed()) return call.error();
  *count = 0;
  if (!handle || wanted <= 0) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "no handle, or no algorithm wanted");
  }
  const Problem problem{*operation(op), *matrix(a), *matrix(b), *matrix(c), *matrix(d)};
  if (const cublasStatus_t status = check_problem(problem)) return status;
  const Algorithm algorithm = choose(problem, *preference(wish));
  results[0] = {};
  std::memcpy(&results[0].algo, &algorithm, sizeof algorithm);
  results[0].workspaceSize = algorithm.workspace;
  results[0].state = CUBLAS_STATUS_SUCCESS;
  results[0].wavesCount = 1.0f;
  *count = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t op, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  LtCall call;
  if (call.failed()) return call.error();
  if (!handle) return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
  if (!algo) return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "no algorithm: not simulated");
  Work work{.problem = {*operation(op), *matrix(a_layout), *matrix(b_layout), *matrix(c_layout),
                        *matrix(d_layout)},
            .algorithm = {},
            .a = a,
            .b = b,
            .c = c,
            .alpha = alpha,
            .beta = beta,
            .d = d,
            .workspace = workspace};
  std::memcpy(&work.algorithm, algo, sizeof work.algorithm);
  if (const cublasStatus_t status = check_problem(work.problem)) return status;
  if (const cublasStatus_t status = check_call(work, workspace_bytes)) return status;
  if (!is_stream(stream)) return refuse(CUBLAS_STATUS_INVALID_VALUE, "unknown stream");
  if (!work.scalars_on_device()) {
    work.host_alpha = load(alpha, CUDA_R_32F, 0);
    work.host_beta = load(beta, CUDA_R_32F, 0);
  }
  return launch(work, stream);
}
