#include "models/network_plan.h"

#include <gtest/gtest.h>

#include "models/autoencoder.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

std::vector<LayerPlan> decoder_of(const std::vector<std::string>& encoder,
                                  const std::vector<std::string>& decoder, const ImageSize& image) {
  const auto plans = plan_encoder(parse_layers(encoder), image);
  return plan_decoder(parse_layers(decoder), {{1, 1, 10}, true}, last_picture(plans, image), image);
}

TEST(LayerSpec, ReadsEveryWord) {
  const LayerSpec layer = parse_layer("convt 12 k4x3 s2x1 p0x2 d2 op1x0 gn4 leaky_relu");
  EXPECT_EQ(layer.kind, LayerKind::conv_transpose);
  EXPECT_EQ(layer.out, 12);
  EXPECT_EQ(layer.window, (ConvWindow{4, 3, 2, 1, 0, 2, 2, 2}));
  EXPECT_EQ(layer.output_padding, (OutputPadding{1, 0}));
  EXPECT_EQ(layer.norm, NormKind::group);
  EXPECT_EQ(layer.groups, 4);
  EXPECT_EQ(layer.activation, Activation::leaky_relu);
}

TEST(LayerSpec, PadsSoThatStridesDivideTheImage) {
  EXPECT_EQ(parse_layer("conv 3 k3").window, ConvWindow::square(3, 1, 1));
  EXPECT_EQ(parse_layer("conv 3 k4 s2").window, ConvWindow::square(4, 2, 1));
  EXPECT_EQ(parse_layer("conv 3 k5 d2").window, ConvWindow::square(5, 1, 4, 2));
  EXPECT_EQ(parse_layer("conv 3 k3 p0").window, ConvWindow::square(3, 1, 0));
}

TEST(LayerSpec, SaysWhatIsWrong) {
  const auto message = [](const char* text) { return error_of([&] { parse_layer(text); }); };
  EXPECT_NE(message("").find("ends where a layer is expected"), std::string::npos);
  EXPECT_NE(message("convolution 3 k3").find("\"convolution\" is not a layer; expected conv"),
            std::string::npos);
  EXPECT_NE(message("conv 3").find("has no kernel, like k3"), std::string::npos);
  EXPECT_NE(message("conv x k3").find("\"x\" is not a number from 1"), std::string::npos);
  EXPECT_NE(message("conv 3 k0").find("\"k0\" is not a number from 1"), std::string::npos);
  EXPECT_NE(message("conv 3 k3 s99999999").find("is not a number"), std::string::npos);
  EXPECT_NE(message("conv 3 k3 relu relu").find("\"relu\" does not belong to conv"),
            std::string::npos);
  EXPECT_NE(message("conv 3 k3 op1").find("does not belong"), std::string::npos);
  EXPECT_NE(message("reshape 3x4").find("is not CxHxW"), std::string::npos);
  EXPECT_NE(message("upsample 2 cubic").find("is not nearest or bilinear"), std::string::npos);
  EXPECT_NE(message("norm relu").find("does not say which"), std::string::npos);
}

TEST(NetworkPlan, FlattensAndUnflattensWhereItMust) {
  const ImageSize image{32, 24, 3};
  const auto encoder = plan_encoder(parse_layers({"conv 8 k4 s2 relu", "linear 20 relu"}), image);
  EXPECT_EQ(encoder[0].out, (LayerState{{16, 12, 8}, false}));
  EXPECT_TRUE(encoder[1].flattens);
  EXPECT_EQ(encoder[1].in, (LayerState{{16, 12, 8}, true}));
  EXPECT_EQ(encoder[1].out, (LayerState{{1, 1, 20}, true}));

  const auto decoder =
      decoder_of({"conv 8 k4 s2 relu"}, {"linear flat", "convt image k4 s2"}, image);
  EXPECT_EQ(decoder[0].out, (LayerState{{16, 12, 8}, true}));
  EXPECT_TRUE(decoder[1].unflattens);
  EXPECT_EQ(decoder[1].in, (LayerState{{16, 12, 8}, false}));
  EXPECT_EQ(decoder[1].out.size, image);
}

// Every size from 5 to 40 that three halvings lead to comes back, odd ones and rectangles too.
TEST(NetworkPlan, FindsTheOutputPaddingOfAnySize) {
  const std::vector<std::string> encoder = {"conv 4 k3 s2", "conv 4 k3 s2", "conv 4 k3 s2"};
  const std::vector<std::string> decoder = {"linear flat", "convt 4 k3 s2", "convt 4 k3 s2",
                                            "convt image k3 s2"};
  for (int64_t height = 5; height <= 40; ++height) {
    for (const int64_t width : {height, height + 3}) {
      const ImageSize image{height, width, 1};
      EXPECT_EQ(decoder_of(encoder, decoder, image).back().out.size, image);
    }
  }
}

