// Attributes as flags give them. `names` are those that the model of a run was trained with.
//
// Errors    ErrorCode::usage: the flag, what was found, the names that there are
#pragma once

#include <string>
#include <vector>

#include "apps/flag_values.h"
#include "apps/trained_run.h"

namespace elbo {

// "size=0.8,x=0.2", or "0.8,0.2,..." of all in their order. What is not named stays open.
Inference::AttributeValues parse_attributes(const std::string& flag, const std::string& text,
                                            const std::vector<std::string>& names);

// Of a flag that is given several times.
Inference::AttributeValues parse_all_attributes(const std::string& flag,
                                                const std::vector<std::string>& texts,
                                                const std::vector<std::string>& names);

// "size=0..1".
struct AttributeRange {
  size_t attribute = 0;
  Range range;
};
AttributeRange parse_attribute_range(const std::string& flag, const std::string& text,
                                     const std::vector<std::string>& names);

// Throws ErrorCode::usage beginning with the flag unless the model of a run is told attributes.
void need_attributes(const std::string& flag, const TrainedRun& run);

// `steps` rows of attributes: one goes over its range, the others are as --attributes or the mean
// says. From now on nothing is told but what decode() is given.
std::vector<float> varied_attributes(TrainedRun& run, const AttributeRange& vary, int64_t steps);

}  // namespace elbo
