#include "apps/code_files.h"

#include <cstdio>

#include "apps/latent_files.h"
#include "engine/io/blob.h"
#include "engine/io/npy.h"
#include "engine/io/npy_write.h"
#include "models/codebook_table.h"

namespace elbo {
namespace {

constexpr uint64_t kLargestFile = uint64_t{1} << 34;

std::vector<int32_t> codes_in(const NpyView& view, const CodebookTable& table,
                              const std::string& path) {
  const size_t rank = view.shape.size();
  const int64_t per_image = table.codes_per_image();
  if ((rank != 1 && rank != 2) || view.shape.back() != per_image || view.count() == 0) {
    throw_error(ErrorCode::data, path, ": has whole numbers and shape ", shape_text(view.shape),
                ", expected [N, ", per_image, "], the codes of this model");
  }
  std::vector<int32_t> codes;
  for (int64_t i = 0; i < view.count(); ++i) {
    const int64_t code = view.integer(i);
    if (code < 0 || code >= table.size()) {
      throw_error(ErrorCode::data, path, ": code ", i % per_image, " of row ", i / per_image,
                  " is ", code, ", expected 0 to ", table.size() - 1);
    }
    codes.push_back(static_cast<int32_t>(code));
  }
  return codes;
}

}  // namespace

void write_codes(const std::string& path, const std::vector<float>& latents,
                 const Autoencoder& model) {
  const CodebookTable table(model);
  const std::vector<int32_t> codes = table.codes_of(latents);
  const std::vector<int64_t> shape = {std::ssize(codes) / table.codes_per_image(),
                                      table.codes_per_image()};
  write_npy(real_fs(), path, codes, shape);
  std::printf("%s: %s\n", path.c_str(), shape_text(shape).c_str());
}

std::vector<float> read_latents_or_codes(const std::string& path, const Autoencoder& model) {
  if (model.quantised()) {
    const std::vector<std::byte> file = read_file(real_fs(), path, kLargestFile);
    const NpyView view = parse_npy(file, path);
    if (view.kind == 'i' || view.kind == 'u') {
      const CodebookTable table(model);
      return table.latents_of(codes_in(view, table, path));
    }
  }
  return read_latents(path, model.latent_dim());
}

}  // namespace elbo
