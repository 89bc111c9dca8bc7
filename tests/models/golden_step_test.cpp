// One training step of the presets beside PyTorch's in float64: loss, per-image terms and every gradient.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "models/autoencoder.h"
#include "tests/models/golden_step.h"
#include "tests/support/device.h"

namespace elbo {
namespace {

using golden::golden_uniform;
using nlohmann::json;

constexpr int64_t kBatch = 3;
constexpr uint64_t kProbes = 4, kBufferStream = 200;

std::string golden_path(const std::string& preset) {
  return ELBO_SOURCE_DIR "/tests/golden/training_step_" + preset + ".json";
}

json load(const std::string& preset) {
  const std::string path = golden_path(preset);
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  return json::parse(file);
}

// Weights by the same rule as initialise() of the script, at the places that their names give them.
std::vector<float> file_weights(const ParamStore::Piece& piece, uint64_t stream) {
  const std::vector<int64_t>& dims = piece.file.dims;
  const bool of_norm = dims.size() == 1 && piece.name.ends_with("weight");
  int64_t fan_in = 100;
  if (dims.size() > 1) fan_in = piece.count / dims[0];
  std::vector<float> values(static_cast<size_t>(piece.count));
  for (size_t i = 0; i < values.size(); ++i) {
    const double u = golden_uniform(stream, i);
    values[i] = static_cast<float>(
        of_norm ? 0.5 + u : (2 * u - 1) * std::sqrt(3.0 / static_cast<double>(fan_in)));
  }
  return values;
}

class GoldenStep {
 public:
  GoldenStep(const std::string& preset, Device device, DType dtype)
      : golden_(load(preset)),
        context_({device, 0, ""}),
        params_(context_, dtype),
        tape_(context_) {
    const ModelConfig config = find_preset(preset).config.model;
    const json& chw = golden_["image_chw"];
    image_ = {chw[1], chw[2], chw[0]};
    model_ = std::make_unique<Autoencoder>(params_, config, image_);
    params_.finalise();
    EXPECT_EQ(params_.count(), golden_["parameters"]);
    fill_weights();
  }

  // Largest error of each kind: relative to the loss, to a gradient's norm.
  void expect_right(double tolerance) {
    run();
    const auto nll = download(nll_), kl = download(kl_);
    double loss = 0;
    for (int64_t b = 0; b < kBatch; ++b) {
      EXPECT_NEAR(nll[b], golden_["nll"][b], tolerance * std::abs(double(golden_["nll"][b])));
      EXPECT_NEAR(kl[b], golden_["kl"][b], tolerance * std::abs(double(golden_["kl"][b])));
      loss += (nll[b] + kl[b]) / kBatch;
    }
    EXPECT_NEAR(loss, golden_["loss"], tolerance * std::abs(double(golden_["loss"])));
    const std::vector<double> gradients = download_span(params_.gradients());
    for (const ParamStore::Piece& piece : params_.pieces()) {
      SCOPED_TRACE(piece.name);
      expect_gradient(piece, gradients, tolerance);
    }
    expect_buffers(tolerance);
  }

 private:
  // The place of a name in PyTorch's order, which the file keeps.
  uint64_t stream_of(const char* order, const std::string& name) const {
    const auto& names = golden_[order];
    return static_cast<uint64_t>(std::find(names.begin(), names.end(), name) - names.begin());
  }

  void fill_weights() {
    std::vector<float> span(static_cast<size_t>(params_.span_count()), 0.0f);
    for (const ParamStore::Piece& piece : params_.pieces()) {
      ASSERT_TRUE(golden_["gradients"].contains(piece.name)) << piece.name;
      const std::vector<float> values = file_weights(piece, stream_of("order", piece.name));
      float* to = span.data() + piece.offset;
      if (piece.file.moves()) {
        from_file_layout(piece.file, values.data(), to);
      } else {
        std::copy(values.begin(), values.end(), to);
      }
    }
    upload(params_.values(), span);
  }

