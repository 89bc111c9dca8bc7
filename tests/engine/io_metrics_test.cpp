#include "engine/io/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/support/crash_fs.h"

namespace elbo {
namespace {

std::string line(int64_t step) { return metrics_line(step, {{"loss", 1.0 / step}}); }

TEST(Metrics, OneObjectPerLine) {
  EXPECT_EQ(metrics_line(3, {{"epoch", 1}, {"loss", 105.25}, {"done", true}, {"note", "a\"b\n"}}),
            "{\"step\":3,\"epoch\":1,\"loss\":105.25,\"done\":true,\"note\":\"a\\\"b\\n\"}\n");
}

TEST(Metrics, WhatJsonLacksIsNull) {
  EXPECT_EQ(metrics_line(0, {{"a", std::nan("")}, {"b", INFINITY}, {"c", -INFINITY}}),
            "{\"step\":0,\"a\":null,\"b\":null,\"c\":null}\n");
}

TEST(Metrics, FloatsPrintAsShortAsTheyAre) {
  EXPECT_EQ(metrics_line(0, {{"a", 0.1f}, {"b", 0.1}, {"c", 1e-45f}}),
            "{\"step\":0,\"a\":0.1,\"b\":0.1,\"c\":1e-45}\n");
}

TEST(Metrics, NumbersReadBackToTheLastBit) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t bits = random();
    double value;
    std::memcpy(&value, &bits, sizeof value);
    if (!std::isfinite(value)) continue;
    const auto json = nlohmann::json::parse(metrics_line(0, {{"x", value}}));
    const double back = json["x"].get<double>();
    ASSERT_EQ(std::memcmp(&back, &value, sizeof value), 0) << value;
    const auto narrow = static_cast<float>(bits >> 40) / 7e5f;
    const auto text = nlohmann::json::parse(metrics_line(0, {{"x", narrow}}));
    ASSERT_EQ(static_cast<float>(text["x"].get<double>()), narrow);
  }
}

TEST(Metrics, TextThatIsNotUtf8DoesNotStopTheRun) {
  EXPECT_EQ(metrics_line(0, {{"x", "\xff"}}), "{\"step\":0,\"x\":\"\xef\xbf\xbd\"}\n");
}

class MetricsFile : public testing::Test {
 protected:
  std::string text() { return read_text_file(fs, path, 1 << 20); }

  CrashFs fs;  // in memory: some of these tests write hundreds of files
  std::string path = "metrics.jsonl";
};

TEST_F(MetricsFile, EachLineIsInTheFileAtOnce) {
  MetricsWriter writer(fs, path);
  writer.append(1, {{"loss", 1.0}});
  EXPECT_EQ(text(), line(1));
  writer.append(2, {{"loss", 0.5}});
  writer.sync();
  EXPECT_EQ(text(), line(1) + line(2));
}

TEST_F(MetricsFile, AResumedRunLeavesTheSameLinesAsAnUninterruptedOne) {
  std::string uninterrupted;
  for (int64_t step = 1; step <= 20; ++step) uninterrupted += line(step);
  for (int64_t stop = 1; stop < 20; ++stop) {
    for (int64_t checkpoint = 0; checkpoint <= stop; ++checkpoint) {
      {
        MetricsWriter first(fs, path);
        for (int64_t step = 1; step <= stop; ++step) first.append(step, {{"loss", 1.0 / step}});
      }
      MetricsWriter second(fs, path, checkpoint);
      for (int64_t step = checkpoint + 1; step <= 20; ++step) {
        second.append(step, {{"loss", 1.0 / step}});
      }
      ASSERT_EQ(text(), uninterrupted) << "stopped at " << stop << ", resumed from " << checkpoint;
      ASSERT_EQ(second.damaged_lines(), 0);
    }
  }
}

TEST_F(MetricsFile, AHalfWrittenLastLineIsDropped) {
  const std::string whole = line(1) + line(2);
  for (size_t length = line(1).size() + 1; length < whole.size(); ++length) {
    write_file(fs, path, whole.substr(0, length));
    const MetricsWriter writer(fs, path, 5);
    EXPECT_EQ(text(), line(1)) << length;
    EXPECT_EQ(writer.damaged_lines(), 1);
  }
}

TEST_F(MetricsFile, DamagedLinesInTheMiddleAreDroppedAndCounted) {
  const KeptMetrics kept = metrics_until(
      line(1) + std::string(10, '\0') + "\n[1]\n{\"loss\":1}\n{\"step\":1.5}\n\n" + line(2), 2);
  EXPECT_EQ(kept.text, line(1) + line(2));
  EXPECT_EQ(kept.damaged, 5);
}

TEST_F(MetricsFile, ResumingWithoutAFileStartsOne) {
  MetricsWriter(fs, path, 7).append(8, {});
  EXPECT_EQ(text(), "{\"step\":8}\n");
}

}  // namespace
}  // namespace elbo
