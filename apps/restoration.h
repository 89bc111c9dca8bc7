// How well a model restores corrupted test images: peak signal-to-noise ratio and structural similarity
// of its input and of its output against the clean images.
//
// Where pixels were masked, also the PSNR within the mask, beside that of filling it with the mean of the
// test images.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/trained_run.h"
#include "models/image_quality.h"

namespace elbo {

// Images [first, first + n) of a data set, [n, H, W, C] each.
struct RestoredImages {
  std::vector<float> clean, input, output;
};
RestoredImages restore_images(TrainedRun& run, const ImageData& data, int64_t first, int64_t count);

// Of one image, or the mean over some; those of the input are 0 if it is the clean image itself.
struct RestorationFigures {
  ImageQuality input, output;
};

class Restoration {
 public:
  Restoration(TrainedRun& run, const ImageData& data, int64_t first, int64_t count);

  // A line for each of the first `most` images, then one for all: the PSNR of the mean squared error (a
  // mean of decibels would be that of a few images that happen to be whole), and the mean SSIM.
  std::string table(int64_t most) const;

 private:
  struct Masked {
    double output = 0, mean_image = 0;  // sums of squared errors
    int64_t values = 0;
  };
  void measure(const RestoredImages& images, int64_t count, const ImageSize& size);
  void measure_masked(const RestoredImages& images, const std::vector<float>& white,
                      const std::vector<double>& mean_image);

  int64_t first_;
  bool corrupted_;
  std::vector<RestorationFigures> each_;
  std::optional<Masked> masked_;
};

}  // namespace elbo
