// A class label or attributes beside the values of every pixel: how a network is told what to encode
// or draw.
//
//   label        y[b,p] = [ x[b,p,0], ..., x[b,p,C-1] | label_b == 0, ..., label_b == K-1 ]
//   attributes   y[b,p] = [ x[b,p,0], ..., x[b,p,C-1] | s_0(a[b,0]), ..., s_{K-1}(a[b,K-1]) ]
//                s_k(a) = (a - mean_k) / deviation_k;  0 where deviation_k is 0
//
// A vector is one pixel of C values. Labels outside of 0..K-1 are all zeros; an attribute that
// never varied (deviation 0) says nothing, whatever it is.
//
// Shapes    x, dx [B, P, C]; label [B] int32; a [B, K] fp32; mean, deviation [K];
//           y, dy [B, P, C + K]
// Gradient  dx = dy[..., :C]; labels and attributes take none
// Work      one launch; reads BPC (and BPK of attributes, from cache), writes BP(C + K) elements
// Numerics  s_k in fp32 (double for T = double), rounded to T at the end
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
struct AppendAttributes {
  int64_t batch = 0, pixels = 1, channels = 0, count = 0;
  const float* attributes = nullptr;
  const Compute<T>* mean = nullptr;
  const Compute<T>* deviation = nullptr;
  const T* x = nullptr;
  T* y = nullptr;
};

template <class T>
void append_attributes_forward(const Exec& exec, const AppendAttributes<T>& args);

// Of both: `classes` is how many values stand beside x.
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
