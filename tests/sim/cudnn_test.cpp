// The fake cuDNN: results by hand, and each thing that it must refuse.
#ifdef ELBO_HAS_CUDNN

#include <string>
#include <vector>

#include "tests/sim/fake_cudnn.h"
#include "tests/sim/sim_fixture.h"

namespace elbo {
namespace {

using cudasim::dnn::Tensor;
using cudasim::dnn::Window;

// A convolution that is right in every respect; tests bend one thing at a time. The structs behind the
// handles are the fake's own. An image of 3 x 3 and a kernel of 2 x 2, one channel each.
struct Call {
  Tensor x{CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1, 1, 3, 3};
  Tensor y{CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1, 1, 2, 2};
  Tensor w{CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1, 1, 2, 2};
  Window window{0, 0, 1, 1, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT, CUDNN_FMA_MATH};
  DeviceArray<float> x_data{64}, y_data{64}, w_data{64}, workspace{64};
  float* y_pointer = y_data.data();
  int algorithm = 3;  // deterministic, without workspace
  size_t workspace_bytes = 64 * sizeof(float);
  float alpha = 1, beta = 0;

  Call() {
    fill(x_data, {1, 2, 3, 4, 5, 6, 7, 8, 9});
    fill(y_data, {1, 10, 100, 1000});
    fill(w_data, {1, 0, 0, -1});
  }

  static void fill(const DeviceArray<float>& to, const std::vector<float>& from) {
    ELBO_CUDA_CHECK(
        cudaMemcpy(to.data(), from.data(), from.size() * sizeof(float), cudaMemcpyHostToDevice));
  }
  static std::vector<float> read(const DeviceArray<float>& from, size_t count) {
    std::vector<float> values(count);
    ELBO_CUDA_CHECK(
        cudaMemcpy(values.data(), from.data(), count * sizeof(float), cudaMemcpyDeviceToHost));
    return values;
  }

  cudnnTensorDescriptor_t of(Tensor& t) { return reinterpret_cast<cudnnTensorDescriptor_t>(&t); }
  cudnnFilterDescriptor_t filter() { return reinterpret_cast<cudnnFilterDescriptor_t>(&w); }
  cudnnConvolutionDescriptor_t shape() {
    return reinterpret_cast<cudnnConvolutionDescriptor_t>(&window);
  }

  template <class F>
  cudnnStatus_t with_library(F&& f) {
    cudnnHandle_t handle = nullptr;
    EXPECT_EQ(cudnnCreate(&handle), CUDNN_STATUS_SUCCESS);
    EXPECT_EQ(cudnnSetStream(handle, nullptr), CUDNN_STATUS_SUCCESS);
    const cudnnStatus_t status = f(handle);
    EXPECT_EQ(cudnnDestroy(handle), CUDNN_STATUS_SUCCESS);
    return status;
  }
  cudnnStatus_t forward() {
    return with_library([&](cudnnHandle_t handle) {
      return cudnnConvolutionForward(handle, &alpha, of(x), x_data.data(), filter(), w_data.data(),
                                     shape(), static_cast<cudnnConvolutionFwdAlgo_t>(algorithm),
                                     workspace.data(), workspace_bytes, &beta, of(y), y_pointer);
    });
  }
  cudnnStatus_t data() {
    return with_library([&](cudnnHandle_t handle) {
      return cudnnConvolutionBackwardData(
          handle, &alpha, filter(), w_data.data(), of(y), y_data.data(), shape(),
          static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm), workspace.data(), workspace_bytes,
          &beta, of(x), x_data.data());
    });
  }
  cudnnStatus_t weight() {
    return with_library([&](cudnnHandle_t handle) {
      return cudnnConvolutionBackwardFilter(
          handle, &alpha, of(x), x_data.data(), of(y), y_data.data(), shape(),
          static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm), workspace.data(),
          workspace_bytes, &beta, filter(), w_data.data());
    });
  }
};

class CudnnTest : public SimTest {
 protected:
  static void expect_refused(cudnnStatus_t got, cudnnStatus_t want, const std::string& why) {
    EXPECT_EQ(got, want);
    EXPECT_EQ(cudasim::cudnn_refusal(), why);
  }
};

