#include "kernels/gemm_handles.h"

#include <memory>

#include "kernels/conv_backends.h"
#include "kernels/conv_choice.h"
#include "kernels/error.h"
#include "kernels/linear_backends.h"

namespace elbo {

GemmHandles* create_gemm_handles(Device device) {
  auto handles = std::make_unique<GemmHandles>();
  if (device == Device::cuda) {
#ifdef ELBO_HAS_CUDA
#ifdef ELBO_HAS_CUDNN
    // May throw, so before there is anything to lose.
    handles->plans.set_place(cuda::conv_choice_place());
#endif
    handles->cuda = cublaslt::create();
#ifdef ELBO_HAS_CUDNN
    handles->cudnn = cudnn::create();
    handles->conv_choices = cuda::create_conv_choices();
#endif
#else
    throw_error(ErrorCode::device, "create_gemm_handles: this build has no CUDA half");
#endif
  } else {
#ifdef ELBO_HAS_ONEDNN
    handles->cpu = onednn::create();
    handles->conv = onednn::create_conv();
#endif
  }
  return handles.release();
}

void destroy_gemm_handles(GemmHandles* handles) noexcept {
  if (!handles) return;
#ifdef ELBO_HAS_ONEDNN
  if (handles->cpu) onednn::destroy(handles->cpu);
  if (handles->conv) onednn::destroy_conv(handles->conv);
#endif
#ifdef ELBO_HAS_CUDA
  if (handles->cuda) cublaslt::destroy(handles->cuda);
#endif
#ifdef ELBO_HAS_CUDNN
  if (handles->cudnn) cudnn::destroy(handles->cudnn);
  if (handles->conv_choices) cuda::destroy_conv_choices(handles->conv_choices);
#endif
  delete handles;
}

std::vector<std::string> describe_gemm_plans([[maybe_unused]] const GemmHandles* handles) {
#ifdef ELBO_HAS_ONEDNN
  if (handles && handles->cpu) {
    std::vector<std::string> lines = onednn::describe(*handles->cpu);
    for (std::string& line : onednn::describe_conv(*handles->conv)) {
      lines.push_back(std::move(line));
    }
    return lines;
  }
#endif
#ifdef ELBO_HAS_CUDA
  std::vector<std::string> lines;
  if (handles && handles->cuda) lines = cublaslt::describe(*handles->cuda);
#ifdef ELBO_HAS_CUDNN
  if (handles && handles->cudnn) {
    const std::vector<std::string> more = cudnn::describe(*handles->cudnn);
    lines.insert(lines.end(), more.begin(), more.end());
    for (const auto& [product, choice] : handles->plans.table()) {
      lines.push_back(concat(product, ": ", plan_choice_name(choice), ", by timing"));
    }
  }
#endif
  return lines;
#else
  return {};
#endif
}

}  // namespace elbo
