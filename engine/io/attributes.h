// Attributes: numbers with names that a data set says of each of its images, such as an angle, an
// age or whether somebody smiles. ImageSplit holds them in the data's own units.
//
//   NumPy      arrays train_attributes test_attributes · attributes · latents_values (dSprites),
//              [N, A] or [N]; names are the lines of attribute_names.txt beside them
//   folders    attributes.csv, header file,NAME,NAME,... and a row for each image file, by its path
//              below the folder; or CelebA's list_attr_celeba.csv or .txt, which name files without
//              folders
//
// A set's attributes are read only if somebody wants them, and only those that are wanted must be
// right: a column of text, or of another data set, is nobody's concern otherwise.
//
// Names     each once, not empty, UTF-8 without control characters, as a configuration holds them, and
//           without = and commas, which flags need; attribute_0, ... where nothing says any
// Errors    ErrorCode::data: file and line or element, found, expected, what to do
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/io/file_ops.h"
#include "engine/io/image_set.h"
#include "engine/io/log.h"
#include "kernels/error.h"

namespace elbo {

inline constexpr int64_t kMostAttributes = 1024;

std::vector<std::string> numbered_attributes(int64_t count);
const std::vector<std::string>& sprite_attribute_names();  // kernels/sprites.h

void check_attribute_names(const std::vector<std::string>& names, const std::string& source);

// Where a name is; nothing if it is not there.
std::optional<size_t> find_attribute(const std::string& name,
                                     const std::vector<std::string>& names);
std::string attribute_list(const std::vector<std::string>& names);  // "x, y", for messages

// What is wanted of the attributes that a set may have.
struct AttributeWish {
  enum class Use { none, shown, told };  // told to a model: whatever is wrong with them is an error
  Use use = Use::none;
  std::vector<std::string> names = {};  // these alone, in this order; empty: all
};

// Calls read() if any are wanted. If they are only to be shown, an error becomes a note of the log.
template <class Read>
void read_as_wished(const AttributeWish& wish, Log& log, const Read& read) {
  if (wish.use == AttributeWish::Use::none) return;
  try {
    read();
  } catch (const Error& error) {
    if (wish.use == AttributeWish::Use::told) throw;
    log.note(concat("attributes cannot be used: ", error.what()));
  }
}

// The places of `wanted` among the names of `source`, all of them in order if nothing is wanted;
// those names are checked as check_attribute_names() does.
std::vector<int64_t> attribute_columns(const std::vector<std::string>& wanted,
                                       const std::vector<std::string>& names,
                                       const std::string& source);

// Throws ErrorCode::data if both splits have attributes and their names differ.
void check_same_attributes(const ImageSplit& train, const ImageSplit& test);

// Of all images. The deviation is that of all, not of a sample, and 0 exactly where all are equal.
struct AttributeFigures {
  double mean = 0, deviation = 0, lowest = 0, highest = 0;
};
std::vector<AttributeFigures> attribute_figures(std::span<const float> rows, int64_t attributes);

// One name per line of attribute_names.txt in a folder, not checked; nothing if there is no such
// file.
std::vector<std::string> read_attribute_names(Fs& fs, const std::string& folder);

// What a folder of picture files says of them: of `wanted` attributes alone, or of all.
struct AttributeTable {
  std::string source;
  std::vector<std::string> names;
  std::vector<float> values;                     // [rows, names]
  std::unordered_map<std::string, size_t> rows;  // by file
  bool without_folders = false;                  // files are named without those that they lie in

  // Of an image file that has this path below the folder.
  std::span<const float> row(const std::string& file) const;
};
std::optional<AttributeTable> read_attribute_table(Fs& fs, const std::string& folder,
                                                   const std::vector<std::string>& wanted = {});

}  // namespace elbo
