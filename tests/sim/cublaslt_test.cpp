// The fake cuBLASLt: results against brute force, and each thing that it must refuse.
#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/sim/fake_cublaslt.h"
#include "tests/sim/sim_fixture.h"

namespace elbo {
namespace {

using cudasim::lt::Matrix;
using cudasim::lt::Operation;
using cudasim::lt::Preference;

std::vector<float> random_values(size_t count, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<float> values(count);
  for (float& v : values) v = static_cast<float>(bits() % 2001) / 1000.0f - 1.0f;
  return values;
}

// A product that is right in every respect; tests bend one thing at a time. The structs behind the
// handles are the fake's own.
struct Call {
  int64_t m = 5, n = 3, k = 7;
  Operation op;
  Matrix a{CUDA_R_32F, 5, 7, 5}, b{CUDA_R_32F, 7, 3, 7}, c{CUDA_R_32F, 5, 3, 5}, d = c;
  Preference wish;
  DeviceArray<float> a_data{4096}, b_data{4096}, d_data{4096}, bias{64}, workspace{4096};
  DeviceArray<uint8_t> mask{4096};
  const void* alpha = &one;
  const void* beta = &zero;
  void* work = workspace.data();
  size_t work_bytes = 4096 * sizeof(float);
  float* c_pointer = d_data.data();
  std::function<void(cublasLtMatmulAlgo_t*)> before_matmul = [](cublasLtMatmulAlgo_t*) {};
  float one = 1, zero = 0;
  cudaStream_t stream = nullptr;
  std::vector<float> x = random_values(4096, 1), y = random_values(4096, 2);

  explicit Call(uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT) {
    op.epilogue = epilogue;
    op.bias = bias.data();
    op.aux = mask.data();
    op.aux_ld = 128;
    fill(a_data, x);
    fill(b_data, y);
  }

  void resize(int64_t rows, int64_t cols, int64_t inner) {
    m = rows, n = cols, k = inner;
    const auto shape = [](int64_t r, int64_t q) {
      return Matrix{CUDA_R_32F, static_cast<uint64_t>(r), static_cast<uint64_t>(q), r};
    };
    a = op.transpose_a == CUBLAS_OP_N ? shape(m, k) : shape(k, m);
    b = op.transpose_b == CUBLAS_OP_N ? shape(k, n) : shape(n, k);
    c = d = shape(m, n);
  }

  static void fill(const DeviceArray<float>& to, const std::vector<float>& from) {
    ELBO_CUDA_CHECK(
        cudaMemcpy(to.data(), from.data(), from.size() * sizeof(float), cudaMemcpyHostToDevice));
  }
  static std::vector<float> read(const float* from, size_t count) {
    std::vector<float> values(count);
    ELBO_CUDA_CHECK(cudaMemcpy(values.data(), from, count * sizeof(float), cudaMemcpyDeviceToHost));
    return values;
  }

  cublasStatus_t run() {
    cublasLtHandle_t handle = nullptr;
    cublasLtCreate(&handle);
    cublasLtMatmulHeuristicResult_t answer = {};
    int count = 0;
    const auto layout = [](Matrix& x) { return reinterpret_cast<cublasLtMatrixLayout_t>(&x); };
    const auto description = reinterpret_cast<cublasLtMatmulDesc_t>(&op);
    cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle, description, layout(a), layout(b), layout(c), layout(d),
        reinterpret_cast<cublasLtMatmulPreference_t>(&wish), 1, &answer, &count);
    if (status == CUBLAS_STATUS_SUCCESS) {
      before_matmul(&answer.algo);
      status = cublasLtMatmul(handle, description, alpha, a_data.data(), layout(a), b_data.data(),
                              layout(b), beta, c_pointer, layout(c), d_data.data(), layout(d),
                              &answer.algo, work, work_bytes, stream);
    }
    cublasLtDestroy(handle);
    return status;
  }

