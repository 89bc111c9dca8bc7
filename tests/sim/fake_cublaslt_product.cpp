// The product and its epilogue on the CPU.
#include <bit>
#include <vector>

#include "tests/sim/fake_cublaslt.h"
#include "tests/sim/tensor.h"

namespace cudasim::lt {

float load(const void* data, cudaDataType_t type, int64_t index) {
  if (type == CUDA_R_32F) return static_cast<const float*>(data)[index];
  const uint32_t bits = static_cast<const uint16_t*>(data)[index];
  return std::bit_cast<float>(bits << 16);
}

namespace {

void store(void* data, cudaDataType_t type, int64_t index, float value) {
  if (type == CUDA_R_32F) {
    static_cast<float*>(data)[index] = value;
    return;
  }
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t nearest_even = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  static_cast<uint16_t*>(data)[index] =
      static_cast<uint16_t>(value != value ? (bits >> 16) | 0x40u : nearest_even);
}

// op(X) with the inner dimension contiguous: element (i, kk) at [i * k + kk].
std::vector<float> pack(const void* data, const Matrix& x, bool inner_is_rows, bool tf32) {
  const auto rows = static_cast<int64_t>(x.rows), cols = static_cast<int64_t>(x.cols);
  std::vector<float> packed(rows * cols);
  for (int64_t col = 0; col < cols; ++col) {
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t at = inner_is_rows ? col * rows + row : row * cols + col;
      const float value = load(data, x.type, col * x.ld + row);
      packed[at] = tf32 ? round_to_tf32(value) : value;
    }
  }
  return packed;
}

// Eight partial sums, added in a fixed tree: fast enough for tests, and the same bits every time.
float dot(const float* x, const float* y, int64_t count) {
  float lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int lane = 0; lane < 8; ++lane) lanes[lane] += x[i + lane] * y[i + lane];
  }
  for (; i < count; ++i) lanes[i % 8] += x[i] * y[i];
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

class Product {
 public:
  explicit Product(const Work& work)
      : work_(work),
        p_(work.problem),
        m_(p_.m()),
        n_(p_.n()),
        k_(p_.k()),
        tf32_(p_.op.compute == CUBLAS_COMPUTE_32F_FAST_TF32),
        a_(pack(work.a, p_.a, p_.op.transpose_a == CUBLAS_OP_T, tf32_)),
        b_(pack(work.b, p_.b, p_.op.transpose_b == CUBLAS_OP_N, tf32_)),
        alpha_(work.scalars_on_device() ? load(work.alpha, CUDA_R_32F, 0) : work.host_alpha),
        beta_(work.scalars_on_device() ? load(work.beta, CUDA_R_32F, 0) : work.host_beta) {}

  void run() {
    if (work_.algorithm.parts > 1) fill_workspace();
    for (int64_t col = 0; col < n_; ++col) {
      for (int64_t row = 0; row < m_; ++row) {
        float value = alpha_ * product(row, col);
        if (beta_ != 0) value += beta_ * load(work_.c, p_.c.type, col * p_.c.ld + row);
        store(work_.d, p_.d.type, col * p_.d.ld + row, epilogue(value, row, col));
      }
    }
    if (is_bias_gradient(p_.op.epilogue)) store_bias_gradient();
  }

 private:
  void fill_workspace() {
    auto* halves = static_cast<float*>(work_.workspace);
    const int64_t middle = k_ / 2;
    for (int64_t col = 0; col < n_; ++col) {
      for (int64_t row = 0; row < m_; ++row) {
        const float *x = &a_[row * k_], *y = &b_[col * k_];
        halves[col * m_ + row] = dot(x, y, middle);
        halves[(n_ + col) * m_ + row] = dot(x + middle, y + middle, k_ - middle);
      }
    }
  }

  float product(int64_t row, int64_t col) const {
    if (work_.algorithm.parts == 1) return dot(&a_[row * k_], &b_[col * k_], k_);
    const auto* halves = static_cast<const float*>(work_.workspace);
    return halves[col * m_ + row] + halves[(n_ + col) * m_ + row];
  }

  // The order of bits in a mask byte is not documented; least significant first, like kernels/ and as
  // NVIDIA's nvmath-python finds it (tests/.../test_epilog.py, verify_relu_bitmask).
  bool mask_bit(int64_t row, int64_t col) const {
    const auto* mask = static_cast<const uint8_t*>(p_.op.aux) + col * (p_.op.aux_ld / 8);
    return mask[row / 8] >> row % 8 & 1;
  }
  void set_mask_bit(int64_t row, int64_t col, bool on) {
    uint8_t& byte = static_cast<uint8_t*>(p_.op.aux)[col * (p_.op.aux_ld / 8) + row / 8];
    byte = static_cast<uint8_t>(on ? byte | 1u << row % 8 : byte & ~(1u << row % 8));
  }

  float epilogue(float value, int64_t row, int64_t col) {
    const uint32_t kind = p_.op.epilogue;
    if (uses_mask(kind) && !(kind & CUBLASLT_EPILOGUE_RELU)) {  // DRELU, DRELU_BGRAD
      return mask_bit(row, col) ? value : 0.0f;
    }
    if (kind & CUBLASLT_EPILOGUE_BIAS) value += load(p_.op.bias, p_.d.type, row);
    if (!(kind & CUBLASLT_EPILOGUE_RELU)) return value;
    if (uses_mask(kind)) set_mask_bit(row, col, value > 0);
    return value > 0 ? value : 0.0f;
  }

  void store_bias_gradient() {
    const int64_t length = bias_length(p_);
    for (int64_t i = 0; i < length; ++i) {
      float sum = 0;
      if (p_.op.epilogue == CUBLASLT_EPILOGUE_DRELU_BGRAD) {
        for (int64_t j = 0; j < n_; ++j) sum += load(work_.d, p_.d.type, j * p_.d.ld + i);
      } else {
        const auto& x = p_.op.epilogue == CUBLASLT_EPILOGUE_BGRADA ? a_ : b_;
        for (int64_t kk = 0; kk < k_; ++kk) sum += x[i * k_ + kk];
      }
      store(p_.op.bias, p_.d.type, i, sum);
    }
  }

  const Work& work_;
  const Problem& p_;
  const int64_t m_, n_, k_;
  const bool tf32_;
  const std::vector<float> a_, b_;
  const float alpha_, beta_;
};

}  // namespace

void compute(const Work& work) { Product(work).run(); }

}  // namespace cudasim::lt
