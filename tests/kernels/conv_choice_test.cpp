// Whose kernels compute a convolution where timing may say so: what is timed and when, what a choice
// changes, and that measuring leaves no trace in what is computed.
#ifdef ELBO_HAS_CUDNN

#include "kernels/elementwise.h"
#include "kernels/gemm_handles.h"
#include "kernels/gpu.h"
#include "kernels/plan_timing.h"
#include "tests/kernels/conv_fixture.h"
#ifdef ELBO_SIM
#include "tests/sim/control.h"
#endif

namespace elbo {
namespace {

class ConvChoiceTest : public ConvTest {
 protected:
  const Exec& conv_exec() override { return chosen_ = with(kernels_); }

  Exec with(ProductKernels kernels) {
    Exec copy = exec();
    copy.products = precision_;
    copy.product_kernels = kernels;
    return copy;
  }
  PlanChoices& choices() { return exec().gemm->plans; }
  std::vector<std::string> products() {
    std::vector<std::string> names;
    for (const auto& [product, choice] : choices().table()) names.push_back(product);
    return names;
  }
  int64_t times_library_was_asked() {
    int64_t count = 0;
    for (const std::string& line : describe_gemm_plans(exec().gemm)) {
      count += line.find("cuDNN algorithm") != std::string::npos ||
               line.find(": refused") != std::string::npos;
    }
    return count;
  }

  // A layer with operands, so that calls can be compared.
  struct Layer {
    ConvCase c;
    std::vector<float> x, weight, bias;

    explicit Layer(const ConvCase& conv_case) : c(conv_case) {
      oracle::Numbers numbers(11);
      x = numbers(c.x_count());
      weight = numbers(c.geometry.weight_size());
      bias = numbers(c.y_size().channels);
    }
  };
  std::vector<float> run(const Layer& layer) {
    return forward(layer.c, layer.x, layer.weight, &layer.bias);
  }
  std::vector<float> run(const Layer& layer, ProductKernels kernels) {
    kernels_ = kernels;
    const std::vector<float> y = run(layer);
    kernels_ = ProductKernels::automatic;
    return y;
  }
  static Layer small_layer() {
    return Layer({conv2d_geometry(2, {9, 8, 12}, 16, ConvWindow::square(4, 2, 1)), false});
  }
  static constexpr const char* kSmallLayer = "conv to features 9x8x12 k4 s2 p1 -> 4x4x16 fp32+bias";

  static Layer thin_layer() {
    return Layer({conv_transpose2d_geometry(2, {5, 4, 32}, 2, ConvWindow::square(4, 2, 1)), true});
  }
  static constexpr const char* kThinLayer = "conv to image 10x8x2 k4 s2 p1 -> 5x4x32 fp32+bias";

  ProductKernels kernels_ = ProductKernels::automatic;
  ProductPrecision precision_ = ProductPrecision::fp32;

