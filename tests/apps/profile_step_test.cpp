// bench/profile_step, with stand-ins for the tools of a GPU machine.
#include <filesystem>

#include "tests/apps/program_fixture.h"

namespace elbo::testing_apps {
namespace {

namespace fs = std::filesystem;

class ProfileStepTest : public ProgramTest {
 protected:
  void SetUp() override {
    if (std::system("python3 --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no python3";
  }

  // An executable that leaves its arguments, one a line, in a file of its name.
  std::string stand_in(const std::string& name) {
    const std::string file = write(
        "bin/" + name, "#!/bin/sh\nprintf '%s\\n' \"$@\" > " + path(name + ".arguments") + "\n");
    fs::permissions(file, fs::perms::owner_all);
    return file;
  }
  std::string arguments_of(const std::string& name) const {
    return read_file_text(path(name + ".arguments"));
  }

  Outcome run(const std::string& arguments) {
    const std::string command =
        "PATH=" + path("bin") + ":/usr/bin:/bin " ELBO_SOURCE_DIR "/bench/profile_step --out " +
        path("report") + " " + arguments + " >" + path("out") + " 2>" + path("err") + " </dev/null";
    const int status = std::system(command.c_str());
    return {WEXITSTATUS(status), read_file_text(path("out")), read_file_text(path("err"))};
  }
};

TEST_F(ProfileStepTest, OnTheCpuItPrintsTheTableOfOps) {
  const Outcome outcome =
      run("--device cpu --steps 2:4 --program " ELBO_PROGRAM " -- -b 8 --set model.hidden=16");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("bwd/fc4/linear_dweight"), std::string::npos) << outcome.err;
  EXPECT_TRUE(fs::exists(path("report/profile.json")));
}

TEST_F(ProfileStepTest, PresetsThatDrawSpritesTakeDataToo) {
  // Two images of 2 x 2 pixels.
  const std::string images("\0\0\10\3\0\0\0\2\0\0\0\2\0\0\0\2abcdefgh", 24);
  write("data/train-images-idx3-ubyte", images);
  write("data/t10k-images-idx3-ubyte", images);
  const Outcome outcome =
      run("--preset sprites --device cpu --steps 2:4 --program " ELBO_PROGRAM " --data " +
          path("data") + " -- --set model.hidden=16");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("2 training and 2 test images"), std::string::npos) << outcome.err;
}

TEST_F(ProfileStepTest, OnAGpuItRunsTheToolOverTheStepsOnly) {
  const std::string program = stand_in("elbo");
  stand_in("nsys");
  stand_in("ncu");
  Outcome outcome = run("--device cuda --steps 5:7 --program " + program + " --data dir");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const std::string nsys = arguments_of("nsys");
  EXPECT_NE(nsys.find("--capture-range=cudaProfilerApi\n"), std::string::npos) << nsys;
  EXPECT_NE(nsys.find(program + "\ntrain\n"), std::string::npos) << nsys;
  EXPECT_NE(nsys.find("--profile\n5:7\n--max-steps\n7\n"), std::string::npos) << nsys;
  EXPECT_NE(nsys.find("--data\ndir\n"), std::string::npos) << nsys;
  outcome = run("--device cuda --tool ncu --kernel optimizer --program " + program);
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const std::string ncu = arguments_of("ncu");
  EXPECT_NE(ncu.find("--profile-from-start\noff\n"), std::string::npos) << ncu;
  EXPECT_NE(ncu.find("regex:optimizer\n"), std::string::npos) << ncu;
  EXPECT_NE(ncu.find("graph_steps=0\n"), std::string::npos) << ncu;
}

TEST_F(ProfileStepTest, WhatIsMissingIsSaidInOneLine) {
  const std::string program = stand_in("elbo");
  Outcome outcome = run("--device cuda --program " + program);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(
      outcome.err,
      "bench/profile_step: nsys not found: install Nsight Systems, or put its directory on PATH\n");
  outcome = run("--program " + path("nothing"));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.err,
            "bench/profile_step: " + path("nothing") +
                " is missing: build it (scripts/build), or name another by --program\n");
}

}  // namespace
}  // namespace elbo::testing_apps
