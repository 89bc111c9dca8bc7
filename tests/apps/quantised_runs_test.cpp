// Models whose latents are codes of a codebook, from the command line.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "engine/io/file_ops.h"
#include "engine/io/npy.h"
#include "engine/io/npy_write.h"
#include "tests/apps/program_fixture.h"

namespace elbo {
namespace {

using namespace testing_apps;

class QuantisedRuns : public ProgramTest {
 protected:
  Outcome ok(const Strings& arguments) const {
    const Outcome outcome = run_in_process(arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome;
  }
  void error(const Strings& arguments, int status, const std::string& part) const {
    const Outcome outcome = run_in_process(arguments);
    EXPECT_EQ(outcome.status, status);
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  }
  // 8 x 8 sprites as 2 x 2 codes out of 16, three values each.
  Strings pictures(const std::string& name) const {
    return tiny_run(name) + Strings{"--set", "model.kind=conv-ae",
                                    "--set", "model.encoder=conv 8 k4 s2 relu, conv 3 k4 s2",
                                    "--set", "model.decoder=convt 8 k4 s2 relu, convt image k4 s2",
                                    "--set", "model.latent_channels=3",
                                    "--set", "model.codebook=16"};
  }
  Strings with_run(const std::string& tool, const Strings& more = {}) const {
    return Strings{tool, "--run", path("vq"), "--device", "cpu", "--threads", "1"} + more;
  }
  struct Numbers {
    std::vector<int64_t> shape;
    std::vector<double> values;
    char kind;
  };
  Numbers npy(const std::string& name) const {
    const std::vector<std::byte> bytes = read_file(real_fs(), path(name), 1 << 20);
    const NpyView view = parse_npy(bytes, name);
    Numbers numbers{view.shape, {}, view.kind};
    for (int64_t i = 0; i < view.count(); ++i) numbers.values.push_back(view.real(i));
    return numbers;
  }
};

TEST_F(QuantisedRuns, CodesGoToFilesAndBack) {
  const Outcome trained = ok(pictures("vq"));
  EXPECT_NE(trained.err.find(" of 16 codes"), std::string::npos) << trained.err;
  EXPECT_NE(read_file_text(path("vq") + "/metrics.jsonl").find("\"train_perplexity\":"),
            std::string::npos);
  ok(with_run("encode", {"-n", "5", "-o", path("vectors.npy"), "--indices", path("indices.npy")}));
  const Numbers vectors = npy("vectors.npy"), indices = npy("indices.npy");
  EXPECT_EQ(vectors.shape, (std::vector<int64_t>{5, 12}));
  EXPECT_EQ(indices.shape, (std::vector<int64_t>{5, 4}));
  EXPECT_EQ(indices.kind, 'i');
  // One index, one vector.
  for (size_t i = 0; i < 20; ++i) {
    ASSERT_GE(indices.values[i], 0);
    ASSERT_LT(indices.values[i], 16);
    for (size_t j = 0; j < i; ++j) {
      bool same = true;
      for (size_t d = 0; d < 3; ++d) {
        same = same && vectors.values[3 * i + d] == vectors.values[3 * j + d];
      }
      EXPECT_EQ(same, indices.values[i] == indices.values[j]);
    }
  }
  const auto decoded = [&](const std::string& file) {
    ok(with_run("decode", {"--latents", path(file), "-o", path("d.npy")}));
    return npy("d.npy").values;
  };
  EXPECT_EQ(decoded("indices.npy"), decoded("vectors.npy"));
  write_npy(real_fs(), path("large.npy"), std::vector<int32_t>{0, 1, 16, 3}, {1, 4});
  error(with_run("decode", {"--latents", path("large.npy")}), 4,
        "code 2 of row 0 is 16, expected 0 to 15");
  write_npy(real_fs(), path("wide.npy"), std::vector<int32_t>{0, 1, 2}, {1, 3});
  error(with_run("decode", {"--latents", path("wide.npy")}), 4,
        "has whole numbers and shape [1, 3], expected [N, 4]");
}

TEST_F(QuantisedRuns, EveryToolTakesThem) {
  ok(pictures("vq"));
  ok(with_run("reconstruct", {"-n", "4"}));
  ok(with_run("interpolate", {"--pairs", "2"}));
  ok({"score", "--run", path("vq"), "--threads", "1"});
  const Outcome summary =
      ok({"summary", "--config", path("vq") + "/config.toml", "--device", "cpu", "--threads", "1"});
  EXPECT_NE(summary.out.find("16 codes of 3 values"), std::string::npos) << summary.out;
  const Outcome sizes = ok(with_run("compress", {"-n", "20", "--bits", "4"}));
  // 4 codes of 4 bits are 2 bytes: 4 components of 4 bits.
  EXPECT_NE(sizes.out.find("4 codes of 16                     2.0"), std::string::npos)
      << sizes.out;
  EXPECT_NE(sizes.out.find("  entropy coded"), std::string::npos);
  EXPECT_NE(sizes.out.find("4 components, 4 bits              2.0"), std::string::npos)
      << sizes.out;
}

TEST_F(QuantisedRuns, TheAuditorFindsTheSameLoss) {
  ok(pictures("vq") + Strings{"--set", "output.eval_interval=1"});
  const auto audit = nlohmann::json::parse(ok({"evaluate", "--run", path("vq"), "--json"}).out);
  std::string line;
  std::istringstream metrics(read_file_text(path("vq") + "/metrics.jsonl"));
  nlohmann::json last;
  while (std::getline(metrics, line)) {
    if (line.find("test_recon") != std::string::npos) last = nlohmann::json::parse(line);
  }
  EXPECT_NEAR(audit["recon_nats"], last["test_recon"], 1e-3);
  EXPECT_EQ(audit["codes"], 16);
  EXPECT_GE(audit["perplexity"], 1.0);
  EXPECT_LE(audit["perplexity"], static_cast<double>(audit["codes_used"]));
  EXPECT_LE(audit["codes_used"], 16);
}

TEST_F(QuantisedRuns, SamplesAreDrawnFromTheUseOfCodes) {
  ok(pictures("vq"));
  const auto drawn = [&](const Strings& more) {
    ok(with_run("sample", Strings{"-n", "4", "-o", path("s.png")} + more));
    return read_file_text(path("s.png"));
  };
  const std::string first = drawn({});
  EXPECT_TRUE(drawn({}) == first);
  EXPECT_TRUE(drawn({"--seed", "3"}) != first);
  // At temperature 0 all codes are the one that is used most.
  EXPECT_TRUE(drawn({"-t", "0"}) == drawn({"-t", "0", "--seed", "3"}));
}

TEST_F(QuantisedRuns, ResumingGivesTheSameBytes) {
  ok(pictures("whole"));
  ok(pictures("vq") + Strings{"--max-steps", "7"});
  ok({"train", "--resume", "latest", "--out", path("vq"), "--max-steps", "12"});
  const auto weights = [&](const std::string& name) {
    return read_file_text(path(name) + "/checkpoints/latest/model.safetensors");
  };
  EXPECT_FALSE(weights("whole").empty());
  EXPECT_TRUE(weights("vq") == weights("whole"));
}

TEST_F(QuantisedRuns, OtherModelsHaveNone) {
  ok(tiny_run("vae"));
  error({"encode", "--run", path("vae"), "--indices", path("i.npy"), "--device", "cpu"}, 2,
        "--indices: the model of this run has no codebook");
  error(tiny_run("x") + Strings{"--set", "model.codebook=16"}, 2,
        "codes are for mlp-ae and conv-ae");
}

}  // namespace
}  // namespace elbo
