// Convolutions of fp32 tensors by cuDNN: towards the features is its forward, towards the image its
// gradient of data (a transposed convolution is just that, of an image whose size is given), and the
// gradient of the weight its gradient of the filter. Our weights are its KRSC filters as they lie.
//
// Bits repeat: deterministic algorithms only, taken from the library's heuristic, never by timing. The
// heuristic promises more than the library keeps, so an algorithm that refuses when it is run makes room
// for the next. Bias, activation and sums of bias are passes of ours behind it.
#ifdef ELBO_HAS_CUDNN

#include <cudnn.h>

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <vector>

#include "kernels/conv_backends.h"
#include "kernels/error.h"
#include "kernels/gpu.h"

namespace elbo {
namespace {

void check(cudnnStatus_t status, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw_error(ErrorCode::device, "cuDNN: ", call, " failed: ", cudnnGetErrorString(status));
}
#define ELBO_CUDNN_CHECK(call) check(call, #call)

enum class Kind : int { forward, data, filter };

struct PlanKey {
  Kind kind;
  ProductPrecision precision;
  bool add;  // not every algorithm can
  ConvGeometry geometry;
  bool operator==(const PlanKey&) const = default;
};

struct PlanKeyHash {
  size_t operator()(const PlanKey& key) const {
    return ConvGeometryHash()(key.geometry) * 16 + (static_cast<size_t>(key.kind) << 2 |
                                                    static_cast<size_t>(key.precision) << 1 |
                                                    size_t{key.add});
  }
};

template <auto Destroy>
struct Deleter {
  template <class T>
  void operator()(T* object) const {
    Destroy(object);
  }
};
template <class Handle, auto Destroy>
using Owner = std::unique_ptr<std::remove_pointer_t<Handle>, Deleter<Destroy>>;
using Library = Owner<cudnnHandle_t, cudnnDestroy>;
using Tensor = Owner<cudnnTensorDescriptor_t, cudnnDestroyTensorDescriptor>;
using Filter = Owner<cudnnFilterDescriptor_t, cudnnDestroyFilterDescriptor>;
using Window = Owner<cudnnConvolutionDescriptor_t, cudnnDestroyConvolutionDescriptor>;

template <class Owned, class Handle>
Owned make(cudnnStatus_t (*create)(Handle*), const char* name) {
  Handle raw = nullptr;
  check(create(&raw), name);
  return Owned(raw);
}

struct Algorithm {
  int number;
  size_t workspace;
  cudnnMathType_t math;
};

struct Plan {
  Tensor image, features;
  Filter filter;
  Window window;
  std::vector<Algorithm> algorithms;  // that have not refused yet, best first
};

Tensor make_tensor(int64_t batch, const ImageSize& size) {
  auto tensor = make<Tensor>(cudnnCreateTensorDescriptor, "cudnnCreateTensorDescriptor");
  ELBO_CUDNN_CHECK(
      cudnnSetTensor4dDescriptor(tensor.get(), CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT,
                                 static_cast<int>(batch), static_cast<int>(size.channels),
                                 static_cast<int>(size.height), static_cast<int>(size.width)));
  return tensor;
}

Filter make_filter(const ConvGeometry& g) {
  auto filter = make<Filter>(cudnnCreateFilterDescriptor, "cudnnCreateFilterDescriptor");
  ELBO_CUDNN_CHECK(cudnnSetFilter4dDescriptor(
      filter.get(), CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, static_cast<int>(g.features.channels),
      static_cast<int>(g.image.channels), static_cast<int>(g.window.kernel_h),
      static_cast<int>(g.window.kernel_w)));
  return filter;
}

Window make_window(const ConvWindow& w, ProductPrecision precision) {
  auto window = make<Window>(cudnnCreateConvolutionDescriptor, "cudnnCreateConvolutionDescriptor");
  ELBO_CUDNN_CHECK(cudnnSetConvolution2dDescriptor(
      window.get(), static_cast<int>(w.padding_h), static_cast<int>(w.padding_w),
      static_cast<int>(w.stride_h), static_cast<int>(w.stride_w), static_cast<int>(w.dilation_h),
      static_cast<int>(w.dilation_w), CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
  // The default lets fp32 tensors be rounded to TF32.
  const bool tf32 = precision == ProductPrecision::tf32;
  ELBO_CUDNN_CHECK(
      cudnnSetConvolutionMathType(window.get(), tf32 ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH));
  return window;
}

// Takes those answers of the heuristic that repeat their bits and fit.
template <class Perf>
void choose(Plan& plan, ProductPrecision precision, const Perf* answers, int count) {
  for (const Perf* a = answers; a < answers + count; ++a) {
    const bool tensor_cores = a->mathType != CUDNN_FMA_MATH && a->mathType != CUDNN_DEFAULT_MATH;
    if (a->status != CUDNN_STATUS_SUCCESS || a->determinism != CUDNN_DETERMINISTIC ||
        a->memory > kGemmWorkspaceBytes || (precision == ProductPrecision::fp32 && tensor_cores)) {
      continue;
    }
    const bool tf32 = precision == ProductPrecision::tf32;
    plan.algorithms.push_back(
        {static_cast<int>(a->algo), a->memory, tf32 ? a->mathType : CUDNN_FMA_MATH});
  }
}

// False where the library says that it cannot do this at all.
bool answered(cudnnStatus_t status, const char* call) {
  if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) return false;
  check(status, call);
  return true;
}

constexpr int kMostAnswers = 16;  // more than there are algorithms

void ask(cudnnHandle_t library, const PlanKey& key, Plan& plan) {
  int count = 0;
  if (key.kind == Kind::forward) {
    cudnnConvolutionFwdAlgoPerf_t answers[kMostAnswers];
    const cudnnStatus_t status = cudnnGetConvolutionForwardAlgorithm_v7(
        library, plan.image.get(), plan.filter.get(), plan.window.get(), plan.features.get(),
        kMostAnswers, &count, answers);
    if (answered(status, "its forward heuristic")) choose(plan, key.precision, answers, count);
  } else if (key.kind == Kind::data) {
    cudnnConvolutionBwdDataAlgoPerf_t answers[kMostAnswers];
    const cudnnStatus_t status = cudnnGetConvolutionBackwardDataAlgorithm_v7(
        library, plan.filter.get(), plan.features.get(), plan.window.get(), plan.image.get(),
        kMostAnswers, &count, answers);
    if (answered(status, "its data heuristic")) choose(plan, key.precision, answers, count);
  } else {
    cudnnConvolutionBwdFilterAlgoPerf_t answers[kMostAnswers];
    const cudnnStatus_t status = cudnnGetConvolutionBackwardFilterAlgorithm_v7(
        library, plan.image.get(), plan.features.get(), plan.window.get(), plan.filter.get(),
        kMostAnswers, &count, answers);
    if (answered(status, "its filter heuristic")) choose(plan, key.precision, answers, count);
  }
}

// The library knows no other features than those that a convolution makes of the image, and counts
// pixels in 32 bits.
bool describable(const ConvGeometry& g) {
  const ConvWindow& w = g.window;
  const bool largest =
      g.features.height ==
          conv_output_extent(g.image.height, w.kernel_h, w.stride_h, w.padding_h, w.dilation_h) &&
      g.features.width ==
          conv_output_extent(g.image.width, w.kernel_w, w.stride_w, w.padding_w, w.dilation_w);
  const int64_t most =
      std::max({g.batch * g.image.size(), g.batch * g.features.size(), g.weight_size(), w.padding_h,
                w.padding_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w});
  return largest && most < int64_t{1} << 31;
}

}  // namespace

struct CudnnConv {
  Library library;  // made at the first use: it loads libraries and takes memory of the device
  std::unordered_map<PlanKey, Plan, PlanKeyHash> plans;
};

namespace cudnn {
namespace {

Plan& find_plan(CudnnConv& convolutions, const PlanKey& key) {
  const auto found = convolutions.plans.find(key);
  if (found != convolutions.plans.end()) return found->second;
  Plan plan;
  if (describable(key.geometry)) {
    if (!convolutions.library) convolutions.library = make<Library>(cudnnCreate, "cudnnCreate");
    plan.image = make_tensor(key.geometry.batch, key.geometry.image);
    plan.features = make_tensor(key.geometry.batch, key.geometry.features);
    plan.filter = make_filter(key.geometry);
    plan.window = make_window(key.geometry.window, key.precision);
    ask(convolutions.library.get(), key, plan);
  }
  return convolutions.plans.emplace(key, std::move(plan)).first->second;
}

// Calls run(library, plan, algorithm, workspace) with one algorithm after the other until one does not
// refuse. False, with nothing done, where all do.
template <class Run>
bool run_plan(const Exec& exec, const PlanKey& key, const char* call, Run run) {
  CudnnConv& convolutions = *exec.gemm->cudnn;
  Plan& plan = find_plan(convolutions, key);
  for (; !plan.algorithms.empty(); plan.algorithms.erase(plan.algorithms.begin())) {
    const Algorithm& best = plan.algorithms.front();
    ELBO_CHECK(best.workspace <= exec.scratch.bytes, "convolution ", key.geometry.to_string(),
               " needs ", best.workspace, " bytes of scratch, has ", exec.scratch.bytes);
    ELBO_CUDNN_CHECK(cudnnSetConvolutionMathType(plan.window.get(), best.math));
    ELBO_CUDNN_CHECK(cudnnSetStream(convolutions.library.get(), exec.stream));
    if (!answered(run(convolutions.library.get(), plan, best,
                      best.workspace ? exec.scratch.data : nullptr),
                  call)) {
      continue;
    }
    gpu::note_launch();
    return true;
  }
  return false;
}

}  // namespace

CudnnConv* create() { return new CudnnConv; }
void destroy(CudnnConv* convolutions) noexcept { delete convolutions; }

std::vector<std::string> describe(const CudnnConv& convolutions) {
  constexpr const char* kNames[] = {"forward", "data", "filter"};
  std::vector<std::string> lines;
  for (const auto& [key, plan] : convolutions.plans) {
    std::string line =
        concat(kNames[static_cast<int>(key.kind)], " ", key.geometry.to_string(),
               key.precision == ProductPrecision::tf32 ? " tf32" : "", key.add ? " add: " : ": ");
    line += plan.algorithms.empty() ? "refused"
                                    : concat("cuDNN algorithm ", plan.algorithms.front().number,
                                             ", workspace ", plan.algorithms.front().workspace);
    lines.push_back(line);
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

bool convolve(const Exec& exec, const ConvProduct<float>& p) {
  const bool forward = p.towards == ConvTowards::features, add = p.mode == GradMode::add;
  const PlanKey key{forward ? Kind::forward : Kind::data, exec.products, add, p.geometry};
  const float one = 1.0f, beta = add ? 1.0f : 0.0f;
  const auto run = [&](cudnnHandle_t library, const Plan& plan, const Algorithm& algorithm,
                       void* workspace) {
    return forward
               ? cudnnConvolutionForward(
                     library, &one, plan.image.get(), p.in, plan.filter.get(), p.weight,
                     plan.window.get(), static_cast<cudnnConvolutionFwdAlgo_t>(algorithm.number),
                     workspace, algorithm.workspace, &beta, plan.features.get(), p.out)
               : cudnnConvolutionBackwardData(
                     library, &one, plan.filter.get(), p.weight, plan.features.get(), p.in,
                     plan.window.get(),
                     static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm.number), workspace,
                     algorithm.workspace, &beta, plan.image.get(), p.out);
  };
  if (!run_plan(exec, key, forward ? "its forward convolution" : "its data gradient", run)) {
    return false;
  }
  finish_convolution(exec, p);
  return true;
}

bool conv_weight_gradient(const Exec& exec, const ConvWeightProduct<float>& p) {
  const bool add = p.mode == GradMode::add;
  const float one = 1.0f, beta = add ? 1.0f : 0.0f;
  const auto run = [&](cudnnHandle_t library, const Plan& plan, const Algorithm& algorithm,
                       void* workspace) {
    return cudnnConvolutionBackwardFilter(
        library, &one, plan.image.get(), p.image, plan.features.get(), p.features,
        plan.window.get(), static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm.number),
        workspace, algorithm.workspace, &beta, plan.filter.get(), p.dweight);
  };
  if (!run_plan(exec, {Kind::filter, exec.products, add, p.geometry}, "its filter gradient", run)) {
    return false;
  }
  conv_bias_gradient(exec, p);
  return true;
}

}  // namespace cudnn
}  // namespace elbo

#endif  // ELBO_HAS_CUDNN
