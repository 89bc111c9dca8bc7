// Tools that use trained runs: a tiny VAE with two latents and a tiny plain autoencoder with three,
// trained once for all tests.
#pragma once

#include "engine/io/file_ops.h"
#include "engine/io/npy.h"
#include "tests/apps/png_reader.h"
#include "tests/apps/program_fixture.h"

namespace elbo::testing_apps {

struct NpyFile {
  std::vector<std::byte> bytes;
  NpyView view;  // of bytes
};

class ToolTest : public ProgramTest {
 protected:
  ToolTest() {
    copy(trained().vae, run());
    copy(trained().plain, plain_run());
  }

  std::string run() const { return path("run"); }
  std::string plain_run() const { return path("plain"); }

  Outcome ok(const Strings& arguments) const {
    const Outcome outcome = run_in_process(arguments + Strings{"--threads", "1"});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome;
  }

  void error(const Strings& arguments, int status, const std::string& part) const {
    SCOPED_TRACE(testing::PrintToString(arguments));
    const Outcome outcome = run_in_process(arguments);
    EXPECT_EQ(outcome.status, status);
    const std::string line = outcome.err.substr(outcome.err.find("elbo: "));
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
    EXPECT_NE(line.find(part), std::string::npos) << line;
  }

  static Picture picture_of(const std::string& file) { return decode_png(read_file_text(file)); }
  Picture picture(const std::string& name) const { return picture_of(path(name)); }

  NpyFile npy(const std::string& name) const {
    NpyFile file;
    file.bytes = read_file(real_fs(), path(name), 1 << 20);
    file.view = parse_npy(file.bytes, name);
    return file;
  }

 private:
  struct Trained : ProgramTest {
    Trained() {
      EXPECT_EQ(run_in_process(tiny_run("vae") + Strings{"-q"}).status, 0);
      Strings plain = tiny_run("plain") + Strings{"-q", "--set", "model.kind=mlp-ae"};
      *(std::find(plain.begin(), plain.end(), "-z") + 1) = "3";
      EXPECT_EQ(run_in_process(plain).status, 0);
      vae = path("vae");
      this->plain = path("plain");
    }
    void TestBody() override {}
    std::string vae, plain;
  };
  static const Trained& trained() {
    static const Trained once;
    return once;
  }
  static void copy(const std::string& from, const std::string& to) {
    std::filesystem::copy(
        from, to,
        std::filesystem::copy_options::recursive | std::filesystem::copy_options::copy_symlinks);
  }
};

}  // namespace elbo::testing_apps
