#include "kernels/append_label.h"

#include "kernels/error.h"
#include "kernels/launch_cells.h"

namespace elbo {
namespace {

// A cell is an element of y: a pixel of all images, a channel.
template <class T>
struct PutLabel {
  AppendLabel<T> args;

  ELBO_HD void operator()(int64_t pixel, int64_t channel) const {
    const int64_t at = pixel * (args.channels + args.classes) + channel;
    if (channel < args.channels) {
      args.y[at] = args.x[pixel * args.channels + channel];
    } else {
      const bool set = args.label[pixel / args.pixels] == channel - args.channels;
      args.y[at] = from_float<T>(static_cast<Compute<T>>(set ? 1 : 0));
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

template <class Args>
bool check_sizes(const Args& args) {
  ELBO_CHECK(args.batch >= 0 && args.pixels >= 0 && args.channels >= 0 && args.classes >= 0,
             "append_label: ", args.batch, " x ", args.pixels, " pixels of ", args.channels,
             " channels and ", args.classes, " classes");
  return args.batch > 0 && args.pixels > 0;
}

}  // namespace

template <class T>
void append_label_forward(const Exec& exec, const AppendLabel<T>& args) {
  if (!check_sizes(args) || args.channels + args.classes == 0) return;
  ELBO_CHECK(args.y && (args.x || args.channels == 0) && (args.label || args.classes == 0),
             "append_label: x, y or label is null");
  for_each_cell<T>(exec, args.batch * args.pixels, args.channels + args.classes, PutLabel<T>{args});
}

template <class T>
void append_label_backward(const Exec& exec, const AppendLabelBackward<T>& args) {
  if (!check_sizes(args) || args.channels == 0) return;
  ELBO_CHECK(args.dy && args.dx, "append_label: dy or dx is null");
  for_each_cell<T>(exec, args.batch * args.pixels, args.channels, DropLabel<T>{args});
}

#define ELBO_INSTANTIATE(T)                                               \
  template void append_label_forward(const Exec&, const AppendLabel<T>&); \
  template void append_label_backward(const Exec&, const AppendLabelBackward<T>&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(bf16)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
