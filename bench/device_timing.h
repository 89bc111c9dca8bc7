// How long work takes as the device sees it, and the rows of figures that benchmarks write.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/context.h"

namespace elbo::bench {

// Median over `samples` of the microseconds from the begin to the end of what work() submits to
// context.exec(): CUDA events there, the wall clock on the CPU.
double device_us(Context& context, const std::function<void()>& work, int samples);

// Microseconds of one of `repeats` calls of work(). On CUDA they are recorded into one graph, so that
// what is timed are kernels one behind the other and not the host that launches them.
double repeated_us(Context& context, const std::function<void(int)>& work, int repeats,
                   int samples);

// {"device": ..., "rows": [...]} to `path`; nothing if it is empty.
void save_rows(const std::string& path, const std::string& device, const nlohmann::json& rows);

}  // namespace elbo::bench
