// Running a latent block, forward or backward, in any storage type on any device: the double one on
// the CPU is the oracle.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/activation_op.h"
#include "kernels/error.h"
#include "kernels/latent_block.h"
#include "kernels/linear.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace elbo {

struct BlockShape {
  int64_t batch, in, dim, hidden;

  bool is_small() const { return dim <= kMaxLatentDim && batch < 600; }  // of the shapes below
  std::string name() const { return concat(batch, " x ", in, "-", dim, "-", hidden); }
};

// Around a warp's rows, its groups of eight columns, its vectors of 128 inputs, its ballots and the
// 128 bits that a row of the mask is padded to; a Philox call holds four dimensions. Two and four
// divide some of the dimensions.
inline const std::vector<BlockShape> kBlocks = {
    {1, 1, 1, 1},    {1, 4, 2, 3},    {3, 5, 3, 33},    {4, 128, 4, 32},  {5, 132, 6, 129},
    {7, 33, 9, 128}, {2, 0, 3, 7},    {130, 36, 20, 9}, {9, 400, 20, 70}, {2, 64, 260, 31},
    {5, 8, 50, 200}, {6, 129, 17, 5}, {3, 8, 5, 0},     {2, 5, 0, 3},     {9, 12, 512, 3}};

// Too many latents for a row's shared memory; too many products.
inline const std::vector<BlockShape> kLargeBlocks = {{2, 12, 513, 9}, {600, 300, 20, 500}};

// Sums of at most 1000 products whose partial sums are of order one: a thousand roundings of half
// an ulp of 2 at random come to 4e-6. Noise stretches that by at most 7, as 1 + |expected| does the
// rest.
inline constexpr double kBlockTolerance = 3e-5;

// Rounded to bf16, so that every storage type can hold them.
inline std::vector<float> block_values(int64_t count, uint64_t seed, int64_t terms = 1) {
  const double limit = 1.7 / std::sqrt(static_cast<double>(std::max<int64_t>(terms, 1)));
  std::vector<float> values = random_values(count, seed, -limit, limit);
  for (float& value : values) value = to_float(from_float<bf16>(value));
  return values;
}

template <class To, class From>
std::vector<To> stored_as(const std::vector<From>& values) {
  std::vector<To> stored;
  for (const From& value : values) {
    stored.push_back(from_float<To>(static_cast<Compute<To>>(to_float(value))));
  }
  return stored;
}

