// Start at load_npy_set(): it collects the arrays that a path holds, by name, as promises to read
// them, and then reads those whose names it knows.
#include "engine/io/npy_set.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "engine/io/attributes.h"
#include "engine/io/blob.h"
#include "engine/io/zip.h"

namespace elbo {
namespace {

constexpr uint64_t kLargestFile = uint64_t{1} << 40;

using Arrays = std::map<std::string, std::function<NpyArray()>>;

struct Names {
  const char *train, *train_labels, *test, *test_labels;
};
constexpr Names kNames[] = {
    {"x_train", "y_train", "x_test", "y_test"},
    {"train_images", "train_labels", "test_images", "test_labels"},
    {"train", "train_labels", "test", "test_labels"},
    {"images", "labels", "", ""},
    {"x", "y", "", ""},
    {"data", "labels", "", ""},
    {"imgs", "labels", "", ""},
    {"arr_0", "arr_1", "", ""},
};
constexpr const char* kTrainAttributes[] = {"train_attributes", "attributes", "latents_values"};
constexpr const char* kTestAttributes[] = {"test_attributes"};
// Of a file that holds test images alone.
constexpr const char* kOwnTestAttributes[] = {"test_attributes", "attributes", "latents_values"};
// latents_values of dSprites, as github.com/google-deepmind/dsprites-dataset describes them.
const std::vector<std::string> kDspritesLatents = {"color",       "shape",      "scale",
                                                   "orientation", "position_x", "position_y"};
constexpr std::pair<const char*, const char*> kSplitFiles[] = {{"train.npz", "test.npz"},
                                                               {"train_data.npz", "eval_data.npz"}};

NpyArray array_of(std::vector<std::byte> file, std::string source) {
  NpyArray array;
  array.source = std::move(source);
  array.file = std::move(file);
  array.view = parse_npy(array.file, array.source);
  return array;
}

std::string without_suffix(const std::string& name) { return name.substr(0, name.size() - 4); }

bool is_attributes(const std::string& name) {
  const auto is_it = [&](const char* known) { return name == known; };
  return std::any_of(std::begin(kTrainAttributes), std::end(kTrainAttributes), is_it) ||
         std::any_of(std::begin(kTestAttributes), std::end(kTestAttributes), is_it);
}

void add_archive(Fs& fs, const std::string& path, Arrays& arrays) {
  const auto file = std::make_shared<std::vector<std::byte>>(read_file(fs, path, kLargestFile));
  const auto archive = std::make_shared<ZipArchive>(*file, path);
  for (const ZipMember& member : archive->members()) {
    if (!member.name.ends_with(".npy")) continue;
    const std::string name = without_suffix(member.name);
    arrays[name] = [file, archive, &member, source = concat(path, ": ", name)] {
      return array_of(archive->read(member), source);
    };
  }
}

void add_file(Fs& fs, const std::string& path, const std::string& name, Arrays& arrays) {
  arrays[name] = [&fs, path] { return array_of(read_file(fs, path, kLargestFile), path); };
}

std::vector<std::string> with_suffix(const std::vector<std::string>& names, const char* suffix) {
  std::vector<std::string> found;
  std::copy_if(names.begin(), names.end(), std::back_inserter(found),
               [&](const std::string& name) { return name.ends_with(suffix); });
  return found;
}

const Names* find_names(const Arrays& arrays) {
  for (const Names& names : kNames) {
    if (arrays.contains(names.train)) return &names;
  }
  return nullptr;
}

std::string list_of(const Arrays& arrays) {
  std::string list;
  for (const auto& entry : arrays) list += (list.empty() ? "" : ", ") + in_quotes(entry.first);
  return list.empty() ? "none" : list;
}

// Names of all columns of an array, by a file beside it if there is one; `source` becomes who says so.
std::vector<std::string> names_of_columns(Fs& fs, const std::string& folder,
                                          const std::string& array, int64_t columns,
                                          std::string& source) {
  std::vector<std::string> names = read_attribute_names(fs, folder);
  if (!names.empty()) {
    source = join_path(folder, "attribute_names.txt");
    return names;
  }
  const bool dsprites = array == "latents_values" && columns == std::ssize(kDspritesLatents);
  return dsprites ? kDspritesLatents : numbered_attributes(columns);
}

// How many an array has of each image, which may be more than can be told if only some are wanted.
int64_t attribute_count(const NpyArray& array, int64_t images, const AttributeWish& wish) {
  const std::vector<int64_t>& shape = array.view.shape;
  const int64_t columns = shape.size() == 1 ? 1 : shape.size() == 2 ? shape[1] : 0;
  const int64_t most = wish.names.empty() ? kMostAttributes : INT64_MAX;
  if (columns >= 1 && columns <= most && shape[0] == images) return columns;
  throw_error(ErrorCode::data, array.source, ": shape ", shape_text(shape), ", expected [", images,
              ", A] with 1 to ", kMostAttributes, " attributes of each image; reshape it");
}

// The first of these arrays that is there, with the names that a file beside it gives.
void read_attributes(Fs& fs, const Arrays& arrays, std::span<const char* const> names,
                     const std::string& folder, const AttributeWish& wish, ImageSplit& split) {
  for (const std::string name : names) {
    const auto found = arrays.find(name);
    if (found == arrays.end()) continue;
    const NpyArray array = found->second();
    const int64_t count = attribute_count(array, split.count, wish);
    std::string source = array.source;
    std::vector<std::string> all = names_of_columns(fs, folder, name, count, source);
    if (std::ssize(all) != count) {
      throw_error(ErrorCode::data, array.source, ": shape ", shape_text(array.view.shape), ", but ",
                  source, " names ", all.size(), " attributes; expected a line for each of ",
                  count);
    }
    const std::vector<int64_t> columns = attribute_columns(wish.names, all, source);
    split.attributes = attributes_of_array(array, split.count, columns);
    split.attribute_names = wish.names.empty() ? std::move(all) : wish.names;
    return;
  }
}

ImageSplit read_split(const Arrays& arrays, const char* images, const char* labels, Log& log) {
  ImageSplit split = images_of_array(arrays.at(images)(), log);
  const auto found = arrays.find(labels);
  if (found != arrays.end()) split.labels = labels_of_array(found->second(), split.count);
  return split;
}

// Of all arrays of one set.
struct NpySource {
  Fs& fs;
  std::string path;    // for messages
  std::string folder;  // where names of attributes may lie
  const AttributeWish& attributes;
  bool test_alone = false;  // it holds nothing but test images
};

ImageSet read_set(const NpySource& source, const Arrays& arrays, Log& log) {
  const Names* names = find_names(arrays);
  if (names == nullptr) {
    throw_error(ErrorCode::data, source.path, ": holds the arrays ", list_of(arrays),
                ", expected images as x_train, train_images, train, images, x, data, imgs or "
                "arr_0; save them under such a name");
  }
  ImageSet set;
  set.train = read_split(arrays, names->train, names->train_labels, log);
  const auto tell = [&](std::span<const char* const> known, ImageSplit& split) {
    read_as_wished(source.attributes, log, [&] {
      read_attributes(source.fs, arrays, known, source.folder, source.attributes, split);
    });
  };
  tell(source.test_alone ? kOwnTestAttributes : kTrainAttributes, set.train);
  if (arrays.contains(names->test)) {
    set.test = read_split(arrays, names->test, names->test_labels, log);
    tell(kTestAttributes, set.test);
  }
  set.format = "NumPy";
  return set;
}

// --- from arrays to images ---

int64_t size_of(const NpyArray& array, int64_t limit) {
  const int64_t pixels = array.view.count();
  if (pixels > 0 && pixels <= limit) return pixels;
  throw_error(ErrorCode::data, array.source, ": shape ", shape_text(array.view.shape), " holds ",
              pixels == 0 ? "no" : "too many", " pixels; save an array of images");
}

// Returns whether channels come first and must be moved.
bool set_shape(const NpyArray& array, ImageSplit& split) {
  const std::vector<int64_t>& shape = array.view.shape;
  const auto is_colour = [](int64_t extent) { return extent == 1 || extent == 3 || extent == 4; };
  const bool last = shape.size() == 4 && is_colour(shape[3]);
  const bool first = shape.size() == 4 && !last && is_colour(shape[1]);
  if (shape.size() != 3 && !last && !first) {
    throw_error(ErrorCode::data, array.source, ": shape ", shape_text(shape),
                ", expected [N, H, W], or [N, H, W, C] or [N, C, H, W] with 1, 3 or 4 channels; "
                "reshape it");
  }
  split.count = shape[0];
  split.channels = last ? shape[3] : first ? shape[1] : 1;
  split.height = shape[first ? 2 : 1];
  split.width = shape[first ? 3 : 2];
  return first;
}

std::vector<std::byte> bytes_of_reals(const NpyArray& array, int64_t pixels) {
  std::vector<std::byte> bytes(static_cast<size_t>(pixels));
  for (int64_t i = 0; i < pixels; ++i) {
    const double value = array.view.real(i);
    if (!(value >= 0.0 && value <= 1.0)) {  // NaN included
      throw_error(ErrorCode::data, array.source, ": element ", i, " is ", value,
                  ", expected real numbers from 0 to 1; divide by the largest, or save '|u1'");
    }
    bytes[static_cast<size_t>(i)] = static_cast<std::byte>(static_cast<int>(value * 255.0 + 0.5));
  }
  return bytes;
}

}  // namespace

ImageSplit images_of_array(NpyArray array, Log& log) {
  constexpr int64_t kMostPixels = int64_t{1} << 40;
  ImageSplit split;
  split.source = array.source;
  const bool channels_first = set_shape(array, split);
  const int64_t pixels = size_of(array, kMostPixels);
  const char kind = array.view.kind;
  if (kind == 'f') {
    split.file = bytes_of_reals(array, pixels);
  } else if (array.view.element_bytes == 1 && kind != 'i') {
    split.pixels_begin = array.file.size() - array.view.elements.size();
    split.file = std::move(array.file);
    const auto all = split.pixels();
    if (std::all_of(all.begin(), all.end(), [](uint8_t v) { return v <= 1; })) {
      if (kind == 'u') {
        log.note(split.source + ": no value is above 1: taken for black and white, times 255");
      }
      for (uint8_t& value : all) value = static_cast<uint8_t>(value * 255);
    }
  } else {
    throw_error(ErrorCode::data, split.source, ": has elements of type ",
                in_quotes(array.view.type),
                ", expected '|u1', or real numbers from 0 to 1; save array.astype('uint8')");
  }
  if (channels_first) put_channels_last(split.pixels(), split.channels, split.height, split.width);
  return split;
}

std::vector<uint8_t> labels_of_array(const NpyArray& array, int64_t count) {
  const std::vector<int64_t>& shape = array.view.shape;
  const bool fits = (shape.size() == 1 || (shape.size() == 2 && shape[1] == 1)) &&
                    shape[0] == count && array.view.kind != 'f';
  if (!fits) {
    throw_error(ErrorCode::data, array.source, ": shape ", shape_text(shape), " of ",
                in_quotes(array.view.type), ", expected [", count,
                "] whole numbers, one label per image; save them so, or leave them out");
  }
  std::vector<uint8_t> labels;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t label = array.view.integer(i);
    if (label < 0 || label > 255) {
      throw_error(ErrorCode::data, array.source, ": label ", i, " is ", label,
                  ", expected 0 to 255; number the classes from 0");
    }
    labels.push_back(static_cast<uint8_t>(label));
  }
  return labels;
}

