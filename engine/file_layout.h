// How a parameter lies in a file, where it differs from memory.
//
// Files hold PyTorch's tensors, whose images are C x H x W; in memory images are H x W x C. So the two
// differ by exchanging a channel axis with the spatial ones behind it:
//
//   file [outer, channels, spatial, inner]   memory [outer, spatial, channels, inner]
//
//   conv2d            OIHW weight            outer O, channels I, spatial kh kw
//   conv_transpose2d  IOHW weight            outer I, channels O, spatial kh kw
//   linear of an image's pixels              outer out, channels C, spatial H W
//   linear that makes an image's pixels      channels C, spatial H W, inner in; its bias: inner 1
#pragma once

#include <cstdint>
#include <vector>

namespace elbo {

struct FileLayout {
  std::vector<int64_t> dims;  // of the tensor in the file; empty: as in memory, and nothing moves
  int64_t outer = 1, channels = 1, spatial = 1, inner = 1;

  bool moves() const { return channels > 1 && spatial > 1; }
};

// Both copy outer * channels * spatial * inner elements; the arrays must not overlap.
void to_file_layout(const FileLayout& layout, const float* memory, float* file);
void from_file_layout(const FileLayout& layout, const float* file, float* memory);

}  // namespace elbo
