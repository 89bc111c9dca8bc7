// Trains when it is told to: this project's contender in bench/run.
//
//   step_worker WORKLOAD BATCH DEVICE [options]
//
// Prints one line when it is ready, then answers lines on stdin with lines on stdout:
//
//   losses N   trains N steps, prints their losses: [543.2, 541.9, ...]. Only before the first `steps`.
//   steps N    trains N steps, waits for the device, prints {"wall_s": 0.51, "cpu_s": 1.01}
//   quit       ends, as does the end of stdin
//
// bench/peers/ speaks the same protocol. For equal work, peers load the network, its initial weights,
// the pixels and the batch order that this program saves. The order is that of the first epoch; what
// follows is shuffled anew here, while peers repeat it.
#include <time.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <map>
#include <sstream>

#include "apps/threads.h"
#include "apps/version.h"
#include "bench/network_description.h"
#include "bench/workloads.h"
#include "engine/io/file_ops.h"
#include "kernels/batch_order.h"
#include "models/trainer.h"
#include "models/weights.h"

namespace elbo::bench {
namespace {

struct Options {
  std::string workload, device;
  Precision precision = Precision::fp32;
  ProductKernels product_kernels = ProductKernels::automatic;
  bool overlap_launches = false, host_data = false;
  int64_t batch = 0, chunk = 1;
  int threads = 0;
  std::string weights, images, save_network, save_weights, save_images, save_order;
};

double seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

ImageSplit load_images(const std::string& workload, const std::string& path) {
  constexpr uint64_t kMostBytes = uint64_t{8} << 30;
  ImageSplit split = workload_images(workload);
  split.file = read_file(real_fs(), path, kMostBytes);
  const auto image_bytes = static_cast<size_t>(split.image_bytes());
  split.count = static_cast<int64_t>(split.file.size() / image_bytes);
  if (split.count == 0 || split.file.size() % image_bytes != 0) {
    throw_error(ErrorCode::data, path, ": ", split.file.size(), " bytes; expected N x ",
                image_bytes, " raw pixels (of MNIST: an IDX file without its 16-byte header)");
  }
  return split;
}

void save_bytes(const std::string& path, std::span<const std::byte> bytes) {
  if (path.empty()) return;
  FileWriter file(real_fs(), path);
  file.write(bytes);
  file.close();
}

RunConfig make_config(const Options& options) {
  RunConfig config = workload_config(options.workload, options.batch);
  config.precision = options.precision;
  config.product_kernels = options.product_kernels;
  config.overlap_launches = options.overlap_launches;
  config.graph_steps = static_cast<int>(options.chunk);
  config.output.log_interval = 1;  // `losses` wants every step's; train_steps() does not look at it
  return config;
}

// Collects the next `wanted` steps' losses.
class LossCollector final : public TrainObserver {
 public:
  explicit LossCollector(size_t wanted) : wanted_(wanted) {}
  void on_report(const StepReport& report) override { losses.push_back(report.window.loss); }
  bool stop_requested() override { return losses.size() >= wanted_; }

  std::vector<double> losses;

 private:
  size_t wanted_;
};

class Worker {
 public:
  explicit Worker(const Options& options)
      : config_(make_config(options)),
        context_(choose_device(options.device)),
        images_(options.images.empty() ? drawn_images(options.workload)
                                       : load_images(options.workload, options.images)),
        data_(ImageData::from_split(context_, images_, 0, {},
                                    options.host_data ? Role::host_data : Role::data)),
        trainer_(context_, config_, data_, nullptr) {
    if (images_.count < options.batch) {
      throw_error(ErrorCode::usage, images_.count, " images are fewer than a batch of ",
                  options.batch);
    }
    if (options.weights.empty()) return;
    load_weights(trainer_.params(), load_safetensors(real_fs(), options.weights), options.weights);
  }

  void save(const Options& options) {
    if (!options.save_weights.empty()) {
      write_safetensors(real_fs(), options.save_weights, trainer_.snapshot().model);
    }
    const std::string network = describe_network(trainer_.model());
    save_bytes(options.save_network, std::as_bytes(std::span(network)));
    save_bytes(options.save_images, std::as_bytes(images_.pixels()));
    const std::vector<uint32_t> order = order_of_samples();
    save_bytes(options.save_order, std::as_bytes(std::span(order)));
  }

  void print_ready(const Options& options) const {
    const std::string device = device_description(choose_device(options.device));
    std::printf("{\"version\": \"%s\", \"device\": \"%s\", \"spin\": \"%s\"}\n",
                version_text().c_str(), device.c_str(), spin_setting().c_str());
    std::fflush(stdout);
  }

