#include "models/layer_spec.h"

#include <charconv>
#include <sstream>

#include "kernels/error.h"

namespace elbo {
namespace {

constexpr int64_t kLargest = 1 << 20;  // of any number here: far beyond use, and products still fit

constexpr const char* kLayers =
    "conv, convt, linear, reshape, upsample, avgpool, norm, res or attention";

// A line cut into words, with errors that quote it.
class Words {
 public:
  explicit Words(std::string_view line) : line_(line) {
    std::istringstream stream{std::string(line)};
    for (std::string word; stream >> word;) words_.push_back(word);
  }

  bool empty() const { return next_ == words_.size(); }
  const std::string& peek() const { return words_[next_]; }
  std::string take(const char* what) {
    if (empty()) fail("", concat("ends where ", what, " is expected"));
    return words_[next_++];
  }

  [[noreturn]] void fail(const std::string& word, const std::string& problem) const {
    throw_error(ErrorCode::usage, "layer \"", line_, "\"", word.empty() ? "" : ": \"", word,
                word.empty() ? " " : "\" ", problem);
  }

  int64_t number(const std::string& word, std::string_view digits, int64_t low) const {
    int64_t value = 0;
    const char* end = digits.data() + digits.size();
    const auto [at, error] = std::from_chars(digits.data(), end, value);
    if (error != std::errc() || at != end || digits.empty() || value < low || value > kLargest) {
      fail(word, concat("is not a number from ", low, " to ", kLargest));
    }
    return value;
  }

  // "4" or "4x3": height and width.
  std::pair<int64_t, int64_t> extents(const std::string& word, std::string_view digits,
                                      int64_t low) const {
    const size_t cross = digits.find('x');
    const int64_t height = number(word, digits.substr(0, cross), low);
    if (cross == std::string_view::npos) return {height, height};
    return {height, number(word, digits.substr(cross + 1), low)};
  }

