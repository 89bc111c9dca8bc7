#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/corruption_kinds.h"
#include "kernels/launch_cells.h"
#include "kernels/math.h"
#include "kernels/resample_axis.h"

namespace elbo {
namespace {

constexpr int kMostTaps = 4 * kLongestMotion;
constexpr double kCutOff = 4.0;  // of a Gaussian, in sigmas: SciPy's default
constexpr int kWidestRadius = static_cast<int>(kCutOff * kWidestBlur + 0.5);

// Where the pixel at i of a line of n stands in the line, which is mirrored at both ends.
ELBO_HD int64_t mirrored(int64_t i, int64_t n) {
  if (i >= 0 && i < n) return i;
  // Lines and kernels are short enough for 32 bits, whose divisions are many times as fast.
  const auto period = 2 * static_cast<int32_t>(n);
  int32_t at = static_cast<int32_t>(i) % period;
  if (at < 0) at += period;
  return at < n ? at : period - 1 - at;
}

struct HalfGaussian {
  int radius = 0;
  float weight[kWidestRadius + 1];  // by distance
};

HalfGaussian half_gaussian(double sigma) {
  HalfGaussian half;
  half.radius = static_cast<int>(kCutOff * sigma + 0.5);
  const auto density = [&](int i) {
    return i == 0 ? 1.0 : std::exp(-0.5 * i * i / (sigma * sigma));
  };
  double sum = 1.0;
  for (int i = 1; i <= half.radius; ++i) sum += 2.0 * density(i);
  for (int i = 0; i <= kWidestRadius; ++i) {
    half.weight[i] = i <= half.radius ? static_cast<float>(density(i) / sum) : 0.0f;
  }
  return half;
}

// A cell is a value: a line of all images, a place in the line.
struct BlurAcross {
  const float* x;
  float* y;
  int64_t width, channels;
  HalfGaussian half;

  ELBO_HD void operator()(int64_t line, int64_t at) const {
    const int64_t column = at / channels, channel = at - column * channels;
    const float* from = x + line * width * channels + channel;
    float sum = half.weight[0] * from[column * channels];
    for (int k = 1; k <= half.radius; ++k) {
      const float pair = from[mirrored(column - k, width) * channels] +
                         from[mirrored(column + k, width) * channels];
      sum = math::fma(half.weight[k], pair, sum);
    }
    y[line * width * channels + at] = sum;
  }
};

// A cell is a value: a line of all images, a place in the line.
struct BlurDown {
  Corrupt args;
  HalfGaussian half;

  ELBO_HD void operator()(int64_t line, int64_t at) const {
    const int64_t height = args.image.height, size = args.image.width * args.image.channels;
    const int64_t image = line / height, row = line - image * height;
    const float* from = args.between + image * height * size + at;
    float sum = half.weight[0] * from[row * size];
    for (int k = 1; k <= half.radius; ++k) {
      const float pair =
          from[mirrored(row - k, height) * size] + from[mirrored(row + k, height) * size];
      sum = math::fma(half.weight[k], pair, sum);
    }
    put_corrupted(args, line * size + at, sum);
  }
};

struct Taps {
  int count = 0;
  struct Tap {
    int16_t down, right;
    float weight;
  } tap[kMostTaps];

  void add(int down, int right, double weight) {
    if (weight == 0.0) return;
    for (int i = 0; i < count; ++i) {
      if (tap[i].down == down && tap[i].right == right) {
        tap[i].weight = static_cast<float>(tap[i].weight + weight);
        return;
      }
    }
    tap[count++] = {static_cast<int16_t>(down), static_cast<int16_t>(right),
                    static_cast<float>(weight)};
  }
};

// Every point of the line, shared between the four pixels around it.
Taps motion_taps(const Corruption& link) {
  const double angle = link.degrees * std::numbers::pi / 180.0;
  // Coordinates lose what is left of a sine of 180 degrees.
  const auto rounded = [](double v) { return std::round(v * 1e9) / 1e9; };
  Taps taps;
  for (int i = 0; i < link.size; ++i) {
    const double along = i - 0.5 * (link.size - 1);
    const double right = rounded(along * std::cos(angle)), down = rounded(-along * std::sin(angle));
    const double left_column = std::floor(right), upper_row = std::floor(down);
    const double share_right = right - left_column, share_down = down - upper_row;
    const auto row = static_cast<int>(upper_row), column = static_cast<int>(left_column);
    const double weight = 1.0 / link.size;
    taps.add(row, column, weight * (1 - share_down) * (1 - share_right));
    taps.add(row, column + 1, weight * (1 - share_down) * share_right);
    taps.add(row + 1, column, weight * share_down * (1 - share_right));
    taps.add(row + 1, column + 1, weight * share_down * share_right);
  }
  return taps;
}

// A cell is a value: a line of all images, a place in the line.
struct BlurByMotion {
  Corrupt args;
  Taps taps;

