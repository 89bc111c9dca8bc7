#include "models/corruption_text.h"

#include <charconv>

#include "kernels/error.h"

namespace elbo {
namespace {

constexpr float kLargest = 100.0f;  // of noise: far beyond use
constexpr int kMostPixels = 1024;   // along a side of a square or block

constexpr const char* kForms =
    "gaussian:SIGMA[:MEAN], mask:P, square:SIZE[:COUNT], salt-pepper:P, blur:SIGMA, "
    "motion:LENGTH[:ANGLE] or downsample:F[:nearest]";

// One link, cut at its colons.
class Link {
 public:
  explicit Link(std::string_view text) : text_(text) {
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(':', begin), text.size());
      parts_.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
  }

  std::string_view name() const { return parts_[0]; }
  bool has(size_t part) const { return parts_.size() > part; }
  std::string_view part(size_t part) const { return parts_[part]; }

  [[noreturn]] void fail(const std::string& problem) const {
    throw_error(ErrorCode::usage, "\"", text_, "\" ", problem);
  }

  void expect_parts(size_t least, size_t most) const {
    if (parts_.size() < least || parts_.size() > most)
      fail(concat("has ", parts_.size() - 1, " numbers; expected ", kForms));
  }

  template <class Number>
  Number number(size_t part, const char* what, Number low, Number high) const {
    Number value{};
    const std::string_view digits = parts_[part];
    const char* end = digits.data() + digits.size();
    const auto [at, error] = std::from_chars(digits.data(), end, value);
    // Written so that NaN is out of range.
    if (error != std::errc() || at != end || !(value >= low && value <= high))
      fail(concat("has \"", digits, "\" for its ", what, "; expected a number from ", low, " to ",
                  high));
    return value;
  }

 private:
  std::string_view text_;
  std::vector<std::string_view> parts_;
};

Corruption parse_link(std::string_view text) {
  const Link link(text);
  const std::string_view name = link.name();
  Corruption result;
  if (name == "gaussian") {
    link.expect_parts(2, 3);
    result.kind = CorruptionKind::gaussian;
    result.sigma = link.number(1, "sigma", 0.0f, kLargest);
    if (link.has(2)) result.mean = link.number(2, "mean", -kLargest, kLargest);
  } else if (name == "mask" || name == "salt-pepper") {
    link.expect_parts(2, 2);
    result.kind = name == "mask" ? CorruptionKind::mask : CorruptionKind::salt_pepper;
    result.share = link.number(1, "share of pixels", 0.0f, 1.0f);
  } else if (name == "square") {
    link.expect_parts(2, 3);
    result.kind = CorruptionKind::square;
    result.size = link.number(1, "size", 1, kMostPixels);
    if (link.has(2)) result.count = link.number(2, "count", 1, kMostSquares);
  } else if (name == "blur") {
    link.expect_parts(2, 2);
    result.kind = CorruptionKind::blur;
    result.sigma = link.number(1, "sigma", 0.0f, kWidestBlur);
  } else if (name == "motion") {
    link.expect_parts(2, 3);
    result.kind = CorruptionKind::motion;
    result.size = link.number(1, "length", 1, kLongestMotion);
    if (link.has(2)) result.degrees = link.number(2, "angle", -360.0f, 360.0f);
  } else if (name == "downsample") {
    link.expect_parts(2, 3);
    result.kind = CorruptionKind::downsample;
    result.size = link.number(1, "factor", 2, kMostPixels);
    if (link.has(2)) {
      result.nearest = link.part(2) == "nearest";
      if (!result.nearest && link.part(2) != "bilinear")
        link.fail("has another enlargement than nearest or bilinear");
    }
  } else {
    link.fail(concat("is no corruption; expected ", kForms));
  }
  return result;
}

}  // namespace

std::vector<Corruption> parse_corruptions(std::string_view text) {
  std::vector<Corruption> chain;
  if (text.empty() || text == "none") return chain;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    std::string_view link = text.substr(begin, end - begin);
    while (!link.empty() && link.front() == ' ') link.remove_prefix(1);
    while (!link.empty() && link.back() == ' ') link.remove_suffix(1);
    chain.push_back(parse_link(link));
    begin = end + 1;
  }
  return chain;
}

void check_corruptions(const std::vector<Corruption>& chain, const ImageSize& image,
                       std::string_view text) {
  for (const Corruption& link : chain) {
    const std::string misfit = corruption_misfit(link, image);
    if (!misfit.empty())
      throw_error(ErrorCode::usage, "data.corrupt is \"", text, "\", but ", misfit);
  }
}

}  // namespace elbo
