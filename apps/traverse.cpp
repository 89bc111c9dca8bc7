#include <algorithm>
#include <cmath>
#include <numeric>

#include "apps/flag_values.h"
#include "apps/image_grid.h"
#include "apps/latent_source.h"
#include "apps/picture_file.h"
#include "apps/subcommands.h"

namespace elbo {
namespace {

constexpr int64_t kMostSteps = 1000;
constexpr int64_t kMostRows = 1000;
constexpr int64_t kImagesForOrder = 1000;  // KL per latent settles within a per cent or so
constexpr double kFarthest = 1000;         // of a latent, in standard deviations of the prior

// KL(q(z_d | x) || N(0, 1)), averaged over images, which orders latents under a learned prior too; half the
// squared mean of a plain autoencoder's code, whose scale is arbitrary.
std::vector<double> importance(const Inference::Posterior& posterior, int64_t dims) {
  const size_t n = posterior.mean.size() / static_cast<size_t>(dims);
  std::vector<double> kl(static_cast<size_t>(dims), 0.0);
  for (size_t i = 0; i < posterior.mean.size(); ++i) {
    const double mean = posterior.mean[i];
    const double v = posterior.logvar.empty() ? 0.0 : posterior.logvar[i];
    kl[i % kl.size()] += 0.5 * (mean * mean + std::expm1(v) - v) / static_cast<double>(n);
  }
  return kl;
}

std::vector<int64_t> order_by_kl(TrainedRun& run, const std::string& data_path, Log& log) {
  const ImageData data = open_test_images(run, data_path, log);
  const int64_t count = std::min(data.count(), kImagesForOrder);
  const auto images =
      run.inference().images(data, 0, count, run.config().data.binarise, run.config().train.seed);
  const int64_t dims = run.model().latent_dim();
  const std::vector<double> kl =
      importance(run.inference().encode(images, run.inference().conditions(data, 0, count)), dims);
  for (int64_t dim = 0; dim < dims; ++dim) {
    if (std::isfinite(kl[static_cast<size_t>(dim)])) continue;
    throw_error(ErrorCode::numeric, "the KL divergence of latent ", dim,
                " is not finite: the model has diverged; use an earlier --checkpoint");
  }
  std::vector<int64_t> order(static_cast<size_t>(dims));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    const double kl_a = kl[static_cast<size_t>(a)], kl_b = kl[static_cast<size_t>(b)];
    return kl_a != kl_b ? kl_a > kl_b : a < b;
  });
  std::string line =
      run.model().has_learned_prior() ? "rows, by KL to N(0, 1) in nats:" : "rows, by KL in nats:";
  for (const int64_t dim : order) {
    const double nats = std::round(kl[static_cast<size_t>(dim)] * 100) / 100;
    line += concat(" ", dim, " (", nats, ")");
  }
  log.note(line);
  return order;
}

// One latent per row, one value per column; everything else as in `base`.
std::vector<float> latent_rows(const std::vector<float>& base, const std::vector<int64_t>& dims,
                               const Range& range, int64_t steps) {
  std::vector<float> latents;
  for (const int64_t dim : dims) {
    for (int64_t step = 0; step < steps; ++step) {
      const size_t row = latents.size();
      latents.insert(latents.end(), base.begin(), base.end());
      const double share = static_cast<double>(step) / static_cast<double>(steps - 1);
      latents[row + static_cast<size_t>(dim)] =
          static_cast<float>(range.low + share * (range.high - range.low));
    }
  }
  return latents;
}

// --index I is the older spelling of --from I.
std::vector<float> base_latent(LatentSource& source, const Arguments& arguments) {
  if (arguments.has("--index") && arguments.has("--from")) {
    throw Error(ErrorCode::usage, "--from and --index say the same; give one of them");
  }
  const std::string flag = arguments.has("--index") ? "--index" : "--from";
  return source.latent(flag, arguments.text(flag, "mean"));
}

}  // namespace

CommandLine traverse_command_line() {
  CommandLine command;
  command.name = "traverse";
  command.summary = "vary one latent per row, the most used first";
  const std::string group = "Pictures";
  command.flags = with_run_flags(
      {{"--range", 0, Takes::one_value, "LOW..HIGH", group, "values of the latent", "-3..3"},
       {"--steps", 0, Takes::one_value, "N", group, "pictures per row", "11"},
       {"--dims", 0, Takes::one_value, "I,J,...", group, "these latents, in this order",
        "all, by KL"},
       {"--rows", 0, Takes::one_value, "N", group, "at most so many latents", "32"},
       {"--from", 0, Takes::one_value, "SOURCE", group, "latent to start from", "mean"},
       {"--index", 0, Takes::one_value, "I", group, "test image to start from: --from I"},
       {"--data", 0, Takes::one_value, "DIR", group, "other images to use (elbo data --help)",
        "the run's own"},
       {"--out", 'o', Takes::one_value, "FILE.png", group, "picture to write",
        "DIR/traverse.png"}});
  command.notes = std::string(kLatentSourceNote) +
                  "The order needs test images to measure KL on; with --dims and --from mean no\n"
                  "data is read.\n";
  command.examples = {"elbo traverse --run runs/first",
                      "elbo traverse --run runs/first --from prior:12 --range -2..2 --steps 9",
                      "elbo traverse --run runs/first --dims 3,0,7 --out three.png"};
  return command;
}

int traverse(const Arguments& arguments) {
  const Range range =
      parse_range("--range", arguments.text("--range", "-3..3"), -kFarthest, kFarthest);
  const int64_t steps = arguments.integer("--steps", 11, 2, kMostSteps);
  const int64_t rows = arguments.integer("--rows", 32, 1, kMostRows);
  const PictureFile file(arguments, "traverse.png");
  Log log;
  TrainedRun run(arguments, log);
  std::vector<int64_t> dims =
      arguments.has("--dims")
          ? parse_dims("--dims", arguments.text("--dims"), run.model().latent_dim())
          : order_by_kl(run, arguments.text("--data"), log);
  dims.resize(std::min(dims.size(), static_cast<size_t>(rows)));
  GridStyle style;
  style.columns = steps;
  check_grid(std::ssize(dims) * steps, run.image(), style);
  LatentSource source(run, arguments.text("--data"), kPriorSeed, log);
  const std::vector<float> base = base_latent(source, arguments);
  const Conditions own = source.conditions(std::ssize(dims) * steps);
  const std::vector<float> pictures =
      run.inference().decode(latent_rows(base, dims, range, steps), own);
  file.write(image_grid(pictures, run.image(), style));
  return 0;
}

}  // namespace elbo
