// The images that a tool looks at through a trained model, with their labels.
//
// Sets      the run's own, or that of --data; sprites have their shape for a label
// Values    as training sees them, without mirroring
// Errors    ErrorCode::data for files and images that do not fit the model
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/trained_run.h"
#include "engine/io/image_set.h"

namespace elbo {

enum class Split { train, test };

// "test" or "train" of --split.
Split parse_split(const Arguments& arguments);
// --data and --split, for the flags of a subcommand.
std::vector<Flag> image_flags(const std::string& group);

struct RunImages {
  ImageData data;
  std::vector<uint8_t> labels;           // one per image; empty if the set has none
  std::vector<std::string> class_names;  // by label; may be empty or too short
  std::string source;

  int64_t count() const { return data.count(); }
  std::string class_name(int label) const;  // its name, or its number
  // Throws ErrorCode::data saying that `what` needs labels if there are none.
  void need_labels(const std::string& what) const;
  // Throws ErrorCode::usage naming the labels that there are.
  void check_label(const std::string& flag, int64_t label) const;
};

// One set, read once, from which both splits can be had.
class ImageSource {
 public:
  ImageSource(TrainedRun& run, const std::string& other_path, Log& log);

  // The first `most` images of a split; all if 0.
  RunImages open(Split split, int64_t most = 0);

 private:
  RunImages open_sprites(Split split, int64_t most) const;

  TrainedRun& run_;
  DataConfig config_;
  AttributeWish wish_;
  Log& log_;
  std::optional<ImageSet> set_;
};

// Images [first, first + count), [count, H, W, C] in [0, 1].
std::vector<float> pixels_of(TrainedRun& run, const RunImages& images, int64_t first,
                             int64_t count);

// Codes of images [first, first + count), a part of them in memory at a time.
Inference::Posterior encode_images(TrainedRun& run, const RunImages& images, int64_t first,
                                   int64_t count);

}  // namespace elbo
