// .npy and .npz files as NumPy writes them, for tests of their readers.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace elbo {

// `type` like "|u1", `shape` like "(2, 3)".
std::string npy_file(const std::string& type, const std::string& shape,
                     const std::string& elements);

struct ZipSample {
  std::string name, content;
  bool deflated = false;
};
std::string zip_file(const std::vector<ZipSample>& members, const std::string& comment = "");

}  // namespace elbo
