// A class label beside the values of every pixel, one-hot: how a network is told what to encode or draw.
//
//   y[b,p] = [ x[b,p,0], ..., x[b,p,C-1] | label_b == 0, ..., label_b == K-1 ]
//
// A vector is one pixel of C values. Labels outside of 0..K-1 are all zeros.
//
// Shapes    x, dx [B, P, C]; label [B] int32; y, dy [B, P, C + K]
// Gradient  dx = dy[..., :C]; labels take none
// Work      one launch; reads BPC, writes BP(C + K) elements
// Errors    elbo::Error if sizes are negative or a pointer is missing; no elements is a no-op
// Source    Sohn, Lee & Yan 2015, "Learning Structured Output Representation using Deep Conditional
//           Generative Models"
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/storage.h"

namespace elbo {

// T is float, bf16 or double (CPU only).
template <class T>
struct AppendLabel {
  int64_t batch = 0, pixels = 1, channels = 0, classes = 0;
  const int32_t* label = nullptr;
  const T* x = nullptr;
  T* y = nullptr;
};

template <class T>
void append_label_forward(const Exec& exec, const AppendLabel<T>& args);

template <class T>
struct AppendLabelBackward {
  int64_t batch = 0, pixels = 1, channels = 0, classes = 0;
  const T* dy = nullptr;
  T* dx = nullptr;
  GradMode mode = GradMode::write;
};

template <class T>
void append_label_backward(const Exec& exec, const AppendLabelBackward<T>& args);

}  // namespace elbo
