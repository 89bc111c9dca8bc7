#include "apps/evaluate_report.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "engine/io/blob.h"
#include "models/likelihood.h"

namespace elbo {
namespace {

std::string fixed_text(double value, int digits) {
  constexpr double kLargestFixed = 1e9;  // beyond, digits after the point say nothing
  char text[64];
  if (std::abs(value) < kLargestFixed) {
    std::snprintf(text, sizeof text, "%.*f", digits, value);
  } else {
    std::snprintf(text, sizeof text, "%.6g", value);
  }
  return text;
}

std::string row(const std::string& name, const std::string& value, const std::string& remark = "") {
  char text[256];
  std::snprintf(text, sizeof text, "%-17s %10s  ", name.c_str(), value.c_str());
  std::string line = text + remark;
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

std::string nats_row(const std::string& name, const std::optional<double>& value,
                     const std::string& remark = "") {
  return value ? row(name, fixed_text(*value, 4), "nats" + remark) : "";
}

std::string nll_row(const AuditReport& report, const AuditOptions& options) {
  if (!report.nll_nats) return "";
  const bool naive = options.proposal == NllProposal::prior;
  return nats_row("NLL", report.nll_nats,
                  concat(naive ? ", drawn from the prior, K = " : ", importance-sampled, K = ",
                         options.nll_samples, ", of which ",
                         fixed_text(*report.effective_samples, 1), " count"));
}

std::string why_no_bits(const AuditReport& report, const AuditSubject& subject) {
  if (!report.neg_elbo_nats) return "not defined: a plain autoencoder has no bound";
  switch (likelihood_measure(subject.likelihood)) {
    case LikelihoodMeasure::binary:
      return "not defined: a cross-entropy with grey targets is no likelihood";
    case LikelihoodMeasure::bytes:
      return "not defined: the logistic gives a probability of grey levels, not of noise between";
    case LikelihoodMeasure::density:
      break;
  }
  return "not defined: a density, not a probability, of pixels; --variant dequantised has one";
}

std::string latents_text(const AuditReport& report) {
  constexpr size_t kPerLine = 10, kMostLatents = 256;
  if (report.kl_per_latent.empty()) return "";  // the prior is learned
  if (report.kl_per_latent.size() > kMostLatents) {
    const auto [least, most] =
        std::minmax_element(report.kl_per_latent.begin(), report.kl_per_latent.end());
    return row("KL per latent", fixed_text(*least, 3),
               concat("to ", fixed_text(*most, 3), " nats; --json lists all"));
  }
  std::string text = "KL per latent (nats)";
  for (size_t d = 0; d < report.kl_per_latent.size(); ++d) {
    char cell[64];
    std::snprintf(cell, sizeof cell, "%7s", fixed_text(report.kl_per_latent[d], 3).c_str());
    text += (d % kPerLine == 0 ? "\n  " : " ") + std::string(cell);
  }
  return text + "\n";
}

// Shortest text that reads back as the same number.
std::string json_number(double value) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return std::isfinite(value) ? std::string(text, end) : "null";
}

std::string json_number(const std::optional<double>& value) {
  return value ? json_number(*value) : "null";
}

std::string json_string(std::string_view text) {
  // Paths may hold any bytes; what is not UTF-8 is replaced.
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string audit_table(const AuditReport& report, const AuditSubject& subject) {
  std::string text = "model   " + subject.model + "\ndata    " + subject.data + ", " +
                     std::to_string(report.images) + " images, " +
                     std::string(data_variant_name(report.variant)) + "\n";
  if (!subject.options.damage.chain.empty()) {
    text += "input   corrupted by " + subject.corrupt + "; figures are of the clean images\n";
  }
  text += "\n";
  const std::string spread =
      report.neg_elbo_stderr ? ", standard error " + fixed_text(*report.neg_elbo_stderr, 4) : "";
  const std::string floor = report.entropy_floor_nats
                                ? ", of which " + fixed_text(*report.entropy_floor_nats, 4) +
                                      " is the entropy of the grey targets"
                                : "";
  text += nats_row("-ELBO", report.neg_elbo_nats, spread);
  text += nats_row("  reconstruction", report.recon_nats, floor);
  text += nats_row("  KL", report.kl_nats);
  text += nll_row(report, subject.options);
  text += report.bits_per_dim ? row("bits per dim", fixed_text(*report.bits_per_dim, 4))
                              : row("bits per dim", "-", why_no_bits(report, subject));
  if (report.perplexity) {
    text += row("perplexity", fixed_text(*report.perplexity, 2),
                concat("of codes, ", *report.codes_used, " of ", report.codes, " in use"));
  }
  if (report.iou) {
    text += row("IoU", fixed_text(*report.iou, 4), "of reconstructions at threshold 1/2");
  }
  if (report.accuracy) {
    text += row("accuracy", fixed_text(100 * *report.accuracy, 2), "% of images get their label");
  }
  if (report.active_units) {
    text += row("active units", std::to_string(*report.active_units),
                "of " + std::to_string(report.latent_dim) + "; variance of the mean over " +
                    std::to_string(report.images) + " images > " + fixed_text(kActiveVariance, 2));
    text += latents_text(report);
  }
  return text;
}

std::string audit_json(const AuditReport& report, const AuditSubject& subject) {
  std::string text = "{";
  const auto add = [&](const char* key, const std::string& value) {
    text += (text.size() > 1 ? ", \"" : "\"") + std::string(key) + "\": " + value;
  };
  add("neg_elbo_nats", json_number(report.neg_elbo_nats));
  add("recon_nats", json_number(report.recon_nats));
  add("kl_nats", json_number(report.kl_nats));
  add("nll_nats", json_number(report.nll_nats));
  add("active_units", report.active_units ? std::to_string(*report.active_units) : "null");
  add("latent_dim", std::to_string(report.latent_dim));
  add("bits_per_dim", json_number(report.bits_per_dim));
  add("variant", json_string(data_variant_name(report.variant)));
  add("images", std::to_string(report.images));
  add("neg_elbo_stderr", json_number(report.neg_elbo_stderr));
  add("nll_samples", std::to_string(subject.options.nll_samples));
  if (report.nll_nats) {
    add("nll_proposal",
        json_string(subject.options.proposal == NllProposal::prior ? "prior" : "posterior"));
    add("effective_samples", json_number(report.effective_samples));
  }
  add("entropy_floor_nats", json_number(report.entropy_floor_nats));
  add("iou", json_number(report.iou));
  add("accuracy", json_number(report.accuracy));
  if (report.perplexity) {
    add("perplexity", json_number(report.perplexity));
    add("codes_used", std::to_string(*report.codes_used));
    add("codes", std::to_string(report.codes));
  }
  std::string latents;
  for (const double kl : report.kl_per_latent) {
    latents += (latents.empty() ? "" : ", ") + json_number(kl);
  }
  add("kl_per_latent", "[" + latents + "]");
  add("corrupt", subject.options.damage.chain.empty() ? "null" : json_string(subject.corrupt));
  add("seed", std::to_string(subject.options.seed));
  add("model", json_string(subject.model));
  add("data", json_string(subject.data));
  return text + "}\n";
}

}  // namespace elbo
