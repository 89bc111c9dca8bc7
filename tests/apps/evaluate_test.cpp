// `elbo evaluate` from its arguments to what it prints.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "apps/evaluate_report.h"
#include "apps/program.h"
#include "engine/io/safetensors.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensor_map.h"

namespace elbo {
namespace {

// Two images of 2 x 2 pixels, and a network that takes every pixel for a fair coin.
class EvaluateTest : public testing::Test {
 protected:
  void SetUp() override {
    write_images("train-images-idx3-ubyte");
    write_images("t10k-images-idx3-ubyte");
    TensorMap map;
    map.layer("fc1", 3, 4, std::vector<double>(12), {0, 0, 0})
        .layer("fc21", 2, 3, std::vector<double>(6), {2, 0})
        .layer("fc22", 2, 3, std::vector<double>(6), {0, 0})
        .layer("fc3", 3, 2, std::vector<double>(6), {0, 0, 0})
        .layer("fc4", 4, 3, std::vector<double>(12), {0, 0, 0, 0});
    const SafetensorsView view = map.view();
    write_safetensors(real_fs(), weights(), view.tensors);
  }

  void write_images(const std::string& name) {
    const unsigned char file[] = {0, 0, 8, 3, 0,   0,   0, 2,   0, 0,   0,  2,
                                  0, 0, 0, 2, 255, 102, 0, 255, 0, 102, 51, 0};
    write_file(real_fs(), directory_ / name, {reinterpret_cast<const char*>(file), sizeof file});
  }

  std::string weights() const { return directory_ / "vae.safetensors"; }

