// The CUDA calls that doctor needs; defined only where CUDA (real or simulated) is built in.
#pragma once

#include <string>

namespace elbo::doctor_cuda {

std::string toolkit_version();  // that we were compiled with: "13.0"
std::string driver_version();   // newest CUDA the driver supports; empty without a driver
std::string cublaslt_version();
int device_count();

}  // namespace elbo::doctor_cuda
