#include "models/audit_layers.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/error.h"
#include "kernels/portability.h"

namespace elbo {
namespace {

// y[r, :] += sum_i x[r, i] w[i, :] for Rows rows at a time: each weight is read once for all of them.
// Sums run in the order of i whatever the instruction set, so all clones give the same bits.
template <int Rows>
inline __attribute__((always_inline)) void accumulate_rows(int64_t in, int64_t out, int64_t begin,
                                                           int64_t end, const double* x,
                                                           const double* weight,
                                                           double* __restrict y) {
  for (int64_t i = 0; i < in; ++i) {
    const double* __restrict w = weight + i * out;
    for (int r = 0; r < Rows; ++r) {
      const double factor = x[r * in + i];
      for (int64_t o = begin; o < end; ++o) y[r * out + o] += factor * w[o];
    }
  }
}

constexpr int kRowBlock = 8;
constexpr int64_t kColumnBlock = 256;  // 8 rows of 256 doubles: 16 kB, which stay in the L1 cache

ELBO_CLONES void accumulate(int64_t rows, int64_t in, int64_t out, const double* x,
                            const double* weight, double* y) {
  for (int64_t begin = 0; begin < out; begin += kColumnBlock) {
    const int64_t end = std::min(begin + kColumnBlock, out);
    int64_t row = 0;
    for (; row + kRowBlock <= rows; row += kRowBlock) {
      accumulate_rows<kRowBlock>(in, out, begin, end, x + row * in, weight, y + row * out);
    }
    for (; row < rows; ++row) {
      accumulate_rows<1>(in, out, begin, end, x + row * in, weight, y + row * out);
    }
  }
}

double activate_in_double(Activation activation, double x) {
  switch (activation) {
    case Activation::identity:
      return x;
    case Activation::relu:
      return x < 0 ? 0.0 : x;
    case Activation::leaky_relu:
      return x < 0 ? 0.01 * x : x;
    case Activation::tanh:
      return std::tanh(x);
    case Activation::sigmoid:
      return 1.0 / (1.0 + std::exp(-x));
    case Activation::silu:
      return x / (1.0 + std::exp(-x));
    case Activation::gelu:
      return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    case Activation::softplus:
      return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
  }
  throw Error("unknown activation");
}

// The x in [0, n) for which x * stride + offset lies in [0, size).
struct Span {
  int64_t begin, end;
};
Span inside(int64_t n, int64_t stride, int64_t offset, int64_t size) {
  const auto first_from = [&](int64_t bound) {  // the first x with x * stride + offset >= bound
    return bound > offset ? (bound - offset + stride - 1) / stride : 0;
  };
  const int64_t begin = std::min(first_from(0), n);
  return {begin, std::clamp(first_from(size), begin, n)};
}

// sums[i * sums_step] += factor * row[i * row_step]
ELBO_CLONES void add_row(int64_t count, double factor, const double* row, int64_t row_step,
                         double* __restrict sums, int64_t sums_step) {
  if (row_step == 1 && sums_step == 1) {
    for (int64_t i = 0; i < count; ++i) sums[i] += factor * row[i];
  } else {
    for (int64_t i = 0; i < count; ++i) sums[i * sums_step] += factor * row[i * row_step];
  }
}

// out[o, ...] of one image as sums over its inputs: along a row of the output for each tap.
void convolve(const AuditLayer& l, const double* in, double* out) {
  const AuditWindow& w = l.window;
  const AuditPicture &from = l.from, &to = l.to;
  for (int64_t o = 0; o < to.channels; ++o) {
    std::fill_n(out + o * to.height * to.width, to.height * to.width, l.bias[o]);
    for (int64_t i = 0; i < from.channels; ++i) {
      const double* kernel = l.weight.data() + (o * from.channels + i) * w.kernel_h * w.kernel_w;
      for (int64_t y = 0; y < to.height; ++y) {
        for (int64_t r = 0; r < w.kernel_h; ++r) {
          const int64_t v = y * w.stride_h + r * w.dilation_h - w.padding_h;
          if (v < 0 || v >= from.height) continue;
          const double* row = in + (i * from.height + v) * from.width;
          double* sums = out + (o * to.height + y) * to.width;
          for (int64_t s = 0; s < w.kernel_w; ++s) {
            const int64_t offset = s * w.dilation_w - w.padding_w;
            const Span x = inside(to.width, w.stride_w, offset, from.width);
            if (x.begin == x.end) continue;
            add_row(x.end - x.begin, kernel[r * w.kernel_w + s],
                    row + x.begin * w.stride_w + offset, w.stride_w, sums + x.begin, 1);
          }
        }
      }
    }
  }
}

// Every input pixel adds its kernel to the output: the definition, where training gathers.
void convolve_transposed(const AuditLayer& l, const double* in, double* out) {
  const AuditWindow& w = l.window;
  const AuditPicture &from = l.from, &to = l.to;
  for (int64_t o = 0; o < to.channels; ++o) {
    std::fill_n(out + o * to.height * to.width, to.height * to.width, l.bias[o]);
  }
  for (int64_t i = 0; i < from.channels; ++i) {
    for (int64_t o = 0; o < to.channels; ++o) {
      const double* kernel = l.weight.data() + (i * to.channels + o) * w.kernel_h * w.kernel_w;
      for (int64_t y = 0; y < from.height; ++y) {
        for (int64_t r = 0; r < w.kernel_h; ++r) {
          const int64_t v = y * w.stride_h + r * w.dilation_h - w.padding_h;
          if (v < 0 || v >= to.height) continue;
          const double* row = in + (i * from.height + y) * from.width;
          double* sums = out + (o * to.height + v) * to.width;
          for (int64_t s = 0; s < w.kernel_w; ++s) {
            const int64_t offset = s * w.dilation_w - w.padding_w;
            const Span x = inside(from.width, w.stride_w, offset, to.width);
            if (x.begin == x.end) continue;
            add_row(x.end - x.begin, kernel[r * w.kernel_w + s], row + x.begin, 1,
                    sums + x.begin * w.stride_w + offset, w.stride_w);
          }
        }
      }
    }
  }
}

// Bilinear as with align_corners=False: pixel centres at (i + 1/2) / factor, edges repeated.
double sampled(const double* plane, const AuditPicture& p, double y, double x) {
  const double top = std::clamp(y, 0.0, static_cast<double>(p.height - 1));
  const double left = std::clamp(x, 0.0, static_cast<double>(p.width - 1));
  const auto i = static_cast<int64_t>(top), j = static_cast<int64_t>(left);
  const int64_t below = std::min(i + 1, p.height - 1), right = std::min(j + 1, p.width - 1);
  const double a = top - static_cast<double>(i), b = left - static_cast<double>(j);
  return (1 - a) * ((1 - b) * plane[i * p.width + j] + b * plane[i * p.width + right]) +
         a * ((1 - b) * plane[below * p.width + j] + b * plane[below * p.width + right]);
}

void enlarge(const AuditLayer& l, const double* in, double* out) {
  const AuditPicture &from = l.from, &to = l.to;
  const int64_t fy = l.window.stride_h, fx = l.window.stride_w;
  for (int64_t c = 0; c < to.channels; ++c) {
    const double* plane = in + c * from.height * from.width;
    for (int64_t y = 0; y < to.height; ++y) {
      for (int64_t x = 0; x < to.width; ++x) {
        double& value = out[(c * to.height + y) * to.width + x];
        value = l.bilinear ? sampled(plane, from, (y + 0.5) / fy - 0.5, (x + 0.5) / fx - 0.5)
                           : plane[y / fy * from.width + x / fx];
      }
    }
  }
}

// Padding counts as zeros, as PyTorch's default has it.
void average(const AuditLayer& l, const double* in, double* out) {
  const AuditWindow& w = l.window;
  const AuditPicture &from = l.from, &to = l.to;
  for (int64_t c = 0; c < to.channels; ++c) {
    for (int64_t y = 0; y < to.height; ++y) {
      for (int64_t x = 0; x < to.width; ++x) {
        double sum = 0;
        for (int64_t r = 0; r < w.kernel_h; ++r) {
          for (int64_t s = 0; s < w.kernel_w; ++s) {
            const int64_t v = y * w.stride_h + r - w.padding_h,
                          u = x * w.stride_w + s - w.padding_w;
            if (v < 0 || u < 0 || v >= from.height || u >= from.width) continue;
            sum += in[(c * from.height + v) * from.width + u];
          }
        }
        out[(c * to.height + y) * to.width + x] =
            sum / static_cast<double>(w.kernel_h * w.kernel_w);
      }
    }
  }
}

void scale_channels(const AuditLayer& l, const double* in, double* out) {
  const int64_t pixels = l.from.height * l.from.width;
  for (int64_t i = 0; i < l.in; ++i) out[i] = l.weight[i / pixels] * in[i] + l.bias[i / pixels];
}

// Mean and variance of the channels of a group, which lie one after the other.
void normalise_groups(const AuditLayer& l, const double* in, double* out) {
  const int64_t pixels = l.from.height * l.from.width, size = l.in / l.groups;
  for (int64_t begin = 0; begin < l.in; begin += size) {
    double mean = 0, variance = 0;
    for (int64_t i = begin; i < begin + size; ++i) mean += in[i] / static_cast<double>(size);
    for (int64_t i = begin; i < begin + size; ++i) {
      variance += (in[i] - mean) * (in[i] - mean) / static_cast<double>(size);
    }
    for (int64_t i = begin; i < begin + size; ++i) {
      const double normal = (in[i] - mean) / std::sqrt(variance + kAuditGroupEpsilon);
      out[i] = l.weight[i / pixels] * normal + l.bias[i / pixels];
    }
  }
}

AuditRows add(const AuditRows& a, const AuditRows& b) {
  AuditRows sum = a;
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += b[i];
  return sum;
}

AuditRows attend(const AuditLayer& l, const AuditRows& x) {
  const int64_t channels = l.from.channels, pixels = l.from.height * l.from.width;
  const AuditRows normal = audit_apply(l.branch[0], x);
  const AuditRows q = audit_apply(l.branch[1], normal), k = audit_apply(l.branch[2], normal),
                  v = audit_apply(l.branch[3], normal);
  AuditRows mixed(x.size());
  std::vector<double> weights(static_cast<size_t>(pixels));
  for (int64_t first = 0; first < static_cast<int64_t>(x.size()); first += l.in) {
    for (int64_t i = 0; i < pixels; ++i) {
      double total = 0;
      for (int64_t j = 0; j < pixels; ++j) {
        double score = 0;
        for (int64_t c = 0; c < channels; ++c) {
          score += q[first + c * pixels + i] * k[first + c * pixels + j];
        }
        weights[j] = score / std::sqrt(static_cast<double>(channels));
      }
      const double largest = *std::max_element(weights.begin(), weights.end());
      for (double& weight : weights) total += weight = std::exp(weight - largest);
      for (int64_t c = 0; c < channels; ++c) {
        double& sum = mixed[first + c * pixels + i];
        for (int64_t j = 0; j < pixels; ++j) {
          sum += weights[j] / total * v[first + c * pixels + j];
        }
      }
    }
  }
  return add(x, audit_apply(l.branch[4], mixed));
}

void apply_to_image(const AuditLayer& layer, const double* in, double* out) {
  switch (layer.kind) {
    case AuditLayer::Kind::conv:
      return convolve(layer, in, out);
    case AuditLayer::Kind::conv_transpose:
      return convolve_transposed(layer, in, out);
    case AuditLayer::Kind::scale_channels:
      return scale_channels(layer, in, out);
    case AuditLayer::Kind::group_norm:
      return normalise_groups(layer, in, out);
    case AuditLayer::Kind::upsample:
      return enlarge(layer, in, out);
    case AuditLayer::Kind::average:
      return average(layer, in, out);
    case AuditLayer::Kind::linear:
    case AuditLayer::Kind::residual:
    case AuditLayer::Kind::attention:
      break;
  }
  throw Error("unknown layer");
}

}  // namespace

AuditRows audit_apply(const AuditLayer& layer, const AuditRows& input) {
  if (layer.kind == AuditLayer::Kind::residual) {
    return add(audit_run(layer.skip, input), audit_run(layer.branch, input));
  }
  if (layer.kind == AuditLayer::Kind::attention) return attend(layer, input);
  const auto rows = static_cast<int64_t>(input.size()) / layer.in;
  AuditRows output(static_cast<size_t>(rows * layer.out));
  if (layer.kind == AuditLayer::Kind::linear) {
    for (int64_t r = 0; r < rows; ++r) {
      std::copy(layer.bias.begin(), layer.bias.end(), output.begin() + r * layer.out);
    }
    accumulate(rows, layer.in, layer.out, input.data(), layer.weight.data(), output.data());
  } else {
    for (int64_t r = 0; r < rows; ++r) {
      apply_to_image(layer, input.data() + r * layer.in, output.data() + r * layer.out);
    }
  }
  if (layer.activation != Activation::identity) {
    for (double& value : output) value = activate_in_double(layer.activation, value);
  }
  return output;
}

AuditRows audit_run(const std::vector<AuditLayer>& layers, const AuditRows& input) {
  AuditRows rows = input;
  for (const AuditLayer& layer : layers) rows = audit_apply(layer, rows);
  return rows;
}

}  // namespace elbo
