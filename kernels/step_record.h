// What a step leaves behind before its weights move: gradient norm, clipping factor, losses.
//
//   state->grad_norm, grad_scale     as grad_norm() sets them (grad_norm.h)
//   ring[state->step % ring_size]    means of this step's losses, and what its update will use
//
// Shapes    grad [count]; nll [nll_count], kl [batch], either may be null and counts as zero; nll may
//           hold the losses in any number of parts, whose sum counts; running [running_count]
// Units     nats per sample
// Work      CUDA: one launch, which reads count + nll_count + batch + running_count floats; needs
//           reduce_scratch_bytes(3) of scratch and a ticket. CPU: two passes.
// Numerics  sums in fp32 within a chunk or block, in fp64 across them, in a fixed order. A total or a
//           gradient norm that is not finite sets state->bad_op (finite_check.h), so call it before the
//           optimiser, which then skips the step. So does a running statistic: one that overflows need
//           not show in the loss.
// Errors    elbo::Error if a pointer is null, batch < 1 or ring_size < 1
#pragma once

#include <cstdint>

#include "kernels/exec.h"
#include "kernels/step_state.h"

namespace elbo {

struct LossRecord {
  uint64_t step = 0;   // of StepState: finished steps before this one
  float recon = 0.0f;  // mean over the batch of the reconstruction loss, nats per sample
  float kl = 0.0f;     // mean over the batch of the KL divergence, nats per sample
  float total = 0.0f;  // what is minimised: recon_weight * recon + kl_weight * kl, or *total
  float learning_rate = 0.0f;  // as this step's update uses it
  float kl_weight = 0.0f;
  float grad_norm = 0.0f;      // before clipping
  float perplexity = 0.0f;     // of the batch's codes, where there is a codebook
  float discriminator = 0.0f;  // its own loss, where there is one
};

struct StepRecord {
  const float* grad = nullptr;
  int64_t count = 0;
  float max_norm = 0.0f;  // of the gradient; 0: no clipping
  const float* nll = nullptr;
  int64_t nll_count = 0;
  const float* kl = nullptr;
  int64_t batch = 0;
  const float* running = nullptr;  // statistics that the step has made, to be committed after it
  int64_t running_count = 0;
  const float* total = nullptr;  // what is minimised, if it is not the weighted sum of the two
  const float* perplexity = nullptr;
  const float* discriminator = nullptr;
  StepState* state = nullptr;
  LossRecord* ring = nullptr;
  int64_t ring_size = 0;
};

void record_step(const Exec& exec, const StepRecord& args);

}  // namespace elbo
