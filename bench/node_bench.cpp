// What a node of a CUDA graph costs: the floor of a training step whose kernels are small.
//
//   node_bench [--samples 51] [--json FILE]
//
// Chains of kernels that depend on each other, of nothing, of one block and of a block per SM of an H200,
// launched one by one and as a graph, also with launches that overlap; and the same number of nodes on two
// branches, forked once and forked at every node. "latency" is from a launch to the host's knowing that it ended, "rate" the time per graph
// when graphs queue up.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>

#include "bench/device_timing.h"
#include "bench/node_kernels.h"
#include "bench/timing.h"
#include "engine/step_graph.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"

namespace elbo::bench {
namespace {

constexpr int kThreads = 256, kBlocks = 132;
constexpr int kLengths[] = {1, 8, 16, 32, 64};
constexpr int kQueued = 20;  // graphs between two events

struct Options {
  std::string json;
  int samples = 51;
  bool quick = false;
};

struct Kind {
  const char* name;
  int blocks;  // 0: the empty kernel
};
constexpr Kind kKinds[] = {{"empty", 0}, {"1 block", 1}, {"132 blocks", kBlocks}};

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        choice_(choose_device("cuda")),
        context_(choice_),
        data_(context_, 2 * kThreads * kBlocks * sizeof(float), Role::data) {
    context_.set_overlap_launches(true);
    overlaps_ = context_.exec().overlap_launches;
    context_.set_overlap_launches(false);
    fill(context_.exec(), 2 * kThreads * kBlocks, 0.0f, data_.as<float>());
    context_.open_branch();
  }

  void run() {
    std::printf("%-12s %-10s %6s %6s %12s %12s %10s\n", "kernel", "shape", "length", "nodes",
                "latency us", "rate us", "per node");
    for (const Kind& kind : kKinds) {
      for (const int length : kLengths) {
        if (options_.quick && length > 8) break;
        launches(kind, length);
        graph(kind, "chain", length, [&] { chain(context_.exec(), kind, length, 0); });
        if (length == 1) continue;
        Exec overlapping = context_.exec();
        overlapping.overlap_launches = overlaps_;
        if (overlaps_)
          graph(kind, "overlaps", length, [&] { chain(overlapping, kind, length, 0); });
        graph(kind, "two", length, [&] { two_branches(kind, length); });
        graph(kind, "forks", length, [&] { forks(kind, length); });
      }
    }
  }

 private:
  void one(const Exec& exec, const Kind& kind, int half) {
    if (kind.blocks == 0) return launch_empty(exec);
    launch_blocks(exec, data_.as<float>() + half * kThreads * kBlocks, kind.blocks);
  }
  void chain(const Exec& exec, const Kind& kind, int length, int half) {
    for (int i = 0; i < length; ++i) one(exec, kind, half);
  }
  void two_branches(const Kind& kind, int length) {
    context_.fork();
    chain(context_.exec(), kind, length / 2, 0);
    chain(context_.branch(), kind, length / 2, 1);
    context_.join();
  }
  void forks(const Kind& kind, int length) {
    for (int i = 0; i < length / 2; ++i) two_branches(kind, 2);
  }

  void launches(const Kind& kind, int length) {
    const auto work = [&] { chain(context_.exec(), kind, length, 0); };
    report(kind, "launches", length, 0, work);
  }
  template <class Body>
  void graph(const Kind& kind, const char* shape, int length, Body body) {
    const StepGraph graph = StepGraph::record(context_, body);
    report(kind, shape, length, graph.node_count(), [&] { graph.launch(); });
  }

  template <class Work>
  void report(const Kind& kind, const char* shape, int length, int nodes, Work work) {
    const double latency = median([&] {
      work();
      context_.synchronize();
    });
    const double rate = device_us(
                            context_,
                            [&] {
                              for (int i = 0; i < kQueued; ++i) work();
                            },
                            options_.samples) /
                        kQueued;
    std::printf("%-12s %-10s %6d %6d %12.2f %12.2f %10.3f\n", kind.name, shape, length, nodes,
                latency, rate, rate / length);
    rows_.push_back({{"kernel", kind.name},
                     {"shape", shape},
                     {"length", length},
                     {"nodes", nodes},
                     {"latency_us", latency},
                     {"rate_us", rate}});
    save_rows(options_.json, device_description(choice_), rows_);
  }

  // By the wall clock always: time_us() of timing.h takes CPU time where there is one thread.
  template <class Work>
  double median(Work work) {
    using Clock = std::chrono::steady_clock;
    work();
    std::vector<double> times;
    for (int i = 0; i < options_.samples; ++i) {
      const auto begin = Clock::now();
      work();
      times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
    }
    return quantile(times, 0.5);
  }

  Options options_;
  DeviceChoice choice_;
  Context context_;
  DeviceBlock data_;
  bool overlaps_ = false;  // the device can do it
  nlohmann::json rows_ = nlohmann::json::array();
};

}  // namespace
}  // namespace elbo::bench

int main(int argc, char** argv) {
  elbo::bench::Options options;
  CLI::App app("What a node of a CUDA graph costs.", "node_bench");
  app.add_option("--samples", options.samples)->check(CLI::PositiveNumber);
  app.add_option("--json", options.json, "also write the figures there");
  app.add_flag("--quick", options.quick, "short chains only");
  CLI11_PARSE(app, argc, argv);
  try {
    elbo::bench::Bench(options).run();
  } catch (const elbo::Error& error) {
    std::fprintf(stderr, "node_bench: %s\n", error.what());
    return error.exit_status();
  }
}
