#include <algorithm>
#include <cstdio>

#include "apps/image_grid.h"
#include "apps/picture_file.h"
#include "apps/restoration.h"
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
  command.summary = "encode and decode test images; PSNR and SSIM of the results";
  const std::string group = "Pictures";
  command.flags =
      with_run_flags({{"--data", 0, Takes::one_value, "DIR", group,
                       "other images to use (elbo data --help)", "the run's own"},
                      {"--count", 'n', Takes::one_value, "N", group, "how many images", "32"},
                      {"--first", 0, Takes::one_value, "I", group, "index of the first", "0"},
                      {"--corrupt", 0, Takes::one_value, "CHAIN", group,
                       "what the encoder sees, like gaussian:0.3,blur:2, or none", "as trained"},
                      {"--measure", 0, Takes::one_value, "N", group,
                       "images from the first on that the means are over", "those shown"},
                      {"--columns", 0, Takes::one_value, "N", group, "images per row", "16"},
                      {"--out", 'o', Takes::one_value, "FILE.png", group, "picture to write",
                       "DIR/reconstruct.png"}});
  command.notes =
      "Images come from the test split and are decoded from their posterior mean. Rows\n"
      "are originals, what the encoder sees of them if that is corrupted, and results.\n";
  command.examples = {"elbo reconstruct --run runs/first",
                      "elbo reconstruct --run runs/mnist --data ~/fashion-mnist -n 64",
                      "elbo reconstruct --run runs/denoise --corrupt gaussian:0.7 --measure 10000"};
  return command;
}

int reconstruct(const Arguments& arguments) {
  int64_t count = arguments.integer("--count", 32, 1, kMostImages);
  const int64_t first = arguments.integer("--first", 0, 0, INT64_MAX);
  const int64_t measure = arguments.integer("--measure", 0, 1, INT64_MAX);
  GridStyle style;
  style.columns = arguments.integer("--columns", 16, 1, kMostImages);
  const PictureFile file(arguments, "reconstruct.png");
  Log log;
  TrainedRun run(arguments, log);
  const ImageData data = open_test_images(run, arguments.text("--data"), log,
                                          arguments.text("--corrupt", run.config().data.corrupt));
  if (first >= data.count()) {
    throw_error(ErrorCode::usage, "--first: found ", first, ", expected an index below ",
                data.count(), ", the number of test images");
  }
  count = std::min(count, data.count() - first);
  style.columns = std::min(style.columns, count);
  const bool corrupted = !data.corruptions().empty();
  check_grid((corrupted ? 3 : 2) * count, run.image(), style);
  const RestoredImages images = restore_images(run, data, first, count);
  std::vector<std::vector<float>> rows = {images.clean, images.output};
  if (corrupted) rows.insert(rows.begin() + 1, images.input);
  file.write(rows_grid(rows, run.image(), style));
  const int64_t measured = std::min(measure > 0 ? measure : count, data.count() - first);
  const std::string table = Restoration(run, data, first, measured).table(count);
  std::fwrite(table.data(), 1, table.size(), stdout);
  return 0;
}

}  // namespace elbo
