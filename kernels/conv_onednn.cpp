// Convolutions by oneDNN, versions 2 and 3. Which calls come here says conv_plan.cpp.
//
// Reading guide. Three primitives serve both ops: convolution forward (towards the features), its
// backward data (towards the image) and its backward weights. A Plan holds one, the reorder of the
// weight, and memory objects whose pointers are set at each execution. Start at convolve().
//
// Activations are NHWC. The primitive chooses the layout of its weight, and ours is reordered once
// per call: with a given layout ("ohwi") version 2 falls back to its reference loops, a thousand
// times slower. A plan whose implementation is "ref" all the same (dilations) is not used:
// convolve() returns false.
//
// What oneDNN has and we do not use: ReLU as a post-op, which maps NaN to 0 and would hide a broken
// input from every check behind it; sums into what backward data writes, which version 2 lacks.
#ifdef ELBO_HAS_ONEDNN

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>

#include "kernels/conv_backends.h"
#include "kernels/error.h"
#include "kernels/gemm_handles.h"

namespace elbo {
namespace {

using dnnl::memory;

enum class Kind : int { features, image, weight };

struct PlanKey {
  Kind kind;
  ConvGeometry geometry;
  bool bias, add;

  bool operator==(const PlanKey&) const = default;
};

struct PlanKeyHash {
  size_t operator()(const PlanKey& key) const {
    const int flags = static_cast<int>(key.kind) + 4 * key.bias + 8 * key.add;
    return ConvGeometryHash()(key.geometry) * 1031 + static_cast<size_t>(flags);
  }
};

struct Plan {
  dnnl::primitive primitive{};  // empty: oneDNN has nothing but reference loops
  dnnl::reorder reorder{};      // of the weight: from ours, or for gradients to ours
  memory image{}, features{}, weight{}, bias{}, scratchpad{};
  memory our_weight{};
  size_t weight_bytes = 0, scratchpad_bytes = 0;
  std::string implementation;
};

struct Free {
  void operator()(void* data) const { std::free(data); }
};

std::string describe_key(const PlanKey& key) {
  static constexpr const char* kNames[] = {"towards features", "towards image", "weight gradient"};
  return concat(kNames[static_cast<int>(key.kind)], " ", key.geometry.to_string(),
                key.bias ? " bias" : "", key.add ? " add" : "");
}

void check(dnnl_status_t status, const char* call, const PlanKey& key) {
  ELBO_CHECK(status == dnnl_success, "oneDNN: ", call, " failed with status ",
             static_cast<int>(status), " for ", describe_key(key));
}

}  // namespace

struct CpuConv {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::unordered_map<PlanKey, Plan, PlanKeyHash> plans;
  std::unique_ptr<void, Free> block;  // the reordered weight, then the scratchpad
  size_t bytes = 0;
};

namespace onednn {
namespace {

constexpr size_t kAlignment = 256;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Everything that the three kinds of primitive are described by.
struct Descriptors {
  memory::desc image, features, weight, bias;
  memory::dims strides, dilations, padding_left, padding_right;
  dnnl::primitive_attr attributes;

  Descriptors(const PlanKey& key, memory::format_tag weight_layout) {
    const ConvGeometry& g = key.geometry;
    const ConvWindow& w = g.window;
    image = pixels(g.batch, g.image);
    features = pixels(g.batch, g.features);
    weight = {memory::dims{g.features.channels, g.image.channels, w.kernel_h, w.kernel_w},
              memory::data_type::f32, weight_layout};
    if (key.bias) {
      bias = {memory::dims{g.features.channels}, memory::data_type::f32, memory::format_tag::x};
    }
    strides = {w.stride_h, w.stride_w};
    dilations = {w.dilation_h - 1, w.dilation_w - 1};
    padding_left = {w.padding_h, w.padding_w};
    padding_right = {
        right(g.image.height, g.features.height, w.kernel_h, w.stride_h, w.padding_h, w.dilation_h),
        right(g.image.width, g.features.width, w.kernel_w, w.stride_w, w.padding_w, w.dilation_w)};
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (key.add && key.kind == Kind::features) {
      dnnl::post_ops sum;
      sum.append_sum(1.0f);
      attributes.set_post_ops(sum);
    }
  }

