// Whether cuDNN computes an fp32 convolution on CUDA, or our own kernels do and with phases together or
// apart (tensor_conv.h). Private to kernels/.
//
// exec.product_kernels decides where it names one. Else a choice of kernels/plan_choices.h does, which
// holds for a layer whatever the batch, so that the last batch of an epoch, an evaluation and a tool
// compute as the training step does; else the rule of conv_cuda.cpp.
#pragma once

#include "kernels/conv_backends.h"

namespace elbo {

struct ConvChoices;

namespace cuda {

ConvChoices* create_conv_choices();
void destroy_conv_choices(ConvChoices* choices) noexcept;

enum class ConvWay : int { library, own, own_apart, own_joint };  // own: phases by the rule

// May time them, which leaves the product's outputs written or as they were.
ConvWay choose_way(const Exec& exec, const ConvProduct<float>& product);
ConvWay choose_way(const Exec& exec, const ConvWeightProduct<float>& product);

// What choices of this process rest on: "NVIDIA H200, CUDA 13.0, cuDNN 91300".
std::string conv_choice_place();

}  // namespace cuda
}  // namespace elbo