TEST(NetworkPlan, TakesTheSmallestPaddingFromTheFirstLayerOn) {
  // 4 -> 7 or 8 -> 13 .. 16: an image of 15 is reached by 7, 15 (0, 2) only with a padding that does
  // not exist, by 8, 15 (1, 0) alone.
  const auto plans = decoder_of({"conv 1 k3 s2", "conv 1 k3 s2"},
                                {"linear flat", "convt 1 k3 s2", "convt image k3 s2"}, {15, 15, 1});
  EXPECT_EQ(plans[1].spec.output_padding, (OutputPadding{1, 1}));
  EXPECT_EQ(plans[2].spec.output_padding, (OutputPadding{0, 0}));
}

TEST(NetworkPlan, SaysThatASizeCannotBeReached) {
  const std::string message = error_of([] {
    decoder_of({"conv 4 k4 s4 p0"}, {"linear flat", "convt image k2 s2 p0"}, {16, 12, 1});
  });
  EXPECT_NE(message.find("the decoder starts at 4x3 and can end at a height of 8, 9 but the images "
                         "are 16x12"),
            std::string::npos)
      << message;
}

TEST(NetworkPlan, SaysWhatDoesNotFit) {
  const auto message = [](const std::vector<std::string>& encoder,
                          const std::vector<std::string>& decoder) {
    return error_of([&] { decoder_of(encoder, decoder, {8, 8, 3}); });
  };
  EXPECT_NE(
      message({"linear 4", "conv 3 k3"}, {}).find("needs a picture, but comes after 4 values"),
      std::string::npos);
  EXPECT_NE(message({"conv 3 k9 p0"}, {}).find("leaves nothing of an input of 8x8x3"),
            std::string::npos);
  EXPECT_NE(message({"conv 6 k3 gn4"}, {}).find("4 groups do not divide 6 channels"),
            std::string::npos);
  EXPECT_NE(message({"conv flat k3"}, {}).find("\"flat\" is for the decoder's linear layers"),
            std::string::npos);
  EXPECT_NE(message({"reshape 3x2x2"}, {}).find("belongs into a decoder"), std::string::npos);
  EXPECT_NE(
      message({"conv 4 k4 s2"}, {"linear 5", "convt image k4 s2"})
          .find("comes after 5 values, which are not the 4x4x4 (CxHxW) that the encoder ends"),
      std::string::npos);
  EXPECT_NE(message({"conv 4 k4 s2"}, {"linear flat", "convt 5 k4 s2"})
                .find("the decoder ends with 5x8x8 (CxHxW) but the images are 3x8x8"),
            std::string::npos);
  EXPECT_NE(message({"conv 4 k4 s2"}, {"linear 7", "reshape 2x4x4", "convt image k4 s2"})
                .find("comes after 7 values; expected 32 values"),
            std::string::npos);
}

TEST(NetworkPlan, LatentsCanBePictures) {
  const ImageSize image{8, 12, 3};
  const auto encoder = plan_encoder(parse_layers({"conv 6 k4 s2"}), image);
  EXPECT_EQ(latent_of(encoder, image, 1, 3, true), (LayerState{{4, 6, 3}, false}));
  EXPECT_EQ(latent_of(encoder, image, 1, 6, false), (LayerState{{4, 6, 6}, false}));
  EXPECT_EQ(latent_of(encoder, image, 5, 0, true), (LayerState{{1, 1, 5}, true}));
  EXPECT_NE(
      error_of([&] { latent_of(encoder, image, 1, 6, true); })
          .find("must end with a picture of 12 channels (mean and log-variance); it ends with "
                "6x4x6 (CxHxW)"),
      std::string::npos);
}

int64_t parameters_of(const char* preset, const ImageSize& image) {
  Context context({Device::cpu, 0, ""});
  ParamStore params(context);
  const Autoencoder model(params, find_preset(preset).config.model, image);
  return params.count();
}

// Counted by PyTorch: sum(p.numel() for p in model.parameters()).
TEST(Presets, HaveAsManyParametersAsInPyTorch) {
  EXPECT_EQ(parameters_of("mlp-mnist", {28, 28, 1}), 652824);
  EXPECT_EQ(parameters_of("conv32", {32, 32, 3}), 1119811);
  EXPECT_EQ(parameters_of("conv-mnist", {28, 28, 1}), 17232033);
  EXPECT_EQ(parameters_of("burgess64", {64, 64, 3}), 766295);
  EXPECT_EQ(parameters_of("vanilla64", {64, 64, 3}), 3937635);
  // By the formulas of its layers: encoder 5,825,864, decoder 9,655,299.
  EXPECT_EQ(parameters_of("klae128", {128, 128, 3}), 15481163);
}

}  // namespace
}  // namespace elbo
