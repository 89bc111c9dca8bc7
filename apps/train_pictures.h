// The grids that training leaves as it goes: samples and reconstructions.
//
// The same latents and the same test images every time, so that epochs can be compared.
// Size      few images where they are large, few columns where they are wide
// Errors    those of files and memory; a run need not end for them
#pragma once

#include <string>

#include "apps/image_grid.h"
#include "engine/image_data.h"
#include "engine/io/run_dir.h"
#include "models/config.h"
#include "models/inference.h"

namespace elbo {

class TrainPictures {
 public:
  // All must outlive this.
  TrainPictures(Fs& fs, const RunDir& directory, Inference& inference, const RunConfig& config,
                const ImageData& test);

  // Empty if such images can be shown.
  static std::string why_not(const ImageShape& shape);

  void write(int64_t epoch);

 private:
  Fs& fs_;
  const RunDir& directory_;
  Inference& inference_;
  const RunConfig& config_;
  const ImageData& test_;
};

// At most `count` pictures in at most `columns`, fewer if they are large.
struct GridSize {
  int64_t count = 0, columns = 0;
};
GridSize bounded_grid(const ImageShape& shape, int64_t count, int64_t columns);

}  // namespace elbo
