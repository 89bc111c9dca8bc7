#include "bench/device_timing.h"

#include <string_view>
#include <vector>

#include "bench/timing.h"
#include "engine/io/file_ops.h"
#include "engine/step_graph.h"
#ifdef ELBO_HAS_CUDA
#include "kernels/event_timer.h"
#endif

namespace elbo::bench {
namespace {

#ifdef ELBO_HAS_CUDA

double cuda_us(Context& context, const std::function<void()>& work, int samples) {
  gpu::EventTimer timer;
  std::vector<double> times;
  for (int i = 0; i < samples; ++i) times.push_back(timer.us(context.exec().stream, work));
  return quantile(times, 0.5);
}

#else

double cuda_us(Context&, const std::function<void()>&, int) { return 0.0; }

#endif

}  // namespace

double device_us(Context& context, const std::function<void()>& work, int samples) {
  work();  // warms up
  context.synchronize();
  if (context.exec().on_cuda()) return cuda_us(context, work, samples);
  std::vector<double> times;
  for (int i = 0; i < samples; ++i) times.push_back(time_us(work, 1));
  return quantile(times, 0.5);
}

double repeated_us(Context& context, const std::function<void(int)>& work, int repeats,
                   int samples) {
  const auto all = [&] {
    for (int i = 0; i < repeats; ++i) work(i);
  };
  if (!StepGraph::available(context)) return device_us(context, all, samples) / repeats;
  work(0);  // plans its products and finds its kernels, which a recording cannot do
  const StepGraph graph = StepGraph::record(context, all);
  return device_us(
             context, [&] { graph.launch(); }, samples) /
         repeats;
}

void save_rows(const std::string& path, const std::string& device, const nlohmann::json& rows) {
  if (path.empty()) return;
  const std::string text = nlohmann::json{{"device", device}, {"rows", rows}}.dump(1) + "\n";
  FileWriter file(real_fs(), path);
  file.write(std::as_bytes(std::span(text)));
  file.close();
}

}  // namespace elbo::bench
