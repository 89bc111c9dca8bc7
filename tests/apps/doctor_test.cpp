#include <nlohmann/json.hpp>

#include "apps/threads.h"
#include "tests/apps/program_fixture.h"

namespace elbo::testing_apps {
namespace {

class Doctor : public ProgramTest {};

TEST_F(Doctor, SaysThatThisMachineCanTrain) {
  const Outcome outcome = run_in_process({"doctor", "--json", "--out", directory()});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const nlohmann::json json = nlohmann::json::parse(outcome.out);
  EXPECT_TRUE(json.at("usable").get<bool>());
  for (const char* key : {"program", "compiler", "cuda_built_in", "device_auto", "cpu_instructions",
                          "cpu_threads", "openmp_spin", "onednn", "matrix_product", "disk_free"})
    EXPECT_FALSE(json.at(key).get<std::string>().empty()) << key;
}

TEST_F(Doctor, PrintsATableForPeople) {
  const Outcome outcome = run_in_process({"doctor", "--out", path("not/yet/there")});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_NE(outcome.out.find("matrix product"), std::string::npos);
  EXPECT_NE(outcome.out.find("GFLOP/s"), std::string::npos);
}

TEST_F(Doctor, ReportsADataSetThatIsNotThere) {
  const Outcome outcome = run_in_process({"doctor", "--data", path("nowhere"), "--json"});
  EXPECT_EQ(outcome.status, 4);
  const nlohmann::json json = nlohmann::json::parse(outcome.out);
  EXPECT_FALSE(json.at("usable").get<bool>());
  EXPECT_NE(json.at("data").get<std::string>().find("nowhere"), std::string::npos);
}

TEST_F(Doctor, ReportsAPlaceWhereNoRunCanBeKept) {
  write("file", "x");
  std::filesystem::create_symlink("nowhere", path("dangling"));
  for (const std::string& place : {path("file"), path("file/below"), path("dangling"),
                                   path(std::string(300, 'x')), std::string("/proc/runs")}) {
    const Outcome outcome = run_in_process({"doctor", "--out", place, "--json"});
    EXPECT_EQ(outcome.status, 1) << place;
    const nlohmann::json json = nlohmann::json::parse(outcome.out);
    EXPECT_FALSE(json.at("usable").get<bool>());
    EXPECT_EQ(json.at("disk_free").get<std::string>().rfind("cannot write to ", 0), 0u) << place;
    EXPECT_NE(json.at("disk_free_hint").get<std::string>().find("--out"), std::string::npos);
  }
  EXPECT_EQ(run_in_process({"doctor", "--out", directory()}).status, 0);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory()), {}), 2) << "no traces";
}

TEST_F(Doctor, FailsIfCudaIsAskedForAndMissing) {
#ifdef ELBO_HAS_CUDA
  GTEST_SKIP() << "this build has CUDA, real or simulated";
#else
  EXPECT_EQ(run_in_process({"doctor", "--device", "cuda"}).status, 3);
#endif
}

TEST_F(Doctor, TheProgramChoosesShortSpinsUnlessTold) {
#ifdef _OPENMP
  unsetenv("GOMP_SPINCOUNT");
  EXPECT_NE(run_binary({"doctor", "--json"}).out.find("GOMP_SPINCOUNT=1000"), std::string::npos);
  setenv("GOMP_SPINCOUNT", "77", 1);
  EXPECT_NE(run_binary({"doctor", "--json"}).out.find("GOMP_SPINCOUNT=77"), std::string::npos);
  setenv("GOMP_SPINCOUNT", "1000", 1);
#else
  GTEST_SKIP() << "built without OpenMP";
#endif
}

TEST(Threads, AreAtLeastOneAndAtMostTheMachines) {
  EXPECT_GE(allowed_threads(), 1);
  EXPECT_LE(allowed_threads(), static_cast<int>(sysconf(_SC_NPROCESSORS_CONF)));
  EXPECT_GE(cgroup_thread_limit(), 0);
}

#ifdef _OPENMP
TEST(Threads, AreSetAsAskedFor) {
  EXPECT_EQ(use_threads(3), 3);
  EXPECT_EQ(use_threads(2), 2);
  EXPECT_EQ(use_threads(3), 3);
  EXPECT_EQ(use_threads(0), allowed_threads());
}
#endif

}  // namespace
}  // namespace elbo::testing_apps
