#include <algorithm>
#include <cstdio>
#include <optional>

#include "apps/config_value.h"
#include "apps/data_report.h"
#include "apps/image_grid.h"
#include "apps/picture_file.h"
#include "apps/run_data.h"
#include "apps/subcommands.h"
#include "apps/threads.h"
#include "engine/io/blob.h"

namespace elbo {
namespace {

constexpr int64_t kMostImages = 1 << 20;
constexpr int64_t kMostThreads = 1024;
constexpr int64_t kMostChannels = 3;

DataConfig data_config(const Arguments& arguments) {
  DataConfig config;
  config.path = arguments.required("--data", "name the directory or file of images");
  const auto size = parse_image_size(arguments.text("--image-size", "auto"));
  if (!size) {
    throw_error(ErrorCode::usage, "--image-size: found ", in_quotes(arguments.text("--image-size")),
                ", expected a size in pixels like 64 or 48x64, or auto");
  }
  config.image_size = *size;
  config.channels = arguments.integer("--channels", 0, 0, kMostChannels);
  config.cache = arguments.text("--cache");
  config.test_fraction = arguments.number("--test-fraction", config.test_fraction, 1e-6, 0.999999);
  return config;
}

const ImageSplit& chosen_split(const ImageSet& set, const std::string& name) {
  if (name == "train") return set.train;
  if (name == "test") return set.test;
  throw_error(ErrorCode::usage, "--split: found ", in_quotes(name), ", expected train or test");
}

Picture first_images(const ImageSplit& split, int64_t count, const GridStyle& style) {
  count = std::min(count, split.count);
  const ImageShape shape{split.channels, split.height, split.width};
  check_grid(count, shape, style);
  const auto bytes = split.pixels().first(static_cast<size_t>(count * split.image_bytes()));
  std::vector<float> images(bytes.size());
  std::transform(bytes.begin(), bytes.end(), images.begin(),
                 [](uint8_t value) { return static_cast<float>(value) / 255.0f; });
  return image_grid(images, shape, style);
}

}  // namespace

CommandLine data_command_line() {
  CommandLine command;
  command.name = "data";
  command.summary = "look at a set of images: format, sizes, labels, figures";
  command.operand = "--data";
  const std::string set = "Images", pictures = "Pictures";
  command.flags = {
      {"--data", 0, Takes::one_value, "DIR", set, "the same as DIR without a flag"},
      {"--image-size", 0, Takes::one_value, "HxW", set,
       "picture files: bring to this size; auto: as most are", "auto"},
      {"--channels", 0, Takes::one_value, "N", set,
       "picture files: 1 grey, 3 colour; 0: as most are", "0"},
      {"--cache", 0, Takes::one_value, "DIR", set,
       "picture files: where to keep them decoded; off: nowhere", "~/.cache/elbo"},
      {"--test-fraction", 0, Takes::one_value, "X", set,
       "share of images to test on, if the set names none", "0.1"},
      {"--threads", 0, Takes::one_value, "N", set, "CPU threads; 0: as many as are allowed", "0"},
      {"--out", 'o', Takes::one_value, "FILE.png", pictures, "also write a grid of images"},
      {"--split", 0, Takes::one_value, "train|test", pictures, "of which split", "train"},
      {"--count", 'n', Takes::one_value, "N", pictures, "how many", "64"},
      {"--columns", 0, Takes::one_value, "N", pictures, "images per row", "8"},
  };
  command.notes =
      "What is understood, and found out by looking:\n"
      "  IDX        train-images-idx3-ubyte and its relatives, plain or .gz (MNIST)\n"
      "  CIFAR      the binary versions of CIFAR-10 and CIFAR-100\n"
      "  NumPy      .npz, .npy: images, labels; x_train, y_train, x_test, y_test; ...\n"
      "  pictures   folders of .png .jpg .bmp .pgm .ppm; subfolders are classes,\n"
      "             train/ and test/ are splits\n"
      "Attributes, numbers known of each image, are an array called attributes, or a\n"
      "table attributes.csv beside picture files (file,NAME,...).\n";
  command.examples = {"elbo data ~/mnist", "elbo data ~/cifar-10-batches-bin --out cifar.png",
                      "elbo data ~/photos --image-size 64  # each scaled and its middle cut out"};
  return command;
}

int show_data(const Arguments& arguments) {
  const DataConfig config = data_config(arguments);
  const int64_t count = arguments.integer("--count", 64, 1, kMostImages);
  GridStyle style;
  style.columns = arguments.integer("--columns", style.columns, 1, kMostImages);
  std::optional<PictureFile> file;
  if (arguments.has("--out")) file.emplace(arguments, "");
  use_threads(static_cast<int>(arguments.integer("--threads", 0, 0, kMostThreads)));
  Log log;
  const ImageSet set = open_images(real_fs(), config, {AttributeWish::Use::shown}, log);
  check_asked_size(set, config);
  const ImageSplit& split = chosen_split(set, arguments.text("--split", "train"));
  const std::string text = data_report(set, config.path);
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (file) file->write(first_images(split, count, style));
  return 0;
}

}  // namespace elbo
