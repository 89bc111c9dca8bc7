#include "apps/code_files.h"
#include "apps/condition_files.h"
#include "apps/image_grid.h"
#include "apps/latent_files.h"
#include "apps/output_path.h"
#include "apps/picture_file.h"
#include "apps/subcommands.h"
#include "apps/trained_run.h"

namespace elbo {
namespace {

constexpr int64_t kMostColumns = 1 << 20;

}  // namespace

CommandLine decode_command_line() {
  CommandLine command;
  command.name = "decode";
  command.summary = "make pictures of codes in a .npy file";
  const std::string group = "Files";
  command.flags = with_run_flags(
      {{"--latents", 0, Takes::one_value, "FILE.npy", group,
        "codes [N, latents], or one [latents]; with a codebook also whole numbers [N, codes]"},
       {"--conditions", 0, Takes::one_value, "FILE.npy", group,
        "conditional models: what is told of each, labels [N] or attributes [N, A], as encode "
        "--conditions writes them"},
       {"--out", 'o', Takes::one_value, "FILE", group,
        "a grid as .png, or all pictures [N, height, width(, 3)] in [0, 1] as .npy",
        "DIR/decode.png"},
       {"--columns", 0, Takes::one_value, "N", group, "pictures per row of the grid", "8"}});
  command.notes =
      "elbo encode makes such codes; so does numpy.save of any program. With a codebook\n"
      "what is decoded are the codes that are nearest to them.\n";
  command.examples = {"elbo decode --run runs/first --latents runs/first/codes.npy -o all.npy",
                      "elbo decode --run runs/mnist --latents codes.npy --columns 20",
                      "elbo decode --run runs/told --latents codes.npy --conditions told.npy"};
  return command;
}

int decode(const Arguments& arguments) {
  const std::string latents = arguments.required("--latents", "name the .npy file of codes");
  const std::string out = output_path(arguments, "--out", "decode.png", {".png", ".npy"});
  const std::string told = arguments.text("--conditions");
  if (!told.empty() && arguments.has("--label")) {
    throw Error(ErrorCode::usage, "--label and --conditions exclude each other; give one of them");
  }
  GridStyle style;
  style.columns = arguments.integer("--columns", style.columns, 1, kMostColumns);
  Log log;
  TrainedRun run(arguments, log);
  if (!told.empty()) need_condition("--conditions", run.model());
  const std::vector<float> codes = read_latents_or_codes(latents, run.model());
  const int64_t count = std::ssize(codes) / run.model().latent_dim();
  const Conditions conditions =
      told.empty() ? Conditions() : read_conditions(told, run.model(), count);
  const bool grid = out.ends_with(".png");
  if (grid) check_grid(count, run.image(), style);
  const std::vector<float> pictures = run.inference().decode(codes, conditions);
  if (grid) {
    PictureFile(out).write(image_grid(pictures, run.image(), style));
  } else {
    write_pictures(out, pictures, run.image());
  }
  return 0;
}

}  // namespace elbo