 private:
  std::string_view line_;
  std::vector<std::string> words_;
  size_t next_ = 0;
};

bool starts_with_number(std::string_view word, std::string_view prefix) {
  return word.size() > prefix.size() && word.starts_with(prefix) && word[prefix.size()] >= '0' &&
         word[prefix.size()] <= '9';
}

bool take_norm(Words& words, LayerSpec& layer) {
  if (words.empty()) return false;
  const std::string word = words.peek();
  if (word == "bn") {
    layer.norm = NormKind::batch;
  } else if (starts_with_number(word, "gn")) {
    layer.norm = NormKind::group;
    layer.groups = words.number(word, std::string_view(word).substr(2), 1);
  } else {
    return false;
  }
  words.take("a norm");
  return true;
}

bool take_activation(Words& words, LayerSpec& layer) {
  if (words.empty()) return false;
  for (const Activation activation : kActivations) {
    if (words.peek() == activation_name(activation)) {
      layer.activation = activation;
      words.take("an activation");
      return true;
    }
  }
  return false;
}

int64_t take_out(Words& words) {
  const std::string word = words.take("a number of outputs");
  if (word == "image") return LayerSpec::kImage;
  if (word == "flat") return LayerSpec::kFlat;
  return words.number(word, word, 1);
}

// kK and what may follow it in any order.
void take_window(Words& words, LayerSpec& layer, bool transposed, bool dilated) {
  ConvWindow& w = layer.window;
  bool has_kernel = false, has_padding = false, has_stride = false;
  while (!words.empty()) {
    const std::string word = words.peek();
    const std::string_view text = word;
    if (starts_with_number(text, "k")) {
      std::tie(w.kernel_h, w.kernel_w) = words.extents(word, text.substr(1), 1);
      has_kernel = true;
    } else if (starts_with_number(text, "s")) {
      std::tie(w.stride_h, w.stride_w) = words.extents(word, text.substr(1), 1);
      has_stride = true;
    } else if (starts_with_number(text, "p")) {
      std::tie(w.padding_h, w.padding_w) = words.extents(word, text.substr(1), 0);
      has_padding = true;
    } else if (dilated && starts_with_number(text, "d")) {
      std::tie(w.dilation_h, w.dilation_w) = words.extents(word, text.substr(1), 1);
    } else if (transposed && starts_with_number(text, "op")) {
      const auto [h, v] = words.extents(word, text.substr(2), 0);
      layer.output_padding = OutputPadding{h, v};
    } else {
      break;
    }
    words.take("a window");
  }
  if (!has_kernel) words.fail("", "has no kernel, like k3");
  if (!has_padding && dilated) {
    w.padding_h = w.dilation_h * (w.kernel_h - 1) / 2;
    w.padding_w = w.dilation_w * (w.kernel_w - 1) / 2;
  }
  if (!has_stride && !dilated) w.stride_h = w.kernel_h, w.stride_w = w.kernel_w;
}

ImageSize take_image(Words& words) {
  const std::string word = words.take("CxHxW");
  const std::string_view text = word;
  const size_t cross = text.find('x');
  if (cross == std::string_view::npos || text.find('x', cross + 1) == std::string_view::npos) {
    words.fail(word, "is not CxHxW");
  }
  const int64_t channels = words.number(word, text.substr(0, cross), 1);
  const auto [height, width] = words.extents(word, text.substr(cross + 1), 1);
  return {height, width, channels};
}

void take_upsample(Words& words, LayerSpec& layer) {
  const std::string factor = words.take("a factor");
  std::tie(layer.window.stride_h, layer.window.stride_w) = words.extents(factor, factor, 1);
  if (words.empty()) return;
  const std::string mode = words.take("nearest or bilinear");
  if (mode != "nearest" && mode != "bilinear") words.fail(mode, "is not nearest or bilinear");
  layer.bilinear = mode == "bilinear";
}

void take_rest(Words& words, LayerSpec& layer, const std::string& kind) {
  if (kind == "conv" || kind == "convt") {
    layer.kind = kind == "conv" ? LayerKind::conv : LayerKind::conv_transpose;
    layer.out = take_out(words);
    take_window(words, layer, kind == "convt", true);
    take_norm(words, layer);
    take_activation(words, layer);
  } else if (kind == "linear") {
    layer.kind = LayerKind::linear;
    layer.out = take_out(words);
    take_norm(words, layer);
    take_activation(words, layer);
  } else if (kind == "reshape") {
    layer.kind = LayerKind::reshape;
    layer.image = take_image(words);
  } else if (kind == "upsample") {
    layer.kind = LayerKind::upsample;
    take_upsample(words, layer);
  } else if (kind == "avgpool") {
    layer.kind = LayerKind::avg_pool;
    take_window(words, layer, false, false);
  } else if (kind == "norm") {
    layer.kind = LayerKind::norm;
    if (!take_norm(words, layer)) words.fail("", "does not say which: bn or gn32");
    take_activation(words, layer);
  } else if (kind == "res" || kind == "attention") {
    layer.norm = NormKind::group;
    layer.groups = 32;  // what autoencoders of latent diffusion use
    layer.kind = LayerKind::attention;
    if (kind == "res") {
      layer.kind = LayerKind::residual;
      layer.activation = Activation::silu;
      layer.out = take_out(words);
    }
    take_norm(words, layer);
    if (kind == "res") take_activation(words, layer);
  } else {
    words.fail(kind, concat("is not a layer; expected ", kLayers));
  }
}

}  // namespace

LayerSpec parse_layer(std::string_view text) {
  Words words(text);
  LayerSpec layer;
  layer.text = text;
  const std::string kind = words.take("a layer");
  take_rest(words, layer, kind);
  if (!words.empty()) {
    words.fail(words.peek(), concat("does not belong to ", kind,
                                    "; see models/layer_spec.h or docs/models.md for what does"));
  }
  return layer;
}

std::vector<LayerSpec> parse_layers(const std::vector<std::string>& lines) {
  std::vector<LayerSpec> layers;
  for (const std::string& line : lines) layers.push_back(parse_layer(line));
  return layers;
}

}  // namespace elbo
