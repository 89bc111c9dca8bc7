#pragma once

namespace elbo {

// What encoder and decoder are told beside the image and the latent: nothing, its class, or numbers
// that are known of it.
enum class Condition : int { none, label, attributes };

inline const char* condition_name(Condition condition) {
  return condition == Condition::label        ? "label"
         : condition == Condition::attributes ? "attributes"
                                              : "none";
}

}  // namespace elbo
