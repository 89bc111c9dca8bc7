// Whose kernels compute a product where several can: found by timing once, then kept with the run.
//
// Two ways to the same sums differ in their last bits, so a choice belongs to a run as its seed does:
// it goes into every checkpoint (engine/plan_table.h), and a run that goes on obeys it and times
// nothing again. It rests on the device and the libraries too; their names go along.
//
// While timing is allowed, a product without a choice is timed where it is met (plan_timing.h) and the
// choice noted. Else, and while launches are being recorded, it goes by a rule and leaves none.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace elbo {

enum class PlanMode : int { timed, heuristic };  // heuristic: rules only

// own_joint: ours, with all phases of a transposed convolution in one product.
enum class PlanChoice : int { own, own_joint, cudnn };
inline constexpr PlanChoice kPlanChoices[] = {PlanChoice::own, PlanChoice::own_joint,
                                              PlanChoice::cudnn};
const char* plan_choice_name(PlanChoice choice);

class PlanChoices {
 public:
  using Table =
      std::map<std::string, PlanChoice>;  // by product: "conv to image ... fp32+bias+relu"

  // What timings depend on besides: "NVIDIA H200, CUDA 13.0, cuDNN 91300". Empty where there is nothing
  // to choose.
  void set_place(std::string place) { place_ = std::move(place); }
  const std::string& place() const { return place_; }

  bool timing_allowed() const { return timing_allowed_; }
  void allow_timing(bool on) { timing_allowed_ = on; }

  const Table& table() const { return table_; }
  void note(const std::string& product, PlanChoice choice) {
    table_.insert_or_assign(product, choice);
  }
  void replace(Table table);
  // Changes with replace(): for those that remember what they have looked up.
  uint64_t generation() const { return generation_; }

 private:
  std::string place_;
  bool timing_allowed_ = false;
  Table table_;
  uint64_t generation_ = 0;
};

// Allows timing until the end of the scope, if `on`.
class PlanTimingScope {
 public:
  PlanTimingScope(PlanChoices& choices, bool on) : choices_(choices) { choices.allow_timing(on); }
  ~PlanTimingScope() { choices_.allow_timing(false); }
  PlanTimingScope(const PlanTimingScope&) = delete;
  PlanTimingScope& operator=(const PlanTimingScope&) = delete;

 private:
  PlanChoices& choices_;
};

}  // namespace elbo
