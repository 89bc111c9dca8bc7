// IDX, the format of MNIST and its relatives: unsigned bytes with 1 to 4 dimensions, plain or gzip.
//
//   0x00 0x00 0x08 rank | rank big-endian u32 extents | elements, row-major, exactly to the end
//
// Shapes    images [N, H, W] or [N, C, H, W] in the file, channels last in memory; labels [N]
// Errors    ErrorCode::data: file, found, expected, what to do
// Source    yann.lecun.com/exdb/mnist, "the IDX file format"
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/io/file_ops.h"
#include "engine/io/image_set.h"

namespace elbo {

struct IdxLimits {
  uint64_t file_bytes = uint64_t{8} << 30;     // on disk
  uint64_t element_bytes = uint64_t{8} << 30;  // after decompression
};

struct IdxView {
  std::vector<int64_t> shape;
  std::span<const std::byte> elements;
};

// Plain IDX only; `file_name` is for messages.
IdxView parse_idx(std::span<const std::byte> file, const std::string& file_name,
                  const IdxLimits& limits = {});

// The plain form of a file that may be gzip; plain files are passed through.
std::vector<std::byte> gunzip_idx(std::vector<std::byte> file, const std::string& file_name,
                                  const IdxLimits& limits = {});

// Finds {train,t10k}-{images-idx3,labels-idx1}-ubyte in `directory`, also with a dot for the second
// dash ("train-images.idx3-ubyte") and with .gz. Labels may be missing, images may not.
ImageSet load_idx_set(Fs& fs, const std::string& directory, const IdxLimits& limits = {});

// Is there an image file of either split in `directory`?
bool has_idx_set(Fs& fs, const std::string& directory);

}  // namespace elbo
