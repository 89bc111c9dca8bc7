// A stand-in for the part of cuDNN that convolutions use, linked in place of the library.
//
// As fake_cublaslt.h: it refuses what the real library refuses, or could ("strict"), and computes on the
// CPU in a fixed order, as work on the stream. Rules come from the comments in NVIDIA's cudnn_ops.h and
// cudnn_cnn.h ("header") and the cuDNN API reference ("manual").
//
// Reading guide: fake_cudnn_objects.cpp makes descriptors, fake_cudnn_convolution.cpp answers the
// heuristic and judges calls, fake_cudnn_product.cpp computes.
#pragma once

#include <cudnn.h>

#include <cstdint>

#include "tests/sim/runtime.h"

namespace cudasim::dnn {

struct Library {
  cudaStream_t stream = nullptr;
};

// A tensor N x C x H x W, or a filter K x C x R x S.
struct Tensor {
  cudnnTensorFormat_t format = CUDNN_TENSOR_NCHW;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  int n = 0, c = 0, h = 0, w = 0;

  int64_t size() const { return int64_t{n} * c * h * w; }
  int64_t at(int sample, int row, int col, int channel) const {  // NHWC
    return ((int64_t{sample} * h + row) * w + col) * c + channel;
  }
  bool operator==(const Tensor&) const = default;
};

struct Window {
  int pad_h = 0, pad_w = 0, stride_h = 0, stride_w = 0, dilation_h = 0, dilation_w = 0;
  cudnnConvolutionMode_t mode = CUDNN_CONVOLUTION;
  cudnnDataType_t compute = CUDNN_DATA_FLOAT;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};

enum class Kind { forward, data, filter };

// One convolution to do: x and y are joined by w, and the one that `kind` names is written.
struct Work {
  Kind kind;
  Tensor x, y, w;
  Window window;
  const float *x_data, *y_data, *w_data;
  float* out;
  float alpha, beta;
  void* workspace;
  size_t workspace_bytes;

  const Tensor& written() const { return kind == Kind::forward ? y : kind == Kind::data ? x : w; }
};

// Computes it, in a fixed order.
void compute(const Work& work);

// Remembers why a call was refused, for cudasim::cudnn_refusal(), and returns `status`.
cudnnStatus_t refuse(cudnnStatus_t status, const char* reason);

// A cuDNN call as a runtime call: counted, lockable, and failed by the same switches.
class DnnCall {
 public:
  DnnCall();
  bool failed() const { return call_.failed(); }
  cudnnStatus_t error() const;

 private:
  ApiCall call_;
};

// The handle types of the header are opaque pointers.
inline Library* library(cudnnHandle_t handle) { return reinterpret_cast<Library*>(handle); }
inline Tensor* tensor(cudnnTensorDescriptor_t handle) { return reinterpret_cast<Tensor*>(handle); }
inline Tensor* filter(cudnnFilterDescriptor_t handle) { return reinterpret_cast<Tensor*>(handle); }
inline Window* window(cudnnConvolutionDescriptor_t handle) {
  return reinterpret_cast<Window*>(handle);
}

}  // namespace cudasim::dnn
