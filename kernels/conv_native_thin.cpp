// Sums of few output channels by kernels/cpu_conv.h, with pixels in the lanes of vectors.
#include <algorithm>

#include "kernels/conv_native.h"

namespace elbo::native {
namespace {

using cpu::ConvAxis, cpu::ConvPart, cpu::ConvPhase, cpu::ConvPlanes, cpu::ConvSums;

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Over all phases that have taps: the input coordinates that output rows or columns [begin, end)
// read, a number of columns being rounded up to whole vectors.
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

// Channel by channel, so that all taps of one find their plane in the L1 cache.
template <class F>
void for_each_thin_step(const ConvPhase& phase, int64_t channels, F&& f) {
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t r = 0; r < phase.h.taps; ++r) {
      for (int64_t s = 0; s < phase.w.taps; ++s) f(c, r, s);
    }
  }
}

void pack_thin_weight(const ConvSums& sums, const ConvPhase& phase, float* to) {
  for_each_thin_step(phase, sums.in_size.channels, [&](int64_t c, int64_t r, int64_t s) {
    const int64_t tap = (phase.h.weight_first + r * phase.h.weight_step) * sums.kernel_w +
                        phase.w.weight_first + s * phase.w.weight_step;
    const float* from = sums.weight + tap * sums.weight_tap + c * sums.weight_in;
    for (int64_t n = 0; n < sums.out_size.channels; ++n) *to++ = from[n * sums.weight_out];
  });
}

class ThinSums {
 public:
  ThinSums(const ConvProduct<float>& product, const ConvScratch& scratch,
           const ConvFunctions& functions)
      : product_(product), functions_(functions), sums_(conv_sums(product)), scratch_(scratch) {
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
    float* weight = scratch_.packed();
    int64_t* offset = offsets();
    const int64_t channels = sums_.in_size.channels, plane_floats = plane(step_);
    for (int64_t i = 0; i < phases_.count(); ++i) {
      const ConvPhase phase = phases_[i];
      pack_thin_weight(sums_, phase, weight);
      weight += conv_depth(phase, channels) * sums_.out_size.channels;
      for_each_thin_step(phase, channels, [&](int64_t c, int64_t r, int64_t s) {
        *offset++ = c * plane_floats + r * phase.h.tap_step * row_ + s * phase.w.tap_step;
      });
    }
    for_each_conv_thread(scratch_.threads, [this](int64_t t) { convolve(t); });
    if (!product_.input || !product_.input->dbias) return;
    sum_conv_columns(scratch_, product_.out_channels(), product_.input->dbias_mode,
                     product_.input->dbias);
  }

 private:
  int64_t lanes() const { return functions_.lanes; }
  // Behind the packed weight.
  int64_t* offsets() const {
    const int64_t weights = product_.geometry.weight_size();
    return reinterpret_cast<int64_t*>(scratch_.packed() + round_up(weights, 16));
  }
  int64_t floats(int64_t rows) const { return plane(rows) * sums_.in_size.channels + lanes(); }

  // Of planes that `rows` rows of all phases read. An odd number of lines, or channels would share
  // few sets of the L1 cache.
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
    if (column_sums) scratch_.clear_sums(thread);
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
    const int64_t* offset = offsets();
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
                          column_sums,
                          offset,
                          conv_depth(phase, sums_.in_size.channels)};
      functions_.convolve_thin_part(sums_, part, planes);
      packed += part.steps * product_.out_channels();
      offset += part.steps;
    }
  }

  const ConvProduct<float>& product_;
  const ConvFunctions& functions_;
  ConvSums sums_;
  ConvScratch scratch_;
  ConvPhases phases_{product_.geometry, product_.towards};
  int64_t rows_ = 0, x_begin_ = 0, row_ = 0, step_ = 1;
};

}  // namespace

bool takes_thin(const ConvProduct<float>& p) {
  // Neighbouring pixels of a phase must read neighbours.
  const bool unit_step = p.towards == ConvTowards::image || p.geometry.window.stride_w == 1;
  return p.out_channels() <= cpu::kThinChannels && unit_step;
}

bool convolve_thin(const Exec& exec, const ConvProduct<float>& p, const ConvFunctions& functions) {
  if (!takes_thin(p)) return false;
  const ConvScratch scratch = conv_scratch(exec, p.geometry);
  // Weights, and an offset of two floats for each at most.
  if (scratch.packed_floats < 3 * p.geometry.weight_size() + 16) return false;
  ThinSums sums(p, scratch, functions);
  if (!sums.fits()) return false;
  sums.run();
  return true;
}

}  // namespace elbo::native
