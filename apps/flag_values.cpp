#include "apps/flag_values.h"

#include <algorithm>

#include "apps/command_line.h"
#include "engine/io/blob.h"
#include "kernels/error.h"

namespace elbo {
namespace {

constexpr double kFarthest = 1000;  // of a latent: far outside anything a decoder has seen

// For their number parsing and their messages.
Arguments just(const std::string& flag, const std::string& text) {
  Arguments one;
  one.add(flag, text);
  return one;
}

std::vector<std::string> pieces(const std::string& text) {
  std::vector<std::string> all;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    all.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return all;
}

}  // namespace

Range parse_range(const std::string& flag, const std::string& text, double least, double most) {
  const size_t dots = text.find("..");
  Range range;
  range.low = just(flag, text.substr(0, dots)).number(flag, 0, least, most);
  range.high = just(flag, dots == std::string::npos ? "" : text.substr(dots + 2))
                   .number(flag, 0, least, most);
  if (range.low >= range.high) {
    throw_error(ErrorCode::usage, flag, ": found ", in_quotes(text),
                ", expected LOW..HIGH with LOW below HIGH");
  }
  return range;
}

std::vector<int64_t> parse_dims(const std::string& flag, const std::string& text,
                                int64_t latent_dim) {
  std::vector<int64_t> dims;
  for (const std::string& piece : pieces(text)) {
    dims.push_back(just(flag, piece).integer(flag, 0, 0, latent_dim - 1));
  }
  return dims;
}

std::vector<double> parse_numbers(const std::string& flag, const std::string& text, double least,
                                  double most) {
  std::vector<double> numbers;
  for (const std::string& piece : pieces(text)) {
    numbers.push_back(just(flag, piece).number(flag, 0, least, most));
  }
  return numbers;
}

LatentValue parse_latent_value(const std::string& flag, const std::string& text,
                               int64_t latent_dim) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) {
    throw_error(ErrorCode::usage, flag, ": found ", in_quotes(text),
                ", expected LATENT=VALUE, like 3=1.5");
  }
  LatentValue found;
  found.dim = just(flag, text.substr(0, equals)).integer(flag, 0, 0, latent_dim - 1);
  found.value = just(flag, text.substr(equals + 1)).number(flag, 0, -kFarthest, kFarthest);
  return found;
}

}  // namespace elbo
