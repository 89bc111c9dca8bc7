// One element of reparam_kl, for both devices: the formulas of formulas.h put together.
#pragma once

#include "kernels/formulas.h"
#include "kernels/portability.h"

namespace elbo {

template <class R>
struct ReparamElement {
  R z, kl;
};

template <class R>
ELBO_HD ReparamElement<R> reparam_element(R mu, R raw_logvar, R eps) {
  const R v = formulas::bounded_logvar(raw_logvar);
  return {formulas::gaussian_sample(mu, v, eps), formulas::gaussian_kl(mu, v)};
}

template <class R>
struct ReparamGradient {
  R dmu, dlogvar;
};

// `weight` is the gradient of this row's KL.
template <class R>
ELBO_HD ReparamGradient<R> reparam_gradient(R mu, R raw_logvar, R eps, R dz, R weight) {
  const R v = formulas::bounded_logvar(raw_logvar);
  const R dv =
      dz * formulas::gaussian_sample_dlogvar(v, eps) + weight * formulas::gaussian_kl_dlogvar(v);
  return {dz + weight * formulas::gaussian_kl_dmu(mu),
          dv * formulas::bounded_logvar_derivative(raw_logvar)};
}

}  // namespace elbo
