#include <optional>

#include "engine/io/blob.h"
#include "engine/io/idx.h"

namespace elbo {
namespace {

// "train-images-idx3-ubyte" as the original site names it, with a dot as some copies do, each
// also compressed.
std::vector<std::string> spellings(const std::string& split, const std::string& kind) {
  std::vector<std::string> names;
  for (const char separator : {'-', '.'}) {
    for (const char* suffix : {"", ".gz"}) {
      names.push_back(split + "-" + kind.substr(0, 6) + separator + kind.substr(7) + "-ubyte" +
                      suffix);
    }
  }
  return names;
}

std::optional<std::string> find_file(Fs& fs, const std::string& directory, const std::string& split,
                                     const std::string& kind) {
  for (const std::string& name : spellings(split, kind)) {
    const std::string path = join_path(directory, name);
    if (exists(fs, path)) return path;
  }
  return std::nullopt;
}

std::string find_images(Fs& fs, const std::string& directory, const std::string& split) {
  const auto path = find_file(fs, directory, split, "images-idx3");
  if (path) return *path;
  std::string tried;
  for (const std::string& name : spellings(split, "images-idx3")) {
    tried += (tried.empty() ? "" : ", ") + name;
  }
  throw_error(ErrorCode::data, directory, ": no ", split, " images; looked for ", tried,
              "; pass the directory that holds them with --data");
}

void load_images(Fs& fs, const IdxLimits& limits, ImageSplit& split) {
  split.file = gunzip_idx(read_file(fs, split.source, limits.file_bytes), split.source, limits);
  const IdxView view = parse_idx(split.file, split.source, limits);
  const size_t rank = view.shape.size();
  if (rank != 3 && rank != 4) {
    throw_error(ErrorCode::data, split.source, ": shape ", shape_text(view.shape),
                ", expected images [N, H, W] or [N, C, H, W]; check that it is the image file");
  }
  split.count = view.shape[0];
  split.channels = rank == 4 ? view.shape[1] : 1;
  split.height = view.shape[rank - 2];
  split.width = view.shape[rank - 1];
  if (view.elements.empty()) {
    throw_error(ErrorCode::data, split.source, ": shape ", shape_text(view.shape),
                " holds no pixels; download it again");
  }
  split.pixels_begin = split.file.size() - view.elements.size();
  put_channels_last(split.pixels(), split.channels, split.height, split.width);
}

void load_labels(Fs& fs, const std::string& path, const IdxLimits& limits, ImageSplit& split) {
  const auto file = gunzip_idx(read_file(fs, path, limits.file_bytes), path, limits);
  const IdxView view = parse_idx(file, path, limits);
  if (view.shape.size() != 1 || view.shape[0] != split.count) {
    throw_error(ErrorCode::data, path, ": shape ", shape_text(view.shape), ", expected [",
                split.count, "] to match ", split.source, "; take both files from one source");
  }
  const auto* begin = reinterpret_cast<const uint8_t*>(view.elements.data());
  split.labels.assign(begin, begin + view.elements.size());
}

ImageSplit load_split(Fs& fs, const std::string& directory, const std::string& name,
                      const IdxLimits& limits) {
  ImageSplit split;
  split.source = find_images(fs, directory, name);
  load_images(fs, limits, split);
  const auto labels = find_file(fs, directory, name, "labels-idx1");
  if (labels) load_labels(fs, *labels, limits, split);
  return split;
}

}  // namespace

bool has_idx_set(Fs& fs, const std::string& directory) {
  return find_file(fs, directory, "train", "images-idx3").has_value() ||
         find_file(fs, directory, "t10k", "images-idx3").has_value();
}

ImageSet load_idx_set(Fs& fs, const std::string& directory, const IdxLimits& limits) {
  ImageSet set;
  set.train = load_split(fs, directory, "train", limits);
  set.test = load_split(fs, directory, "t10k", limits);
  set.format = "IDX";
  check_same_shape(set.train, set.test);
  return set;
}

}  // namespace elbo
