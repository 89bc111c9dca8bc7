#include "models/network_plan.h"

#include <algorithm>
#include <set>

#include "kernels/error.h"

namespace elbo {
namespace {

std::string state_text(const LayerState& state) {
  const ImageSize& s = state.size;
  return state.flat ? concat(s.size(), " values")
                    : concat(s.channels, "x", s.height, "x", s.width, " (CxHxW)");
}

[[noreturn]] void fail(const LayerSpec& layer, const std::string& problem) {
  throw_error(ErrorCode::usage, "layer \"", layer.text, "\": ", problem);
}

bool needs_picture(const LayerSpec& layer) {
  return layer.kind != LayerKind::linear && layer.kind != LayerKind::reshape &&
         layer.kind != LayerKind::norm;
}

int64_t resolved_out(const LayerSpec& layer, const ImageSize& image, const ImageSize* picture) {
  if (layer.out == LayerSpec::kImage) {
    return layer.kind == LayerKind::linear ? image.size() : image.channels;
  }
  if (layer.out != LayerSpec::kFlat) return layer.out;
  if (!picture || layer.kind != LayerKind::linear) {
    fail(layer, "\"flat\" is for the decoder's linear layers");
  }
  return picture->size();
}

void check_groups(const LayerSpec& layer, int64_t channels) {
  if (layer.norm == NormKind::group && channels % layer.groups != 0) {
    fail(layer, concat(layer.groups, " groups do not divide ", channels, " channels"));
  }
}

ImageSize output_size(const LayerSpec& layer, const ImageSize& in) {
  const ConvWindow& w = layer.window;
  switch (layer.kind) {
    case LayerKind::conv:
      return conv2d_geometry(1, in, layer.out, w).features;
    case LayerKind::conv_transpose: {
      const OutputPadding padding = layer.output_padding.value_or(OutputPadding{});
      return conv_transpose2d_geometry(1, in, layer.out, w, padding.h, padding.w).image;
    }
    case LayerKind::avg_pool: {
      if (w.kernel_h != w.kernel_w || w.stride_h != w.stride_w || w.padding_h != w.padding_w) {
        throw Error(ErrorCode::usage, "only square windows are averaged");
      }
      ImageSize out = conv2d_geometry(1, in, 1, w).features;
      out.channels = in.channels;
      return out;
    }
    case LayerKind::upsample:
      return {in.height * w.stride_h, in.width * w.stride_w, in.channels};
    case LayerKind::residual:
      return {in.height, in.width, layer.out};
    default:
      return in;
  }
}

// What a layer makes of `state`; a vector has been made a picture already where it must be one.
LayerPlan plan_layer(const LayerSpec& spec, const LayerState& state) {
  LayerPlan plan{.spec = spec, .in = state, .out = state};
  if (spec.kind == LayerKind::linear) {
    plan.flattens = !state.flat;
    plan.in.flat = true;
    plan.out = {{1, 1, spec.out}, true};
  } else if (spec.kind == LayerKind::reshape) {
    if (!state.flat || state.size.size() != spec.image.size()) {
      fail(spec,
           concat("comes after ", state_text(state), "; expected ", spec.image.size(), " values"));
    }
    plan.unflattens = true;
    plan.out = {spec.image, false};
  } else {
    try {
      plan.out.size = output_size(spec, state.size);
    } catch (const Error& error) {
      fail(spec, concat("comes after ", state_text(state), ": ", error.what()));
    }
    check_groups(spec,
                 spec.kind == LayerKind::residual ? state.size.channels : plan.out.size.channels);
    if (spec.kind == LayerKind::residual) check_groups(spec, plan.out.size.channels);
  }
  if (spec.kind == LayerKind::linear) check_groups(spec, spec.out);
  return plan;
}

// The paddings of the transposed convolutions among layers[first..] along one axis that lead from
// `extent` to `target`: a depth-first search for the smallest, remembering what leads nowhere.
class PaddingSearch {
 public:
  PaddingSearch(const std::vector<LayerSpec>& layers, bool vertical, int64_t target)
      : layers_(layers), vertical_(vertical), target_(target), padding_(layers.size()) {}

