#include <cstdio>

#include "apps/animated_png.h"
#include "apps/image_grid.h"
#include "apps/latent_source.h"
#include "apps/output_path.h"
#include "apps/picture_file.h"
#include "apps/subcommands.h"
#include "engine/io/blob.h"
#include "models/latent_path.h"

namespace elbo {
namespace {

constexpr int64_t kMostPairs = 1000, kMostSteps = 1000, kFastest = 100;

using Between = std::vector<float> (*)(std::span<const float>, std::span<const float>, double);

Between parse_path(const Arguments& arguments) {
  const std::string name = arguments.text("--path", "linear");
  if (name == "linear") return linear_between;
  if (name == "spherical") return spherical_between;
  throw_error(ErrorCode::usage, "--path: found ", in_quotes(name),
              ", expected linear or spherical");
}

// Pairs of ends, one after the other: [pairs, 2, D].
std::vector<float> ends_of(TrainedRun& run, const Arguments& arguments, uint64_t seed, Log& log) {
  LatentSource source(run, arguments.text("--data"), seed, log);
  if (arguments.has("--from") || arguments.has("--to")) {
    std::vector<float> ends;
    for (const char* flag : {"--from", "--to"}) {
      const std::string text = arguments.required(flag, "give both --from and --to, or neither");
      const std::vector<float> end = source.latent(flag, text);
      ends.insert(ends.end(), end.begin(), end.end());
    }
    return ends;
  }
  const int64_t pairs = arguments.integer("--pairs", 8, 1, kMostPairs);
  const std::string between =
      arguments.text("--between", run.model().variational() ? "prior" : "images");
  if (between == "prior") {
    warn_without_prior(run, log);
    return run.inference().prior_latents(2 * pairs, seed);
  }
  if (between != "images") {
    throw_error(ErrorCode::usage, "--between: found ", in_quotes(between),
                ", expected prior or images");
  }
  const RunImages& images = source.test_images();
  std::vector<float> ends;
  for (int64_t end = 0; end < 2 * pairs; ++end) {
    const auto draw = static_cast<uint32_t>(end);
    const double u = uniform1(NoiseKey{seed}, {NoisePurpose::shuffle, 0, draw, 0}, 0);
    const auto index = static_cast<int64_t>(u * static_cast<double>(images.count()));
    const auto code = encode_images(run, images, index, 1).mean;
    ends.insert(ends.end(), code.begin(), code.end());
  }
  return ends;
}

// There and back again, all pairs side by side.
void write_animation(const std::string& path, const std::vector<float>& pictures, int64_t steps,
                     const ImageShape& shape, int frames_per_second) {
  const int64_t pairs = std::ssize(pictures) / shape.size() / steps;
  std::vector<Picture> frames;
  for (int64_t frame = 0; frame < 2 * steps - 2; ++frame) {
    const int64_t step = frame < steps ? frame : 2 * steps - 2 - frame;
    std::vector<float> cells;
    for (int64_t pair = 0; pair < pairs; ++pair) {
      const auto begin = pictures.begin() + (pair * steps + step) * shape.size();
      cells.insert(cells.end(), begin, begin + shape.size());
    }
    frames.push_back(image_grid(cells, shape));
  }
  replace_file(real_fs(), path, animated_png_bytes(frames, frames_per_second));
  std::printf("%s: %zu frames\n", path.c_str(), frames.size());
}

}  // namespace

CommandLine interpolate_command_line() {
  CommandLine command;
  command.name = "interpolate";
  command.summary = "walk from one latent to another, one pair per row";
  const std::string ends = "Ends", group = "Pictures";
  command.flags = with_run_flags(
      {{"--from", 0, Takes::one_value, "SOURCE", ends, "where to begin", "random pairs"},
       {"--to", 0, Takes::one_value, "SOURCE", ends, "where to end"},
       {"--pairs", 0, Takes::one_value, "N", ends, "how many random pairs", "8"},
       {"--between", 0, Takes::one_value, "prior|images", ends,
        "draws of the prior, or codes of test images", "prior; images without one"},
       {"--seed", 's', Takes::one_value, "N", ends, "of random pairs", "42"},
       {"--data", 0, Takes::one_value, "DIR", ends, "other images to use (elbo data --help)",
        "the run's own"},
       {"--path", 0, Takes::one_value, "linear|spherical", group, "the way between", "linear"},
       {"--steps", 0, Takes::one_value, "N", group, "pictures from end to end", "11"},
       {"--out", 'o', Takes::one_value, "FILE.png", group, "grid to write", "DIR/interpolate.png"},
       {"--animation", 0, Takes::one_value, "FILE.png", group,
        "animated PNG to write, too: there and back"},
       {"--fps", 0, Takes::one_value, "N", group, "its frames per second", "12"}});
  command.notes = kLatentSourceNote;
  command.examples = {
      "elbo interpolate --run runs/first",
      "elbo interpolate --run runs/mnist --from 3 --to 18 --path spherical",
      "elbo interpolate --run runs/faces --from a.jpg --to b.jpg --animation ab.png"};
  return command;
}

int interpolate(const Arguments& arguments) {
  const Between between = parse_path(arguments);
  const int64_t steps = arguments.integer("--steps", 11, 2, kMostSteps);
  const auto seed = static_cast<uint64_t>(arguments.integer("--seed", 42, 0, INT64_MAX));
  const auto fps = static_cast<int>(arguments.integer("--fps", 12, 1, kFastest));
  const PictureFile file(arguments, "interpolate.png");
  const std::string animation = output_path(arguments, "--animation", "", {".png"});
  Log log;
  TrainedRun run(arguments, log);
  const std::vector<float> ends = ends_of(run, arguments, seed, log);
  const auto dim = static_cast<size_t>(run.model().latent_dim());
  const size_t pairs = ends.size() / (2 * dim);
  GridStyle style;
  style.columns = steps;
  check_grid(static_cast<int64_t>(pairs) * steps, run.image(), style);
  std::vector<float> latents;
  for (size_t pair = 0; pair < pairs; ++pair) {
    const std::span<const float> from(ends.data() + 2 * pair * dim, dim);
    const std::span<const float> to(ends.data() + (2 * pair + 1) * dim, dim);
    for (int64_t step = 0; step < steps; ++step) {
      const auto z = between(from, to, static_cast<double>(step) / static_cast<double>(steps - 1));
      latents.insert(latents.end(), z.begin(), z.end());
    }
  }
  const std::vector<float> pictures = run.inference().decode(latents);
  file.write(image_grid(pictures, run.image(), style));
  if (!animation.empty()) write_animation(animation, pictures, steps, run.image(), fps);
  return 0;
}

}  // namespace elbo
