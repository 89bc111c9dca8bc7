// Corruptions that mix neighbours, against brute force in double.
#include <algorithm>
#include <cstdint>
#include <numbers>

#include "tests/kernels/corruption_fixture.h"

namespace elbo {
namespace {

// A pixel of an image that goes on as its mirror image beyond its border, found by walking.
double pixel_at(const std::vector<double>& image, const ImageSize& size, int64_t y, int64_t x,
                int64_t channel) {
  const auto walk = [](int64_t i, int64_t n) {
    while (i < 0 || i >= n) i = i < 0 ? -1 - i : 2 * n - 1 - i;
    return i;
  };
  const int64_t row = walk(y, size.height), column = walk(x, size.width);
  return image[static_cast<size_t>((row * size.width + column) * size.channels + channel)];
}

// Between pixels, bilinear.
double point_at(const std::vector<double>& image, const ImageSize& size, double y, double x,
                int64_t channel) {
  const auto row = static_cast<int64_t>(std::floor(y)),
             column = static_cast<int64_t>(std::floor(x));
  const double down = y - std::floor(y), right = x - std::floor(x);
  const auto at = [&](int64_t dy, int64_t dx) {
    return pixel_at(image, size, row + dy, column + dx, channel);
  };
  return (1 - down) * ((1 - right) * at(0, 0) + right * at(0, 1)) +
         down * ((1 - right) * at(1, 0) + right * at(1, 1));
}

double blurred(const std::vector<double>& image, const ImageSize& size, double sigma, int64_t y,
               int64_t x, int64_t channel) {
  const auto radius = static_cast<int64_t>(4 * sigma + 0.5);
  double sum = 0, weights = 0;
  for (int64_t dy = -radius; dy <= radius; ++dy) {
    for (int64_t dx = -radius; dx <= radius; ++dx) {
      const double distance = static_cast<double>(dy * dy + dx * dx);
      const double weight = sigma > 0 ? std::exp(-distance / (2 * sigma * sigma)) : 1.0;
      sum += weight * pixel_at(image, size, y + dy, x + dx, channel);
      weights += weight;
    }
  }
  return sum / weights;
}

double moved(const std::vector<double>& image, const ImageSize& size, const Corruption& link,
             int64_t y, int64_t x, int64_t channel) {
  const double angle = static_cast<double>(link.degrees) / 180.0 * std::numbers::pi;
  double sum = 0;
  for (int i = 0; i < link.size; ++i) {
    const double along = i - (link.size - 1) / 2.0;
    sum += point_at(image, size, static_cast<double>(y) - along * std::sin(angle),
                    static_cast<double>(x) + along * std::cos(angle), channel);
  }
  return sum / link.size;
}

double block_mean(const std::vector<double>& image, const ImageSize& size, int64_t factor,
                  int64_t row, int64_t column, int64_t channel) {
  double sum = 0, count = 0;
  for (int64_t y = row * factor; y < std::min((row + 1) * factor, size.height); ++y) {
    for (int64_t x = column * factor; x < std::min((column + 1) * factor, size.width); ++x) {
      sum += pixel_at(image, size, y, x, channel);
      ++count;
    }
  }
  return sum / count;
}

// Along one axis: the blocks on either side of a pixel's centre, and the share of the second.
struct Between {
  int64_t first, second;
  double share;
};
Between between(int64_t pixel, int64_t factor, int64_t blocks) {
  const double at = (static_cast<double>(pixel) + 0.5) / static_cast<double>(factor) - 0.5;
  const double inside = std::clamp(at, 0.0, static_cast<double>(blocks - 1));
  const auto first = static_cast<int64_t>(inside);
  return {first, std::min(first + 1, blocks - 1), inside - static_cast<double>(first)};
}

double coarse(const std::vector<double>& image, const ImageSize& size, const Corruption& link,
              int64_t y, int64_t x, int64_t channel) {
  const int64_t factor = link.size;
  const auto mean = [&](int64_t row, int64_t column) {
    return block_mean(image, size, factor, row, column, channel);
  };
  if (link.nearest) return mean(y / factor, x / factor);
  const Between down = between(y, factor, (size.height + factor - 1) / factor);
  const Between right = between(x, factor, (size.width + factor - 1) / factor);
  const double upper = (1 - right.share) * mean(down.first, right.first) +
                       right.share * mean(down.first, right.second);
  const double lower = (1 - right.share) * mean(down.second, right.first) +
                       right.share * mean(down.second, right.second);
  return (1 - down.share) * upper + down.share * lower;
}

double expected(const std::vector<double>& image, const ImageSize& size, const Corruption& link,
                int64_t y, int64_t x, int64_t channel) {
  if (link.kind == CorruptionKind::blur)
    return blurred(image, size, static_cast<double>(link.sigma), y, x, channel);
  if (link.kind == CorruptionKind::motion) return moved(image, size, link, y, x, channel);
  return coarse(image, size, link, y, x, channel);
}

class CorruptionFilterTest : public CorruptionTest {
 protected:
  static Corruption blur(float sigma) { return {.kind = CorruptionKind::blur, .sigma = sigma}; }
  static Corruption motion(int length, float degrees = 0.0f) {
    return {.kind = CorruptionKind::motion, .degrees = degrees, .size = length};
  }
  static Corruption downsample(int factor, bool nearest = false) {
    return {.kind = CorruptionKind::downsample, .size = factor, .nearest = nearest};
  }

