#include "engine/io/open_images.h"

#include <fmt/format.h>

#include "engine/io/attributes.h"
#include "engine/io/cifar.h"
#include "engine/io/hold_out.h"
#include "engine/io/idx.h"
#include "engine/io/npy_set.h"

namespace elbo {
namespace {

[[noreturn]] void refuse_unknown(const std::string& path) {
  throw_error(ErrorCode::data, path, ": holds no images; looked for IDX (",
              "train-images-idx3-ubyte, also .gz), CIFAR (", kCifar10File, ", ", kCifar100File,
              "), NumPy (.npz, .npy) and, in all folders, .png .jpg .jpeg .bmp .pgm .ppm; name the "
              "directory that holds them with --data");
}

void check_there(Fs& fs, const std::string& path) {
  if (exists(fs, path)) return;
  throw_error(ErrorCode::data, path, ": there is no such file or directory; check --data");
}

}  // namespace

ImageSet open_image_set(Fs& fs, const std::string& path, const ImageSetOptions& options, Log& log) {
  check_there(fs, path);
  ImageSet set;
  if (has_idx_set(fs, path)) {
    set = load_idx_set(fs, path);
  } else if (has_cifar_set(fs, path)) {
    set = load_cifar_set(fs, path);
  } else if (has_npy_set(fs, path)) {
    set = load_npy_set(fs, path, options.attributes, log);
  } else {
    if (!leads_to_directory(fs, path)) refuse_unknown(path);
    FolderListing listing = scan_image_folder(fs, path);
    if (listing.train_files == 0) refuse_unknown(path);
    const bool has_test = listing.files.size() > listing.train_files;
    hold_out(listing, options.test_fraction);
    if (!has_test) {
      log.note(fmt::format("{}: no test images, so {} of {} are held out", path,
                           listing.files.size() - listing.train_files, listing.files.size()));
    }
    set = load_image_folder(fs, listing, options.folder, options.attributes, log);
  }
  if (set.test.count == 0) {
    const int64_t all = set.train.count;
    hold_out(set, options.test_fraction);
    log.note(
        fmt::format("{}: no test images, so {} of {} are held out", path, set.test.count, all));
  }
  check_same_shape(set.train, set.test);
  read_as_wished(options.attributes, log, [&] { check_same_attributes(set.train, set.test); });
  return set;
}

}  // namespace elbo
