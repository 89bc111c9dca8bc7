// How alike two images are: mean squared error, peak signal-to-noise ratio, structural similarity.
//
//   mse   = mean (a - b)^2
//   psnr  = 10 log10(1 / mse)                                                              decibels
//   ssim  = mean over pixels and channels of
//           (2 ma mb + C1) (2 cab + C2) / ((ma^2 + mb^2 + C1) (va + vb + C2))
//           m, v, c: mean, variance and covariance under an 11 x 11 Gaussian window, sigma 1.5;
//           C1 = 0.01^2, C2 = 0.03^2
//
// Shapes    one image [H, W, C], or count of them [N, H, W, C], row-major, values in [0, 1]
// Numerics  double. Windows reach over an edge by reflection, and pixels within 5 of an edge are left
//           out of the mean, as scikit-image's structural_similarity(gaussian_weights=True,
//           use_sample_covariance=False, data_range=1) has it; a side of at most 10 pixels, for which
//           that leaves nothing (scikit-image refuses), counts whole
// Errors    elbo::Error if the sizes do not fit together
// Source    Wang, Bovik, Sheikh & Simoncelli 2004, doi:10.1109/TIP.2003.819861
#pragma once

#include <cstdint>
#include <span>

#include "kernels/conv_geometry.h"

namespace elbo {

double mean_squared_error(std::span<const float> a, std::span<const float> b);

double psnr_db(double mse);  // infinite for 0

// Of one image.
double ssim(std::span<const float> a, std::span<const float> b, const ImageSize& size);

// Averages over images: psnr_db is the mean of each image's, where images that agree exactly, whose own
// is infinite, count as 100 dB.
struct ImageQuality {
  double mse = 0, psnr_db = 0, ssim = 0;
};
ImageQuality image_quality(std::span<const float> a, std::span<const float> b,
                           const ImageSize& size);

}  // namespace elbo
