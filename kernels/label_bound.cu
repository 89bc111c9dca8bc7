#include "kernels/label_bound.h"

#include <cmath>

#include "kernels/error.h"
#include "kernels/launch_cells.h"
#include "kernels/math.h"

namespace elbo {
namespace {

constexpr int32_t kHidden = -1;  // as any label below 0

template <class T>
ELBO_HD int32_t label_of(const LabelGuess<T>& guess, int64_t row) {
  return guess.label ? guess.label[row] : kHidden;
}

template <class T>
ELBO_HD T log_q(const LabelGuess<T>& guess, int64_t row, int64_t c) {
  return guess.logits[row * guess.classes + c] - guess.log_sum[row];
}

// A cell is a label of an image.
template <class T>
struct WeighLabels {
  LabelWeights<T> args;

  ELBO_HD void operator()(int64_t row, int64_t c) const {
    const LabelGuess<T>& guess = args.guess;
    const int32_t label = label_of(guess, row);
    const T r = label >= 0 ? T(label == c) : math::exp(log_q(guess, row, c));
    const int64_t i = row * guess.classes + c;
    args.recon_rows[i] = guess.recon[0] * r;
    args.kl_rows[i] = guess.kl_weight[0] * r;
    args.class_rows[i] = static_cast<int32_t>(c);
  }
};

template <class T>
struct LabelCost {
  LabelBound<T> args;
  T log_classes;

  ELBO_HD T nll(int64_t row, int64_t c) const {
    const int64_t rows = args.guess.batch * args.guess.classes;
    T sum = 0;
    for (int64_t part = 0; part < args.parts; ++part) {
      sum += args.nll[part * rows + row * args.guess.classes + c];
    }
    return sum;
  }
  ELBO_HD T kl(int64_t row, int64_t c) const { return args.kl[row * args.guess.classes + c]; }
  ELBO_HD T at(int64_t row, int64_t c) const {
    return args.guess.recon[0] * nll(row, c) + args.guess.kl_weight[0] * kl(row, c) + log_classes;
  }
};

// An element is an image.
template <class T>
struct SumLabels {
  LabelCost<T> cost;

  ELBO_HD void operator()(int64_t row) const {
    const LabelBound<T>& args = cost.args;
    const int32_t label = label_of(args.guess, row);
    T loss = 0, nll = 0, kl = 0;
    if (label >= args.guess.classes) {
      loss = nll = kl = static_cast<T>(__builtin_nan(""));
    } else if (label >= 0) {
      nll = cost.nll(row, label);
      kl = cost.kl(row, label);
      loss = cost.at(row, label) - args.label_weight * log_q(args.guess, row, label);
    } else {
      for (int64_t c = 0; c < args.guess.classes; ++c) {
        const T log_share = log_q(args.guess, row, c), share = math::exp(log_share);
        nll += share * cost.nll(row, c);
        kl += share * cost.kl(row, c);
        loss += share * (cost.at(row, c) + log_share);
      }
    }
    args.loss[row] = loss;
    args.mean_nll[row] = nll;
    args.mean_kl[row] = kl;
  }
};

// A cell is an element of dlogits.
template <class T>
struct GuessGradient {
  LabelCost<T> cost;
  BasicLossWeight<T> weight;
  T* dlogits;
  GradMode mode;

  ELBO_HD void operator()(int64_t row, int64_t c) const {
    const LabelBound<T>& args = cost.args;
    const int32_t label = label_of(args.guess, row);
    const T log_share = log_q(args.guess, row, c), share = math::exp(log_share);
    T slope = share * (cost.at(row, c) + log_share - args.loss[row]);
    if (label >= args.guess.classes) {
      slope = static_cast<T>(__builtin_nan(""));
    } else if (label >= 0) {
      slope = args.label_weight * (share - T(label == c));
    }
    const T grad = weight.at(row) * slope;
    T& out = dlogits[row * args.guess.classes + c];
    out = mode == GradMode::add ? out + grad : grad;
  }
};

template <class T>
bool check_guess(const LabelGuess<T>& guess) {
  ELBO_CHECK(guess.batch >= 0 && guess.classes >= 1, "label_bound: ", guess.batch, " images and ",
             guess.classes, " classes");
  if (guess.batch == 0) return false;
  ELBO_CHECK(guess.logits && guess.log_sum && guess.recon && guess.kl_weight,
             "label_bound: logits, log_sum or a weight is null");
  return true;
}

template <class T>
LabelCost<T> cost_of(const LabelBound<T>& args) {
  ELBO_CHECK(args.nll && args.kl && args.loss && args.parts >= 1,
             "label_bound: nll, kl or loss is null");
  return {args, static_cast<T>(std::log(static_cast<double>(args.guess.classes)))};
}

}  // namespace

template <class T>
void label_weights(const Exec& exec, const LabelWeights<T>& args) {
  if (!check_guess(args.guess)) return;
  ELBO_CHECK(args.recon_rows && args.kl_rows && args.class_rows,
             "label_weights: an output is null");
  for_each_cell<T>(exec, args.guess.batch, args.guess.classes, WeighLabels<T>{args});
}

template <class T>
void label_bound(const Exec& exec, const LabelBound<T>& args) {
  if (!check_guess(args.guess)) return;
  ELBO_CHECK(args.mean_nll && args.mean_kl, "label_bound: an output is null");
  for_each_element<T>(exec, args.guess.batch, SumLabels<T>{cost_of(args)});
}

template <class T>
void label_bound_backward(const Exec& exec, const LabelBound<T>& args,
                          const BasicLossWeight<T>& weight, T* dlogits, GradMode mode) {
  if (!check_guess(args.guess)) return;
  ELBO_CHECK(weight.values && dlogits, "label_bound: weight or dlogits is null");
  for_each_cell<T>(exec, args.guess.batch, args.guess.classes,
                   GuessGradient<T>{cost_of(args), weight, dlogits, mode});
}

#define ELBO_INSTANTIATE(T)                                                                        \
  template void label_weights(const Exec&, const LabelWeights<T>&);                                \
  template void label_bound(const Exec&, const LabelBound<T>&);                                    \
  template void label_bound_backward(const Exec&, const LabelBound<T>&, const BasicLossWeight<T>&, \
                                     T*, GradMode);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
