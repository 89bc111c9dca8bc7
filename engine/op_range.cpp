#include "engine/op_range.h"

#include "engine/op_times.h"

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

namespace {

#ifdef ELBO_HAS_CUDA

// Null unless a tool is attached.
nvtxDomainHandle_t domain() {
  static const nvtxDomainHandle_t handle = nvtxDomainCreateA("elbo");
  return handle;
}

void push(const char* phase, const char* label, const char* name) {
  if (!domain()) return;
  const std::string path = op_path(phase, label, name);
  nvtxEventAttributes_t attributes{};
  attributes.version = NVTX_VERSION;
  attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
  attributes.message.ascii = path.c_str();
  nvtxDomainRangePushEx(domain(), &attributes);
}

void pop() {
  if (domain()) nvtxDomainRangePop(domain());
}

#else

void push(const char*, const char*, const char*) {}
void pop() {}

#endif

}  // namespace

OpRange::OpRange(const char* phase, const char* label, const char* name, OpTimes* times)
    : phase_(phase), label_(label), name_(name), times_(times) {
  push(phase, label, name);
  if (times_) start_ = std::chrono::steady_clock::now();
}

OpRange::~OpRange() {
  if (times_) {
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start_;
    times_->add(phase_, label_, name_, taken.count());
  }
  pop();
}

}  // namespace elbo