std::vector<float> attributes_of_array(const NpyArray& array, int64_t count,
                                       const std::vector<int64_t>& columns) {
  const int64_t width = array.view.count() / count;
  std::vector<float> values;
  values.reserve(static_cast<size_t>(count) * columns.size());
  for (int64_t image = 0; image < count; ++image) {
    for (const int64_t column : columns) {
      values.push_back(static_cast<float>(array.view.real(image * width + column)));
      if (std::isfinite(values.back())) continue;
      throw_error(ErrorCode::data, array.source, ": attribute ", column, " of image ", image,
                  " is not finite, expected numbers; leave the image or the attribute out");
    }
  }
  return values;
}

bool has_npy_set(Fs& fs, const std::string& path) {
  const auto is_array = [](const std::string& name) {
    return name.ends_with(".npy") || name.ends_with(".npz");
  };
  if (!leads_to_directory(fs, path)) return is_array(path);
  const std::vector<std::string> names = list_directory(fs, path);
  return std::any_of(names.begin(), names.end(), is_array);
}

ImageSet load_npy_set(Fs& fs, const std::string& path, const AttributeWish& attributes, Log& log) {
  Arrays arrays;
  if (!leads_to_directory(fs, path)) {
    if (path.ends_with(".npz")) {
      add_archive(fs, path, arrays);
    } else {
      for (const char* name : kTrainAttributes) {
        const std::string beside = join_path(parent_path(path), concat(name, ".npy"));
        if (beside != path && exists(fs, beside)) add_file(fs, beside, name, arrays);
      }
      add_file(fs, path, "images", arrays);
    }
    return read_set({fs, path, parent_path(path), attributes}, arrays, log);
  }
  const std::vector<std::string> files = list_directory(fs, path);
  for (const auto& [train, test] : kSplitFiles) {
    if (!exists(fs, join_path(path, train))) continue;
    add_archive(fs, join_path(path, train), arrays);
    ImageSet set = read_set({fs, join_path(path, train), path, attributes}, arrays, log);
    if (set.test.count > 0 || !exists(fs, join_path(path, test))) return set;
    arrays.clear();
    add_archive(fs, join_path(path, test), arrays);
    set.test = read_set({fs, join_path(path, test), path, attributes, true}, arrays, log).train;
    return set;
  }
  const std::vector<std::string> archives = with_suffix(files, ".npz");
  const std::vector<std::string> plain = with_suffix(files, ".npy");
  for (const std::string& name : plain)
    add_file(fs, join_path(path, name), without_suffix(name), arrays);
  const auto others = std::count_if(arrays.begin(), arrays.end(),
                                    [](const auto& entry) { return !is_attributes(entry.first); });
  if (find_names(arrays) == nullptr && archives.size() == 1) {
    arrays.clear();
    add_archive(fs, join_path(path, archives.front()), arrays);
  } else if (find_names(arrays) == nullptr && archives.empty() && others == 1) {
    for (const auto& [name, array] : Arrays(arrays)) {
      if (!is_attributes(name)) arrays["images"] = array;
    }
  }
  return read_set({fs, path, path, attributes}, arrays, log);
}

}  // namespace elbo
