// Patches of the input, and packed weights, of kernels/cpu_conv.h.
// Part of kernels/cpu_conv_body.h, and like it included in the namespace of a vector unit.

// Output coordinates [first, last) of an axis, whose taps [begin, end) lie inside of the input.
struct ConvTaps {
  int64_t begin, end;
  int64_t first, last;
};

// The next run of outputs with the same taps behind `run`, up to `limit`. False if there is none.
inline bool next_taps(const ConvAxis& axis, int64_t extent, int64_t limit, ConvTaps& run) {
  if (run.last >= limit) return false;
  run.first = run.last;
  do {
    const int64_t at = axis.in_first + run.last * axis.in_step;
    int64_t begin = 0, end = axis.taps;
    while (begin < end && at + begin * axis.tap_step < 0) ++begin;
    while (end > begin && at + (end - 1) * axis.tap_step >= extent) --end;
    if (run.last == run.first) run.begin = begin, run.end = end;
    if (begin != run.begin || end != run.end) break;
  } while (++run.last < limit);
  return true;
}

// Output pixels of one phase: where each is written, and the first thing that it reads.
struct ConvPixels {
  int64_t count;
  int64_t out[kConvRows];  // offset of its first channel
  const float* in[kConvRows];
};

// Output pixels [v, v_end) of row u, as many as there is room for; the first that was left out.
inline int64_t add_pixels(const ConvSums& conv, const ConvPhase& phase, int64_t b, int64_t u,
                          int64_t v, int64_t v_end, const ConvTaps& taps_h, const ConvTaps& taps_w,
                          ConvPixels& pixels) {
  const ConvSide &in = conv.in_size, &out = conv.out_size;
  const ConvAxis &h = phase.h, &w = phase.w;
  const int64_t y = h.in_first + u * h.in_step + taps_h.begin * h.tap_step;
  const int64_t x = w.in_first + v * w.in_step + taps_w.begin * w.tap_step;
  const float* at = conv.in + ((b * in.height + y) * in.width + x) * in.channels;
  const int64_t out_row = (b * out.height + h.out_first + u * h.out_step) * out.width;
  int64_t to = (out_row + w.out_first + v * w.out_step) * out.channels;
  const int64_t in_step = w.in_step * in.channels, out_step = w.out_step * out.channels;
  int64_t i = pixels.count;
  for (; v < v_end && i < kConvRows; ++v, ++i, at += in_step, to += out_step) {
    pixels.out[i] = to;
    pixels.in[i] = at;
  }
  pixels.count = i;
  return v;
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

// Taps by channels that a block of patches holds, of those that its pixels all have: rows [r_begin,
// r_end) of the window by columns [s_begin, s_end) by channels.
struct ConvSteps {
  int64_t r_begin, r_end, s_begin, s_end, c_begin, c_end;
  bool first, last;  // of all that the pixels have
};

// One row of `patches` per pixel, whose `in` is at the first tap that it has.
inline void copy_patches(const ConvSums& conv, const ConvPhase& phase, const ConvPixels& pixels,
                         const ConvSteps& steps, const ConvTaps& h, const ConvTaps& w,
                         float* patches) {
  const ConvSide& in = conv.in_size;
  const int64_t row = phase.h.tap_step * in.width * in.channels;
  const int64_t tap = phase.w.tap_step * in.channels;
  const int64_t channels = steps.c_end - steps.c_begin, cols = steps.s_end - steps.s_begin;
  const int64_t offset =
      (steps.r_begin - h.begin) * row + (steps.s_begin - w.begin) * tap + steps.c_begin;
  for (int64_t i = 0; i < pixels.count; ++i) {
    float* to = patches + i * kConvPatchRow;
    const float* from = pixels.in[i] + offset;
    for (int64_t r = steps.r_begin; r < steps.r_end; ++r, from += row) {
      if (tap == channels) {
        copy_floats(from, to, cols * channels);
        to += cols * channels;
        continue;
      }
      for (int64_t s = 0; s < cols; ++s, to += channels) copy_floats(from + s * tap, to, channels);
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
