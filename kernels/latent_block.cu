#include "kernels/latent_block.h"

#include <cstddef>
#include <type_traits>

#include "kernels/error.h"
#include "kernels/linear.h"
#include "kernels/reparam_kl.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/latent_block.cuh"
#endif

namespace elbo {
namespace {

void check_operand(const char* op, const char* name, const void* data, int64_t count) {
  ELBO_CHECK(data || count == 0, op, ": ", name, " is null");
}

void check_aux(const Exec& exec, const char* op, const void* aux) {
  ELBO_CHECK(!exec.on_cuda() || reinterpret_cast<uintptr_t>(aux) % 16 == 0, op,
             ": an aux is not 16-byte aligned");
}

template <class T, class W>
void check_operands(const char* op, const Exec& exec, const LatentBlockForward<T, W>& a) {
  check_operand(op, "x", a.x, a.in);
  check_operand(op, "the weight", a.weight, a.in * a.dim);
  check_operand(op, "the bias", a.bias, a.dim);
  check_operand(op, "stats", a.stats, a.dim);
  check_operand(op, "z", a.z, a.dim);
  check_operand(op, "kl", a.kl, 1);
  check_operand(op, "the decoder's weight", a.decoder_weight, a.dim * a.hidden);
  check_operand(op, "the decoder's bias", a.decoder_bias, a.hidden);
  check_operand(op, "y", a.y, a.hidden);
  check_aux(exec, op, a.aux);
}

template <class T, class W>
void check_operands(const char* op, const Exec& exec, const LatentBlockBackward<T, W>& a) {
  check_operand(op, "dy", a.dy, a.hidden);
  check_operand(op, "the decoder's weight", a.decoder_weight, a.dim * a.hidden);
  check_operand(op, "stats", a.stats, a.dim);
  check_operand(op, "dz", a.dz, a.dim);
  check_operand(op, "dstats", a.dstats, a.dim);
  if (!a.dx) return;
  check_operand(op, "the weight", a.weight, a.in * a.dim);
  if (a.x_activation == Activation::identity) return;
  ELBO_CHECK(a.dx_mode == GradMode::write, op,
             ": x's activation cannot be undone on top of an earlier gradient");
  const bool needs_aux = needs_pre_activation(a.x_activation);
  check_operand(op, needs_aux ? "x_aux" : "x", needs_aux ? a.x_aux : a.x, a.in);
  check_aux(exec, op, a.x_aux);
}

template <class T>
void layer_by_layer(const Exec& exec, const LatentBlockForward<T>& a) {
  BasicLinearForward<T> heads{};
  heads.x = a.x;
  heads.weight = a.weight;
  heads.bias = a.bias;
  heads.y = a.stats;
  heads.batch = a.batch;
  heads.in = a.in;
  heads.out = 2 * a.dim;
  linear_forward(exec, heads);
  ReparamKlForward<T> sample{};
  sample.mu = a.stats;
  sample.logvar = a.stats + a.dim;
  sample.row_stride = 2 * a.dim;
  sample.z = a.z;
  sample.kl = a.kl;
  sample.batch = a.batch;
  sample.dim = a.dim;
  sample.noise = a.noise;
  reparam_kl_forward(exec, sample);
  BasicLinearForward<T> decoder{};
  decoder.x = a.z;
  decoder.weight = a.decoder_weight;
  decoder.bias = a.decoder_bias;
  decoder.y = a.y;
  decoder.aux = a.aux;
  decoder.batch = a.batch;
  decoder.in = a.dim;
  decoder.out = a.hidden;
  decoder.activation = a.activation;
  linear_forward(exec, decoder);
}

template <class T>
void layer_by_layer(const Exec& exec, const LatentBlockBackward<T>& a) {
  BasicLinearBackwardData<T> decoder{};
  decoder.dy = a.dy;
  decoder.weight = a.decoder_weight;
  decoder.dx = a.dz;
  decoder.mode = a.dz_mode;
  decoder.batch = a.batch;
  decoder.in = a.dim;
  decoder.out = a.hidden;
  linear_backward_data(exec, decoder);
  ReparamKlBackward<T> sample{};
  sample.mu = a.stats;
  sample.logvar = a.stats + a.dim;
  sample.row_stride = 2 * a.dim;
  sample.dz = a.dz;
  sample.dkl = a.dkl;
  sample.dmu = a.dstats;
  sample.dlogvar = a.dstats + a.dim;
  sample.grad_row_stride = 2 * a.dim;
  sample.batch = a.batch;
  sample.dim = a.dim;
  sample.noise = a.noise;
  reparam_kl_backward(exec, sample);
  if (!a.dx) return;
  BasicInputActivation<T> input{};
  input.activation = a.x_activation;
  input.y = a.x;
  input.aux = a.x_aux;
  BasicLinearBackwardData<T> heads{};
  heads.dy = a.dstats;
  heads.weight = a.weight;
  heads.dx = a.dx;
  heads.mode = a.dx_mode;
  heads.batch = a.batch;
  heads.in = a.in;
  heads.out = 2 * a.dim;
  heads.input = a.x_activation == Activation::identity ? nullptr : &input;
  linear_backward_data(exec, heads);
}

#ifdef ELBO_HAS_CUDA

// Every row reads both weights, so the products must be small. The bound is a guess until it has
// been measured: 512 rows of 400-20-400, the classic VAE at four times its usual batch. bf16 has no
// other way.
template <class Args>
bool takes_one_launch(const Args& a) {
  constexpr int64_t kMostProducts = int64_t{12} << 20;
  constexpr bool kOnlyWay = std::is_same_v<typename Args::Storage, bf16>;
  return a.dim <= kMaxLatentDim &&
         (kOnlyWay || a.batch * a.dim * (2 * a.in + a.hidden) <= kMostProducts);
}

// Whether rows of `length` elements of all these matrices can be accessed `step` elements at a
// time.
template <class... T>
bool rows_divide(int step, int64_t length, const T*... matrices) {
  return length % step == 0 &&
         ((reinterpret_cast<uintptr_t>(matrices) % (step * sizeof(T)) == 0) && ...);
}

// Calls f.operator()<InStep, DimStep>().
template <class F>
void with_steps(bool wide_in, int dim_step, F&& f) {
  if (!wide_in) return f.template operator()<1, 1>();
  if (dim_step == 4) return f.template operator()<4, 4>();
  dim_step == 2 ? f.template operator()<4, 2>() : f.template operator()<4, 1>();
}

unsigned blocks_of(int64_t batch) {
  return static_cast<unsigned>((batch + cuda::kLatentWarps - 1) / cuda::kLatentWarps);
}

size_t shared_bytes(int64_t dim) {
  return static_cast<size_t>(cuda::kLatentWarps * 2 * dim) * sizeof(float);
}

template <class T, class W>
void launch(const Exec& exec, const LatentBlockForward<T, W>& a) {
  const auto divides = [&](int step) { return rows_divide(step, a.dim, a.decoder_weight, a.z); };
  with_steps(rows_divide(4, a.in, a.x, a.weight),
             divides(4)   ? 4
             : divides(2) ? 2
                          : 1,
             [&]<int InStep, int DimStep>() {
               gpu::launch(cuda::latent_block_forward_kernel<InStep, DimStep, T, W>,
                           blocks_of(a.batch), 32 * cuda::kLatentWarps, shared_bytes(a.dim),
                           gpu::overlapping(exec), a);
             });
}

template <class T, class W>
void launch(const Exec& exec, const LatentBlockBackward<T, W>& a) {
  const auto divides = [&](int step) {
    return rows_divide(step, a.dim, a.decoder_weight, a.stats, a.dstats);
  };
  // What is null is aligned.
  const T* kept = needs_pre_activation(a.x_activation) ? static_cast<const T*>(a.x_aux) : a.x;
  with_steps(rows_divide(4, a.in, a.dx, a.weight, kept),
             divides(4)   ? 4
             : divides(2) ? 2
                          : 1,
             [&]<int InStep, int DimStep>() {
               gpu::launch(cuda::latent_block_backward_kernel<InStep, DimStep, T, W>,
                           blocks_of(a.batch), 32 * cuda::kLatentWarps, shared_bytes(a.dim),
                           gpu::overlapping(exec), a);
             });
}

#endif

template <class Args>
void run(const char* op, const Exec& exec, const Args& args) {
  if (args.batch <= 0) return;
  check_operands(op, exec, args);
  using T = typename Args::Storage;
#ifdef ELBO_HAS_CUDA
  if constexpr (kHasDeviceCode<T>) {
    if (exec.on_cuda() && takes_one_launch(args)) return launch(exec, args);
  }
#endif
  if constexpr (std::is_same_v<T, bf16>) {
    throw_error(ErrorCode::failure, op, ": bf16 needs CUDA and at most ", kMaxLatentDim,
                " latents, not ", args.dim);
  } else {
    layer_by_layer(exec, args);
  }
}

}  // namespace

template <class T, class W>
void latent_block_forward(const Exec& exec, const LatentBlockForward<T, W>& args) {
  run("latent_block_forward", exec, args);
}

template <class T, class W>
void latent_block_backward(const Exec& exec, const LatentBlockBackward<T, W>& args) {
  run("latent_block_backward", exec, args);
}

#define ELBO_INSTANTIATE(T)                                                         \
  template void latent_block_forward(const Exec&, const LatentBlockForward<T, T>&); \
  template void latent_block_backward(const Exec&, const LatentBlockBackward<T, T>&);
ELBO_INSTANTIATE(float)
ELBO_INSTANTIATE(bf16)
ELBO_INSTANTIATE(double)
#undef ELBO_INSTANTIATE

}  // namespace elbo