  bool solve(size_t layer, int64_t extent) {
    if (extent < 1 || dead_.contains({layer, extent})) return false;
    if (layer == layers_.size()) {
      ends_.insert(extent);
      return extent == target_;
    }
    const LayerSpec& spec = layers_[layer];
    if (spec.kind != LayerKind::conv_transpose) {
      if (solve(layer + 1, next(spec, extent, 0))) return true;
    } else if (spec.output_padding) {
      const int64_t given = vertical_ ? spec.output_padding->h : spec.output_padding->w;
      if (solve(layer + 1, next(spec, extent, given))) return padding_[layer] = given, true;
    } else {
      const ConvWindow& w = spec.window;
      const int64_t choices =
          vertical_ ? std::max(w.stride_h, w.dilation_h) : std::max(w.stride_w, w.dilation_w);
      for (int64_t p = 0; p < choices; ++p) {
        if (solve(layer + 1, next(spec, extent, p))) return padding_[layer] = p, true;
      }
    }
    dead_.insert({layer, extent});
    return false;
  }

  int64_t padding(size_t layer) const { return padding_[layer]; }
  const std::set<int64_t>& ends() const { return ends_; }

 private:
  int64_t next(const LayerSpec& spec, int64_t extent, int64_t padding) const {
    const ConvWindow& w = spec.window;
    const int64_t kernel = vertical_ ? w.kernel_h : w.kernel_w;
    const int64_t stride = vertical_ ? w.stride_h : w.stride_w;
    const int64_t pad = vertical_ ? w.padding_h : w.padding_w;
    const int64_t dilation = vertical_ ? w.dilation_h : w.dilation_w;
    switch (spec.kind) {
      case LayerKind::conv:
      case LayerKind::avg_pool:
        return conv_output_extent(extent, kernel, stride, pad, dilation);
      case LayerKind::conv_transpose:
        return conv_transpose_output_extent(extent, kernel, stride, pad, dilation, padding);
      case LayerKind::upsample:
        return extent * stride;
      default:
        return extent;
    }
  }

  const std::vector<LayerSpec>& layers_;
  bool vertical_;
  int64_t target_;
  std::vector<int64_t> padding_;
  std::set<std::pair<size_t, int64_t>> dead_;
  std::set<int64_t> ends_;
};

std::string numbers_text(const std::set<int64_t>& numbers) {
  std::string text;
  for (const int64_t n : numbers) text += concat(text.empty() ? "" : ", ", n);
  return text.empty() ? "nothing" : text;
}

void solve_paddings(std::vector<LayerSpec>& layers, const ImageSize& start,
                    const ImageSize& image) {
  PaddingSearch rows(layers, true, image.height), cols(layers, false, image.width);
  const bool rows_fit = rows.solve(0, start.height), cols_fit = cols.solve(0, start.width);
  if (!rows_fit || !cols_fit) {
    const PaddingSearch& search = rows_fit ? cols : rows;
    throw_error(ErrorCode::usage, "the decoder starts at ", start.height, "x", start.width,
                " and can end at a ", rows_fit ? "width" : "height", " of ",
                numbers_text(search.ends()), " but the images are ", image.height, "x", image.width,
                "; change a stride or kernel, start with \"reshape CxHxW\" of another size, or use "
                "images of another size");
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].kind == LayerKind::conv_transpose) {
      layers[i].output_padding = OutputPadding{rows.padding(i), cols.padding(i)};
    }
  }
}

// The picture that the vector in front of layers[at] holds, if it becomes one: what a reshape says, or the
// encoder's.
const ImageSize* picture_ahead(const std::vector<LayerSpec>& layers, size_t at,
                               const ImageSize& picture, const ImageSize& image) {
  for (; at < layers.size(); ++at) {
    if (layers[at].kind == LayerKind::norm) continue;
    if (layers[at].kind == LayerKind::linear) return nullptr;
    return layers[at].kind == LayerKind::reshape ? &layers[at].image : &picture;
  }
  return &image;  // the decoder's end
}

}  // namespace

