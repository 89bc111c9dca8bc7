// Values of flags that are several numbers in one.
//
// Errors    ErrorCode::usage: the flag, what was found, what was expected
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace elbo {

struct Range {
  double low = 0, high = 0;
};

// "-3..3", within [least, most].
Range parse_range(const std::string& flag, const std::string& text, double least, double most);

// "3,0,7": latents of a model that has latent_dim.
std::vector<int64_t> parse_dims(const std::string& flag, const std::string& text,
                                int64_t latent_dim);

// "0.5,1,2", each within [least, most].
std::vector<double> parse_numbers(const std::string& flag, const std::string& text, double least,
                                  double most);

// "3=1.5": a latent and a number.
struct LatentValue {
  int64_t dim = 0;
  double value = 0;
};
LatentValue parse_latent_value(const std::string& flag, const std::string& text,
                               int64_t latent_dim);

}  // namespace elbo
