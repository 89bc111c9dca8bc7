#include "apps/attribute_values.h"
#include "apps/image_grid.h"
#include "apps/latent_prior.h"
#include "apps/picture_file.h"
#include "apps/subcommands.h"
#include "apps/trained_run.h"

namespace elbo {
namespace {

constexpr int64_t kMostSamples = 1 << 20;
constexpr int64_t kVariedDraws = 8;
constexpr double kHottest = 100;  // far outside anything a decoder has seen

// What opens one of the runs; label and attributes are told later.
Arguments arguments_of_run(const Arguments& arguments, const std::string& directory) {
  Arguments run;
  if (arguments.has(directory)) run.add("--run", arguments.text(directory));
  for (const char* flag : {"--device", "--threads"}) {
    if (arguments.has(flag)) run.add(flag, arguments.text(flag));
  }
  return run;
}

// Label and attributes go to both runs, as far as they know them; one of them must.
void tell(const Arguments& arguments, TrainedRun& run, TrainedRun* other) {
  if (arguments.has("--label")) {
    const bool other_knows = other && other->model().knows_labels();
    if (other_knows) other->tell_label(arguments);
    if (run.model().knows_labels() || !other_knows) run.tell_label(arguments);
  }
  if (arguments.has("--attributes")) {
    const std::string text = arguments.text("--attributes");
    const bool other_knows = other && other->model().knows_attributes();
    if (other_knows) other->tell_attributes(text);
    if (run.model().knows_attributes() || !other_knows) run.tell_attributes(text);
    return;
  }
  for (TrainedRun* one : {&run, other}) {  // the mean of all
    if (one && one->model().knows_attributes())
      one->inference().set_attributes(
          Inference::AttributeValues(static_cast<size_t>(one->model().config().attributes)));
  }
}

// --vary, which says one attribute's values column by column.
std::optional<AttributeRange> varied(const TrainedRun& run, const Arguments& arguments) {
  if (!arguments.has("--vary")) return {};
  for (const char* other : {"--label-grid", "--beside"}) {
    if (!arguments.has(other)) continue;
    throw_error(ErrorCode::usage, other, " and --vary exclude each other; give one of them");
  }
  need_attributes("--vary", run);
  const std::vector<std::string>& names = run.attribute_names();
  const AttributeRange vary = parse_attribute_range("--vary", arguments.text("--vary"), names);
  if (arguments.has("--attributes") &&
      parse_attributes("--attributes", arguments.text("--attributes"), names)[vary.attribute]) {
    throw_error(ErrorCode::usage, "--attributes and --vary both say ", names[vary.attribute],
                "; leave it out of one of them");
  }
  return vary;
}

// Each draw once for each row of attributes.
std::vector<float> decode_varied(TrainedRun& run, const std::vector<float>& latents,
                                 const std::vector<float>& rows, int64_t columns) {
  const auto dim = run.model().latent_dim();
  std::vector<float> all_latents, all_rows;
  for (auto z = latents.begin(); z != latents.end(); z += dim) {
    for (int64_t column = 0; column < columns; ++column)
      all_latents.insert(all_latents.end(), z, z + dim);
    all_rows.insert(all_rows.end(), rows.begin(), rows.end());
  }
  return run.inference().decode(all_latents, Conditions::of_attributes(std::move(all_rows)));
}

// How many rows a grid of labels has; 0: none is asked for.
int64_t label_rows(const TrainedRun& run, const Arguments& arguments) {
  if (!arguments.has("--label-grid")) return 0;
  for (const char* other : {"--label", "--beside"}) {
    if (!arguments.has(other)) continue;
    throw_error(ErrorCode::usage, other, " and --label-grid exclude each other; give one of them");
  }
  if (!run.model().knows_labels()) {
    throw Error(ErrorCode::usage,
                "--label-grid: the model of this run knows no labels; train one with --condition "
                "label");
  }
  return run.model().config().classes;
}

// The same latents once more for each label.
void repeat_for_labels(int64_t labels_there_are, std::vector<float>& latents,
                       Inference::Labels& labels) {
  const std::vector<float> row = latents;
  const size_t columns = labels.size();
  latents.clear();
  labels.clear();
  for (int64_t label = 0; label < labels_there_are; ++label) {
    latents.insert(latents.end(), row.begin(), row.end());
    labels.insert(labels.end(), columns, static_cast<uint8_t>(label));
  }
}

}  // namespace

CommandLine sample_command_line() {
  CommandLine command;
  command.name = "sample";
  command.summary = "draw new pictures from the prior, or from where codes lie";
  const std::string latents = "Latents";
  const std::string group = "Pictures";
  std::vector<Flag> flags = {
      {"--count", 'n', Takes::one_value, "N", group, "how many", "64"},
      {"--seed", 's', Takes::one_value, "N", group, "of the latents", "42"},
      {"--temperature", 't', Takes::one_value, "X", group,
       "standard deviation of the latents (of a learned prior about its components; with a "
       "codebook: codes drawn by use to the power of "
       "1/X); below 1 is tamer, above 1 wilder",
       "1"},
      {"--draw-pixels", 0, Takes::nothing, "", group,
       "draw pixels from the decoder's distribution in place of showing its mean"},
      {"--columns", 0, Takes::one_value, "N", group, "pictures per row", "8"},
      {"--label-grid", 0, Takes::nothing, "", group,
       "conditional models: a row per label, the same latents in each"},
      {"--vary", 0, Takes::one_value, "NAME=LOW..HIGH", group,
       "models told attributes: a row per draw, 8 unless --count says more, and a column for each "
       "of "
       "--columns values"},
      {"--beside", 0, Takes::one_value, "DIR2", group,
       "another run: its pictures stand below, row by row, from the same draws"},
      {"--out", 'o', Takes::one_value, "FILE.png", group, "picture to write", "DIR/sample.png"}};
  const std::vector<Flag> prior = latent_prior_flags(latents);
  flags.insert(flags.end(), prior.begin(), prior.end());
  command.flags = with_run_flags(flags);
  command.examples = {"elbo sample --run runs/first -n 256 --columns 16 --out many.png",
                      "elbo sample --run runs/plain --from gmm --components 20",
                      "elbo sample --run runs/told --attributes size=0.8 --vary x=0..1"};
  return command;
}

int sample(const Arguments& arguments) {
  int64_t count = arguments.integer("--count", 64, 1, kMostSamples);
  const auto seed = static_cast<uint64_t>(arguments.integer("--seed", 42, 0, INT64_MAX));
  const auto temperature = static_cast<float>(arguments.number("--temperature", 1, 0, kHottest));
  GridStyle style;
  style.columns = arguments.integer("--columns", style.columns, 1, kMostSamples);
  check_latent_prior(arguments);
  const PictureFile file(arguments, "sample.png");
  Log log;
  Arguments opening = arguments_of_run(arguments, "--run");
  if (arguments.has("--checkpoint")) opening.add("--checkpoint", arguments.text("--checkpoint"));
  TrainedRun run(opening, log);
  std::optional<TrainedRun> other;
  if (arguments.has("--beside")) {
    other.emplace(arguments_of_run(arguments, "--beside"), log);
    check_image_shape(other->image(), run.image(), other->directory());
  }
  const std::optional<AttributeRange> vary = varied(run, arguments);
  tell(arguments, run, other ? &*other : nullptr);
  const int64_t rows = label_rows(run, arguments);
  if (rows > 0) count = style.columns;
  if (vary && !arguments.has("--count")) count = kVariedDraws;
  check_grid((rows > 0 ? rows : vary ? style.columns : 1) * count, run.image(), style);
  std::vector<float> latents = draw_latents(run, arguments, count, seed, temperature, log);
  if (arguments.has("--draw-pixels")) run.inference().draw_pixels(seed);
  if (vary) {
    const std::vector<float> told = varied_attributes(run, *vary, style.columns);
    file.write(image_grid(decode_varied(run, latents, told, style.columns), run.image(), style));
    return 0;
  }
  Inference::Labels labels = labels_in_turn(run.model(), count);
  if (rows > 0) repeat_for_labels(rows, latents, labels);
  const std::vector<float> pictures = run.inference().decode(latents, labels);
  if (!other) {
    file.write(image_grid(pictures, run.image(), style));
    return 0;
  }
  if (arguments.has("--draw-pixels")) other->inference().draw_pixels(seed);
  const auto others = draw_latents(*other, arguments, count, seed, temperature, log);
  file.write(paired_grid(pictures,
                         other->inference().decode(others, labels_in_turn(other->model(), count)),
                         run.image(), style));
  return 0;
}

}  // namespace elbo
