#include "kernels/corruption.h"

#include <limits>

#include "kernels/corruption_kinds.h"
#include "kernels/error.h"

namespace elbo {
namespace {

bool is_filter(CorruptionKind kind) {
  return kind == CorruptionKind::blur || kind == CorruptionKind::motion ||
         kind == CorruptionKind::downsample;
}

// Written so that NaN is out of range.
bool in_range(double value, double low, double high) { return value >= low && value <= high; }

}  // namespace

int64_t corruption_between(const Corruption& link, const ImageSize& image) {
  if (link.kind == CorruptionKind::blur) return image.size();
  if (link.kind != CorruptionKind::downsample || link.size < 1) return 0;
  const auto blocks = [&](int64_t side) { return (side + link.size - 1) / link.size; };
  return blocks(image.height) * blocks(image.width) * image.channels;
}

std::string corruption_misfit(const Corruption& link, const ImageSize& image) {
  switch (link.kind) {
    case CorruptionKind::gaussian:
      if (!(link.sigma >= 0.0f)) return concat("noise of deviation ", link.sigma);
      break;
    case CorruptionKind::mask:
    case CorruptionKind::salt_pepper:
      if (!in_range(link.share, 0, 1)) return concat("a share of ", link.share, " of all pixels");
      break;
    case CorruptionKind::square:
      if (link.size < 1 || link.size > image.height || link.size > image.width) {
        return concat("squares of ", link.size, " x ", link.size, " do not fit into ", image.height,
                      " x ", image.width, " pixels");
      }
      if (!in_range(link.count, 0, kMostSquares)) return concat(link.count, " squares");
      break;
    case CorruptionKind::blur:
      if (!in_range(link.sigma, 0, kWidestBlur)) return concat("a blur of sigma ", link.sigma);
      break;
    case CorruptionKind::motion:
      if (!in_range(link.size, 1, kLongestMotion)) return concat("motion over ", link.size);
      break;
    case CorruptionKind::downsample:
      if (link.size < 1) return concat("blocks of ", link.size, " pixels");
      break;
  }
  return "";
}

void corrupt(const Exec& exec, const Corrupt& args) {
  if (args.batch == 0 || args.image.size() == 0) return;
  const ImageSize& image = args.image;
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  ELBO_CHECK(args.batch > 0 && image.height > 0 && image.width > 0 && image.channels > 0 &&
                 image.size() <= kMost / 2 && args.batch <= kMost / (image.height + image.width),
             "corrupt: ", args.batch, " images of ", image.height, " x ", image.width, " x ",
             image.channels, " are out of range");
  ELBO_CHECK(args.x && args.y, "corrupt: ", args.x ? "y" : "x", " is null");
  const std::string misfit = corruption_misfit(args.link, image);
  ELBO_CHECK(misfit.empty(), "corrupt: ", misfit);
  if (!is_filter(args.link.kind)) {
    ELBO_CHECK(args.sample, "corrupt: sample is null, but noise goes by it");
    return corrupt_by_noise(exec, args);
  }
  ELBO_CHECK(args.between || corruption_between(args.link, image) == 0,
             "corrupt: between is null, but there are two passes");
  ELBO_CHECK(args.link.kind != CorruptionKind::motion || args.x != args.y,
             "corrupt: motion cannot be written over its input");
  corrupt_by_filter(exec, args);
}

}  // namespace elbo
