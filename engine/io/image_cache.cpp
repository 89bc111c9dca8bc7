#include "engine/io/image_cache.h"

#include <bit>
#include <cstring>
#include <filesystem>

#include "engine/io/crc32.h"

namespace elbo {
namespace {

static_assert(std::endian::native == std::endian::little, "integers are written as they lie");

constexpr std::string_view kMagic = "ELBOPIX1";
constexpr uint64_t kLongestReason = 4096;
constexpr uint64_t kLongestSide = 32768;

// What a cache says that is not as it should be; never leaves this file.
struct NotUsable {
  const char* why;
};

std::string absolute_path(const std::string& path) {
  std::error_code error;
  const auto absolute = std::filesystem::weakly_canonical(path, error);
  return error ? path : absolute.string();
}

std::string options_text(const ImageFolderOptions& options) {
  const std::string size =
      options.height > 0 ? concat(options.height, "x", options.width) : std::string("auto");
  return concat(size, "-", options.channels > 0 ? std::to_string(options.channels) : "auto");
}

std::string key_text(const FolderListing& listing, const ImageFolderOptions& options,
                     const std::string& folder) {
  std::string key = concat(folder.size(), ":", folder, " ", options_text(options), "\n");
  for (const FolderFile& file : listing.files) {
    // With its length: a name may hold anything, new lines too.
    key += file.test ? "test " : "train ";
    key += std::to_string(file.bytes) + " " + std::to_string(file.modified_ns) + " " +
           std::to_string(file.name.size()) + ":" + file.name + "\n";
  }
  return key;
}

// Reads while adding up the checksum, and never past what the file holds.
class Checked {
 public:
  explicit Checked(FileReader& file) : file_(file), left_(file.bytes()) {}

  void read(std::span<std::byte> into) {
    if (into.size() > left_) throw NotUsable{"is cut off"};
    file_.read(into);
    left_ -= into.size();
    crc_ = crc32(into, crc_);
  }
  uint64_t number(uint64_t most) {
    uint64_t value = 0;
    read(std::as_writable_bytes(std::span(&value, 1)));
    if (value > most) throw NotUsable{"is damaged"};
    return value;
  }
  std::string text(uint64_t length) {
    if (length > left_) throw NotUsable{"is cut off"};
    std::string text(length, '\0');
    read(std::as_writable_bytes(std::span(text)));
    return text;
  }
  uint64_t left() const { return left_; }
  uint32_t crc() const { return crc_; }

 private:
  FileReader& file_;
  uint64_t left_;
  uint32_t crc_ = 0;
};

void write_number(FileWriter& file, uint64_t value) {
  file.write(std::as_bytes(std::span(&value, 1)));
}

}  // namespace

ImageCache::ImageCache(Fs& fs, const FolderListing& listing, const ImageFolderOptions& options)
    : fs_(fs), listing_(listing) {
  if (options.cache_directory.empty()) return;
  const std::string folder = absolute_path(listing.folder);
  key_ = key_text(listing, options, folder);
  const std::string name = std::filesystem::path(folder).filename().string();
  const std::string hash = crc32_text(crc32(std::as_bytes(std::span(folder))));
  path_ = join_path(options.cache_directory,
                    concat(name, "-", hash, "-", options_text(options), ".pixels"));
}

FolderPixels ImageCache::read(FileReader& file) {
  Checked in(file);
  if (in.text(kMagic.size()) != kMagic) throw NotUsable{"is no cache of this program"};
  // A key of another length is another key: it need not be read.
  if (in.number(~uint64_t{0}) != key_.size() || in.text(key_.size()) != key_) {
    throw NotUsable{"is of other files"};
  }
  FolderPixels pixels;
  const uint64_t broken = in.number(listing_.files.size());
  size_t broken_train = 0;
  for (uint64_t i = 0; i < broken; ++i) {
    const size_t index = in.number(listing_.files.size() - 1);
    if (i > 0 && index <= pixels.broken.back().file) throw NotUsable{"is damaged"};
    pixels.broken.push_back({index, in.text(in.number(kLongestReason))});
    broken_train += index < listing_.train_files ? 1 : 0;
  }
  pixels.height = static_cast<int64_t>(in.number(kLongestSide));
  pixels.width = static_cast<int64_t>(in.number(kLongestSide));
  pixels.channels = static_cast<int64_t>(in.number(3));
  // Below 2^32 files of below 2^32 bytes each.
  const auto size = static_cast<uint64_t>(pixels.image_bytes());
  const uint64_t train = (listing_.train_files - broken_train) * size;
  const uint64_t test =
      (listing_.files.size() - listing_.train_files - (broken - broken_train)) * size;
  if (size == 0 || in.left() != train + test + sizeof(uint32_t)) throw NotUsable{"is cut off"};
  pixels.train.resize(train);
  in.read(pixels.train);
  pixels.test.resize(test);
  in.read(pixels.test);
  const uint32_t found = in.crc();
  uint32_t expected = 0;
  in.read(std::as_writable_bytes(std::span(&expected, 1)));
  if (found != expected) throw NotUsable{"is damaged"};
  return pixels;
}

std::optional<FolderPixels> ImageCache::load(std::string& why) {
  why.clear();
  try {
    if (!on() || !exists(fs_, path_)) return std::nullopt;
    FileReader file(fs_, path_);
    return read(file);
  } catch (const NotUsable& reason) {
    why = path_ + " " + reason.why;
  } catch (const Error& error) {
    why = error.what();
  }
  return std::nullopt;
}

void ImageCache::save(const FolderPixels& pixels) {
  make_directories(fs_, parent_path(path_));
  replace_file_with(fs_, path_, [&](FileWriter& file) {
    file.write(kMagic);
    write_number(file, key_.size());
    file.write(key_);
    write_number(file, pixels.broken.size());
    for (const BrokenFile& broken : pixels.broken) {
      const std::string_view why = std::string_view(broken.why).substr(0, kLongestReason);
      write_number(file, broken.file);
      write_number(file, why.size());
      file.write(why);
    }
    for (const int64_t side : {pixels.height, pixels.width, pixels.channels})
      write_number(file, static_cast<uint64_t>(side));
    file.write(pixels.train);
    file.write(pixels.test);
    const uint32_t crc = file.crc32();
    file.write(std::as_bytes(std::span(&crc, 1)));
  });
}

}  // namespace elbo
