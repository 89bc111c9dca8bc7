#include <cmath>
#include <cstdio>

#include "apps/code_files.h"
#include "apps/condition_files.h"
#include "apps/latent_files.h"
#include "apps/output_path.h"
#include "apps/run_images.h"
#include "apps/subcommands.h"
#include "engine/io/npy_write.h"

namespace elbo {

CommandLine encode_command_line() {
  CommandLine command;
  command.name = "encode";
  command.summary = "write the codes of images as .npy";
  const std::string images = "Images", files = "Files";
  std::vector<Flag> flags = image_flags(images);
  const std::vector<Flag> own = {
      {"--first", 0, Takes::one_value, "I", images, "index of the first", "0"},
      {"--count", 'n', Takes::one_value, "N", images, "how many images; 0: all", "0"},
      {"--out", 'o', Takes::one_value, "FILE.npy", files, "posterior means [N, latents]",
       "DIR/codes.npy"},
      {"--logvar", 0, Takes::one_value, "FILE.npy", files, "their log-variances, too"},
      {"--indices", 0, Takes::one_value, "FILE.npy", files,
       "with a codebook: which codes they are [N, codes], as int32, too"},
      {"--labels", 0, Takes::one_value, "FILE.npy", files, "the images' labels [N], too"},
      {"--conditions", 0, Takes::one_value, "FILE.npy", files,
       "conditional models: what decode --conditions is to tell, the images' labels [N] or "
       "attributes [N, A], too"}};
  flags.insert(flags.end(), own.begin(), own.end());
  command.flags = with_run_flags(flags);
  command.notes =
      "The code of a plain autoencoder stands for its mean. elbo decode leads back.\n"
      "With a codebook codes are what the decoder sees: vectors of the codebook.\n";
  command.examples = {"elbo encode --run runs/first",
                      "elbo encode --run runs/mnist --split train --labels labels.npy -o codes.npy",
                      "elbo encode --run runs/mnist --first 100 -n 10 --logvar logvar.npy"};
  return command;
}

int encode(const Arguments& arguments) {
  const Split split = parse_split(arguments);
  const std::string mean_path = output_path(arguments, "--out", "codes.npy", {".npy"});
  const std::string logvar_path = output_path(arguments, "--logvar", "", {".npy"});
  const std::string indices_path = output_path(arguments, "--indices", "", {".npy"});
  const std::string labels_path = output_path(arguments, "--labels", "", {".npy"});
  const std::string told_path = output_path(arguments, "--conditions", "", {".npy"});
  const int64_t asked = arguments.integer("--count", 0, 0, INT64_MAX);
  Log log;
  TrainedRun run(arguments, log);
  if (!logvar_path.empty() && !run.model().variational()) {
    throw Error(ErrorCode::usage,
                "--logvar: a plain autoencoder has no variances; leave the flag out");
  }
  if (!indices_path.empty() && !run.model().quantised()) {
    throw Error(ErrorCode::usage,
                "--indices: the model of this run has no codebook; leave the flag out");
  }
  if (!told_path.empty()) need_condition("--conditions", run.model());
  const RunImages images = ImageSource(run, arguments.text("--data"), log).open(split);
  const int64_t first = arguments.integer("--first", 0, 0, images.count() - 1);
  const int64_t count = asked == 0 ? images.count() - first : asked;
  if (count > images.count() - first) {
    throw_error(ErrorCode::usage, "--count: found ", count, ", expected at most ",
                images.count() - first, ", the images from index ", first, " on");
  }
  if (!labels_path.empty()) images.need_labels("--labels");
  Conditions told;
  if (!told_path.empty()) told = run.inference().conditions(images.data, first, count);
  if (!told_path.empty() && told.empty()) {
    throw_error(ErrorCode::data, "--conditions: ", images.source,
                " says nothing of its images; leave the flag out");
  }
  const Inference::Posterior codes = encode_images(run, images, first, count);
  const int64_t dim = run.model().latent_dim();
  write_latents(mean_path, codes.mean, dim);
  if (!logvar_path.empty()) write_latents(logvar_path, codes.logvar, dim);
  if (!indices_path.empty()) write_codes(indices_path, codes.mean, run.model());
  if (!told_path.empty()) write_conditions(told_path, told, run.model());
  if (!labels_path.empty()) {
    const std::span<const uint8_t> labels(images.labels);
    write_npy(real_fs(), labels_path,
              labels.subspan(static_cast<size_t>(first), static_cast<size_t>(count)), {count});
    std::printf("%s: [%lld]\n", labels_path.c_str(), static_cast<long long>(count));
  }
  return 0;
}

}  // namespace elbo
