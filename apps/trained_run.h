// A run directory opened for use: its configuration, weights and data.
//
// Errors    ErrorCode::usage for a directory that is no run, ErrorCode::data for damaged files
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "apps/command_line.h"
#include "engine/context.h"
#include "engine/image_data.h"
#include "engine/io/checkpoint.h"
#include "engine/io/log.h"
#include "models/autoencoder.h"
#include "models/config.h"
#include "models/inference.h"

namespace elbo {

struct RunFiles {
  RunConfig config;
  LoadedCheckpoint checkpoint;
  ImageShape image;
};

// `which`: "latest", "best" or a name like "step_00000938".
RunFiles read_run(Fs& fs, const std::string& run_dir, const std::string& which = "latest");

// The shape of a run's images travels in its checkpoints.
void put_image_shape(RunState& state, const ImageShape& shape);
ImageShape get_image_shape(const RunState& state, const std::string& checkpoint);

// Throws ErrorCode::data beginning with `whose` unless the shapes are the same.
void check_image_shape(const ImageShape& found, const ImageShape& expected,
                       const std::string& whose);

// The flags of a subcommand that opens a run: --run, --checkpoint, --label, --attributes, its own,
// --device, --threads.
std::vector<Flag> with_run_flags(const std::vector<Flag>& own);

// "device: CPU, 2 threads (this program was built without CUDA)" goes to the log.
DeviceChoice open_device(const std::string& request, int threads, Log& log);

// The model of a run, ready to use on a device.
class TrainedRun {
 public:
  TrainedRun(const Arguments& arguments, Log& log);

  // All latents are decoded as --label from now on; ErrorCode::usage if the model knows no labels.
  void tell_label(const Arguments& arguments);
  // The same of --attributes; those that it does not name are an image's own, or the mean.
  void tell_attributes(const std::string& text);
  // Those of the training data that the model is told.
  const std::vector<std::string>& attribute_names() const { return config().data.attributes; }

  const std::string& directory() const { return directory_; }
  const RunFiles& files() const { return files_; }
  const RunConfig& config() const { return files_.config; }
  const ImageShape& image() const { return files_.image; }
  Context& context() { return *context_; }
  Inference& inference() { return *inference_; }
  const Autoencoder& model() const { return *model_; }

 private:
  std::string directory_;
  RunFiles files_;
  std::unique_ptr<Context> context_;
  std::unique_ptr<ParamStore> params_;
  std::unique_ptr<Autoencoder> model_;
  std::unique_ptr<Inference> inference_;
};

// The test split of the run's data, or of another image set. Its images must have the model's size;
// picture files are brought to it. `corrupt` (models/corruption_text.h): in place of the run's own.
ImageData open_test_images(TrainedRun& run, const std::string& other_path, Log& log,
                           const std::optional<std::string>& corrupt = {});

}  // namespace elbo
