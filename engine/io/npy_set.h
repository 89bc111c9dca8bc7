// Image sets that are NumPy arrays: one .npz, one .npy, or a directory of them.
//
//   arrays      images and labels, by one of these names (first that is there)
//                 x_train y_train x_test y_test · train_images train_labels test_images test_labels ·
//                 train test · images labels · x y · data labels · imgs · arr_0 arr_1
//               attributes, of type real or whole: train_attributes test_attributes · attributes ·
//               latents_values
//   .npz        an archive with such arrays
//   .npy        images; attributes may be in files of such a name beside it
//   directory   NAME.npy for each array; or train.npz and test.npz (train_data.npz and eval_data.npz)
//               with one split each; or a single .npz, or a single .npy that holds no attributes
//
// Shapes    images [N, H, W], [N, H, W, C] or [N, C, H, W], whichever of the two has 1, 3 or 4 for C,
//           the former if both have; labels [N] or [N, 1], 0 to 255
// Values    u8 as they are, except that a set without a value above 1 is black and white: times 255.
//           Real numbers must lie in [0, 1] and are rounded to 1/255
// Errors    ErrorCode::data: file, found, expected, what to do
#pragma once

#include <string>

#include "engine/io/attributes.h"
#include "engine/io/file_ops.h"
#include "engine/io/image_set.h"
#include "engine/io/log.h"
#include "engine/io/npy.h"

namespace elbo {

bool has_npy_set(Fs& fs, const std::string& path);

// `test` stays empty if the arrays name no test images.
ImageSet load_npy_set(Fs& fs, const std::string& path, const AttributeWish& attributes, Log& log);

// An array in memory of its own.
struct NpyArray {
  std::string source;  // "x.npz: x_train", for messages
  std::vector<std::byte> file;
  NpyView view;  // of `file`
};

ImageSplit images_of_array(NpyArray array, Log& log);
std::vector<uint8_t> labels_of_array(const NpyArray& array, int64_t count);

// These columns of [count, A] or [count], which must be finite there: [count, columns].
std::vector<float> attributes_of_array(const NpyArray& array, int64_t count,
                                       const std::vector<int64_t>& columns);

}  // namespace elbo