  double product(int64_t row, int64_t col) const {
    double sum = 0;
    for (int64_t i = 0; i < k; ++i) {
      const auto at_a = op.transpose_a == CUBLAS_OP_N ? i * a.ld + row : row * a.ld + i;
      const auto at_b = op.transpose_b == CUBLAS_OP_N ? col * b.ld + i : i * b.ld + col;
      sum += static_cast<double>(x[at_a]) * y[at_b];
    }
    return sum;
  }
};

class CublasLtTest : public SimTest {
 protected:
  static void expect_refused(Call& call, cublasStatus_t status, const std::string& reason) {
    EXPECT_EQ(call.run(), status);
    EXPECT_EQ(cudasim::cublaslt_refusal(), reason);
  }
};

constexpr double kTolerance = 2e-5;  // fp32 sums of at most 600 products of values below 1

// ---- results ------------------------------------------------------------------------------------

TEST_F(CublasLtTest, ProductsAgreeWithBruteForceForEachTranspose) {
  for (const int transpose_a : {CUBLAS_OP_N, CUBLAS_OP_T}) {
    for (const int transpose_b : {CUBLAS_OP_N, CUBLAS_OP_T}) {
      Call call;
      call.op.transpose_a = transpose_a;
      call.op.transpose_b = transpose_b;
      call.resize(5, 3, 70);
      call.a.ld += 2, call.b.ld += 1, call.d.ld = call.c.ld = 9;
      ASSERT_EQ(call.run(), CUBLAS_STATUS_SUCCESS) << cudasim::cublaslt_refusal();
      const auto d = Call::read(call.d_data.data(), 64);
      for (int64_t col = 0; col < 3; ++col) {
        for (int64_t row = 0; row < 5; ++row) {
          EXPECT_NEAR(d[col * 9 + row], call.product(row, col), kTolerance);
        }
      }
      EXPECT_EQ(d[5], 0.0f) << "wrote between columns";
    }
  }
}

TEST_F(CublasLtTest, LongInnerDimensionsUseTheWorkspaceInPieces) {
  Call call;
  call.resize(3, 2, 600);
  call.wish.workspace = 4096;
  ASSERT_EQ(call.run(), CUBLAS_STATUS_SUCCESS) << cudasim::cublaslt_refusal();
  for (int64_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(call.d_data.get(i), call.product(i % 3, i / 3), kTolerance);
  }
  EXPECT_NE(call.workspace.get(0), 0.0f);
  EXPECT_NE(call.workspace.get(11), 0.0f);
  EXPECT_EQ(call.workspace.get(12), 0.0f);
}

TEST_F(CublasLtTest, AlphaAndBetaScaleOnHostAndOnDevice) {
  for (const bool on_device : {false, true}) {
    Call call;
    const float scalars[] = {2.0f, 0.5f};
    DeviceArray<float> device_scalars(2);
    ELBO_CUDA_CHECK(
        cudaMemcpy(device_scalars.data(), scalars, sizeof scalars, cudaMemcpyHostToDevice));
    call.op.pointer_mode = on_device ? CUBLASLT_POINTER_MODE_DEVICE : CUBLASLT_POINTER_MODE_HOST;
    call.alpha = on_device ? device_scalars.data() : scalars;
    call.beta = on_device ? device_scalars.data() + 1 : scalars + 1;
    Call::fill(call.d_data, std::vector<float>(64, 10.0f));
    ASSERT_EQ(call.run(), CUBLAS_STATUS_SUCCESS) << cudasim::cublaslt_refusal();
    EXPECT_NEAR(call.d_data.get(4), 2 * call.product(4, 0) + 5, kTolerance);
  }
}

TEST_F(CublasLtTest, ForwardEpiloguesAddBiasAndKeepTheMask) {
  for (const uint32_t epilogue :
       {CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_RELU, CUBLASLT_EPILOGUE_RELU_BIAS,
        CUBLASLT_EPILOGUE_RELU_AUX, CUBLASLT_EPILOGUE_RELU_AUX_BIAS}) {
    Call call(epilogue);
    const auto bias = random_values(64, 3);
    Call::fill(call.bias, bias);
    ASSERT_EQ(call.run(), CUBLAS_STATUS_SUCCESS) << cudasim::cublaslt_refusal();
    for (int64_t col = 0; col < 3; ++col) {
      for (int64_t row = 0; row < 5; ++row) {
        double value = call.product(row, col);
        if (epilogue & CUBLASLT_EPILOGUE_BIAS) value += bias[row];
        const double expected = epilogue & CUBLASLT_EPILOGUE_RELU ? std::max(value, 0.0) : value;
        EXPECT_NEAR(call.d_data.get(col * 5 + row), expected, kTolerance) << epilogue;
        const bool bit = call.mask.get(col * 16) >> row & 1;
        EXPECT_EQ(bit, (epilogue & 128) && value > 0) << epilogue;
      }
    }
  }
}

TEST_F(CublasLtTest, BackwardEpiloguesMaskAndSumUp) {
  for (const uint32_t epilogue : {CUBLASLT_EPILOGUE_DRELU, CUBLASLT_EPILOGUE_DRELU_BGRAD}) {
    Call call(epilogue);
    for (int64_t col = 0; col < 3; ++col) {
      const uint8_t bits = static_cast<uint8_t>(0b10110 >> col);
      ELBO_CUDA_CHECK(cudaMemcpy(call.mask.data() + col * 16, &bits, 1, cudaMemcpyHostToDevice));
    }
    ASSERT_EQ(call.run(), CUBLAS_STATUS_SUCCESS) << cudasim::cublaslt_refusal();
    for (int64_t row = 0; row < 5; ++row) {
      double sum = 0;
      for (int64_t col = 0; col < 3; ++col) {
        const double expected = 0b10110 >> col >> row & 1 ? call.product(row, col) : 0;
        EXPECT_NEAR(call.d_data.get(col * 5 + row), expected, kTolerance);
        sum += expected;
      }
      const bool gradient = epilogue == CUBLASLT_EPILOGUE_DRELU_BGRAD;
      EXPECT_NEAR(call.bias.get(row), gradient ? sum : 0, kTolerance);
    }
  }
}

TEST_F(CublasLtTest, BiasGradientsOfTheInputsSumOverTheInnerDimension) {
  for (const bool of_a : {true, false}) {
    Call call(of_a ? CUBLASLT_EPILOGUE_BGRADA : CUBLASLT_EPILOGUE_BGRADB);
    call.op.transpose_b = CUBLAS_OP_T;
    call.resize(5, 3, 7);
    ASSERT_EQ(call.run(), CUBLAS_STATUS_SUCCESS) << cudasim::cublaslt_refusal();
    for (int64_t i = 0; i < (of_a ? 5 : 3); ++i) {
      double sum = 0;
      for (int64_t kk = 0; kk < 7; ++kk) sum += of_a ? call.x[kk * 5 + i] : call.y[kk * 3 + i];
      EXPECT_NEAR(call.bias.get(i), sum, kTolerance);
    }
    EXPECT_EQ(call.bias.get(of_a ? 5 : 3), 0.0f) << "wrote behind the gradient";
  }
}

TEST_F(CublasLtTest, Bf16InputsAccumulateInFloat) {
  Call call;
  call.resize(2, 1, 3);
  call.a.type = call.b.type = CUDA_R_16BF;
  const uint16_t a[] = {0x3F80, 0x4000, 0x4040, 0x4080, 0x40A0, 0x40C0};  // 1 2 3 4 5 6
  const uint16_t b[] = {0x3F80, 0xBF80, 0x3F00};                          // 1 -1 0.5
  ELBO_CUDA_CHECK(cudaMemcpy(call.a_data.data(), a, sizeof a, cudaMemcpyHostToDevice));
  ELBO_CUDA_CHECK(cudaMemcpy(call.b_data.data(), b, sizeof b, cudaMemcpyHostToDevice));
  ASSERT_EQ(call.run(), CUBLAS_STATUS_SUCCESS) << cudasim::cublaslt_refusal();
  EXPECT_EQ(call.d_data.get(0), 1 - 3 + 2.5f);
  EXPECT_EQ(call.d_data.get(1), 2 - 4 + 3.0f);
}

TEST_F(CublasLtTest, ProductsAreWorkOfTheirStream) {
  cudasim::config().async = true;
  Call call;
  ASSERT_EQ(cudaStreamCreateWithFlags(&call.stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(call.run(), CUBLAS_STATUS_SUCCESS) << cudasim::cublaslt_refusal();
  EXPECT_EQ(call.d_data.get(0), 0.0f) << "nobody waited for the stream";
  ASSERT_EQ(cudaStreamSynchronize(call.stream), cudaSuccess);
  EXPECT_NEAR(call.d_data.get(0), call.product(0, 0), kTolerance);
  EXPECT_EQ(cudaStreamDestroy(call.stream), cudaSuccess);
}

TEST_F(CublasLtTest, ReportsOperandsThatNobodyHasWritten) {
  SKIP_WITHOUT_RACE_CHECKER();
  Call call;
  cudasim::mark_unwritten(call.a_data.data() + 10, 4);
  EXPECT_REPORT(reports_of([&] { call.run(); }), "unwritten read: cublasLtMatmul: column 2 of A");
}

// ---- refusals -----------------------------------------------------------------------------------

TEST_F(CublasLtTest, RefusesWrongShapes) {
  struct Case {
    const char* reason;
    std::function<void(Call&)> bend;
  };
  const Case cases[] = {
      {"matrix without rows or columns", [](Call& c) { c.resize(5, 0, 7); }},
      {"matrix without rows or columns", [](Call& c) { c.resize(5, 3, 0); }},
      {"leading dimension smaller than the rows", [](Call& c) { c.a.ld = 4; }},
      {"leading dimension smaller than the rows", [](Call& c) { c.d.ld = 4; }},
      {"shapes do not multiply", [](Call& c) { c.b.rows = 6; }},
      {"shapes do not multiply", [](Call& c) { c.d.cols = 2; }},
      {"shapes do not multiply", [](Call& c) { c.c.cols = 2; }},
      {"shapes do not multiply", [](Call& c) { c.op.transpose_a = CUBLAS_OP_T; }},
  };
  for (const Case& test : cases) {
    Call call;
    test.bend(call);
    expect_refused(call, CUBLAS_STATUS_INVALID_VALUE, test.reason);
  }
}

TEST_F(CublasLtTest, RefusesUnsupportedTypesAndModes) {
  struct Case {
    const char* reason;
    std::function<void(Call&)> bend;
  };
  const Case cases[] = {
      {"matrix dimension beyond int32", [](Call& c) { c.d.cols = 1ull << 31; }},
      {"transpose mode", [](Call& c) { c.op.transpose_a = CUBLAS_OP_C; }},
      {"compute or scale type", [](Call& c) { c.op.compute = CUBLAS_COMPUTE_64F; }},
      {"compute or scale type", [](Call& c) { c.op.scale_type = CUDA_R_64F; }},
      {"combination of data types", [](Call& c) { c.b.type = CUDA_R_16BF; }},
      {"combination of data types", [](Call& c) { c.d.type = c.c.type = CUDA_R_16BF; }},
      {"combination of data types", [](Call& c) { c.c.type = CUDA_R_64F; }},
      {"bias type",
       [](Call& c) {
         c.op.epilogue = CUBLASLT_EPILOGUE_BIAS;
         c.op.bias_type = CUDA_R_16BF;
       }},
      {"epilogue: not simulated", [](Call& c) { c.op.epilogue = CUBLASLT_EPILOGUE_GELU; }},
      {"epilogue: refused by configuration",
       [](Call& c) {
         cudasim::config().plain_products_only = true;
         c.op.epilogue = CUBLASLT_EPILOGUE_BIAS;
       }},
  };
  for (const Case& test : cases) {
    Call call;
    test.bend(call);
    expect_refused(call, CUBLAS_STATUS_NOT_SUPPORTED, test.reason);
  }
}

TEST_F(CublasLtTest, RefusesIncompleteEpilogues) {
  struct Case {
    const char* reason;
    uint32_t epilogue;
    std::function<void(Call&)> bend;
  };
  const Case cases[] = {
      {"epilogue without bias pointer", CUBLASLT_EPILOGUE_BIAS,
       [](Call& c) { c.op.bias = nullptr; }},
      {"epilogue without bias pointer", CUBLASLT_EPILOGUE_BGRADB,
       [](Call& c) { c.op.bias = nullptr; }},
      {"epilogue without aux pointer", CUBLASLT_EPILOGUE_RELU_AUX_BIAS,
       [](Call& c) { c.op.aux = nullptr; }},
      {"aux leading dimension", CUBLASLT_EPILOGUE_RELU_AUX, [](Call& c) { c.op.aux_ld = 16; }},
      {"aux leading dimension", CUBLASLT_EPILOGUE_DRELU, [](Call& c) { c.op.aux_ld = 0; }},
      {"aux leading dimension", CUBLASLT_EPILOGUE_RELU_AUX, [](Call& c) { c.resize(129, 3, 7); }},
      {"aux pointer alignment", CUBLASLT_EPILOGUE_RELU_AUX,
       [](Call& c) { c.op.aux = c.mask.data() + 8; }},
      {"gradient of ReLU behind an inner dimension of 1", CUBLASLT_EPILOGUE_DRELU_BGRAD,
       [](Call& c) { c.resize(5, 3, 1); }},
      {"bias gradient of one column", CUBLASLT_EPILOGUE_BGRADB, [](Call& c) { c.resize(5, 1, 7); }},
  };
  for (const Case& test : cases) {
    Call call(test.epilogue);
    test.bend(call);
    expect_refused(call, CUBLAS_STATUS_INVALID_VALUE, test.reason);
  }
}

TEST_F(CublasLtTest, RefusesCallsThatBreakWhatThePlanWasMadeFor) {
  struct Case {
    const char* reason;
    std::function<void(Call&)> bend;
  };
  const Case cases[] = {
      {"algorithm made for another problem",
       [](Call& c) { c.before_matmul = [&](auto*) { c.a.ld = 6; }; }},
      {"algorithm made for another problem",
       [](Call& c) { c.before_matmul = [](auto* algo) { *algo = {}; }; }},
      {"bias less aligned than the heuristic saw",
       [](Call& c) {
         c.op.epilogue = CUBLASLT_EPILOGUE_BIAS;
         c.before_matmul = [&](auto*) { c.op.bias = c.bias.data() + 1; };
       }},
      {"null operand", [](Call& c) { c.alpha = nullptr; }},
      {"in place with different layouts", [](Call& c) { c.c.ld = 6; }},
      {"operand less aligned than promised", [](Call& c) { c.c_pointer = c.d_data.data() + 1; }},
      {"workspace too small",
       [](Call& c) {
         c.resize(3, 2, 600);
         c.wish.workspace = 4096;
         c.work_bytes = 47;
       }},
      {"workspace alignment", [](Call& c) { c.work = c.workspace.data() + 1; }},
      {"unknown stream", [](Call& c) { c.stream = reinterpret_cast<cudaStream_t>(&c); }},
  };
  for (const Case& test : cases) {
    Call call;
    test.bend(call);
    expect_refused(call, CUBLAS_STATUS_INVALID_VALUE, test.reason);
  }
}

TEST_F(CublasLtTest, RefusesOperandsOutsideOfDeviceMemory) {
  Call call(CUBLASLT_EPILOGUE_BIAS);
  std::vector<float> host(64);
  call.op.bias = host.data();
  EXPECT_REPORT(reports_of([&] { EXPECT_EQ(call.run(), CUBLAS_STATUS_EXECUTION_FAILED); }),
                "bad pointer: cublasLtMatmul: bias is not device memory");
  call.op.bias = call.bias.data();
  call.resize(5, 3, 4096);
  EXPECT_REPORT(reports_of([&] { EXPECT_EQ(call.run(), CUBLAS_STATUS_EXECUTION_FAILED); }),
                "bad pointer: cublasLtMatmul: A is not device memory");
}

// ---- handles and faults -------------------------------------------------------------------------

// The calls in the order in which a plan is made, with everything released on every path.
cublasStatus_t make_and_release() {
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t description = nullptr;
  cublasLtMatrixLayout_t layout = nullptr;
  cublasLtMatmulPreference_t wish = nullptr;
  const int32_t transpose = CUBLAS_OP_T;
  const uint64_t bytes = 1000;
  cublasStatus_t status = cublasLtCreate(&handle);
  const auto then = [&status](auto call) {
    if (status == CUBLAS_STATUS_SUCCESS) status = call();
  };
  then([&] { return cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F); });
  then([&] {
    return cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSA, &transpose, 4);
  });
  then([&] { return cublasLtMatrixLayoutCreate(&layout, CUDA_R_32F, 2, 3, 2); });
  then([&] { return cublasLtMatmulPreferenceCreate(&wish); });
  then([&] {
    return cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                &bytes, 8);
  });
  if (wish) cublasLtMatmulPreferenceDestroy(wish);
  if (layout) cublasLtMatrixLayoutDestroy(layout);
  if (description) cublasLtMatmulDescDestroy(description);
  if (handle) cublasLtDestroy(handle);
  return status;
}

TEST_F(CublasLtTest, EachCallCanBeMadeToFailAndNothingLeaks) {
  ASSERT_EQ(make_and_release(), CUBLAS_STATUS_SUCCESS);
  int failures = 0;
  for (int n = 1; n <= 10; ++n) {
    cudasim::config().fail_call = n;
    const cublasStatus_t status = make_and_release();
    if (status != CUBLAS_STATUS_SUCCESS) {
      EXPECT_EQ(status, CUBLAS_STATUS_ALLOC_FAILED);
      ++failures;
    }
    cudasim::config().fail_call = 0;
    EXPECT_EQ(cudasim::live().handles, 0) << n;
    EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "cuBLASLt errors are its own";
  }
  EXPECT_EQ(failures, 6) << "all but the four that release something";
}

TEST_F(CublasLtTest, AttributesOfTheWrongSizeAreRefused) {
  Operation op;
  const auto description = reinterpret_cast<cublasLtMatmulDesc_t>(&op);
  const int64_t value = 0;
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_EPILOGUE, &value, 8),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(
      cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &value, 4),
      CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(
      cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET, &value, 4),
      CUBLAS_STATUS_NOT_SUPPORTED);
}

}  // namespace
}  // namespace elbo
