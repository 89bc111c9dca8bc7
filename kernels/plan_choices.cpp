#include "kernels/plan_choices.h"

#include <utility>

namespace elbo {

const char* plan_choice_name(PlanChoice choice) {
  constexpr const char* kNames[] = {"own", "own-joint", "cudnn"};
  return kNames[static_cast<int>(choice)];
}

void PlanChoices::replace(Table table) {
  table_ = std::move(table);
  ++generation_;
}

}  // namespace elbo
