#include "engine/file_layout.h"

namespace elbo {
namespace {

// [outer, first, second, inner] -> [outer, second, first, inner]
void exchange(int64_t outer, int64_t first, int64_t second, int64_t inner, const float* from,
              float* to) {
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t a = 0; a < first; ++a) {
      for (int64_t b = 0; b < second; ++b) {
        const float* source = from + ((o * first + a) * second + b) * inner;
        float* target = to + ((o * second + b) * first + a) * inner;
        for (int64_t i = 0; i < inner; ++i) target[i] = source[i];
      }
    }
  }
}

}  // namespace

void to_file_layout(const FileLayout& layout, const float* memory, float* file) {
  exchange(layout.outer, layout.spatial, layout.channels, layout.inner, memory, file);
}

void from_file_layout(const FileLayout& layout, const float* file, float* memory) {
  exchange(layout.outer, layout.channels, layout.spatial, layout.inner, file, memory);
}

}  // namespace elbo
