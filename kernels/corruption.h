// Damage to images that a model is to undo: one link of a chain such as "gaussian:0.1,blur:2".
//
//   gaussian     y = x + mean + sigma n, n ~ N(0, 1); not clipped
//   mask         a pixel is 0 in all channels with probability `share`
//   square       `count` squares of `size` x `size` pixels are 0, each anywhere inside the image
//   salt_pepper  a pixel is 0 with probability share / 2, and 1 with the same
//   blur         convolution with a Gaussian of standard deviation sigma pixels, cut off at 4 sigma
//   motion       mean over `size` points, one pixel apart and bilinear in between, on a line through
//                the pixel at `degrees` counter-clockwise from the horizontal
//   downsample   mean over blocks of `size` x `size`, at the right and lower edge of what is left of
//                one, enlarged to the image's size again: nearest, or bilinear between the centres of
//                blocks
//
// Beyond its border an image goes on as its mirror image (d c b a | a b c d | d c b a), as with SciPy's
// default; so convolutions keep a constant image as it is.
//
// Noise is that of purpose corrupt (with a state) or corrupt_fixed (without) at (seed, step, sample
// s_b, draw = number of the link), whatever row or batch the sample is in. Dimension: the value's
// (gaussian), the pixel's (mask, salt_pepper), 2 i and 2 i + 1 for row and column of square i.
//
// Shapes    x, y, y_bf16 [B, height, width, channels]; sample [B]; between: corruption_between()
// Work      one launch, two for blur and downsample; reads and writes 4BD bytes each; blur and motion
//           read as many values as their kernels have weights, from near caches
// Numerics  fp32, weights computed in double; fixed order; the same bits on both devices
// Errors    elbo::Error if a pointer is missing or the link does not fit the image; B == 0 is a no-op
// Source    Vincent et al. 2010, JMLR 11 (gaussian, mask, salt and pepper); Pathak et al. 2016,
//           arXiv:1604.07379 (squares); weights and border: scipy.ndimage.gaussian_filter
#pragma once

#include <cstdint>
#include <string>

#include "kernels/conv_geometry.h"
#include "kernels/exec.h"
#include "kernels/step_state.h"
#include "kernels/storage.h"

namespace elbo {

enum class CorruptionKind : int { gaussian, mask, square, salt_pepper, blur, motion, downsample };

// Far beyond use; what a launch carries along has to have an end.
inline constexpr float kWidestBlur = 16.0f;  // sigma
inline constexpr int kLongestMotion = 64;
inline constexpr int kMostSquares = 64;

// What a kind does not use stays as it is here.
struct Corruption {
  CorruptionKind kind = CorruptionKind::gaussian;
  float sigma = 0.0f;
  float mean = 0.0f;
  float share = 0.0f;
  float degrees = 0.0f;
  int size = 1;
  int count = 1;
  bool nearest = false;

  bool operator==(const Corruption&) const = default;
};

struct Corrupt {
  Corruption link;
  uint32_t number = 0;  // of the link in its chain
  uint64_t seed = 0;
  const StepState* state = nullptr;  // device memory
  const int32_t* sample = nullptr;
  int64_t batch = 0;
  ImageSize image;
  const float* x = nullptr;
  float* y = nullptr;        // may be x, unless the kind needs `between` or is motion
  bf16* y_bf16 = nullptr;    // y once more, rounded; may be null
  float* between = nullptr;  // of as many values as corruption_between() says
};

// Values of work space per image; 0: none is needed.
int64_t corruption_between(const Corruption& link, const ImageSize& image);

// Empty, or why a link cannot be applied: "squares of 9 x 9 do not fit into 8 x 12 pixels".
std::string corruption_misfit(const Corruption& link, const ImageSize& image);

void corrupt(const Exec& exec, const Corrupt& args);

}  // namespace elbo
