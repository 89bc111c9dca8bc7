// Which implementation serves which convolution on the CPU: rules and not timings, so that results repeat.
#include <cstdlib>
#include <cstring>

#include "kernels/conv_backends.h"
#include "kernels/error.h"

namespace elbo {
namespace {

enum class Library : int { automatic, native, onednn };

// ELBO_CONV=native or onednn, for tests and measurements.
Library forced_library() {
  static const Library library = [] {
    const char* wanted = std::getenv("ELBO_CONV");
    if (!wanted || *wanted == '\0') return Library::automatic;
    if (std::strcmp(wanted, "native") == 0) return Library::native;
    if (std::strcmp(wanted, "onednn") == 0) return Library::onednn;
    throw_error(ErrorCode::usage, "ELBO_CONV is '", wanted, "'; expected native or onednn");
  }();
  return library;
}

bool prefers_onednn(const ConvProduct<float>&) { return true; }
bool prefers_onednn(const ConvWeightProduct<float>&) { return true; }

template <class P>
bool wants_onednn(const P& product) {
  const Library library = forced_library();
  return library == Library::automatic ? prefers_onednn(product) : library == Library::onednn;
}

}  // namespace

void convolve_on_cpu(const Exec& exec, const ConvProduct<float>& p) {
#ifdef ELBO_HAS_ONEDNN
  if (wants_onednn(p) && onednn::convolve(exec, p)) return;
#endif
  native::convolve(exec, p);
}

void convolve_on_cpu(const Exec& exec, const ConvProduct<double>& p) {
  reference::convolve(exec, p);
}

void weight_gradient_on_cpu(const Exec& exec, const ConvWeightProduct<float>& p) {
#ifdef ELBO_HAS_ONEDNN
  if (wants_onednn(p) && onednn::conv_weight_gradient(exec, p)) return;
#endif
  native::conv_weight_gradient(exec, p);
}

void weight_gradient_on_cpu(const Exec& exec, const ConvWeightProduct<double>& p) {
  reference::conv_weight_gradient(exec, p);
}

}  // namespace elbo