  void upload(void* to, const std::vector<float>& values) {
    if (params_.dtype() == DType::f64) {
      const std::vector<double> wide(values.begin(), values.end());
      context_.upload(to, wide.data(), wide.size() * sizeof(double));
    } else {
      context_.upload(to, values.data(), values.size() * sizeof(float));
    }
  }

  Tensor on_device(DeviceBlock& block, const std::vector<float>& values, Shape shape) {
    block = DeviceBlock(context_, values.size() * dtype_bytes(params_.dtype()), Role::buffers);
    upload(block.data(), values);
    return params_.dtype() == DType::f64
               ? external_tensor(block.as<double>(), shape, context_.device())
               : external_tensor(block.as<float>(), shape, context_.device());
  }

  void run() {
    const int64_t size = image_.size(), pixels = image_.pixels();
    std::vector<float> x(static_cast<size_t>(kBatch * size));
    for (int64_t i = 0; i < kBatch * size; ++i) {  // from C, H, W to H, W, C
      const int64_t b = i / size, c = i % size / pixels, p = i % pixels;
      x[static_cast<size_t>(b * size + p * image_.channels + c)] =
          static_cast<float>(golden_uniform(golden_["pixel_stream"], static_cast<uint64_t>(i)));
    }
    DeviceBlock x_block, one_block;
    const Tensor images = on_device(x_block, x, Shape{kBatch, size});
    const RowWeight weight{on_device(one_block, {1.0f}, Shape{1}), 1.0 / kBatch};
    NoiseSource noise{};
    noise.seed = golden::kNoiseSeed;
    tape_.run(1, [&](Tape& tape) {
      const LatentBlock block = model_->sample(tape, images, noise, weight);
      kl_ = block.latent.kl;
      nll_ = model_->decode_nll(tape, block.y, 1, images, weight);
      tape.keep(kl_);
      tape.keep(nll_);
      tape.backward(params_);
    });
  }

  std::vector<double> download(const Tensor& tensor) {
    const size_t count = static_cast<size_t>(tensor.size());
    if (tensor.dtype == DType::f64) {
      std::vector<double> values(count);
      context_.download(values.data(), tensor.data, tensor.bytes());
      return values;
    }
    std::vector<float> values(count);
    context_.download(values.data(), tensor.data, tensor.bytes());
    // A fused last layer leaves partial sums, [parts, B].
    std::vector<double> sums(kBatch);
    for (size_t i = 0; i < count; ++i) sums[i % kBatch] += values[i];
    return sums;
  }

  std::vector<double> download_span(const void* span) {
    const auto count = static_cast<size_t>(params_.span_count());
    if (params_.dtype() == DType::f64) {
      std::vector<double> values(count);
      context_.download(values.data(), span, count * sizeof(double));
      return values;
    }
    std::vector<float> values(count);
    context_.download(values.data(), span, count * sizeof(float));
    return {values.begin(), values.end()};
  }

  // Where element i of the file's tensor lies in memory.
  static int64_t place(const FileLayout& f, int64_t i) {
    if (!f.moves()) return i;
    const int64_t inner = i % f.inner, s = i / f.inner % f.spatial;
    const int64_t c = i / f.inner / f.spatial % f.channels,
                  o = i / f.inner / f.spatial / f.channels;
    return ((o * f.spatial + s) * f.channels + c) * f.inner + inner;
  }

  void expect_gradient(const ParamStore::Piece& piece, const std::vector<double>& gradients,
                       double tolerance) {
    std::vector<double> file(static_cast<size_t>(piece.count));
    for (int64_t i = 0; i < piece.count; ++i) {
      file[static_cast<size_t>(i)] =
          gradients[static_cast<size_t>(piece.offset + place(piece.file, i))];
    }
    const json& golden = golden_["gradients"];
    // The gradient of a bias in front of batch normalisation is zero but for rounding.
    const std::string layer = piece.name.substr(0, piece.name.rfind('.'));
    const double scale = std::max(golden[piece.name]["norm"].get<double>(),
                                  golden[layer + ".weight"]["norm"].get<double>());
    expect_summary(golden[piece.name], stream_of("order", piece.name), file, tolerance * scale);
  }

