#include "engine/op_range.h"

#ifdef ELBO_HAS_CUDA
#include <nvtx3/nvToolsExt.h>
#endif

namespace elbo {

std::string op_path(const char* phase, const char* label, const char* name) {
  std::string path;
  for (const char* part : {phase, label}) {
    if (*part) path.append(part).append("/");
  }
  return path + name;
}

#ifdef ELBO_HAS_CUDA

namespace {

// Null unless a tool is attached.
nvtxDomainHandle_t domain() {
  static const nvtxDomainHandle_t handle = nvtxDomainCreateA("elbo");
  return handle;
}

}  // namespace

OpRange::OpRange(const char* phase, const char* label, const char* name) {
  if (!domain()) return;
  const std::string path = op_path(phase, label, name);
  nvtxEventAttributes_t attributes{};
  attributes.version = NVTX_VERSION;
  attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
  attributes.message.ascii = path.c_str();
  nvtxDomainRangePushEx(domain(), &attributes);
}

OpRange::~OpRange() {
  if (domain()) nvtxDomainRangePop(domain());
}

#else

OpRange::OpRange(const char*, const char*, const char*) {}
OpRange::~OpRange() = default;

#endif

}  // namespace elbo
