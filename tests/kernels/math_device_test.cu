// The bits of the scalar maths, the noise and the shuffle on each device, as one fingerprint: a GPU
// must reach the number that the CPU reaches, or epsilon of a backward pass, a resumed run and the
// other device would differ.
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <vector>

#include "kernels/launch.h"
#include "kernels/math.h"
#include "kernels/noise.h"
#include "kernels/shuffle.h"
#include "tests/support/device.h"

namespace elbo {
namespace {

constexpr int64_t kPoints = 1 << 14;
constexpr int kFunctions = 17;

// Bits of function k at point i, functions interleaved. NaN is written as one pattern: its sign and
// payload are not promised.
struct WriteBits {
  uint32_t* out;

  ELBO_HD static uint32_t canonical(float y) { return y == y ? math::bits_of(y) : 0x7fc00000u; }

  ELBO_HD void operator()(int64_t i) const {
    const float x = math::float_of(static_cast<uint32_t>(i) << 18);  // every exponent, both signs
    const float turn = static_cast<float>(i) * 0x1.9p-14f - 0.7f;
    const math::SinCos angle = math::sincos_turns(turn);
    const NoiseAddress at{NoisePurpose::latent, 5, static_cast<uint32_t>(i), 1};
    const Four normal = normal4(NoiseKey{42}, at, 3);
    const uint64_t n = static_cast<uint64_t>(kPoints) - 5;
    const uint64_t position = static_cast<uint64_t>(i) % n;
    uint32_t* y = out + i * kFunctions;
    y[0] = canonical(math::exp(x));
    y[1] = canonical(math::expm1(x));
    y[2] = canonical(math::expm1_minus_x(x));
    y[3] = canonical(math::log(x));
    y[4] = canonical(math::log1p(x));
    y[5] = canonical(math::tanh(x));
    y[6] = canonical(math::sigmoid(x));
    y[7] = canonical(math::softplus(x));
    y[8] = canonical(math::sqrt(x));
    y[9] = canonical(math::normal_pdf(x));
    y[10] = canonical(math::normal_cdf(x));
    y[11] = canonical(angle.sin);
    y[12] = canonical(angle.cos);
    y[13] = canonical(normal.v0);
    y[14] = canonical(normal.v3);
    y[15] = canonical(uniform1(NoiseKey{42}, at, 13));
    y[16] = static_cast<uint32_t>(shuffled_index(position, n, shuffle_key(42, 7)));
  }
};

class MathBits : public DeviceTest {};

TEST_P(MathBits, AreTheSameOnEveryDevice) {
  DeviceBuffer<uint32_t> out(device(), static_cast<size_t>(kPoints * kFunctions));
  for_each(exec(), kPoints, WriteBits{out.data()});
  const std::vector<uint32_t> bits = out.download();
  // Point by point against the functions called here, by the host's compiler, one at a time.
  std::vector<uint32_t> expected(bits.size());
  for (int64_t i = 0; i < kPoints; ++i) WriteBits{expected.data()}(i);
  for (size_t k = 0; k < bits.size(); ++k) {
    ASSERT_EQ(bits[k], expected[k])
        << "function " << k % kFunctions << " at point " << k / kFunctions;
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, MathBits, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
