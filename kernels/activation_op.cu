#include "kernels/activation_op.h"

#include "kernels/error.h"
#include "kernels/launch.h"
#include "kernels/launch_cells.h"
#include "kernels/sums.h"

namespace elbo {
namespace {

// What backward reads beside dy: the pre-activation or the output.
template <class T>
const T* saved_for_backward(const char* op, Activation activation, const T* y, const T* pre) {
  if (activation == Activation::identity) return nullptr;
  const bool needs_pre = needs_pre_activation(activation);
  const T* saved = needs_pre ? pre : y;
  ELBO_CHECK(saved, op, ": ", activation_name(activation), " needs ",
             needs_pre ? "its pre-activation" : "its output");
  return saved;
}

template <Activation A>
struct ActivationForward {
  template <class R>
  ELBO_HD void operator()(int64_t, const R* x, R* y) const {
    y[0] = activate<A>(x[0]);
  }
};

// in: dy, saved
template <Activation A>
struct ActivationBackwardWrite {
  template <class R>
  ELBO_HD void operator()(int64_t, const R* in, R* dx) const {
    dx[0] = activate_backward<A>(in[1], in[0]);
  }
};

// in: dy, saved, dx
template <Activation A>
struct ActivationBackwardAdd {
  template <class R>
  ELBO_HD void operator()(int64_t, const R* in, R* dx) const {
    dx[0] = in[2] + activate_backward<A>(in[1], in[0]);
  }
};

// in: dy, saved; the column sums of dx are the bias gradient.
template <Activation A, class Bias>
struct ActivationBackwardColumns {
  static constexpr int kSums = 1;
  Bias* dbias;
  bool add;

  template <class R>
  ELBO_HD void operator()(int64_t, int64_t, const R* in, R* dx, R* sums) const {
    dx[0] = activate_backward<A>(in[1], in[0]);
    sums[0] += dx[0];
  }
  template <class R>
  ELBO_HD void finish(int64_t col, const R* sums) const {
    dbias[col] = add ? dbias[col] + sums[0] : sums[0];
  }
};

// One element of y = act(y + bias), its pre-activation kept if somebody wants it.
template <Activation A, class T>
struct BiasActivation {
  const T* bias;
  T* y;
  T* pre;
  int64_t dim;

  ELBO_HD void operator()(int64_t row, int64_t col) const {
    const int64_t i = row * dim + col;
    const Compute<T> v = bias ? to_float(y[i]) + to_float(bias[col]) : to_float(y[i]);
    if (pre) pre[i] = from_float<T>(v);
    y[i] = from_float<T>(activate<A>(v));
  }
};

// Eight neighbouring elements of y = relu(y + bias) and their byte of the mask.
template <class T>
struct BiasReluMask {
  const T* bias;
  T* y;
  uint8_t* mask;
  int64_t dim, row_bytes;

  ELBO_HD void operator()(int64_t row, int64_t byte) const {
    unsigned bits = 0;
    for (int bit = 0; bit < 8; ++bit) {
      const int64_t col = 8 * byte + bit;
      if (col >= dim) break;
      T& element = y[row * dim + col];
      const Compute<T> v = bias ? to_float(element) + to_float(bias[col]) : to_float(element);
      bits |= static_cast<unsigned>(v > 0) << bit;
      element = from_float<T>(activate<Activation::relu>(v));
    }
    mask[row * row_bytes + byte] = static_cast<uint8_t>(bits);
  }
};

}  // namespace

template <class T>
void activation_forward(const Exec& exec, Activation activation, int64_t n, const T* x, T* y) {
  if (n == 0) return;
  ELBO_CHECK(x && y, "activation_forward: null operand");
  dispatch_activation(activation, [&]<Activation A>() {
    map(exec, n, ActivationForward<A>{}, PointerPack{x}, PointerPack{y});
  });
}

template <class T>
void activation_backward(const Exec& exec, const BasicActivationBackward<T>& a) {
  if (a.n == 0) return;
  ELBO_CHECK(a.dy && a.dx, "activation_backward: null operand");
  const bool in_place = a.dx == a.dy;
  ELBO_CHECK(a.mode == GradMode::write || !in_place,
             "activation_backward: adding to dx needs a dy of its own");
  if (a.activation == Activation::identity && in_place) return;
  const T* saved = saved_for_backward("activation_backward", a.activation, a.y, a.pre);
  if (!saved) saved = a.dy;  // identity looks at nothing, but the pattern loads two operands
  dispatch_activation(a.activation, [&]<Activation A>() {
    if (a.mode == GradMode::add) {
      const T* old = a.dx;
      map(exec, a.n, ActivationBackwardAdd<A>{}, PointerPack{a.dy, saved, old}, PointerPack{a.dx});
    } else {
      map(exec, a.n, ActivationBackwardWrite<A>{}, PointerPack{a.dy, saved}, PointerPack{a.dx});
    }
  });
}

template <class T>
void activation_backward_bias(const Exec& exec, const BasicActivationBackwardBias<T>& a) {
  const int64_t n = a.batch * a.dim;
  if (!a.dbias) {
    return activation_backward(
        exec,
        BasicActivationBackward<T>{
            .activation = a.activation, .n = n, .dy = a.dy, .y = a.y, .pre = a.pre, .dx = a.dx});
  }
  ELBO_CHECK(n == 0 || (a.dy && a.dx), "activation_backward_bias: null operand");
  const T* saved = nullptr;
  if (n > 0) saved = saved_for_backward("activation_backward_bias", a.activation, a.y, a.pre);
  if (!saved) saved = a.dy;
  const bool add = a.dbias_mode == GradMode::add;
  dispatch_activation(a.activation, [&]<Activation A>() {
    col_reduce(exec, a.batch, a.dim, ActivationBackwardColumns<A, Compute<T>>{a.dbias, add},
               PointerPack{a.dy, saved}, PointerPack{a.dx});
  });
}

template <class T>
void bias_activation_forward(const Exec& exec, const BasicBiasActivation<T>& a) {
  if (a.batch == 0 || a.dim == 0) return;
  ELBO_CHECK(a.y, "bias_activation_forward: null operand");
  if (a.activation == Activation::relu && a.aux) {
    const auto row_bytes = static_cast<int64_t>(relu_mask_row_bytes(a.dim));
    return for_each_cell<T>(
        exec, a.batch, row_bytes,
        BiasReluMask<T>{a.bias, a.y, static_cast<uint8_t*>(a.aux), a.dim, row_bytes});
  }
  T* pre = needs_pre_activation(a.activation) ? static_cast<T*>(a.aux) : nullptr;
  dispatch_activation(a.activation, [&]<Activation A>() {
    for_each_cell<T>(exec, a.batch, a.dim, BiasActivation<A, T>{a.bias, a.y, pre, a.dim});
  });
}

#define ELBO_INSTANTIATE(T)                                                          \
  template void activation_forward(const Exec&, Activation, int64_t, const T*, T*);  \
  template void activation_backward(const Exec&, const BasicActivationBackward<T>&); \
  template void activation_backward_bias(const Exec&, const BasicActivationBackwardBias<T>&);

ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(bf16)
ELBO_INSTANTIATE(double)
template void bias_activation_forward(const Exec&, const BasicBiasActivation<float>&);
template void bias_activation_forward(const Exec&, const BasicBiasActivation<double>&);

}  // namespace elbo
