#include <cstdio>

#include "apps/audit_subject.h"
#include "apps/conditional_probe.h"
#include "apps/evaluate_report.h"
#include "apps/representation.h"
#include "apps/subcommands.h"
#include "apps/threads.h"

namespace elbo {
namespace {

constexpr int64_t kMostThreads = 1024;
constexpr int64_t kMostPictures = 1 << 20;  // of one label

constexpr int64_t kProbedImages = 10000;  // of each split: enough for a per cent or so

// Through the engine, as the other tools; the figures above are the auditor's.
std::string representation_text(const Arguments& arguments, Log& log) {
  const bool bare = arguments.text("--representation").empty();
  const int64_t most =
      bare ? kProbedImages : arguments.integer("--representation", 0, 2, INT64_MAX);
  TrainedRun run(arguments, log);
  const RepresentationReport report = representation(run, arguments.text("--data"), most, log);
  return arguments.has("--json") ? representation_json(report) : representation_table(report);
}

// Through the engine too.
std::string conditional_text(const Arguments& arguments, Log& log) {
  const int64_t count = arguments.integer("--conditional-samples", 0, 1, kMostPictures);
  const auto seed = static_cast<uint64_t>(arguments.integer("--seed", 1, 0, INT64_MAX));
  TrainedRun run(arguments, log);
  const ConditionalProbeReport report =
      conditional_probe(run, arguments.text("--data"), count, seed, log);
  return arguments.has("--json") ? conditional_probe_json(report) : conditional_probe_table(report);
}

// Puts one more member into an object that ends with "}\n".
std::string with_member(const std::string& object, const std::string& name,
                        const std::string& value) {
  return object.substr(0, object.size() - 2) + ", \"" + name + "\": " + value + "}\n";
}

}  // namespace

CommandLine evaluate_command_line() {
  CommandLine command;
  command.name = "evaluate";
  command.summary = "audit a trained model: -ELBO, KL, likelihood, active units";
  const std::string model = "Model", data = "Data", figures = "Figures";
  command.flags = {
      {"--run", 0, Takes::one_value, "DIR", model, "run directory, as given to train --out", "",
       ""},
      {"--checkpoint", 0, Takes::one_value, "NAME", model,
       "with --run: latest, best, or a name in checkpoints/; alone: a safetensors file", "latest",
       ""},
      {"--data", 0, Takes::one_value, "DIR", data, "other images to use (elbo data --help)",
       "the run's own", ""},
      {"--variant", 0, Takes::one_value, "grey|dynamic|fixed|dequantised", data,
       "grey values, binarised by chance, at one half, or with noise below a level", "as trained",
       ""},
      {"--corrupt", 0, Takes::one_value, "CHAIN", data,
       "what the encoder sees, like gaussian:0.3,blur:2, or none", "as trained", ""},
      {"--images", 0, Takes::one_value, "N", data, "how many test images; 0: all", "0", ""},
      {"--representation", 0, Takes::maybe_value, "N", figures,
       "also what codes are worth: probes, PCA, moments; with up to N images of each split "
       "(10000)"},
      {"--conditional-samples", 0, Takes::one_value, "N", figures,
       "also draw N images per label: how many a probe trained on real images tells right"},
      {"--json", 0, Takes::nothing, "", figures, "one JSON object in place of the table", "", ""},
      {"--threads", 0, Takes::one_value, "N", figures, "CPU threads; 0: as many as are allowed",
       "0", ""},
  };
  const std::vector<Flag> shared = audit_flags(figures);
  command.flags.insert(command.flags.end() - 2, shared.begin(), shared.end());
  command.notes =
      "Computes in double with code and noise of its own, and always with beta = 1, so\n"
      "that its figures hold whatever training minimised. A file without a config.toml\n"
      "beside it is taken for the ReLU and Bernoulli network of pytorch/examples.\n";
  command.examples = {"elbo evaluate --run runs/first",
                      "elbo evaluate --run runs/mnist --images 1000 --nll-samples 1000",
                      "elbo evaluate --checkpoint vae.safetensors --data ~/mnist --json"};
  return command;
}

int evaluate(const Arguments& arguments) {
  for (const std::string flag : {"--representation", "--conditional-samples"}) {
    if (!arguments.has(flag) || arguments.has("--run")) continue;
    throw_error(ErrorCode::usage, flag, " needs a run with its data: give --run DIR");
  }
  AuditSubject about;
  about.options = audit_options(arguments);
  use_threads(static_cast<int>(arguments.integer("--threads", 0, 0, kMostThreads)));
  Log log;
  const Subject subject = open_subject(arguments, log);
  const SubjectImages images = open_subject_images(arguments, subject, log);
  about.model = subject.weights_path;
  about.data = images.name;
  about.corrupt = images.corrupt;
  about.options.damage = images.damage;
  about.likelihood = subject.config.model.likelihood;
  const AuditReport report = audit_subject(subject, images.data, about.options);
  const bool json = arguments.has("--json");
  std::string text = json ? audit_json(report, about) : audit_table(report, about);
  if (arguments.has("--representation")) {
    const std::string more = representation_text(arguments, log);
    text = json ? with_member(text, "representation", more) : text + more;
  }
  if (arguments.has("--conditional-samples")) {
    const std::string more = conditional_text(arguments, log);
    text = json ? with_member(text, "conditional_samples", more) : text + more;
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

}  // namespace elbo
