#include "apps/train_profile.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace elbo {
namespace {

// Of `seconds` in all steps.
double ms_per_step(const OpTimes& times, double seconds) {
  return 1e3 * seconds / static_cast<double>(std::max<int64_t>(times.steps(), 1));
}

double share(const OpTimes& times, double seconds) {
  return times.seconds() > 0 ? seconds / times.seconds() : 0.0;
}

double outside_of_ops(const OpTimes& times, const std::vector<OpTimes::Op>& ops) {
  double rest = times.seconds();
  for (const OpTimes::Op& op : ops) rest -= op.seconds;
  return rest;
}

}  // namespace

void TrainProfile::begin() {
  first_step_ = trainer_.step();
  context_.start_profiler();
  if (context_.device() == Device::cpu) trainer_.tape().set_op_times(&times_);
}

void TrainProfile::end() {
  trainer_.tape().set_op_times(nullptr);
  context_.stop_profiler();
  done_ = true;
  if (context_.device() != Device::cpu) {
    return log_.note(fmt::format("profiled steps {} to {}", first_step_, trainer_.step() - 1));
  }
  print_table();
  write_file();
}

void TrainProfile::print_table() const {
  const std::vector<OpTimes::Op> ops = times_.ops();
  log_.note(fmt::format("steps {} to {}: {:.3f} ms each", first_step_, trainer_.step() - 1,
                        ms_per_step(times_, times_.seconds())));
  log_.note("  ms/step   share  calls/step  op");
  const auto row = [&](double seconds, const std::string& calls, const std::string& name) {
    log_.note(fmt::format("{:9.4f}  {:5.1f}%  {:>10}  {}", ms_per_step(times_, seconds),
                          100 * share(times_, seconds), calls, name));
  };
  for (const OpTimes::Op& op : ops) {
    row(op.seconds,
        fmt::format("{:.4g}", static_cast<double>(op.calls) / static_cast<double>(times_.steps())),
        op.path);
  }
  row(outside_of_ops(times_, ops), "", "(between ops)");
}

void TrainProfile::write_file() const {
  using Json = nlohmann::ordered_json;
  Json ops = Json::array();
  for (const OpTimes::Op& op : times_.ops()) {
    ops.push_back(Json{{"op", op.path},
                       {"calls", op.calls},
                       {"ms_per_step", ms_per_step(times_, op.seconds)},
                       {"share", share(times_, op.seconds)}});
  }
  const Json profile{{"first_step", first_step_},
                     {"steps", times_.steps()},
                     {"ms_per_step", ms_per_step(times_, times_.seconds())},
                     {"ops", ops}};
  replace_file(fs_, file_, profile.dump(1) + "\n");
  log_.note("wrote " + file_);
}

}  // namespace elbo
