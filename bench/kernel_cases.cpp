#include "bench/kernel_cases.h"

#include <algorithm>

#include "kernels/bernoulli_nll.h"
#include "kernels/elementwise.h"
#include "kernels/gather.h"
#include "kernels/gaussian_nll.h"
#include "kernels/optimizer.h"
#include "kernels/reparam_kl.h"
#include "kernels/sums.h"

namespace elbo::bench {
namespace {

constexpr int64_t kPixels = 784;  // of a row of images
constexpr int64_t kLatent = 64;

// What all cases share: buffers of a context, and device scalars.
class Work : public KernelWork {
 public:
  explicit Work(Context& context) : context_(context) {
    StepState state;
    state.learning_rate = 1e-6f;  // parameters stay what they are over thousands of steps
    state_ = upload(&state, sizeof state);
    const float one = 1.0f;
    one_ = upload(&one, sizeof one);
  }

 protected:
  const Exec& exec() const { return context_.exec(); }
  StepState* state() const { return state_.as<StepState>(); }
  LossWeight weight(int64_t rows) const {
    return {one_.as<float>(), 0, 1.0f / static_cast<float>(rows)};
  }
  DeviceBlock floats(int64_t count) {
    DeviceBlock block(context_, sizeof(float) * static_cast<size_t>(count), Role::data);
    fill(exec(), count, 0.1f, block.as<float>());
    return block;
  }
  DeviceBlock pixels(int64_t count) {
    DeviceBlock block(context_, static_cast<size_t>(count), Role::data);
    context_.fill_bytes(block.data(), 100, block.bytes());
    return block;
  }

  Context& context_;

 private:
  DeviceBlock upload(const void* from, size_t bytes) {
    DeviceBlock block(context_, bytes, Role::state);
    context_.upload(block.data(), from, bytes);
    return block;
  }
  DeviceBlock state_, one_;
};

class Copy final : public Work {
 public:
  Copy(Context& context, int64_t n) : Work(context), n_(n), x_(floats(n)), y_(floats(n)) {}
  void launch() override { scale(exec(), n_, 1.0f, x_.as<float>(), y_.as<float>()); }

 private:
  int64_t n_;
  DeviceBlock x_, y_;
};

// The runtime's own copy, for what it says about ours.
class RuntimeCopy final : public Work {
 public:
  RuntimeCopy(Context& context, int64_t n) : Work(context), x_(floats(n)), y_(floats(n)) {}
  void launch() override { context_.copy(y_.data(), x_.data(), x_.bytes()); }

 private:
  DeviceBlock x_, y_;
};

class Adam final : public Work {
 public:
  Adam(Context& context, int64_t n)
      : Work(context), n_(n), spans_{floats(n), floats(n), floats(n), floats(n)} {}
  void launch() override {
    optimizer_step(exec(),
                   OptimizerStep{OptimizerHyper{}, spans_[0].as<float>(), spans_[1].as<float>(),
                                 spans_[2].as<float>(), spans_[3].as<float>(), n_, state()});
  }

 private:
  int64_t n_;
  DeviceBlock spans_[4];
};

class Bernoulli final : public Work {
 public:
  Bernoulli(Context& context, int64_t rows)
      : Work(context),
        logits_(floats(rows * kPixels)),
        gradient_(floats(rows * kPixels)),
        target_(pixels(rows * kPixels)),
        nll_(floats(rows)),
        args_{logits_.as<float>(), target_.as<uint8_t>(), rows,        kPixels,
              nll_.as<float>(),    gradient_.as<float>(), weight(rows)} {}
  void launch() override { bernoulli_nll(exec(), args_); }

 private:
  DeviceBlock logits_, gradient_, target_, nll_;
  BernoulliNll<float, uint8_t> args_;
};

// With a learned variance, or with a fixed one: the mean squared error.
class Gaussian final : public Work {
 public:
  Gaussian(Context& context, int64_t rows, bool learned)
      : Work(context),
        mean_(floats(rows * kPixels)),
        gradient_(floats(rows * kPixels)),
        target_(pixels(rows * kPixels)),
        nll_(floats(rows)),
        variance_(floats(1)),
        dvariance_(floats(rows)) {
    args_ = {.mean = mean_.as<float>(),
             .target = target_.as<uint8_t>(),
             .batch = rows,
             .dim = kPixels,
             .log_variance = learned ? variance_.as<float>() : nullptr,
             .nll = nll_.as<float>(),
             .dmean = gradient_.as<float>(),
             .dlog_variance = learned ? dvariance_.as<float>() : nullptr,
             .weight = weight(rows)};
  }
  void launch() override { gaussian_nll(exec(), args_); }

