#include "apps/latent_files.h"

#include <cmath>
#include <cstdio>

#include "engine/io/blob.h"
#include "engine/io/npy.h"
#include "engine/io/npy_write.h"

namespace elbo {
namespace {

constexpr uint64_t kLargestFile = uint64_t{1} << 34;

void say(const std::string& path, const std::vector<int64_t>& shape) {
  std::printf("%s: %s\n", path.c_str(), shape_text(shape).c_str());
}

}  // namespace

std::vector<float> read_latents(const std::string& path, int64_t latent_dim) {
  const std::vector<std::byte> file = read_file(real_fs(), path, kLargestFile);
  const NpyView view = parse_npy(file, path);
  const size_t rank = view.shape.size();
  if ((rank != 1 && rank != 2) || view.shape.back() != latent_dim || view.count() == 0) {
    throw_error(ErrorCode::data, path, ": has shape ", shape_text(view.shape), ", expected [N, ",
                latent_dim, "], the latents of this model; were they encoded by another one?");
  }
  std::vector<float> latents;
  latents.reserve(static_cast<size_t>(view.count()));
  for (int64_t i = 0; i < view.count(); ++i) {
    latents.push_back(static_cast<float>(view.real(i)));
    if (!std::isfinite(latents.back())) {
      throw_error(ErrorCode::data, path, ": latent ", i % latent_dim, " of row ", i / latent_dim,
                  " is ", latents.back(), ", expected a finite number");
    }
  }
  return latents;
}

void write_latents(const std::string& path, const std::vector<float>& latents, int64_t latent_dim) {
  const std::vector<int64_t> shape = {std::ssize(latents) / latent_dim, latent_dim};
  write_npy(real_fs(), path, latents, shape);
  say(path, shape);
}

void write_pictures(const std::string& path, const std::vector<float>& pictures,
                    const ImageShape& shape) {
  std::vector<int64_t> extents = {std::ssize(pictures) / shape.size(), shape.height, shape.width};
  if (shape.channels > 1) extents.push_back(shape.channels);
  write_npy(real_fs(), path, pictures, extents);
  say(path, extents);
}

}  // namespace elbo
