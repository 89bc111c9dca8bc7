// Ways through the latent space.
//
//   linear     (1 - t) a + t b
//   spherical  sin((1 - t) w) / sin w a + sin(t w) / sin w b,   w the angle between a and b: keeps the
//              length where a and b have the same, as draws of N(0, I) in many dimensions nearly do.
//              Linear where a and b have one direction, opposite ones, or none (a zero vector)
//   manifold   z = inverse Gaussian CDF of equally spaced quantiles: cells of equal prior probability
//   neighbour  z + radius u,   u uniform on the unit sphere
//
// Shapes    latents are vectors [D]
// Numerics  computed in double
// Source    Shoemake 1985, doi:10.1145/325334.325242; Wichura 1988, AS 241, doi:10.2307/2347330
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace elbo {

std::vector<float> linear_between(std::span<const float> a, std::span<const float> b, double t);
std::vector<float> spherical_between(std::span<const float> a, std::span<const float> b, double t);

// p in (0, 1); relative error below 1e-15 (AS 241's PPND16).
double inverse_normal_cdf(double p);

// u, draw number `draw` of `seed`.
std::vector<double> random_direction(int64_t dim, uint64_t seed, int64_t draw);

}  // namespace elbo