TEST_F(CudnnTest, ConvolvesInEachDirection) {
  Call call;
  ASSERT_EQ(call.forward(), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(Call::read(call.y_data, 4), (std::vector<float>{-4, -4, -4, -4}));
  Call data;
  ASSERT_EQ(data.data(), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(Call::read(data.x_data, 9),
            (std::vector<float>{1, 10, 0, 100, 999, -10, 0, -100, -1000}));
  Call weight;
  ASSERT_EQ(weight.weight(), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(Call::read(weight.w_data, 4), (std::vector<float>{5421, 6532, 8754, 9865}));
}

TEST_F(CudnnTest, AddsWhereBetaSaysSo) {
  Call call;
  call.alpha = 2, call.beta = 0.5f;
  ASSERT_EQ(call.forward(), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(Call::read(call.y_data, 4), (std::vector<float>{-7.5f, -3, 42, 492}));
}

TEST_F(CudnnTest, RoundsWhereTensorCoresMay) {
  Call call;
  Call::fill(call.x_data, std::vector<float>(9, 1 + 0x1p-12f));
  Call::fill(call.w_data, {1, 0, 0, 0});
  ASSERT_EQ(call.forward(), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(Call::read(call.y_data, 1)[0], 1 + 0x1p-12f);
  call.window.math = CUDNN_TENSOR_OP_MATH;
  ASSERT_EQ(call.forward(), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(Call::read(call.y_data, 1)[0], 1.0f);
}

TEST_F(CudnnTest, RefusesWhatDoesNotFitTogether) {
  const auto bent = [&](auto&& bend, cudnnStatus_t status, const char* why) {
    Call call;
    bend(call);
    expect_refused(call.forward(), status, why);
  };
  bent([](Call& c) { c.x.format = CUDNN_TENSOR_NCHW; }, CUDNN_STATUS_NOT_SUPPORTED, "layout");
  bent([](Call& c) { c.w.n = 0; }, CUDNN_STATUS_BAD_PARAM, "descriptor that was never set");
  bent([](Call& c) { c.window = {}; }, CUDNN_STATUS_BAD_PARAM, "window that was never set");
  bent([](Call& c) { c.window.mode = CUDNN_CONVOLUTION; }, CUDNN_STATUS_NOT_SUPPORTED,
       "flipped kernel: not simulated");
  bent([](Call& c) { c.window.compute = CUDNN_DATA_HALF; }, CUDNN_STATUS_NOT_SUPPORTED,
       "compute type");
  bent([](Call& c) { c.y.n = 2; }, CUDNN_STATUS_BAD_PARAM, "batches of x and y");
  bent([](Call& c) { c.w.c = 2; }, CUDNN_STATUS_BAD_PARAM, "channels");
  bent([](Call& c) { c.w.n = 2; }, CUDNN_STATUS_BAD_PARAM, "channels");
  bent([](Call& c) { c.y.h = 3; }, CUDNN_STATUS_BAD_PARAM, "extents do not convolve");
  bent([](Call& c) { c.window.stride_w = 2; }, CUDNN_STATUS_BAD_PARAM, "extents do not convolve");
  bent([](Call& c) { c.x.type = CUDNN_DATA_BFLOAT16; }, CUDNN_STATUS_NOT_SUPPORTED,
       "data type: not simulated");
}

TEST_F(CudnnTest, RefusesAlgorithmsThatDoNotRepeatOrFit) {
  const auto bent = [&](auto&& bend, cudnnStatus_t status, const char* why) {
    Call call;
    bend(call);
    expect_refused(call.forward(), status, why);
  };
  bent([](Call& c) { c.algorithm = 0; }, CUDNN_STATUS_NOT_SUPPORTED, "not deterministic");
  bent([](Call& c) { c.algorithm = 9; }, CUDNN_STATUS_BAD_PARAM, "algorithm that was not offered");
  bent([](Call& c) { c.algorithm = 2, c.workspace_bytes = 15; },
       CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT, "workspace too small");
  bent([](Call& c) { c.y_pointer += 1; }, CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER,
       "operand alignment");
  bent([](Call& c) { c.y_pointer = nullptr; }, CUDNN_STATUS_BAD_PARAM, "null operand");
  Call with_workspace;
  with_workspace.algorithm = 2;
  EXPECT_EQ(with_workspace.forward(), CUDNN_STATUS_SUCCESS);
}

TEST_F(CudnnTest, ReportsOperandsOutsideOfTheDevice) {
  Call call;
  alignas(16) float host[16] = {};
  call.y_pointer = host;
  const std::string reports = reports_of([&] {
    expect_refused(call.forward(), CUDNN_STATUS_EXECUTION_FAILED,
                   "operand outside of device memory");
  });
  EXPECT_NE(reports.find("bad pointer"), std::string::npos) << reports;
}

TEST_F(CudnnTest, DescriptorsRefuseNonsense) {
  cudnnTensorDescriptor_t tensor = nullptr;
  cudnnConvolutionDescriptor_t window = nullptr;
  ASSERT_EQ(cudnnCreateTensorDescriptor(&tensor), CUDNN_STATUS_SUCCESS);
  ASSERT_EQ(cudnnCreateConvolutionDescriptor(&window), CUDNN_STATUS_SUCCESS);
  const auto set = [&](int n, int c, int h, int w) {
    return cudnnSetTensor4dDescriptor(tensor, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, n, c, h, w);
  };
  EXPECT_EQ(set(1, 1, 0, 1), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(set(1 << 11, 1 << 10, 1 << 10, 1), CUDNN_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(set(1 << 10, 1 << 10, 1 << 10, 1), CUDNN_STATUS_SUCCESS);
  const auto shape = [&](int pad, int stride, int dilation) {
    return cudnnSetConvolution2dDescriptor(window, pad, 0, stride, 1, dilation, 1,
                                           CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT);
  };
  EXPECT_EQ(shape(-1, 1, 1), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(shape(0, 0, 1), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(shape(0, 1, 0), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(shape(0, 1, 1), CUDNN_STATUS_SUCCESS);
  cudnnDestroyTensorDescriptor(tensor);
  cudnnDestroyConvolutionDescriptor(window);
}

}  // namespace
}  // namespace elbo

#endif  // ELBO_HAS_CUDNN