  ELBO_HD void operator()(int64_t line, int64_t at) const {
    const int64_t height = args.image.height, width = args.image.width;
    const int64_t channels = args.image.channels, size = width * channels;
    const int64_t image = line / height, row = line - image * height;
    const int64_t column = at / channels, channel = at - column * channels;
    const float* from = args.x + image * height * size + channel;
    float sum = 0.0f;
    for (int i = 0; i < taps.count; ++i) {
      const int64_t y = mirrored(row + taps.tap[i].down, height);
      const int64_t x = mirrored(column + taps.tap[i].right, width);
      sum = math::fma(taps.tap[i].weight, from[y * size + x * channels], sum);
    }
    put_corrupted(args, line * size + at, sum);
  }
};

struct Blocks {
  int64_t size, height, width;  // pixels along a side of one; how many there are

  Blocks(const Corruption& link, const ImageSize& image)
      : size(link.size),
        height((image.height + size - 1) / size),
        width((image.width + size - 1) / size) {}
};

// A cell is a mean: a line of blocks of all images, a place in the line.
struct BlockMeans {
  Corrupt args;
  Blocks blocks;

  ELBO_HD void operator()(int64_t line, int64_t at) const {
    const int64_t height = args.image.height, width = args.image.width;
    const int64_t channels = args.image.channels;
    const int64_t image = line / blocks.height, block_row = line - image * blocks.height;
    const int64_t block_column = at / channels, channel = at - block_column * channels;
    const int64_t top = block_row * blocks.size, left = block_column * blocks.size;
    const int64_t below = top + blocks.size < height ? top + blocks.size : height;
    const int64_t right = left + blocks.size < width ? left + blocks.size : width;
    float sum = 0.0f;
    for (int64_t y = top; y < below; ++y) {
      for (int64_t x = left; x < right; ++x) {
        sum += args.x[((image * height + y) * width + x) * channels + channel];
      }
    }
    args.between[line * blocks.width * channels + at] =
        sum / static_cast<float>((below - top) * (right - left));
  }
};

// A cell is a value: a line of all images, a place in the line.
struct Enlarge {
  Corrupt args;
  Blocks blocks;
  ResampleAxis down, across;  // as if blocks at the border were whole; what is too much is not made

  ELBO_HD float mean_of(int64_t image, int64_t row, int64_t column, int64_t channel) const {
    const int64_t block = (image * blocks.height + row) * blocks.width + column;
    return args.between[block * args.image.channels + channel];
  }

  ELBO_HD void operator()(int64_t line, int64_t at) const {
    const int64_t height = args.image.height, channels = args.image.channels;
    const int64_t image = line / height, row = line - image * height;
    const int64_t column = at / channels, channel = at - column * channels;
    const int64_t to = line * args.image.width * channels + at;
    if (args.link.nearest) {
      put_corrupted(args, to, mean_of(image, row / blocks.size, column / blocks.size, channel));
      return;
    }
    const auto y = down.between<float>(static_cast<int>(row));
    const auto x = across.between<float>(static_cast<int>(column));
    const float upper = math::fma(
        x.share,
        mean_of(image, y.first, x.second, channel) - mean_of(image, y.first, x.first, channel),
        mean_of(image, y.first, x.first, channel));
    const float lower = math::fma(
        x.share,
        mean_of(image, y.second, x.second, channel) - mean_of(image, y.second, x.first, channel),
        mean_of(image, y.second, x.first, channel));
    put_corrupted(args, to, math::fma(y.share, lower - upper, upper));
  }
};

ResampleAxis enlarging_axis(int64_t blocks, int64_t size) {
  ResampleAxis axis;
  axis.kind = ResampleKind::bilinear;
  axis.in = static_cast<int>(blocks);
  axis.out = static_cast<int>(blocks * size);
  return axis;
}

}  // namespace

void corrupt_by_filter(const Exec& exec, const Corrupt& args) {
  const ImageSize& image = args.image;
  const int64_t lines = args.batch * image.height, line_size = image.width * image.channels;
  if (args.link.kind == CorruptionKind::blur) {
    const HalfGaussian half = half_gaussian(args.link.sigma);
    for_each_cell<float>(exec, lines, line_size,
                         BlurAcross{args.x, args.between, image.width, image.channels, half});
    for_each_cell<float>(exec, lines, line_size, BlurDown{args, half});
  } else if (args.link.kind == CorruptionKind::motion) {
    for_each_cell<float>(exec, lines, line_size, BlurByMotion{args, motion_taps(args.link)});
  } else {
    const Blocks blocks(args.link, image);
    for_each_cell<float>(exec, args.batch * blocks.height, blocks.width * image.channels,
                         BlockMeans{args, blocks});
    for_each_cell<float>(exec, lines, line_size,
                         Enlarge{args, blocks, enlarging_axis(blocks.height, blocks.size),
                                 enlarging_axis(blocks.width, blocks.size)});
  }
}

}  // namespace elbo
