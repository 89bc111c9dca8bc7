#include <algorithm>
#include <cstdio>

#include <fmt/format.h>
#include "apps/flag_values.h"
#include "apps/output_path.h"
#include "apps/run_images.h"
#include "apps/scatter_chart.h"
#include "apps/subcommands.h"
#include "engine/io/blob.h"
#include "models/principal_components.h"

namespace elbo {
namespace {

constexpr int64_t kMostPoints = 1'000'000;

void choose_dims(ScatterChart& chart, const std::vector<float>& codes, int64_t latent_dim,
                 const std::vector<int64_t>& dims) {
  chart.x_label = fmt::format("latent {}", dims[0]);
  chart.y_label = fmt::format("latent {}", dims[1]);
  for (size_t row = 0; row < codes.size(); row += static_cast<size_t>(latent_dim)) {
    for (const int64_t dim : dims) chart.points.push_back(codes[row + static_cast<size_t>(dim)]);
  }
}

void choose_components(ScatterChart& chart, const std::vector<float>& codes, int64_t latent_dim) {
  const PrincipalComponents pca = principal_components(codes, latent_dim, 2);
  if (pca.count < 2) {
    throw_error(ErrorCode::usage,
                "scatter: two principal components need at least 2 latents and 2 "
                "images; found ",
                latent_dim, " and ", std::ssize(codes) / latent_dim);
  }
  chart.points = pca.project(codes);
  const auto label = [&](size_t k) {
    const double share = pca.total_variance > 0 ? pca.variances[k] / pca.total_variance : 0;
    return fmt::format("component {} ({:.0f}% of variance)", k + 1, 100 * share);
  };
  chart.x_label = label(0);
  chart.y_label = label(1);
}

std::vector<int64_t> chosen_dims(const Arguments& arguments, int64_t latent_dim) {
  if (!arguments.has("--dims")) {
    return latent_dim == 2 && !arguments.has("--pca") ? std::vector<int64_t>{0, 1}
                                                      : std::vector<int64_t>{};
  }
  if (arguments.has("--pca")) {
    throw Error(ErrorCode::usage, "--dims and --pca exclude each other; give one of them");
  }
  const std::vector<int64_t> dims = parse_dims("--dims", arguments.text("--dims"), latent_dim);
  if (dims.size() == 2) return dims;
  throw_error(ErrorCode::usage, "--dims: found ", in_quotes(arguments.text("--dims")),
              ", expected two latents, like 0,1");
}

}  // namespace

CommandLine scatter_command_line() {
  CommandLine command;
  command.name = "scatter";
  command.summary = "plot codes of images in two dimensions, coloured by label";
  const std::string images = "Images", group = "Chart";
  std::vector<Flag> flags = image_flags(images);
  const std::vector<Flag> own = {
      {"--count", 'n', Takes::one_value, "N", images, "the first N of them", "5000"},
      {"--dims", 0, Takes::one_value, "I,J", group, "two latents",
       "0,1 of a model that has two, else --pca"},
      {"--pca", 0, Takes::nothing, "", group, "the first two principal components of the codes"},
      {"--out", 'o', Takes::one_value, "FILE", group, "chart to write, .png or .svg",
       "DIR/scatter.png"}};
  flags.insert(flags.end(), own.begin(), own.end());
  command.flags = with_run_flags(flags);
  command.notes = "Codes are posterior means. Sprites have their shape for a label.\n";
  command.examples = {"elbo scatter --run runs/two",
                      "elbo scatter --run runs/mnist --pca --out codes.svg",
                      "elbo scatter --run runs/mnist --dims 4,11 --split train -n 10000"};
  return command;
}

int scatter(const Arguments& arguments) {
  const Split split = parse_split(arguments);
  const int64_t most = arguments.integer("--count", 5000, 1, kMostPoints);
  const std::string path = output_path(arguments, "--out", "scatter.png", {".png", ".svg"});
  Log log;
  TrainedRun run(arguments, log);
  const int64_t latent_dim = run.model().latent_dim();
  const std::vector<int64_t> dims = chosen_dims(arguments, latent_dim);
  const RunImages images = ImageSource(run, arguments.text("--data"), log).open(split, most);
  const auto codes = encode_images(run, images, 0, images.count()).mean;
  ScatterChart chart;
  chart.title = fmt::format("Codes of {} images", images.count());
  chart.groups = images.labels;
  chart.group_names = images.class_names;
  if (dims.empty()) {
    choose_components(chart, codes, latent_dim);
  } else {
    choose_dims(chart, codes, latent_dim, dims);
  }
  if (path.ends_with(".svg")) {
    SvgCanvas canvas(kChartWidth, kChartHeight);
    draw_scatter(canvas, chart);
    replace_file(real_fs(), path, canvas.svg());
  } else {
    RasterCanvas canvas(kChartWidth, kChartHeight);
    draw_scatter(canvas, chart);
    write_png(real_fs(), path, canvas.picture());
  }
  std::printf("%s: %lld points, %s against %s\n", path.c_str(),
              static_cast<long long>(images.count()), chart.y_label.c_str(), chart.x_label.c_str());
  return 0;
}

}  // namespace elbo
