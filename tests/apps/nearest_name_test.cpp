#include "apps/nearest_name.h"

#include <gtest/gtest.h>

namespace elbo {
namespace {

TEST(NearestName, CountsEditsIncludingSwaps) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("beta", "beta"), 0);
  EXPECT_EQ(edit_distance("btea", "beta"), 1);
  EXPECT_EQ(edit_distance("bet", "beta"), 1);
  EXPECT_EQ(edit_distance("bexa", "beta"), 1);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
}

TEST(NearestName, SuggestsTypingErrorsOnly) {
  const std::vector<std::string> known = {"train.batch_size", "train.beta", "model.latent_dim"};
  EXPECT_EQ(nearest_name("train.btach_size", known), "train.batch_size");
  EXPECT_EQ(nearest_name("train.bta", known), "train.beta");
  EXPECT_EQ(nearest_name("weather", known), "");
}

TEST(NearestName, CompletesALeftOutPart) {
  EXPECT_EQ(nearest_name("latent_dim", {"train.beta", "model.latent_dim"}), "model.latent_dim");
  EXPECT_EQ(nearest_name("mnist", {"sprites", "mlp-mnist"}), "mlp-mnist");
}

TEST(NearestName, IsStrictWithShortNames) {
  EXPECT_EQ(nearest_name("CUDA", {"DATA", "SEED"}), "");
  EXPECT_EQ(nearest_name("sed", {"seed"}), "seed");
}

TEST(NearestName, PhrasesTheHint) {
  EXPECT_EQ(did_you_mean("bet", {"beta"}), "; did you mean beta?");
  EXPECT_EQ(did_you_mean("zzzzzz", {"beta"}), "");
}

}  // namespace
}  // namespace elbo