 private:
  Exec chosen_;
};

// A candidate that fills memory so many times as `fills` says for its n-th run.
TEST_P(ConvChoiceTest, TheSmallestMedianWins) {
  DeviceBuffer<float> x(device(), 64);
  int runs = 0;
  const auto candidate = [&](auto fills) -> std::function<void()> {
    return [&, fills]() mutable {
      const int count = fills(runs++);
      for (int i = 0; i < count; ++i) fill(exec(), 64, 1.0f, x.data());
    };
  };
  const auto always = [&](int fills) { return candidate([fills](int) { return fills; }); };
  // Of its own runs 0 warms up, and 1 and 2 are the first sample.
  const auto slow_until = [&](int own_run) {
    return candidate([own_run, mine = 0](int) mutable { return mine++ < own_run ? 300 : 1; });
  };
#ifdef ELBO_SIM
  cudasim::config().kernel_delay_us = 1'000'000;  // beside which no other program matters
#endif
  EXPECT_EQ(cuda::fastest_of(exec(), {always(1), always(30)}), 0u);
  EXPECT_EQ(cuda::fastest_of(exec(), {always(30), always(1)}), 1u);
  EXPECT_EQ(cuda::fastest_of(exec(), {slow_until(5), always(30)}), 0u) << "two of five are slow";
  EXPECT_EQ(cuda::fastest_of(exec(), {slow_until(7), always(30)}), 1u) << "three of five are slow";
  runs = 0;
  cuda::fastest_of(exec(), {always(1)});
  EXPECT_EQ(runs, 1 + 5 * 2);
#ifdef ELBO_SIM
  cudasim::config().kernel_delay_us = 0;
#endif
}

TEST_P(ConvChoiceTest, BothAreTimedOnceAndTheChoiceIsObeyed) {
  const Layer layer = small_layer();
  const std::vector<float> own = run(layer, ProductKernels::own);
  const std::vector<float> library = run(layer, ProductKernels::vendor);
  ASSERT_NE(own, library) << "nothing to tell them apart by";
  EXPECT_TRUE(choices().table().empty()) << "no choice where none is asked for";
  std::vector<float> y;
  {
    const PlanTimingScope timing(choices(), true);
    const uint64_t before = gpu::launch_count();
    y = run(layer);
    EXPECT_GT(gpu::launch_count() - before, 2u * 11) << "each is run eleven times";
  }
  ASSERT_EQ(products(), std::vector<std::string>{kSmallLayer});
  const PlanChoice choice = choices().table().at(kSmallLayer);
  EXPECT_EQ(y, choice == PlanChoice::own ? own : library);
  // What another process may have found. Timing is allowed, but there is a choice.
  const PlanTimingScope timing(choices(), true);
  for (const PlanChoice other : {PlanChoice::cudnn, PlanChoice::own, PlanChoice::cudnn}) {
    choices().replace({{kSmallLayer, other}});
    const uint64_t before = gpu::launch_count();
    EXPECT_EQ(run(layer), other == PlanChoice::own ? own : library);
    EXPECT_EQ(gpu::launch_count() - before, other == PlanChoice::own ? 1u : 2u);  // bias: a pass
  }
}

// Few channels, whose phases fit into one product: three ways.
TEST_P(ConvChoiceTest, PhasesInOneProductAreAThirdWay) {
  const Layer layer = thin_layer();
  {
    const PlanTimingScope timing(choices(), true);
    const uint64_t before = gpu::launch_count();
    run(layer);
    EXPECT_GE(gpu::launch_count() - before, 11u + 11u + 2u * 11u);
  }
  ASSERT_EQ(products(), std::vector<std::string>{kThinLayer});
  const auto by = [&](PlanChoice choice) {
    choices().replace({{kThinLayer, choice}});
    return run(layer);
  };
  const std::vector<float> apart = by(PlanChoice::own), joint = by(PlanChoice::own_joint);
  const std::vector<float> library = by(PlanChoice::cudnn);
  EXPECT_NE(apart, joint);
  EXPECT_NE(joint, library);
  EXPECT_NE(library, apart);
  EXPECT_EQ(run(layer, ProductKernels::own), joint) << "the rule's way";
  oracle::Matrix want = oracle::convolve(layer.c.geometry, true, layer.x, layer.weight);
  add(want, layer.bias);
  for (const auto& y : {apart, joint, library}) oracle::expect_near(y, want, kThinLayer);
}

TEST_P(ConvChoiceTest, AForcedSideIsObeyedWhateverTheTableSays) {
  const Layer layer = small_layer();
  const std::vector<float> own = run(layer, ProductKernels::own);
  const std::vector<float> library = run(layer, ProductKernels::vendor);
  const PlanTimingScope timing(choices(), true);
  choices().replace({{kSmallLayer, PlanChoice::cudnn}});
  EXPECT_EQ(run(layer, ProductKernels::own), own);
  choices().replace({{kSmallLayer, PlanChoice::own}});
  EXPECT_EQ(run(layer, ProductKernels::vendor), library);
  EXPECT_EQ(choices().table().size(), 1u);
}

TEST_P(ConvChoiceTest, WithoutLeaveNothingIsTimed) {
  const Layer layer = small_layer();
  const uint64_t before = gpu::launch_count();
  const std::vector<float> y = run(layer);
  EXPECT_EQ(gpu::launch_count() - before, 1u);
  EXPECT_EQ(times_library_was_asked(), 0);
  EXPECT_TRUE(choices().table().empty());
  EXPECT_EQ(y, run(layer, ProductKernels::own)) << "by the rule, few channels are ours";
  const PlanTimingScope timing(choices(), true);
  run(layer);
  EXPECT_EQ(choices().table().size(), 1u) << "the rule was no choice";
}

// Forward and all gradients, written and added to, where each is the first of its kind, and with either
// choice for all of them.
TEST_P(ConvChoiceTest, ResultsAreRightWhileTimingAndAfter) {
  const std::vector<ConvCase> cases = {
      {conv2d_geometry(2, {7, 5, 3}, 6, ConvWindow::square(3, 2, 1)), false},
      {conv_transpose2d_geometry(2, {3, 4, 5}, 2, ConvWindow::square(4, 2, 1)), true}};
  uint32_t seed = 0;
  for (const ConvCase& c : cases) {
    for (const GradMode mode : kModes) {
      choices().replace({});
      {
        const PlanTimingScope timing(choices(), true);
        expect_right(c, ++seed, mode);
      }
      const std::vector<std::string> names = products();
      EXPECT_EQ(names.size(), 3u) << "y, dx, and dW with dbias";
      for (const PlanChoice choice : kPlanChoices) {
        PlanChoices::Table table;
        for (const std::string& name : names) {
          const bool joint = choice == PlanChoice::own_joint;
          table[name] = joint && !name.starts_with("conv to image") ? PlanChoice::own : choice;
        }
        choices().replace(table);
        expect_right(c, seed, mode);
      }
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(ConvChoiceTest, ProductsAreNamedByAllThatDecidesAndNotByTheBatch) {
  const PlanTimingScope timing(choices(), true);
  const ConvWindow window = ConvWindow::square(3, 1, 1);
  for (const int64_t batch : {2, 3}) {
    const ConvCase c{conv2d_geometry(batch, {4, 5, 2}, 3, window), false};
    for (const GradMode mode : kModes) expect_right(c, 3, mode);
  }
  precision_ = ProductPrecision::tf32;
  run(Layer({conv_transpose2d_geometry(2, {4, 5, 3}, 2, window), true}));
  EXPECT_EQ(products(),
            (std::vector<std::string>{"conv to features 4x5x2 k3 s1 p1 -> 4x5x3 fp32+bias",
                                      "conv to image 4x5x2 k3 s1 p1 -> 4x5x3 fp32",
                                      "conv to image 4x5x2 k3 s1 p1 -> 4x5x3 fp32+add",
                                      "conv to image 4x5x2 k3 s1 p1 -> 4x5x3 tf32+bias",
                                      "conv weight 4x5x2 k3 s1 p1 -> 4x5x3 fp32+add+bias",
                                      "conv weight 4x5x2 k3 s1 p1 -> 4x5x3 fp32+bias"}));
}

// An activation forward; and a data gradient that undoes one and adds to a bias gradient, once.
TEST_P(ConvChoiceTest, EpiloguesRunOnce) {
  const PlanTimingScope timing(choices(), true);
  const ConvGeometry g = conv2d_geometry(2, {5, 4, 6}, 3, ConvWindow::square(3, 1, 1));
  oracle::Numbers numbers(5);
  const auto dy = numbers(g.feature_rows() * 3), weight = numbers(g.weight_size());
  auto kept = numbers(g.image_rows() * 6);
  for (float& v : kept) v = v > 0 ? v : 0.0f;
  const auto old = numbers(6);
  const DeviceBuffer<float> dyd(device(), dy), weightd(device(), weight), keptd(device(), kept);
  DeviceBuffer<float> dx(device(), kept.size()), dbias(device(), old), y(device(), dy.size());
  const InputActivation input{.activation = Activation::relu,
                              .y = keptd.data(),
                              .dbias = dbias.data(),
                              .dbias_mode = GradMode::add};
  conv2d_backward_data(exec(), ConvBackwardData{.geometry = g,
                                                .dy = dyd.data(),
                                                .weight = weightd.data(),
                                                .dx = dx.data(),
                                                .input = &input});
  conv2d_forward(exec(), ConvForward{.geometry = g,
                                     .x = keptd.data(),
                                     .weight = weightd.data(),
                                     .y = y.data(),
                                     .activation = Activation::tanh});
  EXPECT_EQ(products(), (std::vector<std::string>{
                            "conv to features 5x4x6 k3 s1 p1 -> 5x4x3 fp32+tanh",
                            "conv to image 5x4x6 k3 s1 p1 -> 5x4x3 fp32+bias+undo relu"}));
  oracle::Matrix want = oracle::convolve(g, true, dy, weight);
  oracle::Matrix sums(6);
  for (size_t i = 0; i < want.value.size(); ++i) {
    if (!(kept[i] > 0)) want.value[i] = want.magnitude[i] = 0;
    sums.value[i % 6] += want.value[i];
    sums.magnitude[i % 6] += want.magnitude[i];
  }
  add(sums, old);
  oracle::expect_near(dx.download(), want, "dx");
  oracle::expect_near(dbias.download(), sums, "dbias");
  oracle::Matrix made = oracle::convolve(g, false, kept, weight);
  for (double& v : made.value) v = std::tanh(v);
  oracle::expect_near(y.download(), made, "y");
}

TEST_P(ConvChoiceTest, WhileLaunchesAreRecordedTheRuleDecidesAndNothingIsTimed) {
  const Layer layer = small_layer();
  const DeviceBuffer<float> x(device(), layer.x), weight(device(), layer.weight),
      bias(device(), layer.bias);
  DeviceBuffer<float> y(device(), static_cast<size_t>(layer.c.y_count()));
  const ConvForward args{.geometry = layer.c.geometry,
                         .x = x.data(),
                         .weight = weight.data(),
                         .bias = bias.data(),
                         .y = y.data()};
  const PlanTimingScope timing(choices(), true);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ELBO_CUDA_CHECK(cudaStreamBeginCapture(exec().stream, cudaStreamCaptureModeThreadLocal));
  EXPECT_TRUE(cuda::is_recording(exec()));
  conv2d_forward(exec(), args);
  ELBO_CUDA_CHECK(cudaStreamEndCapture(exec().stream, &graph));
  EXPECT_FALSE(cuda::is_recording(exec()));
  EXPECT_TRUE(choices().table().empty());
  ELBO_CUDA_CHECK(cudaGraphInstantiate(&executable, graph, 0));
  ELBO_CUDA_CHECK(cudaGraphLaunch(executable, exec().stream));
  EXPECT_EQ(y.download(), run(layer, ProductKernels::own));
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

// Without output padding the image would have other features, so the library cannot.
TEST_P(ConvChoiceTest, WhereTheLibraryRefusesThereIsNothingToChoose) {
  const Layer layer(
      {conv_transpose2d_geometry(2, {4, 3, 6}, 4, ConvWindow::square(3, 1, 0, 2), 1, 1), true});
  const PlanTimingScope timing(choices(), true);
  EXPECT_EQ(run(layer), run(layer, ProductKernels::own));
  EXPECT_EQ(times_library_was_asked(), 1);
  EXPECT_TRUE(choices().table().empty());
}

#ifdef ELBO_SIM
TEST_P(ConvChoiceTest, WithoutRoomToMeasureInTheRuleIsNoted) {
  const ConvGeometry g = conv2d_geometry(2, {6, 5, 4}, 8, ConvWindow::square(3, 1, 1));
  oracle::Numbers numbers(9);
  const auto x = numbers(g.image_rows() * 4), dy = numbers(g.feature_rows() * 8),
             old = numbers(g.weight_size());
  const DeviceBuffer<float> xd(device(), x), dyd(device(), dy);
  DeviceBuffer<float> dweight(device(), old);
  const Exec& e = exec();
  const PlanTimingScope timing(choices(), true);
  const size_t limit = cudasim::config().memory_limit;
  cudasim::config().memory_limit = cudasim::live().device_bytes;
  conv2d_backward_weight(e, ConvBackwardWeight{.geometry = g,
                                               .x = xd.data(),
                                               .dy = dyd.data(),
                                               .dweight = dweight.data(),
                                               .mode = GradMode::add});
  cudasim::config().memory_limit = limit;
  oracle::Matrix want = oracle::weight_gradient(g, x, dy);
  add(want, old);
  oracle::expect_near(dweight.download(), want, "dW");
  EXPECT_EQ(
      choices().table(),
      (PlanChoices::Table{{"conv weight 6x5x4 k3 s1 p1 -> 6x5x8 fp32+add", PlanChoice::own}}));
  EXPECT_EQ(times_library_was_asked(), 0);
}

TEST_P(ConvChoiceTest, TheFasterOneIsChosen) {
  constexpr int kSlow = 100'000'000;  // microseconds: longer than any machine takes
  const PlanTimingScope timing(choices(), true);
  for (const Layer& layer : {small_layer(), thin_layer()}) {
    for (const bool library : {false, true}) {
      choices().replace({});
      cudasim::config().kernel_delay_us = library ? kSlow : 0;
      cudasim::config().library_delay_us = library ? 0 : kSlow;
      forward(layer.c, layer.x, layer.weight, nullptr);
      cudasim::config().kernel_delay_us = cudasim::config().library_delay_us = 0;
      ASSERT_EQ(choices().table().size(), 1u);
      EXPECT_EQ(choices().table().begin()->second == PlanChoice::cudnn, library);
    }
  }
}
#endif

INSTANTIATE_TEST_SUITE_P(Devices, ConvChoiceTest, testing::Values(Device::cuda), device_name);

}  // namespace
}  // namespace elbo

#endif  // ELBO_HAS_CUDNN
