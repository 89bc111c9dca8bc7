#include "tests/support/classic_mistakes.h"

#include <cmath>

#include "engine/ops/likelihood_op.h"

namespace elbo {
namespace {

struct Element {
  float eps, sigma, dsigma, kl, dkl_dmu, dkl_dv;
};

Element element(Mistake mistake, const NoiseSource& noise, int64_t row, int64_t dim, float mu,
                float v) {
  const NoiseAddress at = noise.address(row, noise.step());
  const auto d = static_cast<uint64_t>(dim);
  Element e{};
  e.eps = mistake == Mistake::uniform_noise ? uniform1(noise.key(), at, d)
                                            : normal1(noise.key(), at, d);
  const bool wrong_sigma = mistake == Mistake::sigma_for_variance;
  e.sigma = std::exp(wrong_sigma ? v : 0.5f * v);
  e.dsigma = wrong_sigma ? e.sigma : 0.5f * e.sigma;
  float factor = 0.5f;
  if (mistake == Mistake::kl_without_half) factor = 1.0f;
  if (mistake == Mistake::flipped_kl) factor = -0.5f;
  e.kl = factor * (mu * mu + std::exp(v) - 1.0f - v);
  e.dkl_dmu = factor * 2.0f * mu;
  e.dkl_dv = factor * (std::exp(v) - 1.0f);
  return e;
}

struct Probe {
  std::vector<float> z, kl;
};

// Latents of `rows` equal posteriors N(mu, e^v).
Probe probe(Mistake mistake, int64_t rows, float mu, float v) {
  Context context;
  Tape tape(context);
  tape.set_recording(false);
  std::vector<float> stats(static_cast<size_t>(2 * rows));
  for (size_t i = 0; i < stats.size(); i += 2) stats[i] = mu, stats[i + 1] = v;
  NoiseSource noise{};
  noise.seed = 17;
  LatentSample latent;
  tape.run(1, [&](Tape& t) {
    const Tensor x = external_tensor(stats.data(), Shape{rows, 2}, Device::cpu);
    latent = mistake == Mistake::none ? reparam_kl(t, x, noise, {})
                                      : mistaken_reparam_kl(t, x, noise, {}, mistake);
    t.keep(latent.z);
    t.keep(latent.kl);
  });
  const auto copy = [&](const Tensor& t) {
    return std::vector<float>(t.as<float>(), t.as<float>() + t.size());
  };
  return {copy(latent.z), copy(latent.kl)};
}

// Reconstruction term of one image of `pixels` pixels at logits 0: every pixel costs log 2.
double nll_at_zero_logits(Mistake mistake, int64_t pixels) {
  Context context;
  Tape tape(context);
  tape.set_recording(false);
  std::vector<float> logits(static_cast<size_t>(pixels), 0.0f), target(logits.size(), 1.0f);
  Tensor nll;
  tape.run(1, [&](Tape& t) {
    const Shape shape{1, pixels};
    nll = bernoulli_nll(t, external_tensor(logits.data(), shape, Device::cpu),
                        external_tensor(target.data(), shape, Device::cpu), {});
    t.keep(nll);
  });
  return recon_weight(mistake, pixels) * nll.as<float>()[0];
}

}  // namespace

const char* mistake_name(Mistake mistake) {
  static constexpr const char* kNames[] = {"none",          "kl_without_half",    "mean_bce",
                                           "uniform_noise", "sigma_for_variance", "flipped_kl"};
  return kNames[static_cast<int>(mistake)];
}

float recon_weight(Mistake mistake, int64_t pixels) {
  return mistake == Mistake::mean_bce ? 1.0f / static_cast<float>(pixels) : 1.0f;
}

LatentSample mistaken_reparam_kl(Tape& tape, const Tensor& stats, const NoiseSource& noise,
                                 const RowWeight& kl_weight, Mistake mistake) {
  const int64_t batch = stats.shape[0], dim = stats.shape[1] / 2;
  const Tensor z = tape.new_value({batch, dim}, DType::f32);
  const Tensor kl = tape.new_buffer({batch}, DType::f32);
  tape.op("mistaken_reparam_kl", {stats}, {z, kl}, [&](const Exec&) {
    const float* in = stats.as<float>();
    for (int64_t b = 0; b < batch; ++b) {
      kl.as<float>()[b] = 0;
      for (int64_t d = 0; d < dim; ++d) {
        const float mu = in[2 * dim * b + d], v = in[2 * dim * b + dim + d];
        const Element e = element(mistake, noise, b, d, mu, v);
        z.as<float>()[dim * b + d] = mu + e.sigma * e.eps;
        kl.as<float>()[b] += e.kl;
      }
    }
  });
  tape.record("mistaken_reparam_kl", {stats}, [=](Tape& t) {
    const Tensor dz = *t.upstream(z);
    const GradSlot slot = t.grad_slot(stats);
    t.op("mistaken_reparam_kl_backward", {stats, dz}, {slot.dx}, [&](const Exec&) {
      const float* in = stats.as<float>();
      const LossWeight weight = kl_weight.as<float>(batch);
      for (int64_t b = 0; b < batch; ++b) {
        for (int64_t d = 0; d < dim; ++d) {
          const int64_t mu = 2 * dim * b + d, v = mu + dim;
          const Element e = element(mistake, noise, b, d, in[mu], in[v]);
          const float upstream = dz.as<float>()[dim * b + d];
          slot.dx.as<float>()[mu] = upstream + weight.at(b) * e.dkl_dmu;
          slot.dx.as<float>()[v] = upstream * e.dsigma * e.eps + weight.at(b) * e.dkl_dv;
        }
      }
    });
  });
  return {z, kl};
}

std::vector<std::string> violated_properties(Mistake mistake) {
  std::vector<std::string> violated;
  const auto expect = [&](const char* property, bool holds) {
    if (!holds) violated.push_back(property);
  };
  const auto near = [](double a, double b, double tolerance) {
    return std::abs(a - b) <= tolerance;
  };

  // KL(N(1.5, 1) || N(0, 1)) = 9/8 and KL(N(0, 4) || N(0, 1)) = (4 - 1 - log 4) / 2, by hand.
  expect("KL of a shifted Gaussian", near(probe(mistake, 1, 1.5f, 0).kl[0], 1.125, 1e-5));
  const float log4 = std::log(4.0f);
  expect("KL of a wide Gaussian", near(probe(mistake, 1, 0, log4).kl[0], (3 - log4) / 2, 1e-5));

  // 20,000 draws of N(1, 4): standard errors are 0.014 of the mean and 0.04 of the variance.
  const int64_t draws = 20000;
  const std::vector<float> z = probe(mistake, draws, 1.0f, log4).z;
  double mean = 0, variance = 0;
  for (float value : z) mean += value / static_cast<double>(draws);
  for (float value : z) variance += (value - mean) * (value - mean) / static_cast<double>(draws);
  expect("mean of the sample", near(mean, 1.0, 0.07));
  expect("variance of the sample", near(variance, 4.0, 0.2));

  expect("nats per image are a sum over pixels",
         near(nll_at_zero_logits(mistake, 100), 100 * std::log(2.0), 1e-3));
  return violated;
}

}  // namespace elbo
