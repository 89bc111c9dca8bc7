#include "apps/flag_values.h"
#include "apps/image_grid.h"
#include "apps/latent_source.h"
#include "apps/picture_file.h"
#include "apps/subcommands.h"
#include "models/latent_path.h"

namespace elbo {
namespace {

constexpr int64_t kMostDirections = 1000;
constexpr double kFarthest = 1000;

}  // namespace

CommandLine neighbours_command_line() {
  CommandLine command;
  command.name = "neighbours";
  command.summary = "decode what lies around a latent, farther away row by row";
  const std::string group = "Pictures";
  command.flags = with_run_flags(
      {{"--from", 0, Takes::one_value, "SOURCE", group, "the latent in the middle", "0"},
       {"--radii", 0, Takes::one_value, "R,S,...", group, "distances, one per row",
        "0.5,1,2,3,4,6"},
       {"--count", 'n', Takes::one_value, "N", group, "random directions, one per column", "10"},
       {"--seed", 's', Takes::one_value, "N", group, "of the directions", "42"},
       {"--data", 0, Takes::one_value, "DIR", group, "other images to use (elbo data --help)",
        "the run's own"},
       {"--out", 'o', Takes::one_value, "FILE.png", group, "picture to write",
        "DIR/neighbours.png"}});
  command.notes =
      std::string(
          "The first column is the latent itself, so that a row can be compared with it.\n") +
      kLatentSourceNote;
  command.examples = {"elbo neighbours --run runs/first",
                      "elbo neighbours --run runs/mnist --from 17 --radii 1,2,4,8",
                      "elbo neighbours --run runs/mnist --from prior:3 -n 16 --out near.png"};
  return command;
}

int neighbours(const Arguments& arguments) {
  const std::vector<double> radii =
      parse_numbers("--radii", arguments.text("--radii", "0.5,1,2,3,4,6"), 0, kFarthest);
  const int64_t count = arguments.integer("--count", 10, 1, kMostDirections);
  const auto seed = static_cast<uint64_t>(arguments.integer("--seed", 42, 0, INT64_MAX));
  const PictureFile file(arguments, "neighbours.png");
  Log log;
  TrainedRun run(arguments, log);
  GridStyle style;
  style.columns = count + 1;
  check_grid(std::ssize(radii) * style.columns, run.image(), style);
  LatentSource source(run, arguments.text("--data"), seed, log);
  const std::vector<float> middle = source.latent("--from", arguments.text("--from", "0"));
  std::vector<float> latents;
  for (const double radius : radii) {
    latents.insert(latents.end(), middle.begin(), middle.end());
    for (int64_t direction = 0; direction < count; ++direction) {
      const std::vector<double> u = random_direction(std::ssize(middle), seed, direction);
      for (size_t d = 0; d < middle.size(); ++d) {
        latents.push_back(static_cast<float>(middle[d] + radius * u[d]));
      }
    }
  }
  file.write(image_grid(
      run.inference().decode(latents, source.conditions(std::ssize(radii) * style.columns)),
      run.image(), style));
  return 0;
}

}  // namespace elbo
