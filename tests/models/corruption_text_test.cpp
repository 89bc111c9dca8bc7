#include "models/corruption_text.h"

#include <gtest/gtest.h>

#include "tests/support/error_of.h"

namespace elbo {
namespace {

TEST(CorruptionText, ReadsEveryKind) {
  using Kind = CorruptionKind;
  const std::vector<Corruption> chain = parse_corruptions(
      "gaussian:0.3, gaussian:0.1:-0.5,mask:0.25,square:7,square:4:3,salt-pepper:0.1,blur:2,"
      "motion:9,motion:5:45,downsample:2,downsample:4:nearest,downsample:3:bilinear");
  const std::vector<Corruption> expected = {
      {.kind = Kind::gaussian, .sigma = 0.3f},
      {.kind = Kind::gaussian, .sigma = 0.1f, .mean = -0.5f},
      {.kind = Kind::mask, .share = 0.25f},
      {.kind = Kind::square, .size = 7},
      {.kind = Kind::square, .size = 4, .count = 3},
      {.kind = Kind::salt_pepper, .share = 0.1f},
      {.kind = Kind::blur, .sigma = 2.0f},
      {.kind = Kind::motion, .size = 9},
      {.kind = Kind::motion, .degrees = 45.0f, .size = 5},
      {.kind = Kind::downsample, .size = 2},
      {.kind = Kind::downsample, .size = 4, .nearest = true},
      {.kind = Kind::downsample, .size = 3},
  };
  ASSERT_EQ(chain.size(), expected.size());
  for (size_t i = 0; i < chain.size(); ++i) EXPECT_EQ(chain[i], expected[i]) << i;
  EXPECT_TRUE(parse_corruptions("").empty());
  EXPECT_TRUE(parse_corruptions("none").empty());
}

TEST(CorruptionText, NamesThePartThatIsWrong) {
  const auto error = [](const char* text) { return error_of([&] { parse_corruptions(text); }); };
  EXPECT_EQ(error("gaussian:0.3,blr:2").substr(0, 40),
            "2: \"blr:2\" is no corruption; expected ga");
  EXPECT_EQ(error("mask:0.5,gaussian:x"),
            "2: \"gaussian:x\" has \"x\" for its sigma; expected a number from 0 to 100");
  EXPECT_EQ(error("mask:1.01"),
            "2: \"mask:1.01\" has \"1.01\" for its share of pixels; expected a number from 0 to 1");
  EXPECT_EQ(
      error("salt-pepper:nan"),
      "2: \"salt-pepper:nan\" has \"nan\" for its share of pixels; expected a number from 0 to 1");
  EXPECT_EQ(error("square:7.5"),
            "2: \"square:7.5\" has \"7.5\" for its size; expected a number from 1 to 1024");
  EXPECT_EQ(error("downsample:2:cubic"),
            "2: \"downsample:2:cubic\" has another enlargement than nearest or bilinear");
  for (const char* text : {"gaussian", "gaussian:", "gaussian:1:2:3", "blur:2:3", "blur:-1",
                           "blur:17", "mask:0.1,", ",", "downsample:1", "square:0", "square:3:0",
                           "square:3:65", "motion:0", "motion:65", "motion:3:361", "Gaussian:1"}) {
    EXPECT_EQ(error(text).substr(0, 3), "2: ") << text;
  }
}

TEST(CorruptionText, ImagesMustBeLargeEnoughForSquares) {
  const std::vector<Corruption> chain = parse_corruptions("blur:2,square:9");
  EXPECT_NO_THROW(check_corruptions(chain, {9, 12, 3}, "blur:2,square:9"));
  EXPECT_EQ(error_of([&] {
              check_corruptions(chain, {8, 12, 3}, "blur:2,square:9");
            }),
            "2: data.corrupt is \"blur:2,square:9\", but squares of 9 x 9 do not fit into 8 x 12 "
            "pixels");
}

}  // namespace
}  // namespace elbo