std::vector<LayerPlan> plan_encoder(const std::vector<LayerSpec>& layers, const ImageSize& image) {
  std::vector<LayerPlan> plans;
  LayerState state{image, std::none_of(layers.begin(), layers.end(), needs_picture)};
  for (LayerSpec layer : layers) {
    if (layer.kind == LayerKind::reshape) fail(layer, "belongs into a decoder");
    if (needs_picture(layer) && state.flat) {
      fail(layer, concat("needs a picture, but comes after ", state_text(state)));
    }
    layer.out = resolved_out(layer, image, nullptr);
    plans.push_back(plan_layer(layer, state));
    state = plans.back().out;
  }
  return plans;
}

ImageSize last_picture(const std::vector<LayerPlan>& encoder, const ImageSize& image) {
  ImageSize picture = image;
  for (const LayerPlan& plan : encoder) {
    if (!plan.out.flat) picture = plan.out.size;
  }
  return picture;
}

LayerState end_of(const std::vector<LayerPlan>& encoder, const ImageSize& image) {
  return encoder.empty() ? LayerState{image, true} : encoder.back().out;
}

LayerState latent_of(const std::vector<LayerPlan>& encoder, const ImageSize& image,
                     int64_t latent_dim, int64_t latent_channels, bool variational) {
  if (latent_channels == 0) return {{1, 1, latent_dim}, true};
  const LayerState end = end_of(encoder, image);
  const int64_t wanted = (variational ? 2 : 1) * latent_channels;
  if (end.flat || end.size.channels != wanted) {
    throw_error(ErrorCode::usage, "model.latent_channels is ", latent_channels,
                ", so the encoder must end with a picture of ", wanted, " channels",
                variational ? " (mean and log-variance)" : "", "; it ends with ", state_text(end));
  }
  return {{end.size.height, end.size.width, latent_channels}, false};
}

std::vector<LayerPlan> plan_decoder(const std::vector<LayerSpec>& given, const LayerState& latent,
                                    const ImageSize& picture, const ImageSize& image) {
  std::vector<LayerSpec> layers = given;
  for (LayerSpec& layer : layers) layer.out = resolved_out(layer, image, &picture);
  std::vector<LayerPlan> plans;
  LayerState state = latent;
  for (size_t i = 0; i < layers.size(); ++i) {
    const bool unflattens = needs_picture(layers[i]) && state.flat;
    if (unflattens) {
      if (state.size.size() != picture.size()) {
        fail(layers[i], concat("comes after ", state_text(state), ", which are not the ",
                               state_text({picture, false}),
                               " that the encoder ends with; put \"linear flat\" or \"reshape "
                               "CxHxW\" in front"));
      }
      state = {picture, false};
    }
    const bool starts_as_picture = i == 0 && !latent.flat;
    if (unflattens || starts_as_picture || layers[i].kind == LayerKind::reshape) {
      const size_t first = layers[i].kind == LayerKind::reshape ? i + 1 : i;
      std::vector<LayerSpec> rest(layers.begin() + static_cast<int64_t>(first), layers.end());
      const bool to_the_end = std::none_of(rest.begin(), rest.end(), [](const LayerSpec& layer) {
        return layer.kind == LayerKind::linear || layer.kind == LayerKind::reshape;
      });
      if (to_the_end) {
        solve_paddings(rest, first > i ? layers[i].image : state.size, image);
        std::copy(rest.begin(), rest.end(), layers.begin() + static_cast<int64_t>(first));
      }
    }
    plans.push_back(plan_layer(layers[i], state));
    plans.back().unflattens |= unflattens;
    LayerPlan& plan = plans.back();
    if (plan.spec.kind == LayerKind::linear) {
      const ImageSize* ahead = picture_ahead(layers, i + 1, picture, image);
      if (ahead && ahead->size() == plan.spec.out) plan.out.size = *ahead;
    }
    state = plan.out;
  }
  if (state.size != image) {
    throw_error(ErrorCode::usage, "the decoder ends with ", state_text(state),
                " but the images are ", state_text({image, false}),
                "; let its last layer have \"image\" outputs");
  }
  return plans;
}

}  // namespace elbo
