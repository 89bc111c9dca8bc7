// Vendor handles and cached products of one Context: oneDNN primitives on the CPU, the handles of
// cuBLASLt and cuDNN and their plans on CUDA.
//
// A plan (a oneDNN primitive, a cuBLASLt algorithm) is made when a shape is first seen and kept until
// the handles die; looking one up allocates nothing. Which plan a shape gets depends on the shape
// alone, so results repeat from run to run. Whose plans and kernels compute a convolution on CUDA may be
// found by timing: `plans` (kernels/plan_choices.h) is what repeats it. One Exec uses its handles from
// one host thread at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/exec.h"
#include "kernels/plan_choices.h"

namespace elbo {

struct CpuGemm;      // linear_cpu.cpp
struct CpuConv;      // conv_onednn.cpp
struct CudaGemm;     // linear_cuda.cpp
struct CudnnConv;    // conv_cudnn_cuda.cpp
struct ConvChoices;  // conv_choice_cuda.cpp

struct GemmHandles {
  CpuGemm* cpu = nullptr;               // null without oneDNN
  CpuConv* conv = nullptr;              // the same
  CudaGemm* cuda = nullptr;             // null on the CPU
  CudnnConv* cudnn = nullptr;           // null on the CPU and without cuDNN
  ConvChoices* conv_choices = nullptr;  // the same
  PlanChoices plans;
};

GemmHandles* create_gemm_handles(Device device);
void destroy_gemm_handles(GemmHandles* handles) noexcept;  // null is fine

// One line per cached plan: "forward 128x784->400 relu: sgemm", and per choice by timing: "conv weight
// 64x64x3 k4 s2 p1 -> 32x32x32 fp32+bias: own, by timing". For tests and benchmarks.
std::vector<std::string> describe_gemm_plans(const GemmHandles* handles);

}  // namespace elbo
