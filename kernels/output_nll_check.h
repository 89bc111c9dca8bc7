// What the .cu files of kernels/output_nll.h share besides their formulas.
#pragma once

#include "kernels/error.h"
#include "kernels/output_nll.h"

// Explicit instances of a launcher for every storage and target type.
#define ELBO_INSTANTIATE_OUTPUT_NLL(NAME)                             \
  template void NAME(const Exec&, const OutputNll<float, float>&);    \
  template void NAME(const Exec&, const OutputNll<float, uint8_t>&);  \
  template void NAME(const Exec&, const OutputNll<bf16, float>&);     \
  template void NAME(const Exec&, const OutputNll<bf16, uint8_t>&);   \
  template void NAME(const Exec&, const OutputNll<double, float>&);   \
  template void NAME(const Exec&, const OutputNll<double, uint8_t>&); \
  template void NAME(const Exec&, const OutputNll<double, double>&);

namespace elbo {

template <class T, class Target>
void check_output_nll(const char* op, const OutputNll<T, Target>& args) {
  ELBO_CHECK(args.dim == 0 || (args.output && args.target), op, ": ",
             args.output ? "target" : "output", " is null");
  ELBO_CHECK(!args.doutput || args.weight.values, op,
             ": a gradient is wanted and weight.values is null");
}

}  // namespace elbo
