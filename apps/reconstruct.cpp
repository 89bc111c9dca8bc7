#include <algorithm>

#include "apps/image_grid.h"
#include "apps/picture_file.h"
#include "apps/run_data.h"
#include "apps/subcommands.h"
#include "apps/trained_run.h"

namespace elbo {
namespace {

constexpr int64_t kMostImages = 1 << 20;

}  // namespace

CommandLine reconstruct_command_line() {
  CommandLine command;
  command.name = "reconstruct";
  command.summary = "encode and decode test images; originals above results";
  const std::string group = "Pictures";
  command.flags =
      with_run_flags({{"--data", 0, Takes::one_value, "DIR", group,
                       "other images to use (elbo data --help)", "the run's own"},
                      {"--count", 'n', Takes::one_value, "N", group, "how many images", "32"},
                      {"--first", 0, Takes::one_value, "I", group, "index of the first", "0"},
                      {"--columns", 0, Takes::one_value, "N", group, "images per row", "16"},
                      {"--out", 'o', Takes::one_value, "FILE.png", group, "picture to write",
                       "DIR/reconstruct.png"}});
  command.notes = "Images come from the test split and are decoded from their posterior mean.\n";
  command.examples = {"elbo reconstruct --run runs/first",
                      "elbo reconstruct --run runs/mnist --data ~/fashion-mnist -n 64",
                      "elbo reconstruct --run runs/first --first 500 --out later.png"};
  return command;
}

int reconstruct(const Arguments& arguments) {
  int64_t count = arguments.integer("--count", 32, 1, kMostImages);
  const int64_t first = arguments.integer("--first", 0, 0, INT64_MAX);
  GridStyle style;
  style.columns = arguments.integer("--columns", 16, 1, kMostImages);
  const PictureFile file(arguments, "reconstruct.png");
  Log log;
  TrainedRun run(arguments, log);
  const ImageData data = open_test_images(run, arguments.text("--data"), log);
  if (first >= data.count()) {
    throw_error(ErrorCode::usage, "--first: found ", first, ", expected an index below ",
                data.count(), ", the number of test images");
  }
  count = std::min(count, data.count() - first);
  style.columns = std::min(style.columns, count);
  check_grid(2 * count, run.image(), style);
  Inference& inference = run.inference();
  const RunConfig& config = run.config();
  const std::vector<float> originals =
      inference.images(data, first, count, config.data.binarise, config.train.seed);
  const std::vector<float> results = inference.decode(inference.encode(originals).mean);
  file.write(paired_grid(originals, results, run.image(), style));
  return 0;
}

}  // namespace elbo