// The numbers in an aux.
template <class T>
std::vector<T> numbers_in(const std::vector<std::byte>& bytes) {
  std::vector<T> numbers(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

inline NoiseSource block_noise() {
  NoiseSource noise{};
  noise.seed = 11;
  noise.first_row = 3;
  return noise;
}

// A CPU's Exec for the oracle, whatever the test runs on.
template <class T>
Exec exec_for(const Exec& exec) {
  return std::is_same_v<T, double> ? Exec{} : exec;
}

template <class T>
struct BlockOutputs {
  std::vector<Compute<T>> stats, kl;
  std::vector<T> z, y;
  std::vector<std::byte> aux;
};

struct BlockForward {
  BlockShape shape;
  Activation activation = Activation::identity;
  bool with_aux = true;
  size_t shift = 0;

  template <class T>
  BlockOutputs<T> run(const Exec& test_exec) const {
    using R = Compute<T>;
    const BlockShape& s = shape;
    const Exec exec = exec_for<T>(test_exec);
    const DeviceBuffer<T> x(exec.device, stored_as<T>(block_values(s.batch * s.in, 1)), shift);
    const DeviceBuffer<T> weight(exec.device, stored_as<T>(block_values(2 * s.dim * s.in, 2, s.in)),
                                 shift);
    const DeviceBuffer<R> bias(exec.device, stored_as<R>(block_values(2 * s.dim, 3)), shift);
    const DeviceBuffer<T> decoder_weight(
        exec.device, stored_as<T>(block_values(s.hidden * s.dim, 4, s.dim)), shift);
    const DeviceBuffer<R> decoder_bias(exec.device, stored_as<R>(block_values(s.hidden, 5)), shift);
    DeviceBuffer<R> stats(exec.device, s.batch * 2 * s.dim, shift), kl(exec.device, s.batch, shift);
    DeviceBuffer<T> z(exec.device, s.batch * s.dim, shift),
        y(exec.device, s.batch * s.hidden, shift);
    DeviceBuffer<std::byte> aux(exec.device,
                                linear_aux_bytes<T>(exec, s.batch, s.hidden, activation));
    LatentBlockForward<T> args{};
    args.x = x.data();
    args.weight = weight.data();
    args.bias = bias.data();
    args.stats = stats.data();
    args.z = z.data();
    args.kl = kl.data();
    args.decoder_weight = decoder_weight.data();
    args.decoder_bias = decoder_bias.data();
    args.y = y.data();
    args.aux = with_aux && aux.size() > 0 ? aux.data() : nullptr;
    args.batch = s.batch;
    args.in = s.in;
    args.dim = s.dim;
    args.hidden = s.hidden;
    args.activation = activation;
    args.noise = block_noise();
    latent_block_forward(exec, args);
    return {stats.download(), kl.download(), z.download(), y.download(), aux.download()};
  }
};

template <class T>
struct BlockGradients {
  std::vector<T> dz, dx, dstats;
};

struct BlockBackward {
  BlockShape shape;
  Activation activation = Activation::identity;  // of x
  bool with_mask = true;                         // ReLU: given its mask, where there is one
  GradMode dz_mode = GradMode::write, dx_mode = GradMode::write;
  int64_t dkl_values = 1;  // 0: the KL has no weight; 1: one for all rows; else one per row
  bool wants_dx = true;
  size_t shift = 0;

  std::vector<float> stats() const {
    std::vector<float> values = block_values(shape.batch * 2 * shape.dim, 6);
    for (size_t i = 0; i < values.size(); i += 5) values[i] *= 9;  // beyond where logvar is bent
    return values;
  }
  std::vector<float> x_before_activation() const { return block_values(shape.batch * shape.in, 7); }
  // What the producer of x saved, as linear_aux_bytes() describes it.
  template <class T>
  std::vector<std::byte> aux(const Exec& exec) const {
    const std::vector<float> pre = x_before_activation();
    std::vector<std::byte> bytes(linear_aux_bytes<T>(exec, shape.batch, shape.in, activation));
    if (needs_pre_activation(activation)) {
      const std::vector<T> kept = stored_as<T>(pre);
      if (!bytes.empty()) std::memcpy(bytes.data(), kept.data(), bytes.size());
    } else if (!bytes.empty()) {
      const auto row_bytes = static_cast<int64_t>(relu_mask_row_bytes(shape.in));
      for (int64_t i = 0; i < shape.batch * shape.in; ++i) {
        const int64_t column = i % shape.in, at = i / shape.in * row_bytes + column / 8;
        if (pre[i] > 0) bytes[at] |= std::byte{1} << column % 8;
      }
    }
    return bytes;
  }

  template <class T>
  BlockGradients<T> run(const Exec& test_exec) const {
    using R = Compute<T>;
    const BlockShape& s = shape;
    const Exec exec = exec_for<T>(test_exec);
    const Device on = exec.device;
    std::vector<float> x_values = x_before_activation();
    for (float& v : x_values) v = activate(activation, v);
    const DeviceBuffer<T> x(on, stored_as<T>(x_values), shift);
    const DeviceBuffer<std::byte> x_aux(on, aux<T>(exec));
    const DeviceBuffer<T> dy(on, stored_as<T>(block_values(s.batch * s.hidden, 8)), shift);
    const DeviceBuffer<T> decoder_weight(
        on, stored_as<T>(block_values(s.hidden * s.dim, 4, s.hidden)), shift);
    const DeviceBuffer<R> statistics(on, stored_as<R>(stats()), shift);
    const DeviceBuffer<T> weight(on, stored_as<T>(block_values(2 * s.dim * s.in, 2, 2 * s.dim)),
                                 shift);
    const DeviceBuffer<R> dkl(on, stored_as<R>(block_values(dkl_values, 9)));
    const auto old = [&](int64_t count, GradMode mode, uint64_t seed) {
      std::vector<float> values = block_values(count, seed);
      if (mode == GradMode::write) values.assign(values.size(), NAN);
      return stored_as<T>(values);
    };
    DeviceBuffer<T> dz(on, old(s.batch * s.dim, dz_mode, 10), shift);
    DeviceBuffer<T> dx(on, old(s.batch * s.in, dx_mode, 12), shift);
    DeviceBuffer<T> dstats(on, s.batch * 2 * s.dim, shift);
    LatentBlockBackward<T> args{};
    args.dy = dy.data();
    args.decoder_weight = decoder_weight.data();
    args.stats = statistics.data();
    if (dkl_values > 0) args.dkl = {dkl.data(), dkl_values > 1 ? 1 : 0, R(0.5)};
    args.dz = dz.data();
    args.dz_mode = dz_mode;
    args.dstats = dstats.data();
    args.weight = weight.data();
    args.dx = wants_dx ? dx.data() : nullptr;
    args.dx_mode = dx_mode;
    args.x_activation = activation;
    args.x = x.data();
    const bool mask = activation == Activation::relu;
    args.x_aux = x_aux.size() > 0 && (with_mask || !mask) ? x_aux.data() : nullptr;
    args.batch = s.batch;
    args.in = s.in;
    args.dim = s.dim;
    args.hidden = s.hidden;
    args.noise = block_noise();
    latent_block_backward(exec, args);
    return {dz.download(), dx.download(), dstats.download()};
  }
};

}  // namespace elbo
