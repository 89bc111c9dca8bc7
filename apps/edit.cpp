#include <algorithm>
#include <cstdio>

#include "apps/attribute_values.h"
#include "apps/flag_values.h"
#include "apps/image_grid.h"
#include "apps/latent_files.h"
#include "apps/latent_source.h"
#include "apps/output_path.h"
#include "apps/picture_file.h"
#include "apps/subcommands.h"
#include "engine/io/blob.h"
#include "models/probes.h"

namespace elbo {
namespace {

constexpr double kFarthest = 1000;
constexpr int64_t kImagesForDirection = 10000;

// "7" or "7=1.5": a label, and how far to go towards it.
struct Pull {
  int64_t label = 0;
  double amount = 1;
};

Pull parse_pull(const std::string& flag, const std::string& text) {
  Arguments parts;
  const size_t equals = text.find('=');
  parts.add(flag, text.substr(0, equals));
  Pull pull;
  pull.label = parts.integer(flag, 0, 0, UINT8_MAX);
  if (equals != std::string::npos) {
    parts.add(flag, text.substr(equals + 1));
    pull.amount = parts.number(flag, 1, -kFarthest, kFarthest);
  }
  return pull;
}

DirectionKind parse_direction(const Arguments& arguments) {
  const std::string name = arguments.text("--direction", "mean");
  if (name == "mean") return DirectionKind::mean_difference;
  if (name == "logistic") return DirectionKind::logistic;
  throw_error(ErrorCode::usage, "--direction: found ", in_quotes(name),
              ", expected mean or logistic");
}

void move_towards_labels(TrainedRun& run, const Arguments& arguments, Log& log,
                         std::vector<float>& latent) {
  const DirectionKind kind = parse_direction(arguments);
  const std::vector<std::string> pulls = arguments.all("--toward");
  if (pulls.empty()) return;
  const RunImages images =
      ImageSource(run, arguments.text("--data"), log).open(Split::train, kImagesForDirection);
  for (const std::string& text : pulls) {
    images.check_label("--toward", parse_pull("--toward", text).label);
  }
  const std::vector<float> codes = encode_images(run, images, 0, images.count()).mean;
  const LabelledCodes known{codes, images.labels, run.model().latent_dim()};
  for (const std::string& text : pulls) {
    const Pull pull = parse_pull("--toward", text);
    const std::vector<double> direction =
        label_direction(known, static_cast<uint8_t>(pull.label), kind);
    for (size_t d = 0; d < latent.size(); ++d) {
      latent[d] += static_cast<float>(pull.amount * direction[d]);
    }
  }
}

// Flags of one kind work in the order in which they are given, the kinds in that of the notes.
std::vector<float> edited(TrainedRun& run, const Arguments& arguments, Log& log,
                          std::vector<float> latent) {
  const int64_t dim = run.model().latent_dim();
  for (const std::string& text : arguments.all("--set")) {
    const LatentValue change = parse_latent_value("--set", text, dim);
    latent[static_cast<size_t>(change.dim)] = static_cast<float>(change.value);
  }
  for (const std::string& text : arguments.all("--add")) {
    const LatentValue change = parse_latent_value("--add", text, dim);
    latent[static_cast<size_t>(change.dim)] += static_cast<float>(change.value);
  }
  for (const std::string& text : arguments.all("--swap")) {
    const std::vector<int64_t> dims = parse_dims("--swap", text, dim);
    if (dims.size() != 2) {
      throw_error(ErrorCode::usage, "--swap: found ", in_quotes(text),
                  ", expected two latents, like 3,5");
    }
    std::swap(latent[static_cast<size_t>(dims[0])], latent[static_cast<size_t>(dims[1])]);
  }
  move_towards_labels(run, arguments, log, latent);
  return latent;
}

// What the changed latent is decoded as: --set-attribute over --attributes over the image's own.
Conditions edited_attributes(TrainedRun& run, const Arguments& arguments, const Conditions& own) {
  const std::string flag = "--set-attribute";
  if (!arguments.has(flag)) return own;
  need_attributes(flag, run);
  Inference& inference = run.inference();
  std::vector<float> row = inference.told_attributes(own, 1);
  const auto changes = parse_all_attributes(flag, arguments.all(flag), run.attribute_names());
  for (size_t a = 0; a < row.size(); ++a) row[a] = changes[a].value_or(row[a]);
  inference.set_attributes(Inference::AttributeValues(row.size()));  // the row says all
  return Conditions::of_attributes(std::move(row));
}

}  // namespace

CommandLine edit_command_line() {
  CommandLine command;
  command.name = "edit";
  command.summary = "encode, change latents, decode";
  const std::string group = "Changes", files = "Files";
  command.flags = with_run_flags(
      {{"--from", 0, Takes::one_value, "SOURCE", group, "the latent to change", "0"},
       {"--set", 0, Takes::many, "I=X", group, "latent I becomes X"},
       {"--add", 0, Takes::many, "I=X", group, "latent I grows by X"},
       {"--swap", 0, Takes::many, "I,J", group, "latents I and J change places"},
       {"--toward", 0, Takes::many, "L[=X]", group,
        "go X (1) times the way that training images with label L differ from the others; X below "
        "0 leads away"},
       {"--direction", 0, Takes::one_value, "mean|logistic", group,
        "that way: the difference of mean codes, or a logistic regression's", "mean"},
       {"--set-attribute", 0, Takes::many, "NAME=X", group,
        "models told attributes: decode the changed latent as if attribute NAME were X"},
       {"--data", 0, Takes::one_value, "DIR", group, "other images to use (elbo data --help)",
        "the run's own"},
       {"--sample-z", 0, Takes::one_value, "FILE.npy", files, "the changed latent"},
       {"--sample-x", 0, Takes::one_value, "FILE", files, "what it decodes to, .png or .npy"},
       {"--out", 'o', Takes::one_value, "FILE.png", files,
        "the image if there is one, what its latent decodes to, and the changed one",
        "DIR/edit.png"}});
  command.notes = std::string(kLatentSourceNote) +
                  "Changes happen in this order: --set, --add, --swap, --toward. elbo traverse\n"
                  "shows what a latent does, elbo data the labels.\n";
  command.examples = {"elbo edit --run runs/first --from 12 --set 3=2 --swap 1,4 --sample-z z.npy",
                      "elbo edit --run runs/mnist --from 17 --toward 7=1.5 --sample-x seven.png",
                      "elbo edit --run runs/told --from 3 --set-attribute x=0.9"};
  return command;
}

int edit(const Arguments& arguments) {
  const PictureFile file(arguments, "edit.png");
  const std::string z_path = output_path(arguments, "--sample-z", "", {".npy"});
  const std::string x_path = output_path(arguments, "--sample-x", "", {".png", ".npy"});
  Log log;
  TrainedRun run(arguments, log);
  LatentSource source(run, arguments.text("--data"), kPriorSeed, log);
  const std::vector<float> before = source.latent("--from", arguments.text("--from", "0"));
  const Conditions own = source.conditions(1);
  const std::vector<float> after = edited(run, arguments, log, before);
  std::vector<float> pictures = source.image().value_or(std::vector<float>{});
  const auto add_decoded = [&](const std::vector<float>& latent, const Conditions& told) {
    const std::vector<float> picture = run.inference().decode(latent, told);
    pictures.insert(pictures.end(), picture.begin(), picture.end());
  };
  add_decoded(before, own);
  add_decoded(after, edited_attributes(run, arguments, own));
  const ImageShape& shape = run.image();
  file.write(image_grid(pictures, shape));
  if (!z_path.empty()) write_latents(z_path, after, run.model().latent_dim());
  if (x_path.empty()) return 0;
  const std::vector<float> result(pictures.end() - shape.size(), pictures.end());
  if (x_path.ends_with(".npy")) {
    write_pictures(x_path, result, shape);
  } else {
    GridStyle style;
    style.padding = 0;
    style.scale = 1;
    PictureFile(x_path).write(image_grid(result, shape, style));
  }
  return 0;
}

}  // namespace elbo
