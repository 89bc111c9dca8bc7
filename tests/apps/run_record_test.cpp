// What a resumed run keeps of the run.json that it finds.
#include "apps/run_record.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

class RunRecordTest : public testing::Test {
 protected:
  // run.json after a resumption that found `text` there.
  nlohmann::json resumed_over(const std::string& text) {
    write_file(fs_, path_, text);
    return resumed();
  }

  nlohmann::json resumed() {
    RunFacts facts;
    facts.argv = {"train", "--resume"};
    RunRecord(fs_, path_, facts, true).end("finished", 7);
    return nlohmann::json::parse(read_text_file(fs_, path_, 1 << 20));
  }

  static std::string nested(int depth) {
    const auto levels = static_cast<size_t>(depth);
    return "{\"a\":" + std::string(levels, '[') + std::string(levels, ']') + "}";
  }

  Fs& fs_ = real_fs();
  TempDir directory_;
  std::string path_ = directory_ / "run.json";
};

TEST_F(RunRecordTest, KeepsEarlierRecordsTheNewestFirst) {
  resumed();
  resumed();
  const nlohmann::json record = resumed();
  EXPECT_EQ(record.at("status"), "finished");
  ASSERT_EQ(record.at("earlier").size(), 2u);
  EXPECT_EQ(record.at("earlier").at(0).at("argv").at(1), "--resume");
}

TEST_F(RunRecordTest, DropsWhatIsNoRecord) {
  for (const char* text : {"", "{", "[1]", "null", "3", "\xff", "{\"a\": }"})
    EXPECT_TRUE(resumed_over(text).at("earlier").empty()) << text;
  EXPECT_EQ(resumed_over(R"({"status": "failed", "earlier": [1, {"step": 2}, []]})").at("earlier"),
            nlohmann::json::parse(R"([{"status": "failed"}, {"step": 2}])"));
}

TEST_F(RunRecordTest, DropsWhatIsNestedTooDeeplyToBeWrittenAgain) {
  for (const int depth : {20, 30'000, 200'000})
    EXPECT_TRUE(resumed_over(nested(depth)).at("earlier").empty()) << depth;
  EXPECT_EQ(resumed_over(nested(3)).at("earlier").size(), 1u);
}

TEST_F(RunRecordTest, DropsAFileThatIsTooLarge) {
  const std::string padding(size_t{17} << 20, ' ');
  EXPECT_TRUE(resumed_over("{}" + padding).at("earlier").empty());
}

// There is no writing over it, and removing it is not for us to decide.
TEST_F(RunRecordTest, ADirectoryInItsPlaceIsAFailureToWrite) {
  make_directories(fs_, path_);
  const std::string error = error_of([&] { resumed(); });
  EXPECT_TRUE(error.starts_with("1: cannot rename to ")) << error;
}

}  // namespace
}  // namespace elbo
