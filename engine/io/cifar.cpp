#include "engine/io/cifar.h"

#include <optional>

namespace elbo {
namespace {

constexpr int64_t kSide = 32, kChannels = 3;
constexpr size_t kPixels = size_t{kSide} * kSide * kChannels;
constexpr uint64_t kLargestFile = uint64_t{8} << 30;
constexpr uint64_t kLargestNames = 64 << 10;

struct CifarKind {
  const char* format;
  const char* folder;  // that the archive unpacks to
  std::vector<std::string> train, test;
  const char* names;
  size_t label_bytes;  // the last of them is kept
  uint8_t classes;
};

const std::vector<CifarKind>& kinds() {
  static const std::vector<CifarKind> all = {
      {"CIFAR-10",
       "cifar-10-batches-bin",
       {kCifar10File, "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
        "data_batch_5.bin"},
       {"test_batch.bin"},
       "batches.meta.txt",
       1,
       10},
      {"CIFAR-100",
       "cifar-100-binary",
       {kCifar100File},
       {"test.bin"},
       "fine_label_names.txt",
       2,
       100},
  };
  return all;
}

struct Found {
  const CifarKind* kind = nullptr;
  std::string directory;
};

std::optional<Found> find_set(Fs& fs, const std::string& directory) {
  for (const CifarKind& kind : kinds()) {
    for (const std::string& place : {directory, join_path(directory, kind.folder)}) {
      if (exists(fs, join_path(place, kind.train.front()))) return Found{&kind, place};
    }
  }
  return std::nullopt;
}

void read_records(Fs& fs, const std::string& path, const CifarKind& kind, ImageSplit& split) {
  if (!exists(fs, path)) {
    throw_error(ErrorCode::data, path, " is missing, expected with ", kind.train.front(),
                " of " + std::string(kind.format), "; unpack the archive again");
  }
  const std::vector<std::byte> file = read_file(fs, path, kLargestFile);
  const size_t record = kind.label_bytes + kPixels;
  if (file.empty() || file.size() % record != 0) {
    throw_error(ErrorCode::data, path, ": ", file.size(), " bytes, expected whole records of ",
                record, " (", kind.format, "); download it again");
  }
  for (size_t at = 0; at < file.size(); at += record) {
    const auto label = std::to_integer<uint8_t>(file[at + kind.label_bytes - 1]);
    if (label >= kind.classes) {
      throw_error(ErrorCode::data, path, ": record ", at / record, " has label ", int{label},
                  ", expected at most ", kind.classes - 1, " (", kind.format,
                  "); download it again");
    }
    split.labels.push_back(label);
    const auto* pixels = file.data() + at + kind.label_bytes;
    split.file.insert(split.file.end(), pixels, pixels + kPixels);
  }
}

ImageSplit read_split(Fs& fs, const Found& found, const std::vector<std::string>& files) {
  ImageSplit split;
  split.source = join_path(found.directory, files.front());
  split.channels = kChannels;
  split.height = split.width = kSide;
  for (const std::string& name : files)
    read_records(fs, join_path(found.directory, name), *found.kind, split);
  split.count = static_cast<int64_t>(split.labels.size());
  put_channels_last(split.pixels(), kChannels, kSide, kSide);
  return split;
}

// A courtesy: a file of names that does not fit is as good as none.
std::vector<std::string> read_names(Fs& fs, const Found& found) {
  const std::string path = join_path(found.directory, found.kind->names);
  std::vector<std::string> names;
  if (!exists(fs, path)) return names;
  std::string line;
  for (const char c : read_text_file(fs, path, kLargestNames)) {
    if (c != '\n' && c != '\r') {
      line += c;
    } else if (!line.empty()) {
      names.push_back(std::move(line));
      line.clear();
    }
  }
  if (!line.empty()) names.push_back(std::move(line));
  return names.size() == found.kind->classes ? names : std::vector<std::string>{};
}

}  // namespace

bool has_cifar_set(Fs& fs, const std::string& directory) {
  return find_set(fs, directory).has_value();
}

ImageSet load_cifar_set(Fs& fs, const std::string& directory) {
  const std::optional<Found> found = find_set(fs, directory);
  if (!found) {
    throw_error(ErrorCode::data, directory, ": holds neither ", kCifar10File, " nor ",
                kCifar100File, "; name the folder that the CIFAR archive unpacked to");
  }
  ImageSet set;
  set.train = read_split(fs, *found, found->kind->train);
  set.test = read_split(fs, *found, found->kind->test);
  set.format = found->kind->format;
  set.class_names = read_names(fs, *found);
  return set;
}

}  // namespace elbo
