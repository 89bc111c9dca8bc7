#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "apps/audit_subject.h"
#include "apps/image_grid.h"
#include "apps/output_path.h"
#include "apps/picture_file.h"
#include "apps/subcommands.h"
#include "apps/threads.h"
#include "engine/io/blob.h"

#include "models/probes.h"

namespace elbo {
namespace {

constexpr int64_t kMostThreads = 1024;
constexpr int64_t kWorst = 64;  // images shown

// A column of the table: what it is called, and its value for each image. Higher is stranger.
struct Score {
  std::string name;
  std::vector<double> values;
};

std::vector<Score> scores_of(const AuditReport& report) {
  std::vector<Score> scores = {{"recon_nats", {}}};
  const bool bound = report.kl_nats.has_value();
  if (bound) scores.insert(scores.end(), {{"kl_nats", {}}, {"neg_elbo_nats", {}}});
  if (report.nll_nats) scores.push_back({"nll_nats", {}});
  for (size_t i = 0; i < report.per_image.size(); ++i) {
    const AuditImage& image = report.per_image[i];
    if (!std::isfinite(image.recon_nats + image.kl_nats + image.nll_nats)) {
      throw_error(ErrorCode::numeric, "score: image ", i, " has recon ", image.recon_nats, ", kl ",
                  image.kl_nats, "; expected finite figures (has training diverged?)");
    }
    scores[0].values.push_back(image.recon_nats);
    if (!bound) continue;
    scores[1].values.push_back(image.kl_nats);
    scores[2].values.push_back(image.recon_nats + image.kl_nats);
    if (report.nll_nats) scores[3].values.push_back(image.nll_nats);
  }
  return scores;
}

std::string csv(const std::vector<Score>& scores, const std::vector<uint8_t>& labels) {
  std::string text = labels.empty() ? "index" : "index,label";
  for (const Score& score : scores) text += "," + score.name;
  text += "\n";
  for (size_t i = 0; i < scores[0].values.size(); ++i) {
    text += std::to_string(i);
    if (!labels.empty()) text += "," + std::to_string(labels[i]);
    for (const Score& score : scores) text += fmt::format(",{}", score.values[i]);
    text += "\n";
  }
  return text;
}

std::vector<uint8_t> outliers_of(const SubjectImages& images, int64_t label) {
  if (images.labels.empty()) {
    throw_error(ErrorCode::data, images.name,
                ": the images have no labels, which --outlier-label needs");
  }
  std::vector<uint8_t> outliers;
  for (const uint8_t one : images.labels) outliers.push_back(one == label);
  const int64_t count = std::accumulate(outliers.begin(), outliers.end(), int64_t{0});
  if (count > 0 && count < std::ssize(outliers)) return outliers;
  throw_error(ErrorCode::usage, "--outlier-label: found ", label,
              ", expected a label that some of ", images.name, " have and others have not");
}

// The strangest first, in rows of eight.
void write_worst(const std::string& path, const AuditData& data, const ImageShape& shape,
                 const std::vector<double>& score, uint64_t seed) {
  std::vector<int64_t> order(score.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return score[a] > score[b]; });
  order.resize(std::min<size_t>(order.size(), kWorst));
  std::vector<float> pixels;
  for (const int64_t image : order) {
    for (const double value : data.images(image, 1, seed)) {
      pixels.push_back(static_cast<float>(value));
    }
  }
  PictureFile(path).write(image_grid(pixels, shape));
}

}  // namespace

CommandLine score_command_line() {
  CommandLine command;
  command.name = "score";
  command.summary = "rate each image by -ELBO or likelihood: CSV, outliers, AUROC";
  const std::string model = "Model", data = "Data", figures = "Figures";
  command.flags = {
      {"--run", 0, Takes::one_value, "DIR", model, "run directory, as given to train --out"},
      {"--checkpoint", 0, Takes::one_value, "NAME", model,
       "latest, best, or a name in checkpoints/", "latest"},
      {"--data", 0, Takes::one_value, "DIR", data, "other images to use (elbo data --help)",
       "the run's own"},
      {"--variant", 0, Takes::one_value, "grey|dynamic|fixed|dequantised", data,
       "grey values, binarised by chance, at one half, or with noise below a level", "as trained"},
      {"--corrupt", 0, Takes::one_value, "CHAIN", data,
       "what the encoder sees, like gaussian:0.3,blur:2, or none", "as trained"},
      {"--images", 0, Takes::one_value, "N", data, "how many test images; 0: all", "0"},
      {"--outlier-label", 0, Takes::one_value, "L", figures,
       "images with this label are outliers: print each score's AUROC"},
      {"--out", 'o', Takes::one_value, "FILE.csv", figures, "one line per image", "DIR/scores.csv"},
      {"--worst", 0, Takes::one_value, "FILE.png", figures,
       "the 64 images with the highest last score, too"},
      {"--threads", 0, Takes::one_value, "N", figures, "CPU threads; 0: as many as are allowed",
       "0"}};
  const std::vector<Flag> shared = audit_flags(figures);
  command.flags.insert(command.flags.end() - 1, shared.begin(), shared.end());
  command.notes =
      "Scores are the auditor's (elbo evaluate), in nats per image; higher is stranger.\n"
      "AUROC is the chance that an outlier scores higher than another image.\n";
  command.examples = {"elbo score --run runs/mnist",
                      "elbo score --run runs/no-nines --outlier-label 9 --nll-samples 50",
                      "elbo score --run runs/mnist --data ~/fashion-mnist --worst strange.png"};
  return command;
}

int score(const Arguments& arguments) {
  AuditOptions options = audit_options(arguments);
  use_threads(static_cast<int>(arguments.integer("--threads", 0, 0, kMostThreads)));
  arguments.required("--run", "name the run directory that elbo train wrote");
  const std::string path = output_path(arguments, "--out", "scores.csv", {".csv"});
  const std::string worst = output_path(arguments, "--worst", "", {".png"});
  const int64_t outlier = arguments.integer("--outlier-label", -1, 0, UINT8_MAX);
  Log log;
  const Subject subject = open_subject(arguments, log);
  const SubjectImages images = open_subject_images(arguments, subject, log);
  options.damage = images.damage;
  std::vector<uint8_t> outliers;
  if (outlier >= 0) outliers = outliers_of(images, outlier);
  const std::vector<Score> scores = scores_of(audit_subject(subject, images.data, options));
  replace_file(real_fs(), path, csv(scores, images.labels));
  std::printf("%s: %zu images\n", path.c_str(), scores[0].values.size());
  for (const Score& one : scores) {
    const double mean = std::accumulate(one.values.begin(), one.values.end(), 0.0) /
                        static_cast<double>(one.values.size());
    std::printf("%-14s mean %10.4f", one.name.c_str(), mean);
    if (!outliers.empty()) std::printf("   AUROC %.4f", auroc(one.values, outliers));
    std::printf("\n");
  }
  if (!worst.empty()) {
    write_worst(worst, images.data, *subject.image, scores.back().values, options.seed);
  }
  return 0;
}

}  // namespace elbo
