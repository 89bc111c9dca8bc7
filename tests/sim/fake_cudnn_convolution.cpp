// The heuristics' answers and the calls that convolve.
#include <vector>

#include "tests/sim/fake_cudnn.h"
#include "tests/sim/race_hooks.h"
#include "tests/sim/reports.h"

namespace cudasim::dnn {
namespace {

int output_extent(int in, int pad, int kernel, int dilation, int stride) {
  return (in + 2 * pad - (dilation * (kernel - 1) + 1)) / stride + 1;
}

cudnnStatus_t check_problem(const Tensor& x, const Tensor& y, const Tensor& w, const Window& g) {
  for (const Tensor* t : {&x, &y, &w}) {
    if (t->n == 0) return refuse(CUDNN_STATUS_BAD_PARAM, "descriptor that was never set");
    // Strict: other layouts exist, mixed ones too; the caller wants this one.
    if (t->format != CUDNN_TENSOR_NHWC) return refuse(CUDNN_STATUS_NOT_SUPPORTED, "layout");
    if (t->type != CUDNN_DATA_FLOAT) {
      return refuse(CUDNN_STATUS_NOT_SUPPORTED, "data type: not simulated");
    }
  }
  if (g.stride_h == 0) return refuse(CUDNN_STATUS_BAD_PARAM, "window that was never set");
  if (g.compute != CUDNN_DATA_FLOAT) return refuse(CUDNN_STATUS_NOT_SUPPORTED, "compute type");
  if (g.mode != CUDNN_CROSS_CORRELATION) {
    return refuse(CUDNN_STATUS_NOT_SUPPORTED, "flipped kernel: not simulated");
  }
  if (x.n != y.n) return refuse(CUDNN_STATUS_BAD_PARAM, "batches of x and y");
  if (x.c != w.c || y.c != w.n) return refuse(CUDNN_STATUS_BAD_PARAM, "channels");
  // Manual: y must have the size that cudnnGetConvolutionNdForwardOutputDim() says.
  if (y.h != output_extent(x.h, g.pad_h, w.h, g.dilation_h, g.stride_h) ||
      y.w != output_extent(x.w, g.pad_w, w.w, g.dilation_w, g.stride_w)) {
    return refuse(CUDNN_STATUS_BAD_PARAM, "extents do not convolve");
  }
  return CUDNN_STATUS_SUCCESS;
}

// What the heuristics know: the first is fastest and does not repeat, the second wants more memory than
// there is, the third some, the fourth none.
constexpr int kAnswers = 4;
struct Answer {
  bool deterministic;
  size_t memory;
};
Answer answer_of(int algorithm, const Tensor& written) {
  const Answer answers[kAnswers] = {{false, 0},
                                    {true, size_t{1} << 40},
                                    {true, static_cast<size_t>(written.size()) * 4},
                                    {true, 0}};
  return answers[algorithm];
}

template <class Perf>
cudnnStatus_t answer(cudnnHandle_t handle, const Tensor& x, const Tensor& y, const Tensor& w,
                     const Window& window, const Tensor& written, int wanted, int* count,
                     Perf* results) {
  DnnCall call;
  if (call.failed()) return call.error();
  *count = 0;
  if (!handle || wanted <= 0) {
    return refuse(CUDNN_STATUS_BAD_PARAM, "no handle, or no algorithm wanted");
  }
  if (const cudnnStatus_t status = check_problem(x, y, w, window)) return status;
  if (config().no_library_convolutions) {
    return refuse(CUDNN_STATUS_NOT_SUPPORTED, "convolution: refused by configuration");
  }
  for (int i = 0; i < kAnswers && i < wanted; ++i) {
    const Answer a = answer_of(i, written);
    results[i] = {};
    results[i].algo = static_cast<decltype(results[i].algo)>(i);
    results[i].status = CUDNN_STATUS_SUCCESS;
    results[i].memory = a.memory;
    results[i].determinism = a.deterministic ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC;
    results[i].mathType = window.math == CUDNN_FMA_MATH ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH;
    ++*count;
  }
  return CUDNN_STATUS_SUCCESS;
}

// ---- what a convolution touches ------------------------------------------------------------------

struct Region {
  const char* name;
  const void* data;
  size_t bytes;
  bool is_read, is_written;
};

std::vector<Region> regions(const Work& work) {
  const auto bytes = [](const Tensor& t) { return static_cast<size_t>(t.size()) * sizeof(float); };
  // Manual: with beta == 0 the output is not read.
  const bool reads_out = work.beta != 0;
  std::vector<Region> list;
  const auto add = [&](const char* name, const float* data, const Tensor& t, Kind kind) {
    const bool out = work.kind == kind;
    list.push_back({name, out ? work.out : data, bytes(t), !out || reads_out, out});
  };
  add("x", work.x_data, work.x, Kind::data);
  add("y", work.y_data, work.y, Kind::forward);
  add("the filter", work.w_data, work.w, Kind::filter);
  if (work.workspace_bytes > 0) {
    list.push_back({"workspace", work.workspace, work.workspace_bytes, false, true});
  }
  return list;
}

cudnnStatus_t check_operands(const std::vector<Region>& list) {
  for (const Region& region : list) {
    if (!region.data) return refuse(CUDNN_STATUS_BAD_PARAM, "null operand");
    // Strict: the vectorised kernels want 16 bytes.
    if (reinterpret_cast<uintptr_t>(region.data) % 16 != 0) {
      return refuse(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER, "operand alignment");
    }
    if (!is_device_range(region.data, region.bytes)) {
      add_report("bad pointer", "cuDNN: %s is not device memory of %zu bytes", region.name,
                 region.bytes);
      return refuse(CUDNN_STATUS_EXECUTION_FAILED, "operand outside of device memory");
    }
  }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t convolve(cudnnHandle_t handle, Work work, int algorithm, const void* alpha,
                       const void* beta) {
  DnnCall call;
  if (call.failed()) return call.error();
  if (!handle) return refuse(CUDNN_STATUS_BAD_PARAM, "no handle");
  if (!alpha || !beta) return refuse(CUDNN_STATUS_BAD_PARAM, "no scalars");
  if (const cudnnStatus_t status = check_problem(work.x, work.y, work.w, work.window)) {
    return status;
  }
  if (algorithm < 0 || algorithm >= kAnswers) {
    return refuse(CUDNN_STATUS_BAD_PARAM, "algorithm that was not offered");
  }
  // The real one does so too, wherefore PyTorch (native/cudnn/Conv_v7.cpp) tries one answer after another.
  if (config().broken_promises > 0) {
    --config().broken_promises;
    return refuse(CUDNN_STATUS_NOT_SUPPORTED, "convolution: refused late by configuration");
  }
  const Answer chosen = answer_of(algorithm, work.written());
  // Strict: the engine must repeat its bits.
  if (!chosen.deterministic) return refuse(CUDNN_STATUS_NOT_SUPPORTED, "not deterministic");
  if (chosen.memory > work.workspace_bytes) {
    return refuse(CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT, "workspace too small");
  }
  work.workspace_bytes = chosen.memory;
  work.alpha = *static_cast<const float*>(alpha);
  work.beta = *static_cast<const float*>(beta);
  const std::vector<Region> list = regions(work);
  if (const cudnnStatus_t status = check_operands(list)) return status;
  const cudaError_t error = submit(
      library(handle)->stream,
      [work, list] {
        delay_events(config().library_delay_us);
        if (sticky_error() != cudaSuccess) return;
        for (const Region& region : list) {
          if (!region.is_read || race::is_written(region.data, region.bytes)) continue;
          add_report("unwritten read", "cuDNN: a part of %s was never written", region.name);
        }
        compute(work);
        for (const Region& region : list) {
          if (region.is_written) race::host_write(region.data, region.bytes, nullptr);
        }
      },
      cudaGraphNodeTypeKernel);
  return error == cudaSuccess ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

}  // namespace
}  // namespace cudasim::dnn

using namespace cudasim::dnn;

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t x, const cudnnFilterDescriptor_t w,
    const cudnnConvolutionDescriptor_t g, const cudnnTensorDescriptor_t y, const int wanted,
    int* count, cudnnConvolutionFwdAlgoPerf_t* results) {
  return answer(handle, *tensor(x), *tensor(y), *filter(w), *window(g), *tensor(y), wanted, count,
                results);
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
    cudnnHandle_t handle, const cudnnFilterDescriptor_t w, const cudnnTensorDescriptor_t y,
    const cudnnConvolutionDescriptor_t g, const cudnnTensorDescriptor_t x, const int wanted,
    int* count, cudnnConvolutionBwdDataAlgoPerf_t* results) {
  return answer(handle, *tensor(x), *tensor(y), *filter(w), *window(g), *tensor(x), wanted, count,
                results);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t x, const cudnnTensorDescriptor_t y,
    const cudnnConvolutionDescriptor_t g, const cudnnFilterDescriptor_t w, const int wanted,
    int* count, cudnnConvolutionBwdFilterAlgoPerf_t* results) {
  return answer(handle, *tensor(x), *tensor(y), *filter(w), *window(g), *filter(w), wanted, count,
                results);
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha,
                                      const cudnnTensorDescriptor_t x, const void* x_data,
                                      const cudnnFilterDescriptor_t w, const void* w_data,
                                      const cudnnConvolutionDescriptor_t g,
                                      cudnnConvolutionFwdAlgo_t algorithm, void* workspace,
                                      size_t bytes, const void* beta,
                                      const cudnnTensorDescriptor_t y, void* y_data) {
  return convolve(handle,
                  {.kind = Kind::forward,
                   .x = *tensor(x),
                   .y = *tensor(y),
                   .w = *filter(w),
                   .window = *window(g),
                   .x_data = static_cast<const float*>(x_data),
                   .y_data = nullptr,
                   .w_data = static_cast<const float*>(w_data),
                   .out = static_cast<float*>(y_data),
                   .alpha = 1,
                   .beta = 0,
                   .workspace = workspace,
                   .workspace_bytes = bytes},
                  algorithm, alpha, beta);
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha,
                                           const cudnnFilterDescriptor_t w, const void* w_data,
                                           const cudnnTensorDescriptor_t y, const void* y_data,
                                           const cudnnConvolutionDescriptor_t g,
                                           cudnnConvolutionBwdDataAlgo_t algorithm, void* workspace,
                                           size_t bytes, const void* beta,
                                           const cudnnTensorDescriptor_t x, void* x_data) {
  return convolve(handle,
                  {.kind = Kind::data,
                   .x = *tensor(x),
                   .y = *tensor(y),
                   .w = *filter(w),
                   .window = *window(g),
                   .x_data = nullptr,
                   .y_data = static_cast<const float*>(y_data),
                   .w_data = static_cast<const float*>(w_data),
                   .out = static_cast<float*>(x_data),
                   .alpha = 1,
                   .beta = 0,
                   .workspace = workspace,
                   .workspace_bytes = bytes},
                  algorithm, alpha, beta);
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void* alpha,
                                             const cudnnTensorDescriptor_t x, const void* x_data,
                                             const cudnnTensorDescriptor_t y, const void* y_data,
                                             const cudnnConvolutionDescriptor_t g,
                                             cudnnConvolutionBwdFilterAlgo_t algorithm,
                                             void* workspace, size_t bytes, const void* beta,
                                             const cudnnFilterDescriptor_t w, void* w_data) {
  return convolve(handle,
                  {.kind = Kind::filter,
                   .x = *tensor(x),
                   .y = *tensor(y),
                   .w = *filter(w),
                   .window = *window(g),
                   .x_data = static_cast<const float*>(x_data),
                   .y_data = static_cast<const float*>(y_data),
                   .w_data = nullptr,
                   .out = static_cast<float*>(w_data),
                   .alpha = 1,
                   .beta = 0,
                   .workspace = workspace,
                   .workspace_bytes = bytes},
                  algorithm, alpha, beta);
}
