#include "engine/plan_table.h"

#include "engine/io/blob.h"
#include "kernels/error.h"
#include "kernels/plan_choices.h"

namespace elbo {
namespace {

constexpr const char* kPlace = "timed on";

PlanChoice parse_choice(const std::string& product, const std::string& text,
                        const std::string& file) {
  for (const PlanChoice choice : kPlanChoices) {
    if (text == plan_choice_name(choice)) return choice;
  }
  throw_error(
      ErrorCode::data, file, ": the plan of ", in_quotes(product), " is ", in_quotes(text),
      ", expected own, own-joint or cudnn; the file is damaged, or a newer program wrote it");
}

}  // namespace

PlanTable plan_table(const Context& context) {
  PlanTable table;
  const PlanChoices& plans = context.plans();
  for (const auto& [product, choice] : plans.table()) table[product] = plan_choice_name(choice);
  if (!table.empty()) table[kPlace] = plans.place();
  return table;
}

std::string load_plan_table(Context& context, const PlanTable& table, const std::string& file) {
  PlanChoices& plans = context.plans();
  const auto found = table.find(kPlace);
  const std::string place = found == table.end() ? "" : found->second;
  const bool here = place == plans.place();
  PlanChoices::Table choices;
  for (const auto& [product, text] : table) {  // of elsewhere they may be others than ours
    if (here && product != kPlace) choices[product] = parse_choice(product, text, file);
  }
  plans.replace(std::move(choices));
  if (here || table.empty() || plans.place().empty()) return "";
  return concat(file, ": kernels were chosen by timing on ", in_quotes(place), ", and this is ",
                in_quotes(plans.place()),
                "; they are timed anew, so numbers will differ in their last bits from those of an "
                "uninterrupted run");
}

}  // namespace elbo
