#include "apps/condition_files.h"

#include <cmath>
#include <cstdio>

#include "engine/io/blob.h"
#include "engine/io/npy.h"
#include "engine/io/npy_write.h"

namespace elbo {
namespace {

constexpr uint64_t kLargestFile = uint64_t{1} << 34;

int64_t width_of(const Autoencoder& model) {
  return model.knows_labels() ? 1 : model.config().attributes;
}

void check_shape(const std::string& path, const NpyView& view, int64_t rows, int64_t width) {
  const bool table = view.shape == std::vector<int64_t>{rows, width};
  const bool line =
      view.shape.size() == 1 && view.count() == rows * width && (rows == 1 || width == 1);
  if (table || line) return;
  const std::vector<int64_t> expected = width == 1 ? std::vector{rows} : std::vector{rows, width};
  throw_error(ErrorCode::data, path, ": has shape ", shape_text(view.shape), ", expected ",
              shape_text(expected), ", what the model is told of each latent");
}

}  // namespace

void need_condition(const std::string& flag, const Autoencoder& model) {
  if (model.conditional()) return;
  throw_error(ErrorCode::usage, flag,
              ": the model of this run is told nothing of images; train one with --condition");
}

Conditions read_conditions(const std::string& path, const Autoencoder& model, int64_t rows) {
  const std::vector<std::byte> file = read_file(real_fs(), path, kLargestFile);
  const NpyView view = parse_npy(file, path);
  const int64_t width = width_of(model), classes = model.config().classes;
  check_shape(path, view, rows, width);
  Conditions conditions;
  for (int64_t i = 0; i < view.count(); ++i) {
    const double value = view.real(i);
    if (model.knows_attributes()) {
      conditions.attributes.push_back(static_cast<float>(value));
      if (std::isfinite(conditions.attributes.back())) continue;
      throw_error(ErrorCode::data, path, ": attribute ", i % width, " of row ", i / width, " is ",
                  value, ", expected a finite number");
    }
    if (!(value >= 0 && value < static_cast<double>(classes)) || value != std::floor(value)) {
      throw_error(ErrorCode::data, path, ": row ", i, " is ", value,
                  ", expected a label from 0 to ", classes - 1);
    }
    conditions.labels.push_back(static_cast<uint8_t>(value));
  }
  return conditions;
}

void write_conditions(const std::string& path, const Conditions& conditions,
                      const Autoencoder& model) {
  std::vector<int64_t> shape = {std::ssize(conditions.labels)};
  if (model.knows_labels()) {
    write_npy(real_fs(), path, conditions.labels, shape);
  } else {
    const int64_t width = width_of(model);
    shape = {std::ssize(conditions.attributes) / width, width};
    write_npy(real_fs(), path, conditions.attributes, shape);
  }
  std::printf("%s: %s\n", path.c_str(), shape_text(shape).c_str());
}

}  // namespace elbo