  // Answers one request; false if it was to quit.
  bool answer(const std::string& request) {
    std::istringstream words(request);
    std::string verb;
    int64_t count = 0;
    words >> verb;
    if (verb == "quit") return false;
    if (!(words >> count) || count < 1 || (verb != "steps" && verb != "losses")) {
      throw_error(ErrorCode::usage, "request '", request,
                  "' is unknown; expected steps N, losses N or quit");
    }
    verb == "steps" ? time_steps(count) : print_losses(count);
    std::fflush(stdout);
    return true;
  }

 private:
  // Little-endian, one per sample.
  std::vector<uint32_t> order_of_samples() const {
    BatchOrder order;
    order.seed = config_.train.seed;
    order.samples = images_.count;
    order.shuffle = true;
    std::vector<uint32_t> samples;
    for (int64_t i = 0; i < images_.count; ++i)
      samples.push_back(static_cast<uint32_t>(ordered_sample(order, i)));
    return samples;
  }

  void time_steps(int64_t count) {
    timed_ = true;
    const double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    const int64_t chunk = std::max(config_.graph_steps, 1);
    for (int64_t left = count; left > 0; left -= std::min(left, chunk))
      trainer_.train_steps(std::min(left, chunk));
    context_.synchronize();
    std::printf("{\"wall_s\": %.9f, \"cpu_s\": %.9f}\n", seconds(CLOCK_MONOTONIC) - wall,
                seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
  }

  void print_losses(int64_t count) {
    if (timed_) throw_error(ErrorCode::usage, "losses must be asked for before steps");
    LossCollector collector(static_cast<size_t>(count));
    trainer_.run(collector);
    const char* separator = "[";
    for (const double loss : collector.losses) {
      std::printf("%s%.9g", separator, loss);
      separator = ", ";
    }
    std::puts("]");
  }

  RunConfig config_;
  Context context_;
  ImageSplit images_;
  ImageData data_;
  Trainer trainer_;
  bool timed_ = false;
};

void add_options(CLI::App& app, Options& o) {
  app.add_option("WORKLOAD", o.workload, "see bench/workloads.h")
      ->required()
      ->check(CLI::IsMember(workload_names()));
  app.add_option("BATCH", o.batch, "images per step")->required()->check(CLI::Range(1, 65536));
  app.add_option("DEVICE", o.device, "cpu or cuda")->required();
  using Precisions = std::map<std::string, Precision>;
  using Kernels = std::map<std::string, ProductKernels>;
  app.add_option("--precision", o.precision, "fp32, tf32 or bf16")
      ->transform(CLI::CheckedTransformer(Precisions{
          {"fp32", Precision::fp32}, {"tf32", Precision::tf32}, {"bf16", Precision::bf16}}));
  app.add_option("--product-kernels", o.product_kernels, "with tf32: automatic, vendor or own")
      ->transform(CLI::CheckedTransformer(Kernels{{"automatic", ProductKernels::automatic},
                                                  {"vendor", ProductKernels::vendor},
                                                  {"own", ProductKernels::own}}));
  app.add_flag("--overlap-launches", o.overlap_launches, "CUDA: see Context");
  app.add_flag("--host-data", o.host_data, "CUDA: images stay in host memory; see ImageData");
  app.add_option("--threads", o.threads, "on the CPU; 0: as many as allowed");
  app.add_option("--chunk", o.chunk, "CUDA: steps in one graph; 0: no graphs")
      ->check(CLI::Range(int64_t{0}, Trainer::kMostSteps));
  app.add_option("--weights", o.weights, "start from this safetensors file");
  app.add_option("--images", o.images, "raw pixels, N x H x W x C bytes; default: sprites");
  app.add_option("--save-network", o.save_network, "write the network as JSON");
  app.add_option("--save-weights", o.save_weights, "write the initial weights");
  app.add_option("--save-images", o.save_images, "write the pixels");
  app.add_option("--save-order", o.save_order, "write the first epoch's order of samples, u32");
}

int serve(const Options& options) {
  use_threads(options.threads);
  Worker worker(options);
  worker.save(options);
  worker.print_ready(options);
  std::string request;
  while (std::getline(std::cin, request) && worker.answer(request)) continue;
  return 0;
}

}  // namespace
}  // namespace elbo::bench

int main(int argc, char** argv) {
  elbo::restart_with_short_spins(argv);
  elbo::bench::Options options;
  CLI::App app("Trains when it is told to on stdin: steps N, losses N, quit.", "step_worker");
  elbo::bench::add_options(app, options);
  try {
    app.parse(argc, argv);
    return elbo::bench::serve(options);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "step_worker: %s\n", error.what());
    return 2;
  } catch (const elbo::Error& error) {
    std::fprintf(stderr, "step_worker: %s\n", error.what());
    return error.exit_status();
  }
}
