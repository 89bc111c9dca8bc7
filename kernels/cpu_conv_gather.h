// Patches of the input, and packed weights, of kernels/cpu_conv.h.
// Part of kernels/cpu_conv_body.h, and like it included in the namespace of a vector unit.

// Output pixels of one phase: where each is written, and where its tap (0, 0) reads.
struct ConvPixels {
  int64_t count;
  int64_t out[kConvRows];      // offset of its first channel
  const float* in[kConvRows];  // its sample
  int64_t y[kConvRows], x[kConvRows];
};

// Taps [tap_begin, tap_end) by channels [channel_begin, channel_end), which are `size` rows of the
// packed weight from row `begin`. Either all channels, or one tap.
struct ConvRange {
  int64_t tap_begin, tap_end, channel_begin, channel_end;
  int64_t begin, size;
};

inline void add_pixel(const ConvSums& conv, const ConvPhase& phase, int64_t b, int64_t u, int64_t v,
                      ConvPixels& pixels) {
  const ConvSide &in = conv.in_size, &out = conv.out_size;
  const int64_t i = pixels.count++;
  const int64_t y = phase.h.out_first + u * phase.h.out_step;
  const int64_t x = phase.w.out_first + v * phase.w.out_step;
  pixels.out[i] = ((b * out.height + y) * out.width + x) * out.channels;
  pixels.in[i] = conv.in + b * in.height * in.width * in.channels;
  pixels.y[i] = phase.h.in_first + u * phase.h.in_step;
  pixels.x[i] = phase.w.in_first + v * phase.w.in_step;
}

// Written out to the last few floats: these runs are short, and GCC would call memcpy.
inline void copy_floats(const float* from, float* to, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, load(from + i));
  for (; i + 4 <= n; i += 4) __builtin_memcpy(to + i, from + i, 4 * sizeof(float));
  if (n - i >= 2) __builtin_memcpy(to + i, from + i, 2 * sizeof(float)), i += 2;
  if (n - i >= 1) to[i] = from[i];
}

inline void clear_floats(float* to, int64_t n) {
  const Vector zero = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, zero);
  for (; i + 4 <= n; i += 4) __builtin_memset(to + i, 0, 4 * sizeof(float));
  if (n - i >= 2) __builtin_memset(to + i, 0, 2 * sizeof(float)), i += 2;
  if (n - i >= 1) to[i] = 0;
}

// Taps [first, first + count) of one row of the window: `row` is that row of the input, x where its
// tap 0 reads. What lies outside is zero.
inline float* gather_row(const float* row, const ConvSide& in, const ConvAxis& axis, int64_t x,
                         int64_t first, int64_t count, const ConvRange& range, float* to) {
  const int64_t channels = range.channel_end - range.channel_begin;
  if (axis.tap_step == 1 && channels == in.channels) {  // neighbours in memory
    const int64_t from = x + first, room = in.width - from;
    const int64_t before = from < 0 ? (from + count < 0 ? count : -from) : 0;
    const int64_t end = room < before ? before : (room < count ? room : count);
    clear_floats(to, before * channels);
    if (end > before) {
      copy_floats(row + (from + before) * channels, to + before * channels,
                  (end - before) * channels);
    }
    clear_floats(to + end * channels, (count - end) * channels);
    return to + count * channels;
  }
  for (int64_t t = first; t < first + count; ++t, to += channels) {
    const int64_t at = x + t * axis.tap_step;
    if (at < 0 || at >= in.width) {
      clear_floats(to, channels);
    } else {
      copy_floats(row + at * in.channels + range.channel_begin, to, channels);
    }
  }
  return to;
}

// One row of `patches` per pixel.
inline void gather_patches(const ConvSums& conv, const ConvPhase& phase, const ConvPixels& pixels,
                           const ConvRange& range, float* patches, int64_t patch_row) {
  const ConvSide& in = conv.in_size;
  const int64_t channels = range.channel_end - range.channel_begin, taps_w = phase.w.taps;
  for (int64_t i = 0; i < pixels.count; ++i) {
    float* to = patches + i * patch_row;
    for (int64_t tap = range.tap_begin; tap < range.tap_end;) {
      const int64_t r = tap / taps_w, first = tap - r * taps_w;
      const int64_t left = range.tap_end - tap, count = taps_w - first;
      const int64_t run = left < count ? left : count;
      const int64_t y = pixels.y[i] + r * phase.h.tap_step;
      if (y < 0 || y >= in.height) {
        clear_floats(to, run * channels);
        to += run * channels;
      } else {
        const float* row = pixels.in[i] + y * in.width * in.channels;
        to = gather_row(row, in, phase.w, pixels.x[i], first, run, range, to);
      }
      tap += run;
    }
  }
}

// Channels of one tap by `width` columns. Lanes past the last column are zero.
inline void pack_tap(const ConvSums& conv, const float* from, int64_t width, float* to) {
  const int64_t channels = conv.in_size.channels;
  if (conv.weight_out == 1) {
    for (int64_t c = 0; c < channels; ++c, from += conv.weight_in, to += kConvStrip) {
      copy_floats(from, to, width);
      clear_floats(to + width, kConvStrip - width);
    }
    return;
  }
  for (int64_t j = 0; j < kConvStrip; j += kLanes) {
    const int64_t left = width - j, rows = left < kLanes ? left : kLanes;
    if (rows <= 0) {
      for (int64_t c = 0; c < channels; ++c) clear_floats(to + c * kConvStrip + j, kLanes);
      continue;
    }
    const RowOffsets offsets = row_offsets(conv.weight_out, rows);
    const float* rows_from = from + j * conv.weight_out;
    int64_t c = 0;
    for (; c + 4 <= channels; c += 4) {
      transpose_columns(rows_from + c, offsets, to + c * kConvStrip + j, kConvStrip);
    }
    for (; c < channels; ++c) {
      for (int64_t l = 0; l < kLanes; ++l) {
        to[c * kConvStrip + j + l] = rows_from[c + offsets.at[l]];
      }
    }
  }
}

void pack_conv_weight(const ConvSums& conv, const ConvPhase& phase, int64_t col_begin,
                      int64_t col_end, float* to) {
  const int64_t tap_floats = conv.in_size.channels * kConvStrip;
  for (int64_t col = col_begin; col < col_end; col += kConvStrip) {
    const int64_t left = col_end - col, width = left < kConvStrip ? left : kConvStrip;
    for (int64_t r = 0; r < phase.h.taps; ++r) {
      for (int64_t s = 0; s < phase.w.taps; ++s, to += tap_floats) {
        const int64_t tap = (phase.h.weight_first + r * phase.h.weight_step) * conv.kernel_w +
                            phase.w.weight_first + s * phase.w.weight_step;
        pack_tap(conv, conv.weight + tap * conv.weight_tap + col * conv.weight_out, width, to);
      }
    }
  }
}
