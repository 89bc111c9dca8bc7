// Products with operands rounded to TF32: a tensor core reads 10 bits of mantissa and sums in fp32.
#include "tests/kernels/linear_fixture.h"

namespace elbo {
namespace {

// Ours are rounded: each operand is off by 2^-11 of itself at most, so each term by 2^-10. The library may
// leave it to the tensor cores, which drop the last bits: twice as much. Sums are as good as fp32's.
double tolerance_of(const Exec& exec) {
  return (exec.product_kernels == ProductKernels::own ? 0x1p-10 : 0x1p-9) + oracle::kTolerance;
}

class LinearTf32Test : public LinearTest {
 protected:
  // The library's products, and ours.
  std::vector<Exec> tf32() {
    std::vector<Exec> both(2, exec());
    for (Exec& each : both) each.products = ProductPrecision::tf32;
    both[0].product_kernels = ProductKernels::vendor;
    both[1].product_kernels = ProductKernels::own;
    return both;
  }

  std::vector<float> forward(const Exec& e, const LinearShape& s, const std::vector<float>& x,
                             const std::vector<float>& w, const std::vector<float>& bias) {
    const DeviceBuffer<float> xd(device(), x), wd(device(), w), bd(device(), bias);
    DeviceBuffer<float> y(device(), static_cast<size_t>(s.batch * s.out));
    linear_forward(e, LinearForward{.x = xd.data(),
                                    .weight = wd.data(),
                                    .bias = bd.data(),
                                    .y = y.data(),
                                    .batch = s.batch,
                                    .in = s.in,
                                    .out = s.out});
    return y.download();
  }

  void check_backward(const Exec& e);
};

TEST_P(LinearTf32Test, ForwardIsTheProductOfRoundedOperands) {
  Numbers numbers(11);
  for (const Exec& e : tf32()) {
    bool differs = false;
    for (const LinearShape& s : kShapes) {
      const auto x = numbers(s.batch * s.in), w = numbers(s.in * s.out), bias = numbers(s.out);
      const auto got = forward(e, s, x, w, bias);
      oracle::expect_near(got, oracle::forward(s, x, w, &bias), oracle::to_string(s),
                          tolerance_of(e));
      differs = differs || got != forward(exec(), s, x, w, bias);
    }
    EXPECT_EQ(differs, device() == Device::cuda)
        << "the CPU has no TF32; CUDA must use it somewhere";
  }
}

void LinearTf32Test::check_backward(const Exec& e) {
  Numbers numbers(12);
  for (const LinearShape& s : kShapes) {
    const auto x = numbers(s.batch * s.in), w = numbers(s.in * s.out),
               dy = numbers(s.batch * s.out);
    const DeviceBuffer<float> xd(device(), x), wd(device(), w), dyd(device(), dy);
    DeviceBuffer<float> dx(device(), x.size()), dw(device(), w.size());
    DeviceBuffer<float> db(device(), static_cast<size_t>(s.out));
    linear_backward_data(e, LinearBackwardData{.dy = dyd.data(),
                                               .weight = wd.data(),
                                               .dx = dx.data(),
                                               .batch = s.batch,
                                               .in = s.in,
                                               .out = s.out});
    linear_backward_weight(e, LinearBackwardWeight{.x = xd.data(),
                                                   .dy = dyd.data(),
                                                   .dweight = dw.data(),
                                                   .dbias = db.data(),
                                                   .batch = s.batch,
                                                   .in = s.in,
                                                   .out = s.out});
    const std::string what = oracle::to_string(s);
    oracle::expect_near(dx.download(), oracle::backward_data(s, dy, w), what + " dx",
                        tolerance_of(e));
    oracle::expect_near(dw.download(), oracle::backward_weight(s, x, dy), what + " dW",
                        tolerance_of(e));
    Matrix sums(s.out);
    for (size_t i = 0; i < dy.size(); ++i) {
      sums.value[i % s.out] += dy[i];
      sums.magnitude[i % s.out] += std::abs(dy[i]);
    }
    oracle::expect_near(db.download(), sums, what + " dbias", tolerance_of(e));
  }
}

TEST_P(LinearTf32Test, BackwardIsTheProductOfRoundedOperands) {
  for (const Exec& e : tf32()) check_backward(e);
}

INSTANTIATE_TEST_SUITE_P(Devices, LinearTf32Test, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
