#include "apps/representation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "models/aggregate.h"
#include "models/image_quality.h"
#include "models/principal_components.h"
#include "models/probes.h"

namespace elbo {
namespace {

void probe(const RunImages& train, const std::vector<float>& train_codes, const RunImages& test,
           const std::vector<float>& test_codes, RepresentationReport& report) {
  if (train.labels.empty() || test.labels.empty()) return;
  const LabelledCodes known{train_codes, train.labels, report.latent_dim};
  const LabelledCodes asked{test_codes, test.labels, report.latent_dim};
  report.linear_probe = linear_probe_accuracy(known, asked);
  report.nearest_neighbours = nearest_neighbour_accuracy(known, asked, kProbeNeighbours);
}

void describe_moments(const LatentMoments& moments, bool has_prior, RepresentationReport& report) {
  report.least_variance = report.largest_variance = moments.variance_of(0);
  for (int64_t d = 0; d < moments.dim; ++d) {
    report.largest_mean = std::max(report.largest_mean, std::abs(moments.mean_of(d)));
    report.least_variance = std::min(report.least_variance, moments.variance_of(d));
    report.largest_variance = std::max(report.largest_variance, moments.variance_of(d));
  }
  report.largest_correlation = moments.largest_correlation();
  if (has_prior) report.aggregate_kl_nats = moments.kl_to_prior_nats();
}

nlohmann::ordered_json number(const std::optional<double>& value) {
  if (!value || !std::isfinite(*value)) return nullptr;
  return *value;
}

}  // namespace

RepresentationReport representation(TrainedRun& run, const std::string& data_path, int64_t most,
                                    Log& log) {
  ImageSource source(run, data_path, log);
  const RunImages train = source.open(Split::train, most), test = source.open(Split::test, most);
  RepresentationReport report;
  report.train_images = train.count();
  report.test_images = test.count();
  report.latent_dim = run.model().latent_dim();
  const auto train_codes = encode_images(run, train, 0, train.count()).mean;
  const auto test_codes = encode_images(run, test, 0, test.count());
  probe(train, train_codes, test, test_codes.mean, report);
  const std::vector<float> images = pixels_of(run, test, 0, test.count());
  const Conditions own = run.inference().conditions(test.data, 0, test.count());
  report.mse = mean_squared_error(images, run.inference().decode(test_codes.mean, own));
  const PrincipalComponents pca = principal_components(pixels_of(run, train, 0, train.count()),
                                                       run.image().size(), report.latent_dim);
  report.pca_mse = mean_squared_error(images, pca.restore(pca.project(images)));
  describe_moments(latent_moments(test_codes.mean, test_codes.logvar, report.latent_dim),
                   run.model().variational() && !run.model().has_learned_prior(), report);
  return report;
}

std::string representation_table(const RepresentationReport& report) {
  const auto row = [](const std::string& name, const std::string& value,
                      const std::string& remark) {
    return fmt::format("{:<17} {:>10}  {}\n", name, value, remark);
  };
  const auto accuracy = [](const std::optional<double>& share) {
    return share ? fmt::format("{:.2f}", 100 * *share) : std::string("-");
  };
  const std::string why = report.linear_probe ? "% of test images" : "the images have no labels";
  std::string text = fmt::format("\nrepresentation    {} training images, {} test images\n\n",
                                 report.train_images, report.test_images);
  text += row("linear probe", accuracy(report.linear_probe), why);
  text += row(fmt::format("{}-NN", kProbeNeighbours), accuracy(report.nearest_neighbours), why);
  text += row("MSE", fmt::format("{:.6f}", report.mse),
              fmt::format("per pixel, from {} latents", report.latent_dim));
  text += row(
      "MSE of PCA", fmt::format("{:.6f}", report.pca_mse),
      fmt::format("from as many principal components; ratio {:.3f}", report.mse / report.pca_mse));
  text += row("aggregate mean", fmt::format("{:.4f}", report.largest_mean),
              "the farthest from zero of a latent");
  text += row("  variances", fmt::format("{:.4f}", report.least_variance),
              fmt::format("to {:.4f}", report.largest_variance));
  text += row("  correlation", fmt::format("{:.4f}", report.largest_correlation),
              "the largest of two latents");
  if (report.aggregate_kl_nats) {
    text += row("  KL to prior", fmt::format("{:.4f}", *report.aggregate_kl_nats),
                "nats, of the Gaussian with these moments");
  }
  return text;
}

std::string representation_json(const RepresentationReport& report) {
  nlohmann::ordered_json json;
  json["train_images"] = report.train_images;
  json["test_images"] = report.test_images;
  json["linear_probe_accuracy"] = number(report.linear_probe);
  json["nearest_neighbour_accuracy"] = number(report.nearest_neighbours);
  json["neighbours"] = kProbeNeighbours;
  json["mse"] = number(report.mse);
  json["pca_mse"] = number(report.pca_mse);
  json["aggregate_largest_mean"] = number(report.largest_mean);
  json["aggregate_least_variance"] = number(report.least_variance);
  json["aggregate_largest_variance"] = number(report.largest_variance);
  json["aggregate_largest_correlation"] = number(report.largest_correlation);
  json["aggregate_kl_nats"] = number(report.aggregate_kl_nats);
  return json.dump();
}

}  // namespace elbo
