// The convolutions of the image models that benchmarks speak of.
//
//   c1  28x28 pictures, 128 to 1024 channels, kernels 4 and 3, stride 2 (pythae's MNIST benchmark)
//   c2  32x32 pictures, 32-64-128 channels, kernels 4, stride 2
//   d1  64x64 pictures, 32-32-64-64 channels, kernels 4, stride 2 (Burgess et al. 2018,
//       arXiv:1804.03599)
//   d2  64x64 pictures, 32 to 512 channels, kernels 3, stride 2 (PyTorch-VAE's VanillaVAE)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/conv_geometry.h"

namespace elbo::bench {

struct ConvLayer {
  std::string model, name;
  ConvGeometry geometry;
  bool transpose;
};

inline std::vector<ConvLayer> conv_layers(int64_t batch) {
  std::vector<ConvLayer> layers;
  const auto conv = [&](const char* model, const char* name, int64_t extent, int64_t in,
                        int64_t out, const ConvWindow& window) {
    layers.push_back(
        {model, name, conv2d_geometry(batch, {extent, extent, in}, out, window), false});
  };
  const auto transpose = [&](const char* model, const char* name, int64_t extent, int64_t in,
                             int64_t out, const ConvWindow& w, int64_t output_padding) {
    layers.push_back({model, name,
                      conv_transpose2d_geometry(batch, {extent, extent, in}, out, w, output_padding,
                                                output_padding),
                      true});
  };
  const ConvWindow k4 = ConvWindow::square(4, 2, 1), k3 = ConvWindow::square(3, 2, 1);
  conv("c1", "c1", 28, 1, 128, k4);
  conv("c1", "c2", 14, 128, 256, k4);
  conv("c1", "c3", 7, 256, 512, k4);
  conv("c1", "c4", 3, 512, 1024, k4);
  transpose("c1", "t1", 4, 1024, 512, k3, 0);
  transpose("c1", "t2", 7, 512, 256, k3, 1);
  transpose("c1", "t3", 14, 256, 1, k3, 1);
  conv("c2", "c1", 32, 3, 32, k4);
  conv("c2", "c2", 16, 32, 64, k4);
  conv("c2", "c3", 8, 64, 128, k4);
  transpose("c2", "t1", 4, 128, 64, k4, 0);
  transpose("c2", "t2", 8, 64, 32, k4, 0);
  transpose("c2", "t3", 16, 32, 3, k4, 0);
  conv("d1", "c1", 64, 3, 32, k4);
  conv("d1", "c2", 32, 32, 32, k4);
  conv("d1", "c3", 16, 32, 64, k4);
  conv("d1", "c4", 8, 64, 64, k4);
  transpose("d1", "t1", 4, 64, 64, k4, 0);
  transpose("d1", "t2", 8, 64, 32, k4, 0);
  transpose("d1", "t3", 16, 32, 32, k4, 0);
  transpose("d1", "t4", 32, 32, 3, k4, 0);
  conv("d2", "c0", 64, 3, 32, k3);
  conv("d2", "c1", 32, 32, 64, k3);
  conv("d2", "c2", 16, 64, 128, k3);
  conv("d2", "c3", 8, 128, 256, k3);
  conv("d2", "c4", 4, 256, 512, k3);
  transpose("d2", "t0", 2, 512, 256, k3, 1);
  transpose("d2", "t1", 4, 256, 128, k3, 1);
  transpose("d2", "t2", 8, 128, 64, k3, 1);
  transpose("d2", "t3", 16, 64, 32, k3, 1);
  transpose("d2", "t4", 32, 32, 32, k3, 1);
  conv("d2", "out", 64, 32, 3, ConvWindow::square(3, 1, 1));
  return layers;
}

}  // namespace elbo::bench
