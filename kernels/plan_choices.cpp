#include "kernels/plan_choices.h"

#include <utility>

namespace elbo {

const char* plan_choice_name(PlanChoice choice) {
  return choice == PlanChoice::own ? "own" : "cudnn";
}

void PlanChoices::replace(Table table) {
  table_ = std::move(table);
  ++generation_;
}

}  // namespace elbo
