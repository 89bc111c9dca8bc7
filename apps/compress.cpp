#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "apps/image_sheet.h"
#include "apps/picture_file.h"
#include "apps/run_images.h"
#include "apps/subcommands.h"
#include "models/codebook_table.h"
#include "models/image_quality.h"
#include "models/principal_components.h"
#include "models/scalar_quantiser.h"

namespace elbo {
namespace {

constexpr int64_t kTrainImages = 10000;  // to find principal components and ranges with
constexpr int64_t kMostImages = 100'000, kShown = 16;

// One way to store the images.
struct Method {
  std::string name;
  double bytes_per_image = 0;
  std::vector<float> images;  // what comes back
};

std::string table(const std::vector<Method>& methods, const std::vector<float>& originals,
                  const ImageShape& shape) {
  const auto raw = static_cast<double>(shape.size());
  std::string text = fmt::format("{:<24} {:>12} {:>8} {:>9} {:>7}\n", "", "bytes/image", "ratio",
                                 "PSNR dB", "SSIM");
  for (const Method& method : methods) {
    const ImageQuality quality = image_quality(originals, method.images, shape.as_size());
    text += fmt::format("{:<24} {:>12.1f} {:>8.1f} {:>9.2f} {:>7.4f}\n", method.name,
                        method.bytes_per_image, raw / method.bytes_per_image, quality.psnr_db,
                        quality.ssim);
  }
  return text;
}

// Values stored as they are, and cut down to `bits`; `restore` makes images of them.
template <class Restore>
void add_codes(std::vector<Method>& methods, const std::string& name,
               const std::vector<float>& train_codes, const std::vector<float>& codes, int64_t dim,
               int bits, Restore restore) {
  const auto values = static_cast<double>(dim);
  methods.push_back({name + ", fp32", 4 * values, restore(codes)});
  const ScalarQuantiser quantiser(train_codes, dim, bits);
  methods.push_back({fmt::format("{}, {} bits", name, bits), values * bits / 8,
                     restore(quantiser.rounded(codes))});
}

// Codes of a codebook, as plain numbers and as an entropy coder writes them, with the same images.
void add_codebook_codes(std::vector<Method>& methods, TrainedRun& run,
                        const std::vector<float>& latents, const Conditions& own) {
  const CodebookTable table(run.model());
  const std::string name = fmt::format("{} codes of {}", table.codes_per_image(), table.size());
  const std::vector<float> images = run.inference().decode(latents, own);
  methods.push_back({name, table.plain_bits() / 8, images});
  methods.push_back(
      {"  entropy coded", table.entropy_coded_bits(table.codes_of(latents)) / 8, images});
}

std::vector<Method> methods_of(TrainedRun& run, const RunImages& train, const RunImages& test,
                               const std::vector<float>& originals, int bits) {
  std::vector<Method> methods;
  const int64_t dim = run.model().latent_dim(), count = test.count();
  const Conditions own = run.inference().conditions(test.data, 0, count);
  int64_t components = dim;
  const std::vector<float> latents = run.inference().encode(originals, own).mean;
  if (run.model().quantised()) {
    add_codebook_codes(methods, run, latents, own);
    components = std::max<int64_t>(std::lround(8 * methods[0].bytes_per_image / bits), 1);
  } else {
    add_codes(methods, fmt::format("{} latents", dim),
              encode_images(run, train, 0, train.count()).mean, latents, dim, bits,
              [&](const std::vector<float>& codes) { return run.inference().decode(codes, own); });
  }
  const std::vector<float> train_pixels = pixels_of(run, train, 0, train.count());
  const PrincipalComponents pca =
      principal_components(train_pixels, run.image().size(), components);
  add_codes(methods, fmt::format("{} components", pca.count), pca.project(train_pixels),
            pca.project(originals), pca.count, bits,
            [&](const std::vector<float>& codes) { return pca.restore(codes); });
  if (!can_be_shown(run.image())) return methods;
  const auto images = static_cast<double>(count);
  const Picture sheet = image_sheet(originals, run.image());
  methods.push_back({"PNG", static_cast<double>(png_bytes(sheet).size()) / images,
                     images_of_sheet(sheet, count, run.image())});
  const double as_good = image_quality(originals, methods[1].images, run.image().as_size()).psnr_db;
  JpegSheet jpeg = jpeg_as_good_as(originals, run.image(), as_good);
  methods.push_back({fmt::format("JPEG, quality {}", jpeg.quality),
                     static_cast<double>(jpeg.bytes) / images, std::move(jpeg.images)});
  return methods;
}

// The originals, and below them what each lossy method of few bits makes of them.
Picture comparison(const std::vector<Method>& methods, const std::vector<float>& originals,
                   const ImageShape& shape) {
  const int64_t shown = std::min(std::ssize(originals) / shape.size(), kShown);
  std::vector<float> rows;
  const auto add = [&](const std::vector<float>& images) {
    rows.insert(rows.end(), images.begin(), images.begin() + shown * shape.size());
  };
  add(originals);
  add(methods[1].images);
  add(methods[3].images);
  add(methods.back().images);
  GridStyle style;
  style.columns = shown;
  return image_grid(rows, shape, style);
}

}  // namespace

CommandLine compress_command_line() {
  CommandLine command;
  command.name = "compress";
  command.summary = "codes against PCA, PNG and JPEG: size, PSNR, SSIM";
  const std::string images = "Images", group = "Compression";
  std::vector<Flag> flags = image_flags(images);
  const std::vector<Flag> own = {
      {"--count", 'n', Takes::one_value, "N", images, "the first N of them", "1000"},
      {"--bits", 0, Takes::one_value, "N", group, "per latent and component", "8"},
      {"--out", 'o', Takes::one_value, "FILE.png", group,
       "originals, latents, components and JPEG, row by row", "DIR/compress.png"}};
  flags.insert(flags.end(), own.begin(), own.end());
  command.flags = with_run_flags(flags);
  command.notes =
      "Raw images have a byte per value. Principal components and ranges of codes come\n"
      "from training images; they and the model are not counted. PNG and JPEG hold all\n"
      "images in one sheet; JPEG's quality is the least that matches that of latents\n"
      "cut down to --bits. Codes of a codebook take the bits of their numbers, or as\n"
      "many as an entropy coder needs that knows how often training used each; there\n"
      "are as many components of --bits as fit into their size.\n";
  command.examples = {"elbo compress --run runs/four", "elbo compress --run runs/mnist --bits 4",
                      "elbo compress --run runs/faces --split train -n 500 --out faces.png"};
  return command;
}

int compress(const Arguments& arguments) {
  const Split split = parse_split(arguments);
  const int64_t count = arguments.integer("--count", 1000, 1, kMostImages);
  const auto bits = static_cast<int>(arguments.integer("--bits", 8, 1, 24));
  const PictureFile file(arguments, "compress.png");
  Log log;
  TrainedRun run(arguments, log);
  ImageSource source(run, arguments.text("--data"), log);
  const RunImages train = source.open(Split::train, kTrainImages);
  const RunImages test = source.open(split, count);
  const std::vector<float> originals = pixels_of(run, test, 0, test.count());
  const std::vector<Method> methods = methods_of(run, train, test, originals, bits);
  std::printf("%lld images of %lld bytes\n", static_cast<long long>(test.count()),
              static_cast<long long>(run.image().size()));
  std::fputs(table(methods, originals, run.image()).c_str(), stdout);
  file.write(comparison(methods, originals, run.image()));
  return 0;
}

}  // namespace elbo
