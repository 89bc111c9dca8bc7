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
struct Ends {
  std::vector<float> latents;
  std::vector<float> attributes;  // [pairs, 2, A], of a model that is told some

  // Those of the image that an end is the code of; the training set's mean if it is of none.
  void add_attributes(const TrainedRun& run, const std::vector<float>& own) {
    if (!run.model().knows_attributes()) return;
    const std::vector<double> mean = run.model().attribute_scale().mean;
    if (own.empty()) attributes.insert(attributes.end(), mean.begin(), mean.end());
    attributes.insert(attributes.end(), own.begin(), own.end());
  }
};

Ends ends_of(TrainedRun& run, const Arguments& arguments, uint64_t seed, Log& log) {
  LatentSource source(run, arguments.text("--data"), seed, log);
  Ends ends;
  if (arguments.has("--from") || arguments.has("--to")) {
    for (const char* flag : {"--from", "--to"}) {
      const std::string text = arguments.required(flag, "give both --from and --to, or neither");
      const std::vector<float> end = source.latent(flag, text);
      ends.latents.insert(ends.latents.end(), end.begin(), end.end());
      ends.add_attributes(run, source.conditions(1).attributes);
    }
    return ends;
  }
  const int64_t pairs = arguments.integer("--pairs", 8, 1, kMostPairs);
  const std::string between =
      arguments.text("--between", run.model().variational() ? "prior" : "images");
  if (between == "prior") {
    warn_without_prior(run, log);
    ends.latents = run.inference().prior_latents(2 * pairs, seed);
    for (int64_t end = 0; end < 2 * pairs; ++end) ends.add_attributes(run, {});
    return ends;
  }
  if (between != "images") {
    throw_error(ErrorCode::usage, "--between: found ", in_quotes(between),
                ", expected prior or images");
  }
  const RunImages& images = source.test_images();
  for (int64_t end = 0; end < 2 * pairs; ++end) {
    const auto draw = static_cast<uint32_t>(end);
    const double u = uniform1(NoiseKey{seed}, {NoisePurpose::shuffle, 0, draw, 0}, 0);
    const auto index = static_cast<int64_t>(u * static_cast<double>(images.count()));
    const auto code = encode_images(run, images, index, 1).mean;
    ends.latents.insert(ends.latents.end(), code.begin(), code.end());
    ends.add_attributes(run, run.inference().conditions(images.data, index, 1).attributes);
  }
  return ends;
}

// The way from the first of each two rows to the second: [pairs, steps, width].
std::vector<float> way_between(const std::vector<float>& ends, size_t width, int64_t steps,
                               Between between) {
  std::vector<float> way;
  const std::span<const float> rows(ends);
  for (size_t from = 0; from < ends.size(); from += 2 * width) {
    for (int64_t step = 0; step < steps; ++step) {
      const auto row = between(rows.subspan(from, width), rows.subspan(from + width, width),
                               static_cast<double>(step) / static_cast<double>(steps - 1));
      way.insert(way.end(), row.begin(), row.end());
    }
  }
  return way;
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
  command.notes = std::string(kLatentSourceNote) +
                  "A model told attributes goes from those of one image to those of the other.\n";
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
  const Ends ends = ends_of(run, arguments, seed, log);
  const auto dim = static_cast<size_t>(run.model().latent_dim());
  const size_t pairs = ends.latents.size() / (2 * dim);
  GridStyle style;
  style.columns = steps;
  check_grid(static_cast<int64_t>(pairs) * steps, run.image(), style);
  const auto told = static_cast<size_t>(run.model().config().attributes);
  const std::vector<float> pictures = run.inference().decode(
      way_between(ends.latents, dim, steps, between),
      Conditions::of_attributes(way_between(ends.attributes, told, steps, linear_between)));
  file.write(image_grid(pictures, run.image(), style));
  if (!animation.empty()) write_animation(animation, pictures, steps, run.image(), fps);
  return 0;
}

}  // namespace elbo
