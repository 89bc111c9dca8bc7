// Sums of few output channels of kernels/cpu_conv.h, with pixels in the lanes.
// Part of kernels/cpu_conv_body.h, and like it included in the namespace of a vector unit.

// Vectors of pixels at a time: with the sums of each and a broadcast they stay in registers.
template <int Channels>
inline constexpr int kThinVectors = (kLanes == 16 ? 12 : 6) / Channels < 8
                                        ? (kLanes == 16 ? 12 : 6) / Channels
                                        : 8;

// Transposed by blocks of kLanes pixels and four channels. The last block may reach past the end of
// the row and leave rubbish there, which is then cleared.
inline void make_plane_row(const ConvSums& conv, const float* from, const ConvPlanes& planes,
                           float* to) {
  const int64_t width = conv.in_size.width, channels = conv.in_size.channels;
  float* first = to - planes.x_begin;
  for (int64_t x = 0; x < width; x += kLanes) {
    const RowOffsets offsets = row_offsets(channels, width - x < kLanes ? width - x : kLanes);
    const float* pixels = from + x * channels;
    float* at = first + x;
    int64_t c = 0;
    for (; c + 4 <= channels; c += 4) {
      transpose_columns(pixels + c, offsets, at + c * planes.plane, planes.plane);
    }
    for (; c < channels; ++c) {
      for (int64_t l = 0; l < kLanes; ++l) at[c * planes.plane + l] = pixels[offsets.at[l] + c];
    }
  }
  const int64_t rubbish = -width & (kLanes - 1);
  for (int64_t c = 0; rubbish > 0 && c < channels; ++c) {
    clear_floats(first + c * planes.plane + width, rubbish);
  }
}

void make_conv_planes(const ConvSums& conv, int64_t sample, const ConvPlanes& planes) {
  const ConvSide& in = conv.in_size;
  for (int64_t r = 0; r < planes.rows; ++r) {
    const int64_t y = planes.y_begin + r;
    float* to = planes.data + r * planes.row;
    if (y < 0 || y >= in.height) {
      for (int64_t c = 0; c < in.channels; ++c) clear_floats(to + c * planes.plane, planes.row);
    } else {
      const float* from = conv.in + (sample * in.height + y) * in.width * in.channels;
      make_plane_row(conv, from, planes, to);
    }
  }
}

// kLanes neighbouring output pixels of a row, of which `count` exist.
struct ThinVector {
  int64_t in;   // where tap (0, 0) of the first reads its plane
  int64_t out;  // offset of the first in the output
  int64_t count;
};

// results: [vector][channel][lane].
template <int Channels, int Vectors>
void multiply_thin(const ConvSums& conv, const ConvPart& part, const ConvPlanes& planes,
                   const ThinVector* vectors, float* results) {
  Vector sums[Channels][Vectors];
  for (int n = 0; n < Channels; ++n) {
    const float bias = conv.finish.bias ? conv.finish.bias[n] : 0.0f;
    for (int v = 0; v < Vectors; ++v) sums[n][v] = bias - Vector{};
  }
  const float *weight = part.packed, *at[Vectors];
  for (int v = 0; v < Vectors; ++v) at[v] = planes.data + vectors[v].in;
  for (int64_t k = 0; k < part.steps; ++k, weight += Channels) {
    const int64_t step = part.step_offsets[k];
    Vector x[Vectors];
    for (int v = 0; v < Vectors; ++v) x[v] = load(at[v] + step);
    for (int n = 0; n < Channels; ++n) {
      const Vector factor = weight[n] - Vector{};
      for (int v = 0; v < Vectors; ++v) sums[n][v] = multiply_add(factor, x[v], sums[n][v]);
    }
  }
  for (int v = 0; v < Vectors; ++v) {
    for (int n = 0; n < Channels; ++n) store(results + (v * Channels + n) * kLanes, sums[n][v]);
  }
}

// Pixels of `line`, one after the other, to and from their places `step` floats apart.
template <int Channels>
void scatter_line(const float* line, int64_t count, int64_t step, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    for (int n = 0; n < Channels; ++n) to[i * step + n] = line[i * Channels + n];
  }
}

template <int Channels>
void gather_line(const float* from, int64_t count, int64_t step, float* line) {
  for (int64_t i = 0; i < count; ++i) {
    for (int n = 0; n < Channels; ++n) line[i * Channels + n] = from[i * step + n];
  }
}

