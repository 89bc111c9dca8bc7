#include <cstdio>

#include "apps/image_grid.h"
#include "apps/picture_file.h"
#include "apps/subcommands.h"
#include "apps/trained_run.h"

namespace elbo {
namespace {

constexpr int64_t kMostSamples = 1 << 20;
constexpr double kHottest = 100;  // far outside anything a decoder has seen

}  // namespace

CommandLine sample_command_line() {
  CommandLine command;
  command.name = "sample";
  command.summary = "draw new pictures: latents from N(0, I), decoded";
  const std::string group = "Pictures";
  command.flags = with_run_flags(
      {{"--count", 'n', Takes::one_value, "N", group, "how many", "64"},
       {"--seed", 's', Takes::one_value, "N", group, "of the latents", "42"},
       {"--temperature", 't', Takes::one_value, "X", group,
        "standard deviation of the latents; below 1 is tamer, above 1 wilder", "1"},
       {"--columns", 0, Takes::one_value, "N", group, "pictures per row", "8"},
       {"--out", 'o', Takes::one_value, "FILE.png", group, "picture to write", "DIR/sample.png"}});
  command.examples = {"elbo sample --run runs/first",
                      "elbo sample --run runs/first -n 256 --columns 16 --out many.png",
                      "elbo sample --run runs/first --temperature 0.7 --seed 7"};
  return command;
}

int sample(const Arguments& arguments) {
  const int64_t count = arguments.integer("--count", 64, 1, kMostSamples);
  const auto seed = static_cast<uint64_t>(arguments.integer("--seed", 42, 0, INT64_MAX));
  const auto temperature = static_cast<float>(arguments.number("--temperature", 1, 0, kHottest));
  GridStyle style;
  style.columns = arguments.integer("--columns", style.columns, 1, kMostSamples);
  const PictureFile file(arguments, "sample.png");
  Log log;
  TrainedRun run(arguments, log);
  if (!run.model().variational()) {
    log.warning("a plain autoencoder has no prior: latents from N(0, I) may mean nothing to it");
  }
  check_grid(count, run.image(), style);
  const std::vector<float> latents = run.inference().prior_latents(count, seed, temperature);
  file.write(image_grid(run.inference().decode(latents), run.image(), style));
  return 0;
}

}  // namespace elbo
