// The auditor's figures as a table for people and as one JSON object for programs.
#pragma once

#include <string>

#include "models/audit.h"

namespace elbo {

// What was audited, beside the figures.
struct AuditSubject {
  std::string model;    // path of the weights
  std::string data;     // path of the images, or "sprites"
  std::string corrupt;  // models/corruption_text.h; of what the encoder sees
  Likelihood likelihood = Likelihood::bernoulli;
  AuditOptions options;
};

std::string audit_table(const AuditReport& report, const AuditSubject& subject);

// Keys neg_elbo_nats recon_nats kl_nats nll_nats active_units latent_dim bits_per_dim variant images,
// then the rest. A figure that does not exist is null.
std::string audit_json(const AuditReport& report, const AuditSubject& subject);

}  // namespace elbo
