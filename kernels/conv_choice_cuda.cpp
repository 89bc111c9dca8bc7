#include "kernels/conv_choice.h"

#ifdef ELBO_HAS_CUDNN

#include <cudnn.h>

#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "kernels/gpu.h"
#include "kernels/plan_timing.h"
#include "kernels/tensor_conv.h"

namespace elbo {
namespace {

// Of a transposed convolution's weight, dy and its bias gradient are the image's.
enum class Kind : int { features, image, weight, transposed_weight };

// Everything that the two ways differ in. Not whether a pre-activation is kept: forward then computes
// alike in training and in evaluation.
struct Key {
  Kind kind;
  ProductPrecision precision;
  bool add, bias, undoes;  // undoes: the activation, as InputActivation does
  Activation activation;
  ConvGeometry geometry;  // batch 0
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  size_t operator()(const Key& key) const {
    const int flags = key.add + 2 * key.bias + 4 * key.undoes + 8 * static_cast<int>(key.kind) +
                      32 * static_cast<int>(key.precision) + 64 * static_cast<int>(key.activation);
    return ConvGeometryHash()(key.geometry) * 1031 + static_cast<size_t>(flags);
  }
};

ConvGeometry without_batch(ConvGeometry geometry) {
  geometry.batch = 0;
  return geometry;
}

Key key_of(const Exec& exec, const ConvProduct<float>& p) {
  return {.kind = p.towards == ConvTowards::features ? Kind::features : Kind::image,
          .precision = exec.products,
          .add = p.mode == GradMode::add,
          .bias = p.bias || (p.input && p.input->dbias),
          .undoes = p.input != nullptr,
          .activation = p.input ? p.input->activation : p.activation,
          .geometry = without_batch(p.geometry)};
}

Key key_of(const Exec& exec, const ConvWeightProduct<float>& p) {
  return {.kind = p.dy_side == ConvTowards::features ? Kind::weight : Kind::transposed_weight,
          .precision = exec.products,
          .add = p.mode == GradMode::add,
          .bias = p.dbias != nullptr,
          .undoes = false,
          .activation = Activation::identity,
          .geometry = without_batch(p.geometry)};
}

std::string to_text(const Key& key) {
  constexpr const char* kNames[] = {"conv to features ", "conv to image ", "conv weight ",
                                    "convt weight "};
  std::string text = concat(kNames[static_cast<int>(key.kind)], key.geometry.sizes(),
                            key.precision == ProductPrecision::tf32 ? " tf32" : " fp32");
  if (key.add) text += "+add";
  if (key.bias) text += "+bias";
  if (key.undoes) {
    text += concat("+undo ", activation_name(key.activation));
  } else if (key.activation != Activation::identity) {
    text += concat("+", activation_name(key.activation));
  }
  return text;
}

bool run(const Exec& exec, const ConvProduct<float>& p, PlanChoice choice) {
  if (choice == PlanChoice::cudnn) return cudnn::convolve(exec, p);
  using tensor_core::Phases;
  tensor_core::convolve(exec, p, choice == PlanChoice::own ? Phases::apart : Phases::joint);
  return true;
}
bool run(const Exec& exec, const ConvWeightProduct<float>& p, PlanChoice choice) {
  if (choice == PlanChoice::cudnn) return cudnn::conv_weight_gradient(exec, p);
  tensor_core::conv_weight_gradient(exec, p);
  return true;
}

bool can_join(const ConvProduct<float>& p) {
  return tensor_core::can_join_phases(p.geometry, p.towards);
}
bool can_join(const ConvWeightProduct<float>&) { return false; }

// What stands in for a buffer that is added to; what is only written can be written often.
class StandIn {
 public:
  StandIn(const Exec& exec, float* buffer, GradMode mode, int64_t count)
      : memory_(exec, added(buffer, mode) ? static_cast<size_t>(count) * sizeof(float) : 0),
        buffer_(added(buffer, mode) ? memory_.data() : buffer),
        there_(!buffer || buffer_) {}

  float* data() const { return buffer_; }
  bool there() const { return there_; }

 private:
  static bool added(const float* buffer, GradMode mode) { return buffer && mode == GradMode::add; }
  cuda::SpareMemory memory_;
  float* buffer_;
  bool there_;
};

// A product that leaves the same behind however often it runs.
class Repeatable {
 public:
  Repeatable(const Exec& exec, const ConvProduct<float>& p)
      : sums_(exec, p.out, p.mode, p.out_rows() * p.out_channels()),
        bias_(exec, p.input ? p.input->dbias : nullptr,
              p.input ? p.input->dbias_mode : GradMode::write, p.out_channels()) {
    if (p.input) input_ = *p.input;
    input_.dbias = bias_.data();
  }
  Repeatable(const Exec& exec, const ConvWeightProduct<float>& p)
      : sums_(exec, p.dweight, p.mode, p.geometry.weight_size()),
        bias_(exec, p.dbias, p.dbias_mode, p.dy_size().channels) {}

