// Which implementation serves which convolution on the CPU: rules and not timings, so that results
// repeat. Where oneDNN has nothing but reference loops, or cannot add to what is there, our kernels
// step in whatever the rules say.
#include <cstdlib>
#include <cstring>

#include "kernels/conv_backends.h"
#include "kernels/cpu_conv.h"
#include "kernels/error.h"

namespace elbo {

#ifdef ELBO_HAS_ONEDNN
namespace {

enum class Library : int { automatic, native, onednn };

// ELBO_CONV=native or onednn, for tests and measurements. Builds without oneDNN have no choice.
Library forced_library() {
  static const Library library = [] {
    const char* wanted = std::getenv("ELBO_CONV");
    if (!wanted || !*wanted) return Library::automatic;
    if (std::strcmp(wanted, "native") == 0) return Library::native;
    if (std::strcmp(wanted, "onednn") == 0) return Library::onednn;
    throw_error(ErrorCode::usage, "ELBO_CONV is '", wanted, "'; expected native or onednn");
  }();
  return library;
}

// The figures are those of bench/conv_bench with one thread of a Zen 4 (AVX-512), oneDNN 2.6, batch
// 64, with bias and ReLU or their gradients; names of layers as in bench/conv_layers.h. Both
// libraries are within a tenth of each other for most layers, so these rules are about the rest.

// A weight that leaves the L2 cache and meets few pixels: ours is 1.2 to 2.2 times as fast from
// here on (c1's c3 and c4, d2's c4 and t0), as the library reorders all of it first. With 7x7
// pixels it is 0.9 to 0.97.
constexpr int64_t kLargeWeight = 512 * 1024;

bool large_weight_on_few_pixels(const ConvGeometry& g, int64_t few) {
  return g.weight_size() >= kLargeWeight && g.features.pixels() <= few;
}

// Below AVX2 our kernels have too few lanes to compete with generated code.
bool narrow_vectors() { return cpu::default_vector_unit() == cpu::VectorUnit::baseline; }

bool prefers_onednn(const ConvProduct<float>& p) {
  const ConvGeometry& g = p.geometry;
  if (narrow_vectors()) return true;
  // Lanes full of pixels instead of 3 of 16: 2.1 to 3.3 times as fast.
  if (native::takes_thin(p)) return false;
  if (p.towards == ConvTowards::image) {
    if (large_weight_on_few_pixels(g, 9)) return false;  // 4x4 pixels: 0.87 (c1's t1)
    // Up to 1.15 (d1's t3), but where sums are short the pass that undoes an activation outweighs
    // them: 1.3 (data gradient of d2's out).
    return !p.input || g.features.channels > cpu::kThinChannels;
  }
  if (large_weight_on_few_pixels(g, 16)) return false;
  // One strip of columns over a deep patch: 1.05 to 1.13 (d1's c2, data gradients of t3 and d2's
  // t4).
  if (g.features.channels <= 32) return g.image.channels < 16;
  // 1.0 to 1.06 (d2's c2 and c3, data gradients of t1 and t2).
  return g.features.channels < 128 || g.weight_size() >= kLargeWeight;
}

bool prefers_onednn(const ConvWeightProduct<float>& p) {
  const ConvGeometry& g = p.geometry;
  if (narrow_vectors()) return true;
  // Patches are gathered then, and the rate is half of oneDNN's.
  if (g.image.channels % 16 != 0) return true;
  // oneDNN's lanes are feature channels, and it would pad them: 4 (d2's out).
  if (g.features.channels <= cpu::kThinChannels) return false;
  // Small planes leave oneDNN little to sum per tap: level at 8x8 with 32 channels, else 1.05 to
  // 2.2.
  constexpr int64_t kSmallPlane = 64;
  return g.features.pixels() > kSmallPlane;
}

template <class P>
bool wants_onednn(const P& product) {
  const Library library = forced_library();
  return library == Library::automatic ? prefers_onednn(product) : library == Library::onednn;
}

}  // namespace
#endif

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
