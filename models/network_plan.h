// The shapes of an encoder's and a decoder's layers, worked out before anything is allocated.
//
// A layer sees a picture (H x W x C) or a flat vector. Between the two:
//   - a linear layer behind a picture sees its pixels as a vector (nn.Flatten);
//   - a vector becomes a picture in front of the first layer that needs one (nn.Unflatten): in a decoder
//     it gets the size of the encoder's last picture, or what `reshape` says.
// A flat vector remembers the picture whose pixels it holds, because files hold these in the order C, H,
// W (engine/file_layout.h).
//
// The output_padding of transposed convolutions is chosen so that the decoder ends at the size of the
// images, the smallest possible from the first layer on.
#pragma once

#include <vector>

#include "models/layer_spec.h"

namespace elbo {

struct LayerState {
  ImageSize size;  // of a flat vector that is no picture's: 1 x 1 x its length
  bool flat = false;
  bool operator==(const LayerState&) const = default;
};

struct LayerPlan {
  LayerSpec spec;  // with out and output_padding resolved
  LayerState in, out;
  bool flattens = false;    // a picture comes in and is seen as a vector
  bool unflattens = false;  // a vector comes in and is seen as in.size
};

// ErrorCode::usage naming the layer, and what comes in, if something does not fit.
std::vector<LayerPlan> plan_encoder(const std::vector<LayerSpec>& layers, const ImageSize& image);

// The last picture of an encoder, which its decoder goes back to; the image if no layer makes one.
ImageSize last_picture(const std::vector<LayerPlan>& encoder, const ImageSize& image);

// What an encoder makes of the image: its last layer's output, or the image itself.
LayerState end_of(const std::vector<LayerPlan>& encoder, const ImageSize& image);

// The latent between an encoder and a decoder: a vector of `latent_dim` values, or with
// `latent_channels` > 0 a picture whose statistics, or which itself, the encoder ends with.
LayerState latent_of(const std::vector<LayerPlan>& encoder, const ImageSize& image,
                     int64_t latent_dim, int64_t latent_channels, bool variational);

// From the latent to the image; `picture` is the encoder's last_picture().
std::vector<LayerPlan> plan_decoder(const std::vector<LayerSpec>& layers, const LayerState& latent,
                                    const ImageSize& picture, const ImageSize& image);

}  // namespace elbo