  bool possible() const { return sums_.there() && bias_.there(); }

  ConvProduct<float> of(ConvProduct<float> p) const {
    p.out = sums_.data();
    if (p.input) p.input = &input_;
    return p;
  }
  ConvWeightProduct<float> of(ConvWeightProduct<float> p) const {
    p.dweight = sums_.data();
    p.dbias = bias_.data();
    return p;
  }

 private:
  StandIn sums_, bias_;
  InputActivation input_;
};

// What the rule says, as a choice.
template <class Product>
PlanChoice choose_by_rule(const Exec& exec, const Product& p) {
  if (cuda::conv_prefers_library<float>(exec, p.geometry)) return PlanChoice::cudnn;
  const bool joint = can_join(p) && tensor_core::rule_joins_phases(p.geometry, ConvTowards::image);
  return joint ? PlanChoice::own_joint : PlanChoice::own;
}

// Notes the choice under `name`, if there is one.
template <class Product>
PlanChoice choose_by_timing(const Exec& exec, const Product& product, const std::string& name) {
  PlanChoices& plans = exec.gemm->plans;
  const Repeatable repeatable(exec, product);
  if (!repeatable.possible()) {
    // No memory to measure in. Noted all the same, so that a resumed run that has more does as this one.
    const PlanChoice choice = choose_by_rule(exec, product);
    plans.note(name, choice);
    return choice;
  }
  const Product p = repeatable.of(product);
  std::vector<PlanChoice> choices = {PlanChoice::own};
  if (can_join(p)) choices.push_back(PlanChoice::own_joint);
  if (run(exec, p, PlanChoice::cudnn)) choices.push_back(PlanChoice::cudnn);  // else it refuses
  if (choices.size() == 1) return PlanChoice::own;
  std::vector<std::function<void()>> candidates;
  for (const PlanChoice choice : choices) {
    candidates.push_back([&exec, &p, choice] { run(exec, p, choice); });
  }
  const PlanChoice fastest = choices[cuda::fastest_of(exec, candidates)];
  plans.note(name, fastest);
  return fastest;
}

}  // namespace

// What has been looked up in the table, whose keys are text: a launch must take nothing from the heap.
struct ConvChoices {
  std::unordered_map<Key, std::optional<PlanChoice>, KeyHash> known;
  uint64_t generation = 0;
};

namespace cuda {
namespace {

std::optional<PlanChoice>& look_up(const Exec& exec, const Key& key) {
  ConvChoices& choices = *exec.gemm->conv_choices;
  const PlanChoices& plans = exec.gemm->plans;
  if (choices.generation != plans.generation()) choices.known.clear();
  choices.generation = plans.generation();
  const auto found = choices.known.find(key);
  if (found != choices.known.end()) return found->second;
  const auto noted = plans.table().find(to_text(key));
  std::optional<PlanChoice> choice;
  if (noted != plans.table().end()) choice = noted->second;
  return choices.known.emplace(key, choice).first->second;
}

template <class Product>
ConvWay choose(const Exec& exec, const Product& product) {
  const bool free = exec.product_kernels == ProductKernels::automatic;
  if (free && exec.gemm && exec.gemm->conv_choices) {
    const Key key = key_of(exec, product);
    std::optional<PlanChoice>& choice = look_up(exec, key);
    if (!choice && exec.gemm->plans.timing_allowed() && !is_recording(exec)) {
      choice = choose_by_timing(exec, product, to_text(key));
    }
    if (choice) {
      return *choice == PlanChoice::cudnn       ? ConvWay::library
             : *choice == PlanChoice::own_joint ? ConvWay::own_joint
                                                : ConvWay::own_apart;
    }
  }
  return conv_prefers_library<float>(exec, product.geometry) ? ConvWay::library : ConvWay::own;
}

}  // namespace

ConvChoices* create_conv_choices() { return new ConvChoices; }
void destroy_conv_choices(ConvChoices* choices) noexcept { delete choices; }

ConvWay choose_way(const Exec& exec, const ConvProduct<float>& product) {
  return choose(exec, product);
}
ConvWay choose_way(const Exec& exec, const ConvWeightProduct<float>& product) {
  return choose(exec, product);
}

std::string conv_choice_place() {
  int index = 0;
  ELBO_CUDA_CHECK(cudaGetDevice(&index));
  cudaDeviceProp device{};
  ELBO_CUDA_CHECK(cudaGetDeviceProperties(&device, index));
  return concat(device.name, ", CUDA ", CUDART_VERSION / 1000, ".", CUDART_VERSION % 1000 / 10,
                ", cuDNN ", cudnnGetVersion());
}

}  // namespace cuda
}  // namespace elbo

#endif  // ELBO_HAS_CUDNN
