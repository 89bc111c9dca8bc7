// Which problems the library solves. Each rule says where it comes from, see fake_cublaslt.h.
#include "tests/sim/fake_cublaslt.h"

namespace cudasim::lt {
namespace {

bool is_known(uint32_t epilogue) {
  switch (epilogue) {
    case CUBLASLT_EPILOGUE_DEFAULT:
    case CUBLASLT_EPILOGUE_RELU:
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_RELU_BIAS:
    case CUBLASLT_EPILOGUE_RELU_AUX:
    case CUBLASLT_EPILOGUE_RELU_AUX_BIAS:
    case CUBLASLT_EPILOGUE_DRELU:
    case CUBLASLT_EPILOGUE_DRELU_BGRAD:
    case CUBLASLT_EPILOGUE_BGRADA:
    case CUBLASLT_EPILOGUE_BGRADB:
      return true;
    default:
      return false;
  }
}

cublasStatus_t check_matrix(const Matrix& x) {
  // Strict: the manual does not say what an empty product does.
  if (x.rows == 0 || x.cols == 0) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "matrix without rows or columns");
  }
  // Header, CUBLASLT_MATRIX_LAYOUT_LD, for the default column-major order.
  if (x.ld < static_cast<int64_t>(x.rows)) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "leading dimension smaller than the rows");
  }
  // Header, CUBLASLT_MATRIX_LAYOUT_ROWS: "usually only values that can be expressed as int32_t".
  if (x.rows > INT32_MAX || x.cols > INT32_MAX) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "matrix dimension beyond int32");
  }
  return CUBLAS_STATUS_SUCCESS;
}

// Manual, table of supported types for CUBLAS_COMPUTE_32F and scale type CUDA_R_32F (the rows that
// matter here): A and B float, C and D float; or A and B bf16, C and D bf16 or float.
cublasStatus_t check_types(const Problem& p) {
  const bool known =
      p.op.compute == CUBLAS_COMPUTE_32F || p.op.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  if (!known || p.op.scale_type != CUDA_R_32F) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "compute or scale type");
  }
  const bool floats = p.a.type == CUDA_R_32F && p.d.type == CUDA_R_32F;
  const bool halves =
      p.a.type == CUDA_R_16BF && (p.d.type == CUDA_R_16BF || p.d.type == CUDA_R_32F);
  if (p.a.type != p.b.type || p.c.type != p.d.type || !(floats || halves)) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "combination of data types");
  }
  // Same table, column "bias type".
  if (uses_bias(p.op.epilogue) && p.op.bias_type != -1 && p.op.bias_type != p.d.type) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "bias type");
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t check_shapes(const Problem& p) {
  const bool plain_a = p.op.transpose_a == CUBLAS_OP_N, plain_b = p.op.transpose_b == CUBLAS_OP_N;
  if ((!plain_a && p.op.transpose_a != CUBLAS_OP_T) ||
      (!plain_b && p.op.transpose_b != CUBLAS_OP_T)) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "transpose mode");
  }
  for (const Matrix* x : {&p.a, &p.b, &p.c, &p.d}) {
    if (const cublasStatus_t status = check_matrix(*x)) return status;
  }
  const uint64_t m = plain_a ? p.a.rows : p.a.cols, k = plain_a ? p.a.cols : p.a.rows;
  const uint64_t inner = plain_b ? p.b.rows : p.b.cols, n = plain_b ? p.b.cols : p.b.rows;
  if (k != inner || p.d.rows != m || p.d.cols != n || p.c.rows != m || p.c.cols != n) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "shapes do not multiply");
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t check_epilogue(const Problem& p) {
  const uint32_t epilogue = p.op.epilogue;
  if (!is_known(epilogue)) return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "epilogue: not simulated");
  if (config().plain_products_only && epilogue != CUBLASLT_EPILOGUE_DEFAULT) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "epilogue: refused by configuration");
  }
  // Strict: the header asks for the pointers where it describes each epilogue, and the heuristic
  // derives the alignment it may rely on from them.
  if (uses_bias(epilogue) && !p.op.bias) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "epilogue without bias pointer");
  }
  // NVIDIA's nvmath-python asks for neither of these two: "not supported by cuBLAS". Which status is not
  // known.
  if (epilogue == CUBLASLT_EPILOGUE_BGRADB && p.n() == 1) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "bias gradient of one column");
  }
  if (!uses_mask(epilogue)) return CUBLAS_STATUS_SUCCESS;
  if (!p.op.aux) return refuse(CUBLAS_STATUS_INVALID_VALUE, "epilogue without aux pointer");
  // Header, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD: bits, divisible by 128, no less than the rows.
  if (p.op.aux_ld % 128 != 0 || p.op.aux_ld < p.m()) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "aux leading dimension");
  }
  if (!(epilogue & CUBLASLT_EPILOGUE_RELU) && p.k() == 1) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "gradient of ReLU behind an inner dimension of 1");
  }
  // Strict: a mask column is a whole number of 16-byte words, so the mask should start on one.
  if (reinterpret_cast<uintptr_t>(p.op.aux) % 16 != 0) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "aux pointer alignment");
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

bool uses_mask(uint32_t epilogue) { return epilogue & 128; }

bool is_bias_gradient(uint32_t epilogue) {
  return epilogue == CUBLASLT_EPILOGUE_DRELU_BGRAD || epilogue == CUBLASLT_EPILOGUE_BGRADA ||
         epilogue == CUBLASLT_EPILOGUE_BGRADB;
}

bool uses_bias(uint32_t epilogue) {
  return (epilogue & CUBLASLT_EPILOGUE_BIAS) || is_bias_gradient(epilogue);
}

// Header: as many elements as D has rows, but for BGRADB as D has columns.
int64_t bias_length(const Problem& problem) {
  return problem.op.epilogue == CUBLASLT_EPILOGUE_BGRADB ? problem.n() : problem.m();
}

size_t element_size(cudaDataType_t type) { return type == CUDA_R_16BF ? 2 : 4; }

cublasStatus_t check_problem(const Problem& problem) {
  if (const cublasStatus_t status = check_shapes(problem)) return status;
  if (const cublasStatus_t status = check_types(problem)) return status;
  return check_epilogue(problem);
}

}  // namespace cudasim::lt
