#include "kernels/append_label.h"

#include "kernels/error.h"
#include "kernels/launch_cells.h"

namespace elbo {
namespace {

// What stands beside x: value k of image b.
template <class T>
struct OneHot {
  const int32_t* label;

  ELBO_HD Compute<T> operator()(int64_t b, int64_t k) const {
    return static_cast<Compute<T>>(label[b] == k ? 1 : 0);
  }
};

template <class T>
struct Standardised {
  const float* attributes;
  const Compute<T>* mean;
  const Compute<T>* deviation;
  int64_t count;

  ELBO_HD Compute<T> operator()(int64_t b, int64_t k) const {
    const auto value = static_cast<Compute<T>>(attributes[b * count + k]);
    return deviation[k] > 0 ? (value - mean[k]) / deviation[k] : Compute<T>(0);
  }
};

// A cell is an element of y: a pixel of all images, a channel.
template <class T, class Source>
struct PutBeside {
  const T* x;
  T* y;
  int64_t pixels, channels, count;
  Source source;

  ELBO_HD void operator()(int64_t pixel, int64_t channel) const {
    const int64_t at = pixel * (channels + count) + channel;
    if (channel < channels) {
      y[at] = x[pixel * channels + channel];
    } else {
      y[at] = from_float<T>(source(pixel / pixels, channel - channels));
    }
  }
};

// A cell is an element of dx.
template <class T>
struct DropLabel {
  AppendLabelBackward<T> args;

  ELBO_HD void operator()(int64_t pixel, int64_t channel) const {
    const T dy = args.dy[pixel * (args.channels + args.classes) + channel];
    T& dx = args.dx[pixel * args.channels + channel];
    dx = args.mode == GradMode::add ? from_float<T>(to_float(dx) + to_float(dy)) : dy;
  }
};

bool check_sizes(const char* op, int64_t batch, int64_t pixels, int64_t channels, int64_t count) {
  ELBO_CHECK(batch >= 0 && pixels >= 0 && channels >= 0 && count >= 0, op, ": ", batch, " x ",
             pixels, " pixels of ", channels, " channels and ", count, " values beside them");
  return batch > 0 && pixels > 0;
}

}  // namespace

template <class T>
void append_label_forward(const Exec& exec, const AppendLabel<T>& args) {
  if (!check_sizes("append_label", args.batch, args.pixels, args.channels, args.classes) ||
      args.channels + args.classes == 0) {
    return;
  }
  ELBO_CHECK(args.y && (args.x || args.channels == 0) && (args.label || args.classes == 0),
             "append_label: x, y or label is null");
  for_each_cell<T>(exec, args.batch * args.pixels, args.channels + args.classes,
                   PutBeside<T, OneHot<T>>{args.x, args.y, args.pixels, args.channels, args.classes,
                                           OneHot<T>{args.label}});
}

template <class T>
void append_attributes_forward(const Exec& exec, const AppendAttributes<T>& args) {
  if (!check_sizes("append_attributes", args.batch, args.pixels, args.channels, args.count) ||
      args.channels + args.count == 0) {
    return;
  }
  const bool told = args.attributes && args.mean && args.deviation;
  ELBO_CHECK(args.y && (args.x || args.channels == 0) && (told || args.count == 0),
             "append_attributes: x, y, attributes, mean or deviation is null");
  const Standardised<T> source{args.attributes, args.mean, args.deviation, args.count};
  for_each_cell<T>(exec, args.batch * args.pixels, args.channels + args.count,
                   PutBeside<T, Standardised<T>>{args.x, args.y, args.pixels, args.channels,
                                                 args.count, source});
}

template <class T>
void append_label_backward(const Exec& exec, const AppendLabelBackward<T>& args) {
  if (!check_sizes("append_label", args.batch, args.pixels, args.channels, args.classes) ||
      args.channels == 0) {
    return;
  }
  ELBO_CHECK(args.dy && args.dx, "append_label: dy or dx is null");
  for_each_cell<T>(exec, args.batch * args.pixels, args.channels, DropLabel<T>{args});
}

#define ELBO_INSTANTIATE(T)                                                         \
  template void append_label_forward(const Exec&, const AppendLabel<T>&);           \
  template void append_attributes_forward(const Exec&, const AppendAttributes<T>&); \
  template void append_label_backward(const Exec&, const AppendLabelBackward<T>&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(bf16)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
