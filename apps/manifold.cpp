#include <cmath>

#include "apps/flag_values.h"
#include "apps/image_grid.h"
#include "apps/latent_source.h"
#include "apps/picture_file.h"
#include "apps/subcommands.h"
#include "engine/io/blob.h"
#include "models/aggregate.h"
#include "models/latent_path.h"

namespace elbo {
namespace {

constexpr int64_t kMostSteps = 1000;
constexpr int64_t kImagesForScale = 2000;
constexpr double kClosest = 1e-9;  // of a quantile to 0 or 1

std::vector<int64_t> chosen_dims(const Arguments& arguments, int64_t latent_dim) {
  if (arguments.has("--dims")) {
    const std::vector<int64_t> dims = parse_dims("--dims", arguments.text("--dims"), latent_dim);
    if (dims.size() == 2 && dims[0] != dims[1]) return dims;
    throw_error(ErrorCode::usage, "--dims: found ", in_quotes(arguments.text("--dims")),
                ", expected two different latents, like 0,1");
  }
  if (latent_dim == 2) return {0, 1};
  throw_error(ErrorCode::usage, "manifold: the model has ", latent_dim,
              latent_dim == 1 ? " latent, expected at least 2"
                              : " latents, expected 2; choose two with --dims I,J");
}

// Where the codes of a latent lie: N(0, 1) for a VAE by design, anywhere for a plain autoencoder or under
// a learned prior.
struct Scale {
  double mean = 0, deviation = 1;
};

std::vector<Scale> scales_of(TrainedRun& run, const std::vector<int64_t>& dims,
                             LatentSource& source, Log& log) {
  std::vector<Scale> scales(dims.size());
  const bool learned = run.model().has_learned_prior();
  if (run.model().variational() && !learned) return scales;
  log.note(concat(learned ? "the prior is learned" : "a plain autoencoder has no prior",
                  ": the grid covers a Gaussian fitted to codes"));
  const RunImages& images = source.test_images();
  const auto codes = encode_images(run, images, 0, std::min(images.count(), kImagesForScale));
  const LatentMoments moments = latent_moments(codes.mean, {}, run.model().latent_dim());
  for (size_t i = 0; i < dims.size(); ++i) {
    scales[i] = {moments.mean_of(dims[i]), std::sqrt(moments.variance_of(dims[i]))};
  }
  return scales;
}

}  // namespace

CommandLine manifold_command_line() {
  CommandLine command;
  command.name = "manifold";
  command.summary = "decode a grid over two latents, of equal prior probability";
  const std::string group = "Pictures";
  command.flags = with_run_flags(
      {{"--steps", 0, Takes::one_value, "N", group, "pictures per row and column", "20"},
       {"--quantiles", 0, Takes::one_value, "LOW..HIGH", group,
        "of the prior, equally spaced between", "0.05..0.95"},
       {"--dims", 0, Takes::one_value, "I,J", group, "the latents across and up",
        "0,1 of a model that has two"},
       {"--from", 0, Takes::one_value, "SOURCE", group, "where the other latents stay", "mean"},
       {"--data", 0, Takes::one_value, "DIR", group, "other images to use (elbo data --help)",
        "the run's own"},
       {"--out", 'o', Takes::one_value, "FILE.png", group, "picture to write",
        "DIR/manifold.png"}});
  command.notes = kLatentSourceNote;
  command.examples = {"elbo manifold --run runs/two",
                      "elbo manifold --run runs/two --steps 30 --quantiles 0.01..0.99",
                      "elbo manifold --run runs/mnist --dims 4,11 --from 17"};
  return command;
}

int manifold(const Arguments& arguments) {
  const int64_t steps = arguments.integer("--steps", 20, 2, kMostSteps);
  const Range quantiles = parse_range("--quantiles", arguments.text("--quantiles", "0.05..0.95"),
                                      kClosest, 1 - kClosest);
  const PictureFile file(arguments, "manifold.png");
  Log log;
  TrainedRun run(arguments, log);
  const std::vector<int64_t> dims = chosen_dims(arguments, run.model().latent_dim());
  GridStyle style;
  style.columns = steps;
  style.padding = 0;
  check_grid(steps * steps, run.image(), style);
  LatentSource source(run, arguments.text("--data"), kPriorSeed, log);
  const std::vector<float> base = source.latent("--from", arguments.text("--from", "mean"));
  const Conditions own = source.conditions(steps * steps);
  const std::vector<Scale> scales = scales_of(run, dims, source, log);
  const auto value = [&](int64_t step, const Scale& scale) {
    const double share = static_cast<double>(step) / static_cast<double>(steps - 1);
    const double p = quantiles.low + share * (quantiles.high - quantiles.low);
    return static_cast<float>(scale.mean + scale.deviation * inverse_normal_cdf(p));
  };
  std::vector<float> latents;
  for (int64_t row = 0; row < steps; ++row) {
    for (int64_t column = 0; column < steps; ++column) {
      const auto z = latents.insert(latents.end(), base.begin(), base.end());
      z[dims[0]] = value(column, scales[0]);
      z[dims[1]] = value(steps - 1 - row, scales[1]);  // upwards, as in a scatter plot
    }
  }
  file.write(image_grid(run.inference().decode(latents, own), run.image(), style));
  return 0;
}

}  // namespace elbo
