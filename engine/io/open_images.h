// Any image set this program can read, found by looking at what a path holds.
//
//   IDX        directory with train-images-idx3-ubyte and its relatives     engine/io/idx.h
//   CIFAR      directory with data_batch_1.bin or train.bin                 engine/io/cifar.h
//   NumPy      .npz or .npy file, or directory with some                    engine/io/npy_set.h
//   pictures   directory with image files, in folders by class or not       engine/io/image_folder.h
//
// In this order: the first that is there is taken.
// Errors    ErrorCode::data; for a path that holds none of these, what was looked for
#pragma once

#include <string>

#include "engine/io/image_folder.h"
#include "engine/io/image_set.h"
#include "engine/io/log.h"

namespace elbo {

struct ImageSetOptions {
  // Of picture files. Other sets keep the size they have.
  ImageFolderOptions folder;
  double test_fraction = 0.1;  // held out where a set has no test images
  AttributeWish attributes = {};
};

// Both splits hold images of one size, and at least one each.
ImageSet open_image_set(Fs& fs, const std::string& path, const ImageSetOptions& options, Log& log);

}  // namespace elbo