// One vector's sums as a line [kLanes][Channels], and what follows them.
template <Activation A, int Channels>
void finish_thin_line(const ConvSums& conv, float* line, int64_t at, int64_t count, int64_t step,
                      float* column_sums) {
  constexpr int kLine = kLanes * Channels;
  alignas(64) float other[kLine] = {};
  const ConvFinish& finish = conv.finish;
  if (finish.add) {
    gather_line<Channels>(conv.out + at, count, step, other);
    for (int j = 0; j < kLine; ++j) line[j] += other[j];
  } else if (finish.undo) {
    if (finish.kept) gather_line<Channels>(finish.kept + at, count, step, other);
    for (int j = 0; j < kLine; ++j) line[j] = activate_backward<A>(other[j], line[j]);
    float sums[Channels] = {};
    for (int64_t i = 0; i < count; ++i) {
      for (int n = 0; n < Channels; ++n) sums[n] += line[i * Channels + n];
    }
    if (column_sums) add_column_sums(sums, Channels, column_sums);
  } else {
    if (finish.pre) scatter_line<Channels>(line, count, step, finish.pre + at);
    for (int j = 0; j < kLine; ++j) line[j] = activate<A>(line[j]);
  }
  scatter_line<Channels>(line, count, step, conv.out + at);
}

using ThinFinishFunction = void (*)(const ConvSums&, float*, int64_t, int64_t, int64_t, float*);

template <int Channels>
struct SelectThinFinish {
  template <Activation A>
  ThinFinishFunction operator()() const {
    return &finish_thin_line<A, Channels>;
  }
};

template <int Channels>
void convolve_thin_vectors(const ConvSums& conv, const ConvPart& part, const ConvPlanes& planes,
                           const ThinVector* vectors, int count, ThinFinishFunction finish) {
  constexpr int kVectors = kThinVectors<Channels>;
  alignas(64) float sums[kVectors * Channels * kLanes];
  multiply_thin<Channels, kVectors>(conv, part, planes, vectors, sums);
  const int64_t step = part.phase.w.out_step * Channels;
  for (int v = 0; v < count; ++v) {
    alignas(64) float line[kLanes * Channels];
    const float* of_vector = sums + v * Channels * kLanes;
    for (int l = 0; l < kLanes; ++l) {
      for (int n = 0; n < Channels; ++n) line[l * Channels + n] = of_vector[n * kLanes + l];
    }
    finish(conv, line, vectors[v].out, vectors[v].count, step, part.sums);
  }
}

template <int Channels>
void convolve_thin_rows(const ConvSums& conv, const ConvPart& part, const ConvPlanes& planes) {
  constexpr int kVectors = kThinVectors<Channels>;
  const ThinFinishFunction finish =
      dispatch_activation(conv.finish.activation, SelectThinFinish<Channels>{});
  const ConvAxis &h = part.phase.h, &w = part.phase.w;
  const ConvSide& out = conv.out_size;
  ThinVector vectors[kVectors];
  int count = 0;
  for (int64_t u = part.row_begin; u < part.row_end; ++u) {
    const int64_t y = h.out_first + u * h.out_step;
    const int64_t in_row = h.in_first + u * h.in_step - planes.y_begin;
    for (int64_t v = 0; v < w.count; v += kLanes) {
      const int64_t left = w.count - v, x = w.out_first + v * w.out_step;
      vectors[count++] = {in_row * planes.row + w.in_first + v - planes.x_begin,
                          ((part.sample_begin * out.height + y) * out.width + x) * Channels,
                          left < kLanes ? left : kLanes};
      if (count < kVectors) continue;
      convolve_thin_vectors<Channels>(conv, part, planes, vectors, count, finish);
      count = 0;
    }
  }
  if (count == 0) return;
  for (int v = count; v < kVectors; ++v) vectors[v] = vectors[0];  // computed, not stored
  convolve_thin_vectors<Channels>(conv, part, planes, vectors, count, finish);
}

void convolve_thin_part(const ConvSums& conv, const ConvPart& part, const ConvPlanes& planes) {
  if (conv.out_size.channels == 1) return convolve_thin_rows<1>(conv, part, planes);
  if (conv.out_size.channels == 2) return convolve_thin_rows<2>(conv, part, planes);
  if (conv.out_size.channels == 3) return convolve_thin_rows<3>(conv, part, planes);
  convolve_thin_rows<4>(conv, part, planes);
}
