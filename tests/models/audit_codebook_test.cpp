// The auditor's codes beside the engine's.
#include "models/audit_codebook.h"

#include <gtest/gtest.h>

#include <cmath>

#include "models/audit_net.h"
#include "models/codebook_table.h"
#include "models/inference.h"
#include "tests/kernels/linear_oracle.h"
#include "tests/models/file_of.h"

namespace elbo {
namespace {

constexpr int64_t kImages = 4;

ModelConfig picture_config() {
  ModelConfig config;
  config.kind = ModelKind::conv_ae;
  config.latent_channels = 3;
  config.encoder = {"conv 5 k4 s2 relu", "conv 3 k3"};
  config.decoder = {"conv 4 k3 relu", "convt image k4 s2"};
  config.codebook = 9;
  return config;
}

ModelConfig vector_config() {
  ModelConfig config;
  config.kind = ModelKind::mlp_ae;
  config.hidden = {11};
  config.latent_dim = 6;
  config.codebook = 9;
  config.code_size = 2;
  return config;
}

// Codes at random: as large as the latents, so that many are nearest to some.
void fill_codebook(ParamStore& params, const Autoencoder& model, float range) {
  const Tensor value = params.buffers().value(model.codebook().codes);
  std::vector<float> codes = oracle::Numbers(3)(value.size());
  for (float& code : codes) code *= range;
  params.context().upload(value.data, codes.data(), value.bytes());
}

// Odd sizes and colour: every order of pixels and channels is another one.
TEST(AuditCodebookNet, AgreesWithTheEngine) {
  for (const ModelConfig& config : {picture_config(), vector_config()}) {
    const ImageSize image{6, 10, 3};
    Context context({Device::cpu, 0, ""});
    ParamStore params(context);
    const Autoencoder model(params, config, image);
    params.finalise();
    params.initialise(5);
    fill_codebook(params, model, 0.3f);
    TensorMap file = file_of(params);
    const Codebook& book = model.codebook();
    const auto* values = params.buffers().value(book.codes).as<float>();
    file.add("codebook.codes", {book.dim, 9}, {values, values + book.dim * 9});
    for (const char* state : {"sums", "counts", "batches"}) {
      file.add(std::string("codebook.") + state, {1}, {0.0});
    }
    const AuditNet net(file.view(), "x.safetensors", config, image);
    EXPECT_EQ(net.latent_dim(), model.latent_dim());
    Inference inference(context, model);
    const std::vector<float> pixels = oracle::Numbers(1)(kImages * image.size());
    const std::vector<float> latents = inference.encode(pixels).mean;
    const AuditPosterior audited = net.encode({pixels.begin(), pixels.end()});
    const std::vector<int32_t> codes = CodebookTable(model).codes_of(latents);
    EXPECT_EQ(audited.codes, codes);
    EXPECT_GT(audit_code_use(codes, 9).used, 2) << "too few codes to tell";
    const std::vector<float> pictures = inference.decode(latents);
    const AuditRows logits = net.decode(audited.mean);
    ASSERT_EQ(pictures.size(), logits.size());
    for (size_t i = 0; i < pictures.size(); ++i) {
      ASSERT_NEAR(pictures[i], 1 / (1 + std::exp(-logits[i])), 1e-5);
    }
  }
}

TEST(AuditCodebook, PerplexityIsOfTheEntropy) {
  const AuditCodeUse even = audit_code_use({0, 1, 2, 3, 3, 2, 1, 0}, 7);
  EXPECT_NEAR(even.perplexity, 4.0, 1e-12);
  EXPECT_EQ(even.used, 4);
  // H = 3/4 log 4/3 + 1/4 log 4
  EXPECT_NEAR(audit_code_use({5, 5, 5, 1}, 6).perplexity, std::pow(4.0 / 3, 0.75) * std::sqrt(2.0),
              1e-12);
}

// Counts 6, 3, 0, 1: the table's shares, what they cost, and what is drawn from them.
TEST(CodebookTable, DrawsAndWritesByUse) {
  ModelConfig config = vector_config();
  config.codebook = 4;
  Context context({Device::cpu, 0, ""});
  ParamStore params(context);
  const Autoencoder model(params, config, {2, 2, 1});
  params.finalise();
  params.initialise(1);
  fill_codebook(params, model, 1.0f);
  const std::vector<float> counts = {6, 3, 0, 1};
  const Tensor value = params.buffers().value(model.codebook().counts);
  context.upload(value.data, counts.data(), value.bytes());
  const CodebookTable table(model);
  EXPECT_EQ(table.codes_per_image(), 3);
  EXPECT_DOUBLE_EQ(table.plain_bits(), 6.0);
  const std::vector<int32_t> image = {0, 1, 3};
  // A thousandth of an even share, 2.5, is added to each.
  const double cost =
      -std::log2(6.0025 / 10.01) - std::log2(3.0025 / 10.01) - std::log2(1.0025 / 10.01);
  EXPECT_NEAR(table.entropy_coded_bits(image), cost, 1e-9);
  EXPECT_EQ(table.codes_of(table.latents_of(image)), image);

  const std::vector<int32_t> drawn = table.draw(10000, 1, 1.0f, 0);
  double shares[4] = {};
  for (const int32_t code : drawn) shares[code] += 1.0 / 30000;
  // 30,000 draws: five standard deviations of a share are 0.015 at most.
  EXPECT_NEAR(shares[0], 0.6, 0.015);
  EXPECT_NEAR(shares[1], 0.3, 0.015);
  EXPECT_LT(shares[2], 0.002);
  const std::vector<int32_t> later = table.draw(2, 1, 1.0f, 5);
  EXPECT_TRUE(std::equal(later.begin(), later.end(), drawn.begin() + 15));
  // Squared shares: 36 : 9 : 1
  const std::vector<int32_t> cool = table.draw(10000, 1, 0.5f, 0);
  EXPECT_NEAR(static_cast<double>(std::count(cool.begin(), cool.end(), 0)) / 30000, 36.0 / 46,
              0.013);
  for (const int32_t code : table.draw(50, 2, 0.0f, 0)) EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace elbo
