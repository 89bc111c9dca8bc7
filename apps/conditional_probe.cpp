#include "apps/conditional_probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/latent_source.h"
#include "models/probes.h"

namespace elbo {
namespace {

constexpr int64_t kNeighbours = 5;
constexpr int64_t kTrainImages = 20000;        // 96 % on MNIST; all 60,000 tell 97 %
constexpr int64_t kTestImages = 2000;          // a standard error of half a per cent
constexpr int64_t kMostValues = 1 << 26;       // of the probe's images, 256 MiB
constexpr int64_t kPicturesAtATime = 1 << 10;  // of one label

struct RealImages {
  RunImages set;
  std::vector<float> pixels;

  LabelledCodes view() const { return {pixels, set.labels, set.data.shape().size()}; }
};

// Never binarised, as the pictures are means.
RealImages real_images(TrainedRun& run, ImageSource& source, Split split, int64_t most) {
  most = std::min(most, std::max<int64_t>(kMostValues / run.image().size(), 1));
  RealImages real{source.open(split, most), {}};
  real.set.need_labels("--conditional-samples");
  real.pixels = run.inference().images(real.set.data, 0, real.set.count(), Binarise::none,
                                       run.config().train.seed);
  return real;
}

// Share of `count` pictures of a label that the probe takes for it.
double share_told(TrainedRun& run, const RealImages& known, uint8_t label, int64_t count,
                  uint64_t seed) {
  int64_t told = 0;
  for (int64_t done = 0; done < count; done += kPicturesAtATime) {
    const int64_t part = std::min(kPicturesAtATime, count - done);
    const std::vector<float> latents =
        run.inference().prior_latents(part, seed, 1.0f, label * count + done);
    const std::vector<float> pictures =
        run.inference().decode(latents, Inference::Labels(static_cast<size_t>(part), label));
    const auto found = nearest_neighbour_labels(known.view(), pictures, kNeighbours);
    told += std::count(found.begin(), found.end(), label);
  }
  return static_cast<double>(told) / static_cast<double>(count);
}

}  // namespace

ConditionalProbeReport conditional_probe(TrainedRun& run, const std::string& data_path,
                                         int64_t per_label, uint64_t seed, Log& log) {
  if (!run.model().knows_labels()) {
    throw_error(ErrorCode::usage,
                "--conditional-samples: the model of this run knows no labels; train one with "
                "--condition label");
  }
  warn_without_prior(run, log);
  ImageSource source(run, data_path, log);
  const RealImages known = real_images(run, source, Split::train, kTrainImages);
  const RealImages asked = real_images(run, source, Split::test, kTestImages);
  ConditionalProbeReport report;
  report.train_images = known.set.count();
  report.test_images = asked.set.count();
  report.per_label = per_label;
  report.test_accuracy = nearest_neighbour_accuracy(known.view(), asked.view(), kNeighbours);
  const int64_t classes = run.model().config().classes;
  for (int64_t label = 0; label < classes; ++label) {
    report.by_label.push_back(share_told(run, known, static_cast<uint8_t>(label), per_label, seed));
    report.names.push_back(known.set.class_name(static_cast<int>(label)));
  }
  report.accuracy = std::accumulate(report.by_label.begin(), report.by_label.end(), 0.0) /
                    static_cast<double>(classes);
  return report;
}

std::string conditional_probe_table(const ConditionalProbeReport& report) {
  const auto row = [](const std::string& name, double share, const std::string& remark) {
    std::string line = fmt::format("{:<17} {:>10.2f}  {}", name, 100 * share, remark);
    line.erase(line.find_last_not_of(' ') + 1);
    return line + "\n";
  };
  std::string text = fmt::format(
      "\nconditional samples, told apart by {}-NN on the pixels of {} training images\n\n",
      kNeighbours, report.train_images);
  text += row("real images", report.test_accuracy,
              fmt::format("% of {} test images: the probe itself", report.test_images));
  text +=
      row("samples", report.accuracy,
          fmt::format("% taken for the label they were drawn as, {} of each", report.per_label));
  for (size_t label = 0; label < report.by_label.size(); ++label) {
    text += row("  " + report.names[label], report.by_label[label], "");
  }
  return text;
}

std::string conditional_probe_json(const ConditionalProbeReport& report) {
  nlohmann::ordered_json json;
  json["train_images"] = report.train_images;
  json["test_images"] = report.test_images;
  json["neighbours"] = kNeighbours;
  json["probe_accuracy"] = report.test_accuracy;
  json["samples_per_label"] = report.per_label;
  json["accuracy"] = report.accuracy;
  json["accuracy_by_label"] = report.by_label;
  return json.dump();
}

}  // namespace elbo