  static memory::desc pixels(int64_t batch, const ImageSize& size) {
    return {memory::dims{batch, size.channels, size.height, size.width}, memory::data_type::f32,
            memory::format_tag::nhwc};
  }
  // What the last window needs on that side; negative where it does not reach the edge.
  static int64_t right(int64_t image, int64_t features, int64_t kernel, int64_t stride,
                       int64_t padding, int64_t dilation) {
    return (features - 1) * stride + dilation * (kernel - 1) + 1 - image - padding;
  }
};

constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;

dnnl::convolution_forward::primitive_desc forward_descriptor(const dnnl::engine& engine,
                                                             const Descriptors& d) {
  constexpr auto kKind = dnnl::prop_kind::forward_training;
#if DNNL_VERSION_MAJOR >= 3
  return {engine,     kKind,     kAlgorithm,  d.image,        d.weight,        d.bias,
          d.features, d.strides, d.dilations, d.padding_left, d.padding_right, d.attributes};
#else
  return {dnnl::convolution_forward::desc(kKind, kAlgorithm, d.image, d.weight, d.bias, d.features,
                                          d.strides, d.dilations, d.padding_left, d.padding_right),
          d.attributes, engine};
#endif
}

dnnl::convolution_backward_data::primitive_desc data_descriptor(
    const dnnl::engine& engine, const Descriptors& d,
    const dnnl::convolution_forward::primitive_desc& hint) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine,      kAlgorithm,     d.image,         d.weight, d.features,  d.strides,
          d.dilations, d.padding_left, d.padding_right, hint,     d.attributes};
#else
  return {
      dnnl::convolution_backward_data::desc(kAlgorithm, d.image, d.weight, d.features, d.strides,
                                            d.dilations, d.padding_left, d.padding_right),
      d.attributes, engine, hint};
#endif
}

dnnl::convolution_backward_weights::primitive_desc weight_descriptor(
    const dnnl::engine& engine, const Descriptors& d,
    const dnnl::convolution_forward::primitive_desc& hint) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine,      kAlgorithm,     d.image,         d.weight, d.features,  d.strides,
          d.dilations, d.padding_left, d.padding_right, hint,     d.attributes};
#else
  return {
      dnnl::convolution_backward_weights::desc(kAlgorithm, d.image, d.weight, d.features, d.strides,
                                               d.dilations, d.padding_left, d.padding_right),
      d.attributes, engine, hint};
#endif
}

void set_pointer(const memory& object, const void* data, const PlanKey& key) {
  check(dnnl_memory_set_data_handle(object.get(), const_cast<void*>(data)),
        "dnnl_memory_set_data_handle", key);
}

// The block is shared: a plan uses it during a call only. Setting the pointer of a weight whose
// channels are padded also clears the padding, so it is done here and not at every call.
void place(const Plan& plan, void* block, const PlanKey& key) {
  if (!plan.primitive) return;
  set_pointer(plan.weight, block, key);
  set_pointer(plan.scratchpad, static_cast<std::byte*>(block) + aligned(plan.weight_bytes), key);
}

void make_room(CpuConv& conv, size_t bytes) {
  if (bytes <= conv.bytes) return;
  std::unique_ptr<void, Free> block(std::aligned_alloc(kAlignment, aligned(bytes)));
  ELBO_CHECK(block, "no memory for ", bytes, " bytes of reordered weights");
  for (const auto& [key, plan] : conv.plans) place(plan, block.get(), key);
  conv.block = std::move(block);
  conv.bytes = bytes;
}

dnnl::reorder make_reorder(const dnnl::engine& engine, const PlanKey& key, const Plan& plan) {
  dnnl::primitive_attr attributes;
  if (key.kind != Kind::weight) {
    return dnnl::reorder({engine, plan.our_weight.get_desc(), engine, plan.weight.get_desc()});
  }
  if (key.add) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  return dnnl::reorder(
      {engine, plan.weight.get_desc(), engine, plan.our_weight.get_desc(), attributes});
}

// What the three descriptors have in common.
template <class Primitive, class Descriptor>
Plan plan_of(const CpuConv& conv, const PlanKey& key, const Descriptors& d,
             const Descriptor& descriptor, const memory::desc& weight) {
  Plan plan;
  plan.implementation = descriptor.impl_info_str();
  if (plan.implementation.starts_with("ref")) {
    plan.implementation = concat("own kernels, as oneDNN has ", plan.implementation);
    return plan;
  }
  const auto unbound = [&](const memory::desc& desc) {
    return memory(desc, conv.engine, DNNL_MEMORY_NONE);
  };
  plan.primitive = Primitive(descriptor);
  plan.image = unbound(d.image);
  plan.features = unbound(d.features);
  if (key.bias) plan.bias = unbound(d.bias);
  plan.weight = unbound(weight);
  plan.our_weight = unbound(Descriptors(key, memory::format_tag::ohwi).weight);
  plan.scratchpad = unbound(descriptor.scratchpad_desc());
  plan.weight_bytes = weight.get_size();
  plan.scratchpad_bytes = descriptor.scratchpad_desc().get_size();
  plan.reorder = make_reorder(conv.engine, key, plan);
  return plan;
}

