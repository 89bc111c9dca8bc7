#include "models/image_quality.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/error.h"

namespace elbo {
namespace {

constexpr int64_t kRadius = 5;  // an 11 x 11 window: 3.5 sigma, rounded
constexpr double kSigma = 1.5;
constexpr double kC1 = 0.01 * 0.01, kC2 = 0.03 * 0.03;
constexpr double kMostDecibels = 100;  // of images that agree exactly, in an average

using Plane = std::vector<double>;  // [H, W]

std::array<double, 2 * kRadius + 1> gaussian_window() {
  std::array<double, 2 * kRadius + 1> window{};
  double sum = 0;
  for (int64_t i = -kRadius; i <= kRadius; ++i) {
    const auto off = static_cast<double>(i);
    sum += window[static_cast<size_t>(i + kRadius)] = std::exp(-0.5 * off * off / kSigma / kSigma);
  }
  for (double& weight : window) weight /= sum;
  return window;
}

// Half-sample reflection: d c b a | a b c d | d c b a, as often as it takes.
int64_t reflected(int64_t i, int64_t extent) {
  const int64_t period = 2 * extent;
  i = ((i % period) + period) % period;
  return i < extent ? i : period - 1 - i;
}

// Along one axis of [outer, extent, inner].
Plane smoothed(const Plane& plane, int64_t extent, int64_t inner) {
  static const auto window = gaussian_window();
  Plane out(plane.size());
  for (int64_t at = 0; at < static_cast<int64_t>(plane.size()); ++at) {
    const int64_t i = at / inner % extent, base = at - i * inner;
    double sum = 0;
    for (int64_t k = -kRadius; k <= kRadius; ++k) {
      sum += window[static_cast<size_t>(k + kRadius)] *
             plane[static_cast<size_t>(base + reflected(i + k, extent) * inner)];
    }
    out[static_cast<size_t>(at)] = sum;
  }
  return out;
}

Plane windowed(const Plane& plane, const ImageSize& size) {
  return smoothed(smoothed(plane, size.height, size.width), size.width, 1);
}

Plane product(const Plane& a, const Plane& b) {
  Plane out(a.size());
  std::transform(a.begin(), a.end(), b.begin(), out.begin(), std::multiplies<>());
  return out;
}

Plane channel_of(std::span<const float> image, const ImageSize& size, int64_t channel) {
  Plane plane(static_cast<size_t>(size.pixels()));
  for (size_t i = 0; i < plane.size(); ++i) {
    plane[i] = image[i * static_cast<size_t>(size.channels) + static_cast<size_t>(channel)];
  }
  return plane;
}

int64_t margin(int64_t extent) { return extent > 2 * kRadius ? kRadius : 0; }

double channel_ssim(const Plane& a, const Plane& b, const ImageSize& size) {
  const Plane ma = windowed(a, size), mb = windowed(b, size);
  const Plane aa = windowed(product(a, a), size), bb = windowed(product(b, b), size),
              ab = windowed(product(a, b), size);
  const int64_t top = margin(size.height), left = margin(size.width);
  double sum = 0;
  for (int64_t y = top; y < size.height - top; ++y) {
    for (int64_t x = left; x < size.width - left; ++x) {
      const auto i = static_cast<size_t>(y * size.width + x);
      const double va = aa[i] - ma[i] * ma[i], vb = bb[i] - mb[i] * mb[i];
      const double cab = ab[i] - ma[i] * mb[i];
      sum += (2 * ma[i] * mb[i] + kC1) * (2 * cab + kC2) /
             ((ma[i] * ma[i] + mb[i] * mb[i] + kC1) * (va + vb + kC2));
    }
  }
  return sum / static_cast<double>((size.height - 2 * top) * (size.width - 2 * left));
}

}  // namespace

double mean_squared_error(std::span<const float> a, std::span<const float> b) {
  ELBO_CHECK(a.size() == b.size() && !a.empty(), "images of ", a.size(), " and ", b.size(),
             " values cannot be compared");
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double off = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += off * off;
  }
  return sum / static_cast<double>(a.size());
}

double psnr_db(double mse) {
  return mse > 0 ? -10 * std::log10(mse) : std::numeric_limits<double>::infinity();
}

double ssim(std::span<const float> a, std::span<const float> b, const ImageSize& size) {
  ELBO_CHECK(
      a.size() == b.size() && size.size() > 0 && static_cast<int64_t>(a.size()) == size.size(),
      "images of ", a.size(), " and ", b.size(), " values are not ", size.height, " x ", size.width,
      " x ", size.channels);
  double sum = 0;
  for (int64_t c = 0; c < size.channels; ++c) {
    sum += channel_ssim(channel_of(a, size, c), channel_of(b, size, c), size);
  }
  return sum / static_cast<double>(size.channels);
}

ImageQuality image_quality(std::span<const float> a, std::span<const float> b,
                           const ImageSize& size) {
  const auto image = static_cast<size_t>(size.size());
  ELBO_CHECK(image > 0 && a.size() == b.size() && !a.empty() && a.size() % image == 0, "images of ",
             a.size(), " and ", b.size(), " values are not whole ones of ", image);
  const auto count = static_cast<int64_t>(a.size() / image);
  std::vector<ImageQuality> each(static_cast<size_t>(count));
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; ++i) {
    const auto begin = static_cast<size_t>(i) * image;
    const auto one = a.subspan(begin, image), other = b.subspan(begin, image);
    const double mse = mean_squared_error(one, other);
    each[static_cast<size_t>(i)] = {mse, std::min(psnr_db(mse), kMostDecibels),
                                    ssim(one, other, size)};
  }
  ImageQuality mean;
  for (const ImageQuality& quality : each) {
    mean.mse += quality.mse / static_cast<double>(count);
    mean.psnr_db += quality.psnr_db / static_cast<double>(count);
    mean.ssim += quality.ssim / static_cast<double>(count);
  }
  return mean;
}

}  // namespace elbo