  void expect_brute_force(const Request& r) {
    const std::vector<float> x = pattern(r), y = run(r);
    const auto& size = r.image;
    size_t at = 0;
    for (size_t i = 0; i < r.samples.size(); ++i) {
      const auto begin = x.begin() + static_cast<long>(i) * size.size();
      const std::vector<double> image(begin, begin + size.size());
      for (int64_t row = 0; row < size.height; ++row) {
        for (int64_t column = 0; column < size.width; ++column) {
          for (int64_t channel = 0; channel < size.channels; ++channel, ++at) {
            // Sums of up to a few hundred values below 1 in fp32.
            ASSERT_NEAR(y[at], expected(image, size, r.link, row, column, channel), 2e-6)
                << "image " << i << " at " << row << ", " << column << ", " << channel;
          }
        }
      }
    }
    expect_bits_of_cpu(r, y);
  }
};

// Non-square, smaller than the kernel, one pixel, several channels.
const std::vector<ImageSize> kImages = {{7, 5, 1}, {6, 9, 3}, {2, 3, 2}, {1, 1, 1}, {1, 40, 1}};

TEST_P(CorruptionFilterTest, BlurIsAConvolutionWithAGaussian) {
  for (const ImageSize& size : kImages) {
    for (const float sigma : {0.0f, 0.1f, 0.6f, 1.5f, 3.0f}) {
      SCOPED_TRACE(testing::Message() << size.height << "x" << size.width << " " << sigma);
      expect_brute_force({.link = blur(sigma), .image = size, .samples = {0, 5}});
    }
  }
}

// scipy.ndimage.gaussian_filter([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], 1.0)
TEST_P(CorruptionFilterTest, BlurHasTheWeightsAndBorderOfScipy) {
  Corrupt args;
  DeviceBuffer<float> x(device(), {0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}), y(device(), 12),
      work(device(), 12);
  args.link = blur(1.0f);
  args.batch = 1;
  args.image = {3, 4, 1};
  args.x = x.data();
  args.y = y.data();
  args.between = work.data();
  corrupt(exec(), args);
  const std::vector<double> golden = {0.087633454, 0.119437985, 0.071726128, 0.017298837,
                                      0.120695666, 0.164499361, 0.098786850, 0.023825315,
                                      0.087633454, 0.119437985, 0.071726128, 0.017298837};
  const std::vector<float> found = y.download();
  for (size_t i = 0; i < golden.size(); ++i) EXPECT_NEAR(found[i], golden[i], 1e-7) << i;
}

TEST_P(CorruptionFilterTest, MotionIsTheMeanOverALine) {
  for (const ImageSize& size : kImages) {
    for (const int length : {1, 2, 5, 8}) {
      for (const float degrees : {0.0f, 30.0f, 45.0f, 90.0f, -120.0f}) {
        SCOPED_TRACE(testing::Message()
                     << size.height << "x" << size.width << " " << length << " " << degrees);
        expect_brute_force({.link = motion(length, degrees), .image = size, .samples = {3}});
      }
    }
  }
  expect_brute_force({.link = motion(kLongestMotion, 33.0f)});
}

TEST_P(CorruptionFilterTest, MotionOverOnePixelIsNone) {
  const Request r{.link = motion(1, 77.0f), .image = {4, 6, 3}};
  EXPECT_EQ(run(r), pattern(r));
}

TEST_P(CorruptionFilterTest, DownsamplingIsMeansOfBlocksEnlarged) {
  for (const ImageSize& size : kImages) {
    for (const int factor : {1, 2, 3, 4, 16}) {
      for (const bool nearest : {false, true}) {
        SCOPED_TRACE(testing::Message()
                     << size.height << "x" << size.width << " by " << factor << " " << nearest);
        expect_brute_force({.link = downsample(factor, nearest), .image = size, .samples = {0, 7}});
      }
    }
  }
}

TEST_P(CorruptionFilterTest, AConstantImageStaysAsItIs) {
  for (const Corruption& link :
       {blur(2.0f), motion(7, 20.0f), downsample(4), downsample(3, true)}) {
    Request r{.link = link, .image = {9, 14, 3}};
    r.constant = 0.75f;
    for (const float v : run(r)) ASSERT_NEAR(v, 0.75f, 1e-6f);
  }
}

TEST_P(CorruptionFilterTest, ResultsDependNeitherOnRowsNorOnPlacesInMemory) {
  for (const Corruption& link : {blur(1.0f), motion(4, 20.0f), downsample(2)}) {
    Request r{.link = link, .image = {7, 9, 3}, .samples = {2, 8}};
    const std::vector<float> both = run(r);
    for_each_order(device(), [&] { return run(r); });
    r.samples = {8};
    r.shift = 3;
    const std::vector<float> one = run(r);
    EXPECT_TRUE(std::equal(one.begin(), one.end(), both.begin() + 189));
    if (link.kind != CorruptionKind::motion) {
      r.in_place = true;
      EXPECT_EQ(run(r), one);
    }
  }
}

TEST_P(CorruptionFilterTest, RefusesWhatItCannotDo) {
  expect_no_launch();
  Request r{.link = motion(3)};
  r.in_place = true;
  EXPECT_EQ(error_of([&] { run(r); }), "1: corrupt: motion cannot be written over its input");
  EXPECT_EQ(error_of([&] { run({.link = blur(17.0f)}); }), "1: corrupt: a blur of sigma 17");
  EXPECT_EQ(error_of([&] { run({.link = motion(65)}); }), "1: corrupt: motion over 65");
  EXPECT_EQ(error_of([&] { run({.link = downsample(0)}); }), "1: corrupt: blocks of 0 pixels");
  EXPECT_TRUE(run({.link = blur(1.0f), .samples = {}}).empty());
}

INSTANTIATE_TEST_SUITE_P(Devices, CorruptionFilterTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
