#include "models/latent_path.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"
#include "kernels/noise.h"

namespace elbo {
namespace {

std::vector<float> blend(std::span<const float> a, std::span<const float> b, double of_a,
                         double of_b) {
  ELBO_CHECK(a.size() == b.size(), "latents of ", a.size(), " and ", b.size(),
             " dimensions have nothing between them");
  std::vector<float> z(a.size());
  for (size_t d = 0; d < a.size(); ++d) z[d] = static_cast<float>(of_a * a[d] + of_b * b[d]);
  return z;
}

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t d = 0; d < a.size(); ++d) sum += static_cast<double>(a[d]) * b[d];
  return sum;
}

// Coefficients from the constant term up.
template <size_t N>
double polynomial(const double (&coefficients)[N], double x) {
  double sum = 0;
  for (size_t i = N; i-- > 0;) sum = sum * x + coefficients[i];
  return sum;
}

}  // namespace

std::vector<float> linear_between(std::span<const float> a, std::span<const float> b, double t) {
  return blend(a, b, 1 - t, t);
}

std::vector<float> spherical_between(std::span<const float> a, std::span<const float> b, double t) {
  ELBO_CHECK(a.size() == b.size(), "latents of ", a.size(), " and ", b.size(),
             " dimensions have nothing between them");
  const double lengths = std::sqrt(dot(a, a) * dot(b, b));
  if (lengths == 0) return linear_between(a, b, t);
  const double cosine = std::clamp(dot(a, b) / lengths, -1.0, 1.0);
  const double angle = std::acos(cosine), sine = std::sin(angle);
  constexpr double kSmallest = 1e-6;  // below, the plane of the arc is rounding
  if (sine < kSmallest) return linear_between(a, b, t);
  return blend(a, b, std::sin((1 - t) * angle) / sine, std::sin(t * angle) / sine);
}

double inverse_normal_cdf(double p) {
  ELBO_CHECK(p > 0 && p < 1, "the inverse Gaussian CDF of ", p, " is not finite");
  static constexpr double kA[] = {3.3871328727963666080e0,  1.3314166789178437745e+2,
                                  1.9715909503065514427e+3, 1.3731693765509461125e+4,
                                  4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                  3.3430575583588128105e+4, 2.5090809287301226727e+3};
  static constexpr double kB[] = {1.0,
                                  4.2313330701600911252e+1,
                                  6.8718700749205790830e+2,
                                  5.3941960214247511077e+3,
                                  2.1213794301586595867e+4,
                                  3.9307895800092710610e+4,
                                  2.8729085735721942674e+4,
                                  5.2264952788528545610e+3};
  static constexpr double kC[] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                                  5.76949722146069140550e0,  3.64784832476320460504e0,
                                  1.27045825245236838258e0,  2.41780725177450611770e-1,
                                  2.27238449892691845833e-2, 7.74545014278341407640e-4};
  static constexpr double kD[] = {1.0,
                                  2.05319162663775882187e0,
                                  1.67638483018380384940e0,
                                  6.89767334985100004550e-1,
                                  1.48103976427480074590e-1,
                                  1.51986665636164571966e-2,
                                  5.47593808499534494600e-4,
                                  1.05075007164441684324e-9};
  static constexpr double kE[] = {6.65790464350110377720e0,  5.46378491116411436990e0,
                                  1.78482653991729133580e0,  2.96560571828504891230e-1,
                                  2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                  2.71155556874348757815e-5, 2.01033439929228813265e-7};
  static constexpr double kF[] = {1.0,
                                  5.99832206555887937690e-1,
                                  1.36929880922735805310e-1,
                                  1.48753612908506148525e-2,
                                  7.86869131145613259100e-4,
                                  1.84631831751005468180e-5,
                                  1.42151175831644588870e-7,
                                  2.04426310338993978564e-15};
  const double q = p - 0.5;
  if (std::abs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * polynomial(kA, r) / polynomial(kB, r);
  }
  const double r = std::sqrt(-std::log(std::min(p, 1 - p)));
  const double x = r <= 5 ? polynomial(kC, r - 1.6) / polynomial(kD, r - 1.6)
                          : polynomial(kE, r - 5) / polynomial(kF, r - 5);
  return std::copysign(x, q);
}

std::vector<double> random_direction(int64_t dim, uint64_t seed, int64_t draw) {
  NoiseAddress at;
  at.purpose = NoisePurpose::prior;
  at.sample = static_cast<uint32_t>(draw);
  at.draw = 1;  // 0 are the prior's own draws
  std::vector<double> direction;
  double squares = 0;
  for (int64_t d = 0; d < dim; ++d) {
    direction.push_back(normal1(NoiseKey{seed}, at, static_cast<uint64_t>(d)));
    squares += direction.back() * direction.back();
  }
  for (double& value : direction) value /= std::sqrt(squares);
  return direction;
}

}  // namespace elbo
