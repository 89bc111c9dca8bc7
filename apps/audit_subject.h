// What evaluate and score look at: a model, by code of the auditor's own, and the images to audit it on.
//
// Errors    ErrorCode::usage for flags, ErrorCode::data for files and images that do not fit the model
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/command_line.h"
#include "apps/trained_run.h"
#include "models/audit.h"

namespace elbo {

// Weights and what the file does not say about them.
struct Subject {
  std::string weights_path;
  SafetensorsFile weights;
  RunConfig config;
  std::optional<ImageShape> image;  // known of a run
};

// --run with --checkpoint, or --checkpoint alone: a safetensors file.
Subject open_subject(const Arguments& arguments, Log& log);

struct SubjectImages {
  AuditData data;
  std::string name;             // path of the images, or "sprites"
  std::vector<uint8_t> labels;  // one per image; empty if the set has none
  std::string corrupt;          // models/corruption_text.h; of what the encoder sees
  AuditDamage damage;           // the same
};

// --data, --variant, --corrupt and --images.
SubjectImages open_subject_images(const Arguments& arguments, const Subject& subject, Log& log);

// --nll-samples, --nll-proposal and --seed. Refuses a proposal that nothing is drawn from.
AuditOptions audit_options(const Arguments& arguments);
std::vector<Flag> audit_flags(const std::string& group);

AuditReport audit_subject(const Subject& subject, const AuditData& data,
                          const AuditOptions& options);

}  // namespace elbo
