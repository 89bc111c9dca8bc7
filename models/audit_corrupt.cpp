#include "models/audit_corrupt.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "models/audit_random.h"

namespace elbo {
namespace {

int64_t mirrored(int64_t i, int64_t n) {
  while (i < 0 || i >= n) i = i < 0 ? -i - 1 : 2 * n - i - 1;
  return i;
}

// One image, channels last.
class Damaged {
 public:
  Damaged(double* values, const ImageSize& size, std::mt19937_64& engine)
      : values_(values), size_(size), engine_(engine) {}

  void apply(const Corruption& link) {
    switch (link.kind) {
      case CorruptionKind::gaussian:
        return add_noise(link.mean, link.sigma);
      case CorruptionKind::mask:
        return replace(link.share, 0);
      case CorruptionKind::salt_pepper:
        return replace(link.share / 2.0, link.share / 2.0);
      case CorruptionKind::square:
        for (int i = 0; i < link.count; ++i) cut_square(link.size);
        return;
      case CorruptionKind::blur:
        blur(link.sigma, true);
        return blur(link.sigma, false);
      case CorruptionKind::motion:
        return move(link.size, link.degrees * std::numbers::pi / 180);
      case CorruptionKind::downsample:
        return coarsen(link.size, link.nearest);
    }
  }

 private:
  double& at(int64_t y, int64_t x, int64_t c) {
    return values_[(y * size_.width + x) * size_.channels + c];
  }
  double beyond(const AuditRows& image, int64_t y, int64_t x, int64_t c) const {
    const int64_t row = mirrored(y, size_.height), column = mirrored(x, size_.width);
    return image[(row * size_.width + column) * size_.channels + c];
  }

  // f(y, x, c) of a copy of the image in place of every value.
  template <class F>
  void map(F f) {
    const AuditRows before(values_, values_ + size_.size());
    for (int64_t y = 0; y < size_.height; ++y) {
      for (int64_t x = 0; x < size_.width; ++x) {
        for (int64_t c = 0; c < size_.channels; ++c) at(y, x, c) = f(before, y, x, c);
      }
    }
  }

  void add_noise(double mean, double sigma) {
    std::normal_distribution<double> normal;
    map([&](const AuditRows& before, int64_t y, int64_t x, int64_t c) {
      return beyond(before, y, x, c) + mean + sigma * normal(engine_);
    });
  }

  void replace(double black, double white) {
    std::uniform_real_distribution<double> uniform;  // [0, 1)
    for (int64_t y = 0; y < size_.height; ++y) {
      for (int64_t x = 0; x < size_.width; ++x) {
        const double u = uniform(engine_);
        if (u >= black + white) continue;
        for (int64_t c = 0; c < size_.channels; ++c) at(y, x, c) = u < black ? 0 : 1;
      }
    }
  }

  void cut_square(int64_t side) {
    const int64_t top = std::uniform_int_distribution<int64_t>(0, size_.height - side)(engine_);
    const int64_t left = std::uniform_int_distribution<int64_t>(0, size_.width - side)(engine_);
    for (int64_t y = top; y < top + side; ++y) {
      for (int64_t x = left; x < left + side; ++x) {
        for (int64_t c = 0; c < size_.channels; ++c) at(y, x, c) = 0;
      }
    }
  }

  void blur(double sigma, bool across) {
    const auto reach = static_cast<int64_t>(4 * sigma + 0.5);
    if (reach == 0) return;
    AuditRows weight;
    double total = 0;
    for (int64_t k = -reach; k <= reach; ++k) {
      weight.push_back(std::exp(-static_cast<double>(k * k) / (2 * sigma * sigma)));
      total += weight.back();
    }
    map([&](const AuditRows& before, int64_t y, int64_t x, int64_t c) {
      double sum = 0;
      for (int64_t k = -reach; k <= reach; ++k) {
        sum += weight[k + reach] * beyond(before, across ? y : y + k, across ? x + k : x, c);
      }
      return sum / total;
    });
  }

  void move(int64_t length, double angle) {
    map([&](const AuditRows& before, int64_t y, int64_t x, int64_t c) {
      double sum = 0;
      for (int64_t i = 0; i < length; ++i) {
        const double along = static_cast<double>(i) - 0.5 * static_cast<double>(length - 1);
        const double down = static_cast<double>(y) - along * std::sin(angle);
        const double right = static_cast<double>(x) + along * std::cos(angle);
        const double row = std::floor(down), column = std::floor(right);
        const auto r = static_cast<int64_t>(row), s = static_cast<int64_t>(column);
        const double v = down - row, u = right - column;
        sum += (1 - v) * ((1 - u) * beyond(before, r, s, c) + u * beyond(before, r, s + 1, c)) +
               v * ((1 - u) * beyond(before, r + 1, s, c) + u * beyond(before, r + 1, s + 1, c));
      }
      return sum / static_cast<double>(length);
    });
  }

  void coarsen(int64_t factor, bool nearest) {
    const int64_t rows = (size_.height + factor - 1) / factor;
    const int64_t columns = (size_.width + factor - 1) / factor;
    map([&](const AuditRows& before, int64_t y, int64_t x, int64_t c) {
      const auto block = [&](int64_t row, int64_t column) {
        double sum = 0, count = 0;
        for (int64_t i = row * factor; i < std::min(size_.height, (row + 1) * factor); ++i) {
          for (int64_t j = column * factor; j < std::min(size_.width, (column + 1) * factor); ++j) {
            sum += beyond(before, i, j, c);
            count += 1;
          }
        }
        return sum / count;
      };
      if (nearest) return block(y / factor, x / factor);
      const auto place = [&](int64_t i, int64_t n) {
        const double centre = (static_cast<double>(i) + 0.5) / static_cast<double>(factor) - 0.5;
        return std::min(std::max(centre, 0.0), static_cast<double>(n - 1));
      };
      const double v = place(y, rows), u = place(x, columns);
      const auto row = static_cast<int64_t>(v), column = static_cast<int64_t>(u);
      const int64_t below = std::min(row + 1, rows - 1), right = std::min(column + 1, columns - 1);
      const double down = v - static_cast<double>(row), over = u - static_cast<double>(column);
      return (1 - down) * ((1 - over) * block(row, column) + over * block(row, right)) +
             down * ((1 - over) * block(below, column) + over * block(below, right));
    });
  }

  double* values_;
  const ImageSize& size_;
  std::mt19937_64& engine_;
};

}  // namespace

AuditRows audit_corrupted(const AuditDamage& damage, AuditRows x, int64_t first, uint64_t seed) {
  if (damage.chain.empty()) return x;
  const int64_t size = damage.image.size();
  for (int64_t i = 0; i < static_cast<int64_t>(x.size()) / size; ++i) {
    std::mt19937_64 engine = audit_engine(seed, AuditStream::corrupt, first + i);
    Damaged image(x.data() + i * size, damage.image, engine);
    for (const Corruption& link : damage.chain) image.apply(link);
  }
  return x;
}

}  // namespace elbo