Plan make_plan(const CpuConv& conv, const PlanKey& key) {
  const Descriptors d(key, memory::format_tag::any);
  try {
    const auto forward = forward_descriptor(conv.engine, d);
    if (key.kind == Kind::features) {
      return plan_of<dnnl::convolution_forward>(conv, key, d, forward, forward.weights_desc());
    }
    if (key.kind == Kind::image) {
      const auto data = data_descriptor(conv.engine, d, forward);
      return plan_of<dnnl::convolution_backward_data>(conv, key, d, data, data.weights_desc());
    }
    const auto weight = weight_descriptor(conv.engine, d, forward);
    return plan_of<dnnl::convolution_backward_weights>(conv, key, d, weight,
                                                       weight.diff_weights_desc());
  } catch (const dnnl::error& error) {
    return Plan{.implementation = concat("own kernels, as oneDNN says ", error.what())};
  }
}

const Plan& find_plan(CpuConv& conv, const PlanKey& key) {
  auto found = conv.plans.find(key);
  if (found == conv.plans.end()) {
    Plan plan = make_plan(conv, key);
    make_room(conv, aligned(plan.weight_bytes) + aligned(plan.scratchpad_bytes));
    place(plan, conv.block.get(), key);
    found = conv.plans.emplace(key, std::move(plan)).first;
  }
  return found->second;
}

// The C calls: dnnl::primitive::execute takes an unordered_map, which would allocate at every step.
void reorder(const CpuConv& conv, const PlanKey& key, const Plan& plan) {
  const bool gradient = key.kind == Kind::weight;
  const std::array<dnnl_exec_arg_t, 2> args{
      {{DNNL_ARG_FROM, gradient ? plan.weight.get() : plan.our_weight.get()},
       {DNNL_ARG_TO, gradient ? plan.our_weight.get() : plan.weight.get()}}};
  check(dnnl_primitive_execute(plan.reorder.get(), conv.stream.get(), 2, args.data()),
        "dnnl_primitive_execute", key);
}

void execute(const CpuConv& conv, const PlanKey& key, const Plan& plan) {
  const bool data = key.kind == Kind::image, weight = key.kind == Kind::weight;
  std::array<dnnl_exec_arg_t, 5> args{
      {{data ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, plan.image.get()},
       {key.kind == Kind::features ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, plan.features.get()},
       {weight ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, plan.weight.get()},
       {DNNL_ARG_SCRATCHPAD, plan.scratchpad.get()},
       {}}};
  if (key.bias) args[4] = {DNNL_ARG_BIAS, plan.bias.get()};
  check(dnnl_primitive_execute(plan.primitive.get(), conv.stream.get(), key.bias ? 5 : 4,
                               args.data()),
        "dnnl_primitive_execute", key);
}

}  // namespace

CpuConv* create_conv() { return new CpuConv; }
void destroy_conv(CpuConv* conv) noexcept { delete conv; }

std::vector<std::string> describe_conv(const CpuConv& conv) {
  std::vector<std::string> lines;
  for (const auto& [key, plan] : conv.plans) {
    lines.push_back(concat(describe_key(key), ": ", plan.implementation));
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

bool convolve(const Exec& exec, const ConvProduct<float>& p) {
  const bool to_image = p.towards == ConvTowards::image, add = p.mode == GradMode::add;
  if (!exec.gemm || !exec.gemm->conv || (to_image && add)) return false;
  CpuConv& conv = *exec.gemm->conv;
  const PlanKey key{.kind = to_image ? Kind::image : Kind::features,
                    .geometry = p.geometry,
                    .bias = !to_image && p.bias,
                    .add = add};
  const Plan& plan = find_plan(conv, key);
  if (!plan.primitive) return false;
  set_pointer(plan.our_weight, p.weight, key);
  set_pointer(plan.image, to_image ? p.out : p.in, key);
  set_pointer(plan.features, to_image ? p.in : p.out, key);
  if (key.bias) set_pointer(plan.bias, p.bias, key);
  reorder(conv, key, plan);
  execute(conv, key, plan);
  ConvProduct<float> rest = p;
  if (key.bias) rest.bias = nullptr;
  finish_convolution(exec, rest);
  return true;
}

bool conv_weight_gradient(const Exec& exec, const ConvWeightProduct<float>& p) {
  if (!exec.gemm || !exec.gemm->conv) return false;
  CpuConv& conv = *exec.gemm->conv;
  const PlanKey key{
      .kind = Kind::weight, .geometry = p.geometry, .bias = false, .add = p.mode == GradMode::add};
  const Plan& plan = find_plan(conv, key);
  if (!plan.primitive) return false;
  set_pointer(plan.our_weight, p.dweight, key);
  set_pointer(plan.image, p.image, key);
  set_pointer(plan.features, p.features, key);
  execute(conv, key, plan);
  reorder(conv, key, plan);
  conv_bias_gradient(exec, p);
  return true;
}

}  // namespace onednn
}  // namespace elbo

#endif  // ELBO_HAS_ONEDNN