 private:
  DeviceBlock mean_, gradient_, target_, nll_, variance_, dvariance_;
  GaussianNll<float, uint8_t> args_{};
};

// Shuffled rows of a data set as large as the batch: every row of it is read once.
class Gathering final : public Work {
 public:
  Gathering(Context& context, int64_t rows)
      : Work(context), data_(pixels(rows * kPixels)), x_(floats(rows * kPixels)) {
    args_.data = data_.as<uint8_t>();
    args_.dim = kPixels;
    args_.batch = rows;
    args_.order = {1, state(), rows, true, 0};
    args_.x = x_.as<float>();
  }
  void launch() override { gather(exec(), args_); }

 private:
  DeviceBlock data_, x_;
  Gather args_;
};

class Latents : public Work {
 public:
  Latents(Context& context, int64_t rows)
      : Work(context), rows_(rows), stats_(floats(2 * rows * kLatent)), z_(floats(rows * kLatent)) {
    noise_.state = state();
  }

 protected:
  const float* mu() const { return stats_.as<float>(); }
  const float* logvar() const { return mu() + kLatent; }

  int64_t rows_;
  DeviceBlock stats_, z_;
  NoiseSource noise_;
};

class LatentsForward final : public Latents {
 public:
  LatentsForward(Context& context, int64_t rows) : Latents(context, rows), kl_(floats(rows)) {}
  void launch() override {
    reparam_kl_forward(exec(), ReparamKlForward<float>{mu(), logvar(), 2 * kLatent, z_.as<float>(),
                                                       kl_.as<float>(), rows_, kLatent, noise_});
  }

 private:
  DeviceBlock kl_;
};

class LatentsBackward final : public Latents {
 public:
  LatentsBackward(Context& context, int64_t rows)
      : Latents(context, rows), gradient_(floats(2 * rows * kLatent)) {}
  void launch() override {
    float* dmu = gradient_.as<float>();
    reparam_kl_backward(exec(), ReparamKlBackward<float>{.mu = mu(),
                                                         .logvar = logvar(),
                                                         .row_stride = 2 * kLatent,
                                                         .dz = z_.as<float>(),
                                                         .dkl = weight(rows_),
                                                         .dmu = dmu,
                                                         .dlogvar = dmu + kLatent,
                                                         .grad_row_stride = 2 * kLatent,
                                                         .batch = rows_,
                                                         .dim = kLatent,
                                                         .noise = noise_});
  }

 private:
  DeviceBlock gradient_;
};

// The gradient of a bias.
class ColumnSums final : public Work {
 public:
  ColumnSums(Context& context, int64_t rows)
      : Work(context), rows_(rows), x_(floats(rows * kPixels)), y_(floats(kPixels)) {}
  void launch() override { sum_cols(exec(), rows_, kPixels, x_.as<float>(), y_.as<float>()); }

 private:
  int64_t rows_;
  DeviceBlock x_, y_;
};

template <class T>
std::unique_ptr<KernelWork> make(Context& context, int64_t rows) {
  return std::make_unique<T>(context, rows);
}

template <bool learned>
std::unique_ptr<KernelWork> make_gaussian(Context& context, int64_t rows) {
  return std::make_unique<Gaussian>(context, rows, learned);
}

}  // namespace

const std::vector<KernelCase>& kernel_cases() {
  static const std::vector<KernelCase> cases = {
      {"copy", 8, make<Copy>},
      {"copy by the runtime", 8, make<RuntimeCopy>},
      {"adam", 28, make<Adam>},
      {"bernoulli_nll", 9 * kPixels + 4, make<Bernoulli>},
      {"gaussian_nll fixed", 9 * kPixels + 4, make_gaussian<false>},
      {"gaussian_nll learned", 9 * kPixels + 8, make_gaussian<true>},
      {"gather", 5 * kPixels, make<Gathering>},
      {"reparam_kl forward", 12 * kLatent + 4, make<LatentsForward>},
      {"reparam_kl backward", 20 * kLatent, make<LatentsBackward>},
      {"sum_cols", 4 * kPixels, make<ColumnSums>},
  };
  return cases;
}

}  // namespace elbo::bench
