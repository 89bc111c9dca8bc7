#!/usr/bin/env python3
"""Makes likelihoods.json: log densities of one pixel as SciPy computes them in float64.

    tests/golden/make_likelihoods.py > tests/golden/likelihoods.json

Needs scipy and numpy. `first` and `second` are a decoder's raw outputs; what bounds and positive functions make
of them is written here once more, from docs/math.md. All inputs are numbers that float32 holds exactly.
"""

import json
import math

import numpy as np
import scipy
from scipy import special, stats

LEVELS = [0, 1, 77, 128, 254, 255]


def f32(value: float) -> float:
    return float(np.float32(value))


def bounded(raw: float, knee: float) -> float:
    return raw if abs(raw) <= knee else math.copysign(2 * knee - knee * knee / abs(raw), raw)


def continuous_bernoulli(x, logit, _):
    """A truncated exponential distribution, mirrored for positive logits."""
    if logit == 0:
        return 0.0
    rate = abs(logit)
    return -stats.truncexpon.logpdf(x if logit < 0 else 1 - x, rate, scale=1 / rate)


def gaussian_diagonal(x, mean, raw):
    return -stats.norm.logpdf(x, mean, math.exp(bounded(raw, 10) / 2))


def laplace(x, median, log_scale):
    return -stats.laplace.logpdf(x, median, math.exp(log_scale))


def logistic(x, location, raw):
    scale = math.exp(bounded(raw, 5))
    upper, lower = (x + 1 / 510 - location) / scale, (x - 1 / 510 - location) / scale
    if x == 0:
        return -stats.logistic.logcdf(upper)
    if x == 1:
        return -stats.logistic.logsf(lower)
    if upper + lower < 0:  # whichever tail leaves digits to subtract
        low, high = stats.logistic.logcdf(lower), stats.logistic.logcdf(upper)
    else:
        low, high = stats.logistic.logsf(upper), stats.logistic.logsf(lower)
    return -(high + math.log(-math.expm1(low - high)))


def beta(x, first, second):
    a, b = (1 / 64 + special.log1p(math.exp(raw)) for raw in (first, second))
    return -(stats.beta.logpdf((255 * x + 0.5) / 256, a, b) + math.log(255 / 256))


CASES = {
    "continuous-bernoulli": (continuous_bernoulli,
                             [(r, 0) for r in (-40, -3, -1, -0.99, -0.25, -0.001, 0, 0.001, 0.5, 1, 2.5, 30)]),
    "gaussian-diagonal": (gaussian_diagonal,
                          [(m, v) for m in (-0.5, 0.3, 2) for v in (-30, -10, -4, 0, 1.5, 25)]),
    "laplace": (laplace, [(m, s) for m in (-0.5, 0.3, 2) for s in (-3, -0.7, 0, 1.5)]),
    "logistic": (logistic, [(m, s) for m in (-4, 0.3, 0.998, 20) for s in (-20, -6, -3, 0, 2, 7)]),
    "beta": (beta, [(a, b) for a in (-12, -1, 0, 3, 40, 600) for b in (-8, 0.5, 2, 30, 500)]),
}


def main() -> None:
    cases = []
    for name, (nll, outputs) in CASES.items():
        for first, second in outputs:
            for level in LEVELS:
                a, b = f32(first), f32(second)
                cases.append({"likelihood": name, "level": level, "first": a, "second": b,
                              "nll": float(nll(level / 255, a, b))})
    points = [f32(x) for x in (0.015625, 0.1, 0.5, 1, 1.4616321, 2, 3.99, 4, 7.5, 30, 400)]
    gamma = [{"x": x,
              "stirling_error": special.gammaln(x) - ((x - 0.5) * math.log(x) - x
                                                      + 0.5 * math.log(2 * math.pi)),
              "digamma_error": special.psi(x) - math.log(x)} for x in points]
    lines = [json.dumps(f"tests/golden/make_likelihoods.py, scipy {scipy.__version__}")]
    for rows in (gamma, cases):
        lines.append("[\n" + ",\n".join(json.dumps(row) for row in rows) + "]")
    print('{"made_by": %s,\n"gamma": %s,\n"cases": %s}' % tuple(lines))


if __name__ == "__main__":
    main()
