// CIFAR-10 and CIFAR-100 in their binary version: records of label bytes and 3072 pixel bytes.
//
//   CIFAR-10   data_batch_1.bin .. data_batch_5.bin, test_batch.bin     label, then red, green, blue
//   CIFAR-100  train.bin, test.bin      coarse label, fine label (kept), then red, green, blue
//
// Shapes    each colour is a plane [32, 32] in the file; [N, 32, 32, 3] in memory
// Errors    ErrorCode::data: file, found, expected, what to do
// Source    cs.toronto.edu/~kriz/cifar.html, "binary version"
#pragma once

#include <string>

#include "engine/io/file_ops.h"
#include "engine/io/image_set.h"

namespace elbo {

// The names of their first file, for a message that lists what was looked for.
inline constexpr const char* kCifar10File = "data_batch_1.bin";
inline constexpr const char* kCifar100File = "train.bin";

// Is there such a set in `directory`, or in the folder that its archive unpacks to there?
bool has_cifar_set(Fs& fs, const std::string& directory);

// Any number of records per file; every file must be there. Names of classes come from
// batches.meta.txt or fine_label_names.txt if they fit.
ImageSet load_cifar_set(Fs& fs, const std::string& directory);

}  // namespace elbo
