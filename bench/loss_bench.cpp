// What a training step does between its products: the sample, the KL and the likelihoods.
//
//   build/cpu/bench/loss_bench                 OMP_NUM_THREADS=1 for figures of one core
//
// One line per case: median time, bytes moved once each way as the headers state them, and the rate.
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "bench/timing.h"
#include "kernels/bernoulli_nll.h"
#include "kernels/error.h"
#include "kernels/gaussian_kl.h"
#include "kernels/gaussian_nll.h"
#include "kernels/reparam_kl.h"

namespace elbo {
namespace {

constexpr int64_t kBatch = 128, kPixels = 784;

void report(const std::string& name, double bytes, double us) {
  std::printf("%-36s %8.1f us %8.3f MB %8.1f GB/s\n", name.c_str(), us, bytes * 1e-6,
              bytes * 1e-3 / us);
}

// Logits in [-5, 5), every value about equally often.
std::vector<float> outputs() {
  std::vector<float> values(kBatch * kPixels);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i * 7919 % 1000) * 0.01f - 5.0f;
  }
  return values;
}

template <class Target>
std::vector<Target> targets(Target white) {
  std::vector<Target> values(kBatch * kPixels);
  for (size_t i = 0; i < values.size(); ++i) values[i] = i % 5 == 0 ? white : Target{0};
  return values;
}

template <class Target>
void time_likelihoods(const std::string& kind, Target white) {
  const Exec exec;
  const std::vector<float> output = outputs();
  const std::vector<Target> target = targets(white);
  const float weight = 1.0f;
  std::vector<float> loss(kBatch), gradient(output.size());
  const LossWeight mean{&weight, 0, 1.0f / kBatch};
  const double read = static_cast<double>(output.size()) * (sizeof(float) + sizeof(Target));
  const double both = read + static_cast<double>(output.size()) * sizeof(float);

  BernoulliNll<float, Target> bernoulli{output.data(), target.data(),   kBatch, kPixels,
                                        loss.data(),   gradient.data(), mean};
  report("bernoulli " + kind, both, bench::median_us([&] { bernoulli_nll(exec, bernoulli); }));
  bernoulli.dlogits = nullptr;
  report("bernoulli " + kind + ", loss only", read,
         bench::median_us([&] { bernoulli_nll(exec, bernoulli); }));

  const GaussianNll<float, Target> gaussian{
      output.data(), target.data(), kBatch,          kPixels, nullptr,
      0.0f,          loss.data(),   gradient.data(), nullptr, mean};
  report("gaussian " + kind, both, bench::median_us([&] { gaussian_nll(exec, gaussian); }));
}

void time_latents(int64_t dim) {
  const Exec exec;
  const StepState state;
  const float weight = 1.0f;
  const int64_t stride = 2 * dim;
  const std::vector<float> posterior(kBatch * stride, 0.3f);
  std::vector<float> z(kBatch * dim), gradient(posterior.size()), kl(kBatch), kl_dim(dim);
  const float* mu = posterior.data();
  NoiseSource noise;
  noise.state = &state;
  const std::string name = concat(" ", kBatch, "x", dim);
  const double matrix = 4.0 * kBatch * static_cast<double>(dim);

  const ReparamKlForward<float> forward{mu,        mu + dim, stride, z.data(),
                                        kl.data(), kBatch,   dim,    noise};
  report("reparam_kl forward" + name, 3 * matrix,
         bench::median_us([&] { reparam_kl_forward(exec, forward); }));
  const ReparamKlBackward<float> backward{mu,
                                          mu + dim,
                                          stride,
                                          z.data(),
                                          {&weight, 0, 1.0f},
                                          gradient.data(),
                                          gradient.data() + dim,
                                          stride,
                                          GradMode::write,
                                          kBatch,
                                          dim,
                                          noise};
  report("reparam_kl backward" + name, 5 * matrix,
         bench::median_us([&] { reparam_kl_backward(exec, backward); }));
  report("gaussian_noise" + name, matrix,
         bench::median_us([&] { gaussian_noise(exec, z.data(), kBatch, dim, noise); }));
  const GaussianKlForward<float> rows_and_columns{mu,  mu + dim,  stride,       kBatch,
                                                  dim, kl.data(), kl_dim.data()};
  report("gaussian_kl, rows and columns" + name, 4 * matrix,
         bench::median_us([&] { gaussian_kl_forward(exec, rows_and_columns); }));
}

}  // namespace
}  // namespace elbo

int main() {
  elbo::time_likelihoods<float>("float target", 1.0f);
  elbo::time_likelihoods<uint8_t>("pixel target", 255);
  for (const int64_t dim : {2, 20, 128, 4096}) elbo::time_latents(dim);
}
