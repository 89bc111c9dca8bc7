// In the steady state a training step of ours takes nothing from the heap. oneDNN allocates inside
// every product it runs (its execution context); those are told apart by who called operator new.
#include <dlfcn.h>
#include <execinfo.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "kernels/conv2d.h"
#include "models/trainer.h"

#if defined(__SANITIZE_ADDRESS__) || defined(CUDASIM)
#define ELBO_OWN_HEAP 0  // the sanitizer's allocator must stay in place
#else
#define ELBO_OWN_HEAP 1
#endif

namespace {

std::atomic<int64_t> allocations{0};
std::atomic<bool> counting{false};

[[maybe_unused]] bool called_by_vendor() {  // sanitised builds keep their own operator new
  void* frames[16];
  const int count = backtrace(frames, 16);
  for (int i = 0; i < count; ++i) {
    Dl_info info{};
    if (dladdr(frames[i], &info) != 0 && std::strstr(info.dli_fname, "libdnnl")) return true;
  }
  return false;
}

}  // namespace

#if ELBO_OWN_HEAP
// Replaces the program's operator new, so that allocations anywhere in our code are counted.
// noinline: GCC 12 otherwise pairs an inlined malloc with a delete and warns.
[[gnu::noinline]] void* operator new(size_t bytes) {
  if (counting && !called_by_vendor()) ++allocations;
  if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace elbo {
namespace {

TEST(SteadyState, ATrainingStepAllocatesNothing) {
  if (!ELBO_OWN_HEAP) GTEST_SKIP() << "the sanitizer owns the heap";
  RunConfig config;
  config.model.hidden = {32, 16};
  config.model.latent_dim = 4;
  config.train.batch_size = 16;
  config.train.epochs = 1000;
  Context context;
  const ImageData data = ImageData::sprites(16, 40, 0);  // batches of 16, 16 and 8
  Trainer trainer(context, config, data, nullptr);
  for (int i = 0; i < 9; ++i) trainer.train_step();  // every shape has its plan and its primitives
  void* warm_up[1];
  backtrace(warm_up, 1);  // loads its own library on first use
  allocations = 0;
  counting = true;
  for (int i = 0; i < 30; ++i) trainer.train_step();
  const int64_t of_training = allocations;
  int* volatile probe = new int;  // volatile: the pair may not be optimised away
  delete probe;
  counting = false;
  EXPECT_EQ(of_training, 0);
  EXPECT_EQ(allocations, 1) << "the counter itself does not work";
}

// A wide and a thin layer, both ways, through each library that serves them.
TEST(SteadyState, ConvolutionsAllocateNothing) {
  if (!ELBO_OWN_HEAP) GTEST_SKIP() << "the sanitizer owns the heap";
  Context context({Device::cpu, 0, "asked for"});
  const ConvWindow window = ConvWindow::square(4, 2, 1);
  for (const int64_t channels : {3, 16, 48}) {
    const ConvGeometry g = conv2d_geometry(4, {16, 16, channels}, 40, window);
    std::vector<float> image(static_cast<size_t>(g.batch * g.image.size()), 0.5f);
    std::vector<float> features(static_cast<size_t>(g.batch * g.features.size()), 0.25f);
    std::vector<float> weight(static_cast<size_t>(g.weight_size()), 0.1f), bias(48, 0.1f);
    const auto step = [&] {
      conv2d_forward(context.exec(), ConvForward{.geometry = g,
                                                 .x = image.data(),
                                                 .weight = weight.data(),
                                                 .bias = bias.data(),
                                                 .y = features.data(),
                                                 .activation = Activation::relu});
      conv_transpose2d_forward(context.exec(), ConvForward{.geometry = g,
                                                           .x = features.data(),
                                                           .weight = weight.data(),
                                                           .bias = bias.data(),
                                                           .y = image.data()});
      for (const GradMode mode : {GradMode::write, GradMode::add}) {
        conv2d_backward_weight(context.exec(), ConvBackwardWeight{.geometry = g,
                                                                  .x = image.data(),
                                                                  .dy = features.data(),
                                                                  .dweight = weight.data(),
                                                                  .mode = mode,
                                                                  .dbias = bias.data()});
      }
    };
    for (int i = 0; i < 2; ++i) step();
    void* warm_up[1];
    backtrace(warm_up, 1);
    allocations = 0;
    counting = true;
    for (int i = 0; i < 3; ++i) step();
    counting = false;
    EXPECT_EQ(allocations, 0) << g.to_string();
  }
}

}  // namespace
}  // namespace elbo
