// From a listing to pixels. Start at load_image_folder().
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>

#include "engine/io/attributes.h"
#include "engine/io/blob.h"
#include "engine/io/image_cache.h"
#include "engine/io/image_file.h"
#include "engine/io/image_folder.h"
#include "engine/io/image_resize.h"
#include "engine/io/progress.h"
#include "kernels/parallel.h"

namespace elbo {
namespace {

constexpr uint64_t kLargestFile = uint64_t{1} << 30;
constexpr int64_t kMostBytes = int64_t{1} << 42;  // of a set: keeps products of sizes in 64 bits
constexpr size_t kNamedFiles = 10;

// Calls work(i) for every i of [0, n) on as many threads as OpenMP would use, and says how far it is.
// The first exception ends the work and is thrown here.
class Pool {
 public:
  Pool(Log& log, std::string label, size_t n)
      : progress_(log, std::move(label), static_cast<int64_t>(n)), n_(n) {}

  template <class Work>
  void run(const Work& work) {
    const size_t threads = std::min<size_t>(static_cast<size_t>(cpu::thread_count()), n_);
    std::vector<std::jthread> workers;
    running_ = threads;
    for (size_t t = 0; t < threads; ++t) workers.emplace_back([&] { labour(work); });
    wait();
    workers.clear();  // joins
    progress_.finish();
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  template <class Work>
  void labour(const Work& work) {
    try {
      for (size_t i = next_++; i < n_; i = next_++) {
        work(i);
        ++done_;
      }
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      next_ = n_;
    }
    const std::scoped_lock lock(mutex_);
    if (--running_ == 0) ended_.notify_all();
  }

  void wait() {
    constexpr auto kRedraw = std::chrono::milliseconds(100);
    std::unique_lock lock(mutex_);
    while (!ended_.wait_for(lock, kRedraw, [&] { return running_ == 0; })) {
      const auto done = static_cast<int64_t>(done_.load());
      progress_.update(done, done, {});
    }
  }

  Progress progress_;
  size_t n_;
  std::atomic<size_t> next_{0}, done_{0};
  std::mutex mutex_;
  std::condition_variable ended_;
  size_t running_ = 0;
  std::exception_ptr failure_;
};

std::vector<std::byte> read_picture(Fs& fs, const FolderListing& listing, size_t i) {
  const std::string path = join_path(listing.folder, listing.files[i].name);
  try {
    return read_file(fs, path, kLargestFile);
  } catch (const Error& error) {  // the caller names the file
    std::string why = error.what();
    const size_t at = why.find(path);
    if (at != std::string::npos) why.replace(at, path.size(), "it");
    throw Error(ErrorCode::data, why);
  }
}

// What most entries are; of several, the smallest.
template <class Value>
Value most_frequent(const std::vector<Value>& values) {
  std::map<Value, size_t> counts;
  for (const Value& value : values) ++counts[value];
  return std::max_element(counts.begin(), counts.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

class FolderReader {
 public:
  FolderReader(Fs& fs, const FolderListing& listing, Log& log)
      : fs_(fs), listing_(listing), log_(log), reasons_(listing.files.size()) {}

  FolderPixels read(const ImageFolderOptions& options) {
    FolderPixels pixels;
    pixels.height = options.height;
    pixels.width = options.width;
    pixels.channels = options.channels;
    if (options.height == 0 || options.channels == 0) choose_shape(pixels);
    decode(pixels);
    return pixels;
  }

 private:
  struct Shape {
    int64_t height = 0, width = 0, channels = 0;
  };

  template <class Work>
  void for_each_file(const char* label, const Work& work) {
    Pool(log_, label, listing_.files.size()).run([&](size_t i) {
      if (!reasons_[i].empty()) return;
      try {
        work(i, read_picture(fs_, listing_, i));
      } catch (const Error& error) {
        if (error.code() != ErrorCode::data) throw;
        reasons_[i] = error.what();
      }
    });
  }

  void choose_shape(FolderPixels& pixels) {
    std::vector<PictureInfo> infos(listing_.files.size());
    for_each_file("looking at images", [&](size_t i, const std::vector<std::byte>& file) {
      infos[i] = inspect_picture(file);
    });
    std::vector<std::pair<int64_t, int64_t>> sizes;
    std::vector<int64_t> channels;
    for (size_t i = 0; i < infos.size(); ++i) {
      if (!reasons_[i].empty()) continue;
      sizes.emplace_back(infos[i].height, infos[i].width);
      channels.push_back(infos[i].channels);
    }
    if (sizes.empty()) return;  // said by whoever counts what is left
    if (pixels.height == 0) {
      std::tie(pixels.height, pixels.width) = most_frequent(sizes);
      const auto others = std::count_if(sizes.begin(), sizes.end(), [&](const auto& size) {
        return size != std::pair(pixels.height, pixels.width);
      });
      if (others > 0) {
        log_.note(
            fmt::format("{} of {} images are brought to {} x {}, the size that most have; "
                        "data.image_size chooses another",
                        others, sizes.size(), pixels.height, pixels.width));
      }
    }
    if (pixels.channels == 0) pixels.channels = most_frequent(channels);
  }

  // Each picture into the place it has if no file is broken; then they are moved together.
  void decode(FolderPixels& pixels) {
    const auto size = static_cast<size_t>(pixels.image_bytes());
    const size_t n = listing_.files.size(), train = listing_.train_files;
    if (size > 0 && n > static_cast<size_t>(kMostBytes) / size) {
      throw_error(ErrorCode::data, listing_.folder, ": ", n, " images of ", size,
                  " bytes are too many; choose a smaller data.image_size");
    }
    pixels.train.resize(train * size);
    pixels.test.resize((n - train) * size);
    for_each_file("reading images", [&](size_t i, const std::vector<std::byte>& file) {
      const Raster raster = decode_picture(file, pixels.channels);
      const std::vector<uint8_t> fitted = fit_picture(raster, pixels.height, pixels.width);
      const auto bytes = std::as_bytes(std::span(fitted));
      std::copy(bytes.begin(), bytes.end(), place(pixels, i));
    });
    for (size_t i = 0; i < n; ++i) {
      if (!reasons_[i].empty()) pixels.broken.push_back({i, reasons_[i]});
    }
    if (!pixels.broken.empty()) close_gaps(pixels);
  }

  std::byte* place(FolderPixels& pixels, size_t i) const {
    const auto size = static_cast<size_t>(pixels.image_bytes());
    return i < listing_.train_files ? pixels.train.data() + i * size
                                    : pixels.test.data() + (i - listing_.train_files) * size;
  }

  void close_gaps(FolderPixels& pixels) const {
    const auto size = static_cast<size_t>(pixels.image_bytes());
    size_t kept[2] = {0, 0};
    for (size_t i = 0; i < listing_.files.size(); ++i) {
      if (!reasons_[i].empty()) continue;
      const bool test = i >= listing_.train_files;
      std::byte* to = (test ? pixels.test : pixels.train).data() + kept[test]++ * size;
      const std::byte* from = place(pixels, i);
      if (to != from) std::copy(from, from + size, to);
    }
    pixels.train.resize(kept[0] * size);
    pixels.test.resize(kept[1] * size);
  }

  Fs& fs_;
  const FolderListing& listing_;
  Log& log_;
  std::vector<std::string> reasons_;  // why a file is broken; empty: it is not
};

std::string broken_line(const FolderListing& listing, const BrokenFile& broken) {
  return join_path(listing.folder, listing.files[broken.file].name) + " " + broken.why;
}

void write_broken_list(Fs& fs, const FolderListing& listing, const FolderPixels& pixels,
                       const std::string& path) {
  std::string text;
  for (const BrokenFile& broken : pixels.broken) {
    text += one_line(broken_line(listing, broken)) + "\n";
  }
  replace_file(fs, path, text);
}

void name_broken_files(const FolderListing& listing, const FolderPixels& pixels,
                       const std::string& list, Log& log) {
  if (pixels.broken.empty()) return;
  log.warning(fmt::format("{}: {} of {} files cannot be read and are left out{}{}", listing.folder,
                          pixels.broken.size(), listing.files.size(),
                          list.empty() ? "" : "; all are named in ", list));
  for (size_t i = 0; i < std::min(pixels.broken.size(), kNamedFiles); ++i)
    log.warning(broken_line(listing, pixels.broken[i]));
  if (pixels.broken.size() > kNamedFiles) {
    log.warning(fmt::format("and {} more", pixels.broken.size() - kNamedFiles));
  }
}

// A cache is a convenience: what goes wrong with it is said and costs no run.
void keep(Fs& fs, ImageCache& cache, const FolderListing& listing, const FolderPixels& pixels,
          Log& log) {
  if (!cache.on() || pixels.train.empty()) return;
  try {
    cache.save(pixels);
    if (pixels.broken.empty()) {
      fs.remove_file(cache.list_path());
    } else {
      write_broken_list(fs, listing, pixels, cache.list_path());
    }
    log.note("kept for the next start in " + cache.path());
  } catch (const Error& error) {
    log.warning(fmt::format("images are not kept for the next start: {}", error.what()));
  }
}

// Before any picture is decoded: that may take minutes.
std::optional<AttributeTable> attributes_of_all(Fs& fs, const FolderListing& listing,
                                                const AttributeWish& wish, Log& log) {
  std::optional<AttributeTable> all;
  read_as_wished(wish, log, [&] {
    std::optional<AttributeTable> table = read_attribute_table(fs, listing.folder, wish.names);
    if (!table) return;
    for (const FolderFile& file : listing.files) table->row(file.name);
    all = std::move(table);
  });
  return all;
}

void fill(ImageSplit& split, const FolderListing& listing, const AttributeTable* table,
          FolderPixels& pixels, bool test) {
  split.source = listing.folder;
  split.height = pixels.height;
  split.width = pixels.width;
  split.channels = pixels.channels;
  split.file = std::move(test ? pixels.test : pixels.train);
  split.count = static_cast<int64_t>(split.file.size()) / pixels.image_bytes();
  if (table) split.attribute_names = table->names;
  auto broken = pixels.broken.begin();
  for (size_t i = 0; i < listing.files.size(); ++i) {
    const bool is_broken = broken != pixels.broken.end() && broken->file == i;
    if (is_broken) ++broken;
    const FolderFile& file = listing.files[i];
    if (is_broken || file.test != test) continue;
    if (!listing.class_names.empty()) split.labels.push_back(file.label);
    if (!table) continue;
    const std::span<const float> row = table->row(file.name);
    split.attributes.insert(split.attributes.end(), row.begin(), row.end());
  }
}

}  // namespace

ImageSet load_image_folder(Fs& fs, const FolderListing& listing, const ImageFolderOptions& options,
                           const AttributeWish& wish, Log& log) {
  if (options.channels != 0 && options.channels != 1 && options.channels != 3) {
    throw_error(ErrorCode::usage, "data.channels is ", options.channels,
                "; image files have 1 (grey) or 3 (colour); 0: as most of them");
  }
  const std::optional<AttributeTable> table = attributes_of_all(fs, listing, wish, log);
  ImageCache cache(fs, listing, options);
  std::string why;
  std::optional<FolderPixels> pixels = cache.load(why);
  if (!pixels) {
    if (!why.empty()) log.note(why + ": images are read anew");
    const auto begin = std::chrono::steady_clock::now();
    pixels = FolderReader(fs, listing, log).read(options);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    const size_t good = listing.files.size() - pixels->broken.size();
    log.note(fmt::format("read {} image files of {} in {:.1f} s", good, listing.folder,
                         elapsed.count()));
    keep(fs, cache, listing, *pixels, log);
  } else {
    log.note(fmt::format("{} images of {} come from {}",
                         listing.files.size() - pixels->broken.size(), listing.folder,
                         cache.path()));
  }
  const std::string list = cache.on() && exists(fs, cache.list_path()) ? cache.list_path() : "";
  name_broken_files(listing, *pixels, list, log);
  if (pixels->train.empty()) {
    throw_error(ErrorCode::data, listing.folder, ": none of ", listing.train_files,
                " image files can be read; see the warnings above");
  }
  if (!listing.note.empty()) log.note(listing.folder + ": " + listing.note);
  ImageSet set;
  const AttributeTable* attributes = table ? &*table : nullptr;
  fill(set.train, listing, attributes, *pixels, false);
  fill(set.test, listing, attributes, *pixels, true);
  set.format = "image files";
  set.class_names = listing.class_names;
  return set;
}

}  // namespace elbo
