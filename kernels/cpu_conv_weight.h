// Gradients of the weight of kernels/cpu_conv.h.
// Part of kernels/cpu_conv_body.h, and like it included in the namespace of a vector unit.

// Pixel pairs at a time, so that what they read stays in the L2 cache over all tiles of a tap.
constexpr int64_t kConvPairs = 512;
constexpr int64_t kConvPairFloats = 64 * 1024;  // 256 KiB

struct ConvPairs {
  int64_t features[kConvPairs], image[kConvPairs];  // offsets of their pixels
};

// All tiles of `rows` rows from `row_begin` by `width` columns. sums point to the first row and column.
inline void multiply_pairs(const ConvPairOperands& operands, int64_t rows, int64_t width) {
  const int64_t tiles = (rows + kConvTileRows - 1) / kConvTileRows;
  const int64_t step = (rows + tiles - 1) / tiles;
  for (int64_t col = 0; col < width; col += kConvStrip) {
    for (int64_t row = 0; row < rows; row += step) {
      const int64_t count = row + step < rows ? step : rows - row;
      ConvPairOperands tile = operands;
      tile.a += row;
      tile.b += col;
      tile.sums += row * operands.sums_row + col;
      const ConvPairFunction multiply = width - col > kLanes
                                            ? select_conv_pair_tile<2>(count, ConvTileRows{})
                                            : select_conv_pair_tile<1>(count, ConvTileRows{});
      multiply(tile);
    }
  }
}

struct ConvOverlap {
  int64_t begin, end;
};

// The feature coordinates whose tap at `shift` lies inside of the image.
inline ConvOverlap conv_overlap(const ConvAxis& axis, int64_t shift, int64_t extent) {
  ConvOverlap overlap{0, axis.count};
  while (overlap.begin < overlap.end && overlap.begin * axis.in_step + shift < 0) ++overlap.begin;
  while (overlap.end > overlap.begin && (overlap.end - 1) * axis.in_step + shift >= extent) {
    --overlap.end;
  }
  return overlap;
}

void conv_weight_tap(const ConvWeightSums& conv, int64_t tap, int64_t row_begin, int64_t row_end) {
  const ConvSide &image = conv.image_size, &features = conv.features_size;
  const ConvAxis &h = conv.phase.h, &w = conv.phase.w;
  const int64_t shift_y = h.in_first + tap / conv.kernel_w * h.tap_step;
  const int64_t shift_x = w.in_first + tap % conv.kernel_w * w.tap_step;
  const ConvOverlap rows = conv_overlap(h, shift_y, image.height);
  const ConvOverlap cols = conv_overlap(w, shift_x, image.width);
  const int64_t dweight_row = conv.kernel_h * conv.kernel_w * image.channels;
  float* sums = conv.dweight + row_begin * dweight_row + tap * image.channels;
  ConvPairs pairs;
  ConvPairOperands operands{conv.features + row_begin,
                            conv.image,
                            pairs.features,
                            pairs.image,
                            0,
                            sums,
                            dweight_row,
                            conv.add};
  const int64_t fits = kConvPairFloats / (features.channels + image.channels);
  const int64_t most = fits < 64 ? 64 : (fits < kConvPairs ? fits : kConvPairs);
  bool done = conv.add;  // whether sums hold something
  for (int64_t b = 0; b < conv.batch; ++b) {
    for (int64_t u = rows.begin; u < rows.end; ++u) {
      const int64_t feature_row = (b * features.height + u) * features.width;
      const int64_t image_row = (b * image.height + u * h.in_step + shift_y) * image.width;
      for (int64_t v = cols.begin; v < cols.end; ++v) {
        pairs.features[operands.count] = (feature_row + v) * features.channels;
        pairs.image[operands.count] = (image_row + v * w.in_step + shift_x) * image.channels;
        if (++operands.count < most) continue;
        multiply_pairs(operands, row_end - row_begin, image.channels);
        operands.count = 0;
        operands.add = done = true;
      }
    }
  }
  // Also where no pair is connected: the gradient is zero then.
  if (operands.count > 0 || !done) multiply_pairs(operands, row_end - row_begin, image.channels);
}

void conv_weight_patches(const ConvWeightSums& conv, int64_t begin, int64_t end, float* workspace,
                         float* partial) {
  const ConvSide& features = conv.features_size;
  const int64_t columns = conv.kernel_h * conv.kernel_w * conv.image_size.channels;
  const int64_t row = (columns + kConvStrip - 1) / kConvStrip * kConvStrip;
  ConvSums patches_of{};
  patches_of.in_size = conv.image_size;
  patches_of.out_size = features;
  patches_of.in = conv.image;
  const ConvRange all{0, conv.kernel_h * conv.kernel_w, 0, conv.image_size.channels, 0, columns};
  clear_floats(partial, features.channels * row);
  const int64_t fits = kConvWorkspace / row, most = fits < kConvRows ? fits : kConvRows;
  ConvPixels pixels;
  int64_t patches_at[kConvRows];
  for (int64_t i = 0; i < most; ++i) {
    clear_floats(workspace + i * row + columns, row - columns);
    patches_at[i] = i * row;
  }
  const int64_t count = (end - begin) * features.height * features.width;
  int64_t b = begin, u = 0, v = 0;
  pixels.count = 0;
  for (int64_t i = 0; i < count; ++i) {
    add_pixel(patches_of, conv.phase, b, u, v, pixels);
    if (++v == features.width) v = 0, ++u;
    if (u == features.height) u = 0, ++b;
    if (pixels.count < most && i + 1 < count) continue;
    gather_patches(patches_of, conv.phase, pixels, all, workspace, row);
    multiply_pairs(ConvPairOperands{conv.features, workspace, pixels.out, patches_at, pixels.count,
                                    partial, row, true},
                   features.channels, row);
    pixels.count = 0;
  }
}
