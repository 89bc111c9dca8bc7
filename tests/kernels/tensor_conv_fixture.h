// What tests of our own convolution kernels share: geometries at the edges of their tiles, and operands
// that each precision holds exactly.
#pragma once

#include <string>
#include <vector>

#include "kernels/conv2d.h"
#include "tests/kernels/conv_oracle.h"
#include "tests/kernels/storage_format.h"
#include "tests/support/device.h"

namespace elbo {

using oracle::ConvCase;
using oracle::Matrix;
using oracle::Numbers;

inline ConvCase conv_case(int64_t batch, const ImageSize& in, int64_t out_channels,
                          const ConvWindow& window) {
  return {conv2d_geometry(batch, in, out_channels, window), false};
}
inline ConvCase transposed_case(int64_t batch, const ImageSize& in, int64_t out_channels,
                                const ConvWindow& window, int64_t output_padding = 0) {
  return {
      conv_transpose2d_geometry(batch, in, out_channels, window, output_padding, output_padding),
      true};
}

// Channels that vectors and tiles divide and others, pixels and patches at and beside the edges of tiles
// and slices, and windows whose phases have as many taps, different numbers of taps, or none.
inline std::vector<ConvCase> edge_cases() {
  using W = ConvWindow;
  return {conv_case(1, {1, 1, 1}, 1, W::square(1)),
          conv_case(2, {8, 8, 32}, 32, W::square(3, 1, 1)),
          conv_case(2, {9, 7, 3}, 33, W::square(4, 2, 1)),
          conv_case(3, {10, 6, 8}, 16, W::square(4, 2, 1)),
          conv_case(1, {16, 16, 5}, 8, W::square(3, 2, 1)),
          conv_case(2, {7, 9, 40}, 9, W{2, 3, 3, 2, 0, 1, 2, 1}),
          conv_case(2, {6, 5, 4}, 31, W::square(1, 2)),
          conv_case(3, {2, 3, 24}, 65, W::square(2, 5, 1)),
          transposed_case(2, {4, 4, 64}, 32, W::square(4, 2, 1)),
          transposed_case(2, {5, 3, 33}, 3, W::square(4, 2, 1)),
          transposed_case(1, {8, 8, 16}, 1, W::square(3, 2, 1), 1),
          transposed_case(2, {3, 4, 8}, 40, W{3, 2, 2, 4, 1, 0, 2, 3}),
          transposed_case(2, {6, 6, 12}, 8, W::square(5, 1, 2))};
}

// Enough tiles for the large configuration: of features, of an image by phases, of a weight.
inline std::vector<ConvCase> large_cases() {
  return {conv_case(3, {24, 24, 2}, 330, ConvWindow::square(3, 1, 1)),
          transposed_case(3, {12, 12, 3}, 330, ConvWindow::square(4, 2, 1))};
}
inline ConvCase large_weight_case() {
  return conv_case(1, {3, 3, 156}, 330, ConvWindow::square(3, 1, 1));
}

template <class T>
struct ConvOperands {
  ConvOperands(Device device, Numbers& source, const ConvCase& c)
      : x(exact_numbers<T>(source, c.x_count())),
        dy(exact_numbers<T>(source, c.y_count())),
        weight(exact_numbers<T>(source, c.geometry.weight_size())),
        bias(source(c.y_size().channels)),
        xd(device, stored<T>(x)),
        dyd(device, stored<T>(dy)),
        weightd(device, stored<T>(weight)),
        biasd(device, bias) {}

  std::vector<float> x, dy, weight, bias;
  DeviceBuffer<T> xd, dyd, weightd;
  DeviceBuffer<float> biasd;
};

template <class T>
void run_forward(const Exec& exec, const ConvCase& c, const BasicConvForward<T>& args) {
  c.transpose ? conv_transpose2d_forward(exec, args) : conv2d_forward(exec, args);
}
template <class T>
void run_backward_data(const Exec& exec, const ConvCase& c, const BasicConvBackwardData<T>& args) {
  c.transpose ? conv_transpose2d_backward_data(exec, args) : conv2d_backward_data(exec, args);
}
template <class T>
void run_backward_weight(const Exec& exec, const ConvCase& c,
                         const BasicConvBackwardWeight<T>& args) {
  c.transpose ? conv_transpose2d_backward_weight(exec, args) : conv2d_backward_weight(exec, args);
}

}  // namespace elbo
