// The layers of a network that a configuration describes, as the auditor reads them from a file.
//
// Errors    ErrorCode::data as models/audit_layers.h
#pragma once

#include <string>
#include <vector>

#include "kernels/conv_geometry.h"
#include "models/audit_layers.h"
#include "models/network_plan.h"

namespace elbo {

AuditPicture audit_picture(const ImageSize& size);

// `prefix` is "encoder" or "decoder"; modules are counted as nn.Sequential does.
std::vector<AuditLayer> audit_convolutional(AuditReader& reader, const std::string& prefix,
                                            const std::vector<LayerPlan>& plans);

}  // namespace elbo
