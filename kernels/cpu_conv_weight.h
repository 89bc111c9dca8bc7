// Gradients of the weight of kernels/cpu_conv.h.
// Part of kernels/cpu_conv_body.h, and like it included in the namespace of a vector unit.

// Pixel pairs at a time, so that what they read stays in the L2 cache over all tiles of a tap.
constexpr int64_t kConvPairs = 512;
constexpr int64_t kConvPairFloats = 64 * 1024;  // 256 KiB

struct ConvPairs {
  int64_t features[kConvPairs], image[kConvPairs];  // offsets of their pixels
};

// All tiles of `rows` rows by `width` columns, whole vectors. Operands are those of the first.
inline void multiply_pairs(const ConvPairOperands& operands, int64_t rows, int64_t width) {
  const int64_t tiles = (rows + kConvTileRows - 1) / kConvTileRows;
  const int64_t step = (rows + tiles - 1) / tiles;
  const bool wide = step <= kConvWideTileRows;
  for (int64_t col = 0; col < width;) {
    const int64_t left = (width - col) / kLanes;
    const int64_t vectors = wide && left >= kConvWideTile ? kConvWideTile : (left >= 2 ? 2 : 1);
    for (int64_t row = 0; row < rows; row += step) {
      ConvPairOperands tile = operands;
      tile.a += row;
      tile.b += col;
      tile.sums += row * operands.sums_row + col;
      select_conv_pair_tile(row + step < rows ? step : rows - row, vectors)(tile);
    }
    col += vectors * kLanes;
  }
}

// Pairs of the feature pixels [h.first, h.last) x [w.first, w.last) of all samples and the image
// pixels that tap (h.begin, w.begin) leads to; from there on, `width` columns.
inline void add_pairs(const ConvWeightSums& conv, const ConvTaps& h, const ConvTaps& w,
                      int64_t row_begin, int64_t rows, int64_t width) {
  const ConvSide &image = conv.image_size, &features = conv.features_size;
  const ConvAxis &ah = conv.phase.h, &aw = conv.phase.w;
  const int64_t shift_y = ah.in_first + h.begin * ah.tap_step;
  const int64_t shift_x = aw.in_first + w.begin * aw.tap_step;
  const int64_t dweight_row = conv.kernel_h * conv.kernel_w * image.channels;
  float* sums =
      conv.dweight + row_begin * dweight_row + (h.begin * conv.kernel_w + w.begin) * image.channels;
  ConvPairs pairs;
  ConvPairOperands operands{conv.features + row_begin,
                            conv.image,
                            pairs.features,
                            pairs.image,
                            0,
                            sums,
                            dweight_row,
                            true};
  const int64_t fits = kConvPairFloats / (features.channels + image.channels);
  const int64_t most = fits < 64 ? 64 : (fits < kConvPairs ? fits : kConvPairs);
  for (int64_t b = 0; b < conv.batch; ++b) {
    for (int64_t u = h.first; u < h.last; ++u) {
      const int64_t feature_row = (b * features.height + u) * features.width;
      const int64_t image_row = (b * image.height + u * ah.in_step + shift_y) * image.width;
      for (int64_t v = w.first; v < w.last; ++v) {
        pairs.features[operands.count] = (feature_row + v) * features.channels;
        pairs.image[operands.count] = (image_row + v * aw.in_step + shift_x) * image.channels;
        if (++operands.count < most) continue;
        multiply_pairs(operands, rows, width);
        operands.count = 0;
      }
    }
  }
  if (operands.count > 0) multiply_pairs(operands, rows, width);
}

// Taps that are neighbours in the image are so in the weight: their columns go together.
void conv_weight_row(const ConvWeightSums& conv, int64_t r, int64_t row_begin, int64_t row_end) {
  const int64_t channels = conv.image_size.channels, columns = conv.kernel_w * channels;
  for (int64_t k = row_begin; !conv.add && k < row_end; ++k) {
    clear_floats(conv.dweight + (k * conv.kernel_h + r) * columns, columns);
  }
  ConvTaps h{0, 0, 0, 0};
  while (next_taps(conv.phase.h, conv.image_size.height, conv.phase.h.count, h)) {
    if (r < h.begin || r >= h.end) continue;
    ConvTaps w{0, 0, 0, 0};
    while (next_taps(conv.phase.w, conv.image_size.width, conv.phase.w.count, w)) {
      const int64_t together = conv.phase.w.tap_step == 1 ? w.end - w.begin : 1;
      for (int64_t s = w.begin; s < w.end; s += together) {
        add_pairs(conv, ConvTaps{r, r + 1, h.first, h.last}, ConvTaps{s, s, w.first, w.last},
                  row_begin, row_end - row_begin, together * channels);
      }
    }
  }
}

// The whole window of the feature pixel (u, v), what lies outside as zeros.
inline void gather_patch(const ConvWeightSums& conv, const float* sample, int64_t u, int64_t v,
                         float* to) {
  const ConvSide& image = conv.image_size;
  const ConvAxis &h = conv.phase.h, &w = conv.phase.w;
  const int64_t x = w.in_first + v * w.in_step, channels = image.channels;
  for (int64_t r = 0; r < h.taps; ++r) {
    const int64_t y = h.in_first + u * h.in_step + r * h.tap_step;
    const float* row = sample + (y * image.width + x) * channels;
    const bool outside = y < 0 || y >= image.height;
    if (!outside && w.tap_step == 1 && x >= 0 && x + w.taps <= image.width) {
      copy_floats(row, to, w.taps * channels);
      to += w.taps * channels;
      continue;
    }
    for (int64_t s = 0; s < w.taps; ++s, to += channels) {
      const int64_t at = x + s * w.tap_step;
      if (outside || at < 0 || at >= image.width) {
        clear_floats(to, channels);
      } else {
        copy_floats(row + s * w.tap_step * channels, to, channels);
      }
    }
  }
}

void conv_weight_patches(const ConvWeightSums& conv, int64_t begin, int64_t end, float* workspace,
                         float* partial) {
  const ConvSide &image = conv.image_size, &features = conv.features_size;
  const int64_t columns = conv.kernel_h * conv.kernel_w * image.channels;
  const int64_t row = (columns + kLanes - 1) / kLanes * kLanes;
  const int64_t fits = kConvWorkspace / row, most = fits < kConvPairs ? fits : kConvPairs;
  clear_floats(partial, features.channels * row);
  ConvPairs pairs;
  for (int64_t i = 0; i < most; ++i) {
    clear_floats(workspace + i * row + columns, row - columns);
    pairs.image[i] = i * row;
  }
  ConvPairOperands operands{conv.features, workspace, pairs.features, pairs.image, 0, partial,
                            row,           true};
  for (int64_t i = begin; i < end; ++i) {
    const int64_t b = i / features.height, u = i % features.height;
    const float* sample = conv.image + b * image.height * image.width * image.channels;
    for (int64_t v = 0; v < features.width; ++v) {
      gather_patch(conv, sample, u, v, workspace + operands.count * row);
      pairs.features[operands.count] = (i * features.width + v) * features.channels;
      if (++operands.count < most) continue;
      multiply_pairs(operands, features.channels, row);
      operands.count = 0;
    }
  }
  if (operands.count > 0) multiply_pairs(operands, features.channels, row);
}