  // What the program prints; the exit status must be 0.
  std::string evaluate(std::vector<std::string> more) {
    std::vector<std::string> arguments = {"evaluate", "--checkpoint", weights(), "--data",
                                          directory_.path()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    testing::internal::CaptureStdout();
    const int status = run_program(arguments);
    const std::string text = testing::internal::GetCapturedStdout();
    EXPECT_EQ(status, 0);
    return text;
  }

  TempDir directory_;
};

TEST_F(EvaluateTest, JsonHasEveryPromisedKey) {
  const auto json = nlohmann::json::parse(evaluate({"--json", "--nll-samples", "20"}));
  const double bits = 0.69314718055994531;
  EXPECT_NEAR(json.at("recon_nats"), 4 * bits, 1e-12);
  EXPECT_NEAR(json.at("kl_nats"), 2, 1e-12);
  EXPECT_NEAR(json.at("neg_elbo_nats"), 4 * bits + 2, 1e-12);
  EXPECT_TRUE(json.at("nll_nats").is_number());
  EXPECT_TRUE(json.at("bits_per_dim").is_null());  // grey targets
  EXPECT_EQ(json.at("active_units"), 0);
  EXPECT_EQ(json.at("latent_dim"), 2);
  EXPECT_EQ(json.at("variant"), "grey");
  EXPECT_EQ(json.at("images"), 2);
  EXPECT_EQ(json.at("kl_per_latent"), (std::vector<double>{2, 0}));
  EXPECT_GT(json.at("entropy_floor_nats"), 0);
}

// The decoder looks at no latent, so draws of the prior are worth the same.
TEST_F(EvaluateTest, TheProposalIsObeyedAndChecked) {
  const auto json =
      nlohmann::json::parse(evaluate({"--json", "--nll-samples", "20", "--nll-proposal", "prior"}));
  EXPECT_EQ(json.at("nll_proposal"), "prior");
  EXPECT_NEAR(json.at("nll_nats"), json.at("recon_nats"), 1e-12);
  EXPECT_NEAR(json.at("effective_samples"), 20, 1e-9);
  const std::string table = evaluate({"--nll-samples", "20", "--nll-proposal", "prior"});
  EXPECT_NE(table.find("drawn from the prior, K = 20, of which 20.0 count"), std::string::npos);
  const auto best = nlohmann::json::parse(evaluate({"--json", "--nll-samples", "20"}));
  EXPECT_EQ(best.at("nll_proposal"), "posterior");
  EXPECT_LT(best.at("effective_samples"), 19);
}

TEST_F(EvaluateTest, VariantAndLimitAreObeyed) {
  const auto fixed = nlohmann::json::parse(evaluate({"--json", "--variant", "fixed"}));
  EXPECT_EQ(fixed.at("variant"), "fixed");
  EXPECT_NEAR(fixed.at("bits_per_dim"), (4 * 0.69314718055994531 + 2) / 4 / 0.69314718055994531,
              1e-12);
  EXPECT_TRUE(fixed.at("nll_nats").is_null());
  EXPECT_TRUE(fixed.at("entropy_floor_nats").is_null());
  const auto one = nlohmann::json::parse(evaluate({"--json", "--images", "1"}));
  EXPECT_EQ(one.at("images"), 1);
  EXPECT_TRUE(one.at("neg_elbo_stderr").is_null());  // one image has no spread
}

TEST_F(EvaluateTest, TheTableSaysWhatItCannotSay) {
  const std::string table = evaluate({});
  EXPECT_NE(table.find("2 images, grey"), std::string::npos) << table;
  EXPECT_NE(table.find("not defined: a cross-entropy with grey targets"), std::string::npos);
  EXPECT_NE(table.find("KL                  2.0000  nats\n"), std::string::npos) << table;
  EXPECT_NE(table.find("active units               0  of 2"), std::string::npos) << table;
}

TEST_F(EvaluateTest, NoiseFollowsTheSeed) {
  EXPECT_EQ(evaluate({"--json", "--variant", "dynamic", "--seed", "3"}),
            evaluate({"--json", "--variant", "dynamic", "--seed", "3", "--threads", "2"}));
}

TEST(EvaluateErrors, AreOneLineAndAStatus) {
  const auto status_and_line = [](const std::vector<std::string>& arguments) {
    testing::internal::CaptureStderr();
    const int status = run_program(arguments);
    return std::to_string(status) + " " + testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(
      status_and_line({"evaluate"}),
      "2 elbo: --run is missing: name the run directory that elbo train wrote, or a file with "
      "--checkpoint FILE.safetensors\n");
  EXPECT_EQ(status_and_line({"evaluate", "--checkpoint", "none.safetensors"}),
            "4 elbo: cannot open none.safetensors: No such file or directory; check the path\n");
}

TEST(AuditJson, WritesNullForWhatDoesNotExistAndEscapesPaths) {
  AuditReport report;
  report.recon_nats = 0.1;
  report.latent_dim = 3;
  AuditSubject subject;
  subject.model = "a\"b\\c\n";
  const std::string text = audit_json(report, subject);
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json.at("recon_nats"), 0.1);
  EXPECT_TRUE(json.at("neg_elbo_nats").is_null());
  EXPECT_TRUE(json.at("active_units").is_null());
  EXPECT_EQ(json.at("model"), "a\"b\\c\n");
  EXPECT_TRUE(text.starts_with("{\"neg_elbo_nats\": null, \"recon_nats\": 0.1, \"kl_nats\": null"));
}

TEST(AuditJson, ReplacesWhatIsNotUtf8) {
  AuditSubject subject;
  subject.model = "ma\xdf/vae";  // Latin-1
  subject.data = "\xc3\xbcn\xc3\xaf";
  const auto json = nlohmann::json::parse(audit_json(AuditReport{}, subject));
  EXPECT_EQ(json.at("model"), "ma\xef\xbf\xbd/vae");
  EXPECT_EQ(json.at("data"), "\xc3\xbcn\xc3\xaf");
}

TEST(AuditTable, SummarisesManyLatents) {
  AuditReport report;
  report.active_units = 1;
  report.latent_dim = 300;
  report.kl_per_latent.assign(300, 0.25);
  report.kl_per_latent[7] = 3;
  report.kl_per_latent[299] = 0.001;
  const std::string table = audit_table(report, AuditSubject{});
  EXPECT_NE(table.find("KL per latent          0.001  to 3.000 nats; --json lists all\n"),
            std::string::npos)
      << table;
}

TEST(AuditTable, WritesLargeFiguresWithTheirExponent) {
  AuditReport report;
  report.neg_elbo_nats = 4.1e102;
  report.neg_elbo_stderr = 1e300;
  report.kl_nats = 123456789.5;
  report.active_units = 1;
  report.latent_dim = 2;
  report.kl_per_latent = {-4.1e102, 2};
  const std::string table = audit_table(report, AuditSubject{});
  EXPECT_NE(table.find("-ELBO               4.1e+102  nats, standard error 1e+300\n"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("  KL              123456789.5000  nats\n"), std::string::npos) << table;
  EXPECT_NE(table.find("\n  -4.1e+102   2.000\n"), std::string::npos) << table;
}

}  // namespace
}  // namespace elbo