  void expect_summary(const json& golden, uint64_t stream, const std::vector<double>& values,
                      double bound) {
    ASSERT_GT(bound, 0.0);
    double square = 0, probes[kProbes] = {};
    for (size_t i = 0; i < values.size(); ++i) {
      square += values[i] * values[i];
      for (uint64_t p = 0; p < kProbes; ++p) {
        probes[p] += values[i] * (2 * golden_uniform(1000 + kProbes * stream + p, i) - 1);
      }
    }
    EXPECT_NEAR(std::sqrt(square), golden["norm"], bound);
    for (size_t p = 0; p < kProbes; ++p) EXPECT_NEAR(probes[p], golden["probes"][p], bound);
    for (const json& element : golden["elements"]) {
      EXPECT_NEAR(values[element[0].get<size_t>()], element[1], bound) << element[0];
    }
  }

  void expect_buffers(double tolerance) {
    BufferStore& buffers = params_.buffers();
    buffers.commit(context_.exec(), nullptr);
    std::vector<std::byte> bytes(buffers.bytes());
    buffers.download(bytes.data());
    size_t compared = 0;
    for (const BufferStore::Piece& piece : buffers.pieces()) {
      if (!golden_["buffers"].contains(piece.name)) continue;
      SCOPED_TRACE(piece.name);
      const json& golden = golden_["buffers"][piece.name];
      std::vector<double> values(static_cast<size_t>(piece.shape.size()));
      for (size_t i = 0; i < values.size(); ++i) {
        if (piece.type == StoredType::f64) {
          std::memcpy(&values[i], bytes.data() + piece.offset + 8 * i, 8);
        } else {
          float value = 0;
          std::memcpy(&value, bytes.data() + piece.offset + 4 * i, 4);
          values[i] = value;
        }
      }
      expect_summary(golden, kBufferStream + stream_of("buffer_order", piece.name), values,
                     tolerance * double(golden["norm"]));
      ++compared;
    }
    EXPECT_EQ(compared, golden_["buffers"].size());
  }

  json golden_;
  Context context_;
  ParamStore params_;
  Tape tape_;
  ImageSize image_;
  std::unique_ptr<Autoencoder> model_;
  Tensor nll_, kl_;
};

class GoldenStepTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {  // a machine that only runs the tests has no sources
    const std::string path = golden_path(GetParam());
    if (!std::ifstream(path)) GTEST_SKIP() << "no " << path;
  }
};

TEST_P(GoldenStepTest, DoubleAgreesWithPyTorch) {
  GoldenStep(GetParam(), Device::cpu, DType::f64).expect_right(1e-9);
}
TEST_P(GoldenStepTest, FloatAgreesOnTheCpu) {
  GoldenStep(GetParam(), Device::cpu, DType::f32).expect_right(1e-4);
}
TEST_P(GoldenStepTest, FloatAgreesOnCuda) {
  if (!why_no_cuda().empty()) GTEST_SKIP() << why_no_cuda();
  GoldenStep(GetParam(), Device::cuda, DType::f32).expect_right(1e-4);
}

INSTANTIATE_TEST_SUITE_P(Presets, GoldenStepTest, testing::Values("burgess64", "vanilla64"));

// For the script: standard normals of the engine's own noise, row by row of the largest latent.
TEST(GoldenStepTest, DISABLED_PrintNoise) {
  for (int64_t dim : {10, 128}) {
    for (int64_t b = 0; b < kBatch; ++b) {
      for (int64_t d = 0; d < dim; ++d) {
        NoiseAddress at;
        at.purpose = NoisePurpose::latent;
        at.sample = static_cast<uint32_t>(b);
        std::printf("noise%lld %.17g\n", static_cast<long long>(dim),
                    double{normal1(NoiseKey{golden::kNoiseSeed}, at, static_cast<uint64_t>(d))});
      }
    }
  }
}

}  // namespace
}  // namespace elbo
