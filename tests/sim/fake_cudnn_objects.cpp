// Handles and descriptors.
#include "tests/sim/fake_cudnn.h"

#include "tests/sim/reports.h"

namespace cudasim {
namespace {
const char* refusal = "";
}
const char* cudnn_refusal() { return refusal; }

namespace dnn {

cudnnStatus_t refuse(cudnnStatus_t status, const char* reason) {
  refusal = reason;
  return status;
}

// The library reports its own failures by status; it leaves nothing for cudaGetLastError.
DnnCall::DnnCall() {
  if (failed()) cudaGetLastError();
}

cudnnStatus_t DnnCall::error() const {
  if (!failed()) return CUDNN_STATUS_SUCCESS;
  return call_.error() == cudaErrorMemoryAllocation
             ? CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED
             : CUDNN_STATUS_EXECUTION_FAILED;
}

namespace {

template <class T, class Handle>
cudnnStatus_t create(Handle* handle) {
  DnnCall call;
  if (call.failed()) return call.error();
  *handle = reinterpret_cast<Handle>(new T);
  ++live_objects.handles;
  return CUDNN_STATUS_SUCCESS;
}

template <class T, class Handle>
cudnnStatus_t destroy(Handle handle) {
  DnnCall call;
  if (!handle) return refuse(CUDNN_STATUS_BAD_PARAM, "destroying a null handle");
  delete reinterpret_cast<const T*>(handle);
  --live_objects.handles;
  return call.error();
}

cudnnStatus_t assign(Tensor* to, const Tensor& value) {
  DnnCall call;
  if (call.failed()) return call.error();
  // Manual: at least one of the parameters is negative; strict: empty tensors too.
  if (value.n <= 0 || value.c <= 0 || value.h <= 0 || value.w <= 0) {
    return refuse(CUDNN_STATUS_BAD_PARAM, "extent that is not positive");
  }
  // Manual: the total size of the tensor is less than 2 giga-elements.
  if (value.size() >= int64_t{1} << 31) {
    return refuse(CUDNN_STATUS_NOT_SUPPORTED, "tensor of 2^31 elements");
  }
  *to = value;
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace
}  // namespace dnn
}  // namespace cudasim

using namespace cudasim;
using namespace cudasim::dnn;

const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (CUDNN_STATUS_CATEGORY(status)) {
    case CUDNN_STATUS_SUCCESS:
      return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_BAD_PARAM:
      return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_NOT_SUPPORTED:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_EXECUTION_FAILED:
      return "CUDNN_STATUS_EXECUTION_FAILED";
    default:
      return "CUDNN_STATUS_INTERNAL_ERROR";
  }
}

size_t cudnnGetVersion(void) { return CUDNN_VERSION; }

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) { return create<Library>(handle); }
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { return destroy<Library>(handle); }

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  DnnCall call;
  if (call.failed()) return call.error();
  if (!handle) return refuse(CUDNN_STATUS_BAD_PARAM, "no handle");
  if (!is_stream(stream)) return refuse(CUDNN_STATUS_BAD_PARAM, "unknown stream");
  library(handle)->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* handle) {
  return create<Tensor>(handle);
}
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t handle) {
  return destroy<Tensor>(handle);
}
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t handle, cudnnTensorFormat_t format,
                                         cudnnDataType_t type, int n, int c, int h, int w) {
  return assign(tensor(handle), {format, type, n, c, h, w});
}

cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* handle) {
  return create<Tensor>(handle);
}
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t handle) {
  return destroy<Tensor>(handle);
}
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t handle, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  return assign(filter(handle), {format, type, k, c, h, w});
}

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* handle) {
  return create<Window>(handle);
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t handle) {
  return destroy<Window>(handle);
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t handle, int pad_h,
                                              int pad_w, int stride_h, int stride_w, int dilation_h,
                                              int dilation_w, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t compute) {
  DnnCall call;
  if (call.failed()) return call.error();
  // Manual: pads not negative, strides and dilations positive.
  if (pad_h < 0 || pad_w < 0 || stride_h <= 0 || stride_w <= 0 || dilation_h <= 0 ||
      dilation_w <= 0) {
    return refuse(CUDNN_STATUS_BAD_PARAM, "window");
  }
  Window& w = *window(handle);
  w = {pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, mode, compute, w.math};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t handle,
                                          cudnnMathType_t math) {
  DnnCall call;
  if (call.failed()) return call.error();
  window(handle)->math = math;
  return CUDNN_STATUS_SUCCESS;
}
