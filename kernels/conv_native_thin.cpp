// Sums of few output channels by kernels/cpu_conv.h, with pixels in the lanes of vectors.
#include <algorithm>

#include "kernels/conv_native.h"

namespace elbo::native {
namespace {

using cpu::ConvAxis, cpu::ConvPart, cpu::ConvPhase, cpu::ConvPlanes, cpu::ConvSums;

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Over all phases that have taps: the input coordinates that output rows or columns [begin, end) read, a
// number of columns being rounded up to whole vectors.
struct Reach {
  int64_t begin = 0, end = 0;

  void include(const ConvAxis& axis, int64_t out_begin, int64_t out_end) {
    if (axis.taps == 0) return;
    const int64_t first = axis.in_first + out_begin * axis.in_step;
    const int64_t last =
        axis.in_first + (out_end - 1) * axis.in_step + (axis.taps - 1) * axis.tap_step;
    begin = std::min(begin, first);
    end = std::max(end, last + 1);
  }
};

// Weights of all phases as [tap][channel][output channel]; there are few.
void pack_thin(const ConvSums& sums, const ConvPhase& phase, float* to) {
  for (int64_t r = 0; r < phase.h.taps; ++r) {
    for (int64_t s = 0; s < phase.w.taps; ++s) {
      const int64_t tap = (phase.h.weight_first + r * phase.h.weight_step) * sums.kernel_w +
                          phase.w.weight_first + s * phase.w.weight_step;
      for (int64_t c = 0; c < sums.in_size.channels; ++c) {
        const float* from = sums.weight + tap * sums.weight_tap + c * sums.weight_in;
        for (int64_t n = 0; n < sums.out_size.channels; ++n) *to++ = from[n * sums.weight_out];
      }
    }
  }
}

class ThinSums {
 public:
  ThinSums(const ConvProduct<float>& product, const ConvScratch& scratch)
      : product_(product), sums_(conv_sums(product)), scratch_(scratch) {
    Reach columns;
    for (int64_t i = 0; i < phases_.count(); ++i) {
      const ConvAxis& w = phases_[i].w;
      columns.include(w, 0, round_up(w.count, lanes()));
      rows_ = std::max(rows_, phases_[i].h.count);
    }
    // Whole vectors, so that those of the input are aligned.
    x_begin_ = -round_up(-columns.begin, lanes());
    const int64_t transposed = round_up(sums_.in_size.width, lanes()) - x_begin_;
    row_ = round_up(std::max(columns.end - x_begin_, transposed), lanes());
    while (step_ < rows_ && floats(step_ + 1) <= cpu::kConvWorkspace) ++step_;
  }

  // Whether the planes that one row of output pixels reads fit.
  bool fits() const { return floats(1) <= cpu::kConvWorkspace; }

  void run() {
    float* to = scratch_.packed();
    for (int64_t i = 0; i < phases_.count(); ++i) {
      pack_thin(sums_, phases_[i], to);
      to += conv_depth(phases_[i], sums_.in_size.channels) * sums_.out_size.channels;
    }
    for_each_conv_thread(scratch_.threads, [this](int64_t t) { convolve(t); });
    if (!product_.input || !product_.input->dbias) return;
    sum_conv_columns(scratch_, product_.out_channels(), product_.input->dbias_mode,
                     product_.input->dbias);
  }

 private:
  int64_t lanes() const { return functions_.lanes; }
  int64_t floats(int64_t rows) const { return plane(rows) * sums_.in_size.channels + lanes(); }

  // Of planes that `rows` rows of all phases read. An odd number of lines, or channels would share few sets
  // of the L1 cache.
  int64_t plane(int64_t rows) const {
    const Reach reach = reach_of(0, rows);
    return round_up((reach.end - reach.begin) * row_, 16) | 16;
  }

  Reach reach_of(int64_t begin, int64_t end) const {
    Reach reach{INT64_MAX, INT64_MIN};
    for (int64_t i = 0; i < phases_.count(); ++i) reach.include(phases_[i].h, begin, end);
    return reach.begin > reach.end ? Reach{} : reach;  // no phase may have a tap
  }

  void convolve(int64_t thread) const {
    const ConvUnits units(product_.geometry.batch, scratch_.threads);
    float* column_sums = product_.input ? scratch_.sums(thread) : nullptr;
    if (column_sums) std::fill_n(column_sums, product_.out_channels(), 0.0f);
    std::fill_n(scratch_.workspace(thread), floats(step_), 0.0f);
    units.for_each(thread, 1, [&](int64_t sample, int64_t, int64_t unit) {
      const int64_t end = units.row(rows_, unit + 1);
      for (int64_t row = units.row(rows_, unit); row < end; row += step_) {
        convolve_rows(thread, sample, row, std::min(row + step_, end), column_sums);
      }
    });
  }

  void convolve_rows(int64_t thread, int64_t sample, int64_t begin, int64_t end,
                     float* column_sums) const {
    const Reach reach = reach_of(begin, end);
    const ConvPlanes planes{reach.begin,  reach.end - reach.begin,   x_begin_, row_,
                            plane(step_), scratch_.workspace(thread)};
    functions_.make_conv_planes(sums_, sample, planes);
    const float* packed = scratch_.packed();
    for (int64_t i = 0; i < phases_.count(); ++i) {
      const ConvPhase phase = phases_[i];
      const ConvPart part{phase,
                          sample,
                          sample + 1,
                          std::min(begin, phase.h.count),
                          std::min(end, phase.h.count),
                          0,
                          product_.out_channels(),
                          packed,
                          scratch_.workspace(thread),
                          column_sums};
      functions_.convolve_thin_part(sums_, part, planes);
      packed += conv_depth(phase, sums_.in_size.channels) * product_.out_channels();
    }
  }

  const ConvProduct<float>& product_;
  const ConvFunctions& functions_ = conv_functions();
  ConvSums sums_;
  ConvScratch scratch_;
  ConvPhases phases_{product_.geometry, product_.towards};
  int64_t rows_ = 0, x_begin_ = 0, row_ = 0, step_ = 1;
};

}  // namespace

bool convolve_thin(const Exec& exec, const ConvProduct<float>& p) {
  const ConvWindow& w = p.geometry.window;
  // Neighbouring pixels of a phase must read neighbours.
  const bool unit_step = p.towards == ConvTowards::image || w.stride_w == 1;
  if (p.out_channels() > cpu::kThinChannels || !unit_step) return false;
  const int64_t in_channels =
      p.towards == ConvTowards::image ? p.geometry.features.channels : p.geometry.image.channels;
  const int64_t weights = w.taps() * in_channels * p.out_channels();
  const ConvScratch scratch = conv_scratch(exec, p.geometry);
  if (scratch.packed_floats < weights) return false;
  ThinSums sums(p, scratch);
  if (!sums.fits()) return false;
  sums.run();
  return true;
}

}  // namespace elbo::native
