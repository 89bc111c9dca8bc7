#include "kernels/corruption_kinds.h"
#include "kernels/launch_cells.h"
#include "kernels/noise.h"

namespace elbo {
namespace {

// Where the noise of a sample is: training draws afresh each step, everything else always the same.
ELBO_HD NoiseAddress corruption_noise(const Corrupt& args, int64_t row) {
  return {args.state ? NoisePurpose::corrupt : NoisePurpose::corrupt_fixed,
          args.state ? args.state->step : 0, static_cast<uint32_t>(args.sample[row]), args.number};
}

// A cell is four values of an image, which share a call of Philox.
struct AddGaussian {
  Corrupt args;

  ELBO_HD void operator()(int64_t row, int64_t quad) const {
    const int64_t size = args.image.height * args.image.width * args.image.channels;
    const int64_t begin = 4 * quad;
    const Four noise =
        normal4(NoiseKey{args.seed}, corruption_noise(args, row), static_cast<uint32_t>(quad));
    for (uint32_t lane = 0; lane < 4; ++lane) {
      if (begin + lane >= size) return;
      const int64_t at = row * size + begin + lane;
      put_corrupted(args, at,
                    math::fma(args.link.sigma, lane_of(noise, lane), args.x[at] + args.link.mean));
    }
  }
};

// A cell is four pixels of an image. Pixels with a uniform number below `black` become 0, from there
// to below `white` 1. All three are exact: u is a multiple of 2^-24.
struct ReplacePixels {
  Corrupt args;
  float black, white;

  ELBO_HD void operator()(int64_t row, int64_t quad) const {
    const int64_t pixels = args.image.height * args.image.width, channels = args.image.channels;
    const Four uniform =
        uniform4(NoiseKey{args.seed}, corruption_noise(args, row), static_cast<uint32_t>(quad));
    for (uint32_t lane = 0; lane < 4; ++lane) {
      const int64_t pixel = 4 * quad + lane;
      if (pixel >= pixels) return;
      const float u = lane_of(uniform, lane);
      const int64_t first = (row * pixels + pixel) * channels;
      for (int64_t at = first; at < first + channels; ++at) {
        put_corrupted(args, at, u < black ? 0.0f : (u < white ? 1.0f : args.x[at]));
      }
    }
  }
};

// A cell is a line of an image: every square is drawn once per line.
struct CutSquares {
  Corrupt args;

  // One of `places` equally likely ones; u < 1, so that the product does not reach `places`.
  ELBO_HD static int64_t place(float u, int64_t places) {
    const auto at = static_cast<int64_t>(u * static_cast<float>(places));
    return at < places ? at : places - 1;
  }

  ELBO_HD void operator()(int64_t row, int64_t y) const {
    const int64_t line = args.image.width * args.image.channels;
    const int64_t begin = (row * args.image.height + y) * line;
    for (int64_t at = begin; at < begin + line; ++at) put_corrupted(args, at, args.x[at]);
    const int64_t size = args.link.size;
    for (int i = 0; i < args.link.count; ++i) {
      const Four u =
          uniform4(NoiseKey{args.seed}, corruption_noise(args, row), static_cast<uint32_t>(i) / 2);
      const bool odd = i % 2 != 0;  // two squares share a call of Philox
      const int64_t top = place(odd ? u.v2 : u.v0, args.image.height - size + 1);
      if (y < top || y >= top + size) continue;
      const int64_t left = place(odd ? u.v3 : u.v1, args.image.width - size + 1);
      const int64_t from = begin + left * args.image.channels;
      for (int64_t at = from; at < from + size * args.image.channels; ++at) {
        put_corrupted(args, at, 0.0f);
      }
    }
  }
};

}  // namespace

void corrupt_by_noise(const Exec& exec, const Corrupt& args) {
  const Corruption& link = args.link;
  const int64_t pixel_quads = (args.image.pixels() + 3) / 4;
  switch (link.kind) {
    case CorruptionKind::gaussian:
      return for_each_cell<float>(exec, args.batch, (args.image.size() + 3) / 4, AddGaussian{args});
    case CorruptionKind::mask:
      return for_each_cell<float>(exec, args.batch, pixel_quads,
                                  ReplacePixels{args, link.share, link.share});
    case CorruptionKind::salt_pepper:
      return for_each_cell<float>(exec, args.batch, pixel_quads,
                                  ReplacePixels{args, 0.5f * link.share, link.share});
    default:
      return for_each_cell<float>(exec, args.batch, args.image.height, CutSquares{args});
  }
}

}  // namespace elbo
