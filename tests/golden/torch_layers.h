// Made by torch_layers.py with PyTorch 2.15.0, in double; do not edit.
#pragma once

// clang-format off
namespace elbo::golden {

// nn.BatchNorm2d(2) in training, x [2, 1, 3, 2] NHWC, after one batch
namespace batch_norm {
inline constexpr double x[] = {1.39363956, -1.8591789, 3.03791404, 2.12606001, -1.9955579, 2.42147541, 2.78668165, -1.9409368, 1.71440184, 3.33338237, -1.6987983, 0.961777329};
inline constexpr double dy[] = {-0.923998177, 0.349291325, 0.448224336, -0.959822953, 0.859161794, -0.210451454, -0.572503388, 0.990265071, -0.776348293, 0.067208074, 0.684803426, -0.999986827};
inline constexpr double gamma[] = {-0.607719123, 0.918700695};
inline constexpr double beta[] = {0.610597372, -0.439661741};
inline constexpr double y[] = {0.452970456, -1.64492539, -0.0448887898, 0.134318914, 1.47916366, 0.266209669, 0.0311802414, -1.68142691, 0.355848919, 0.673338399, 1.38930974, -0.385485135};
inline constexpr double dx[] = {0.229837077, -0.0347745942, -0.298631247, -0.253828667, -0.0771947485, 0.107821694, 0.0276910696, 0.243897187, 0.163090798, 0.315399019, -0.0447929493, -0.378514639};
inline constexpr double dgamma[] = {-2.73290364, -2.5356567};
inline constexpr double dbeta[] = {-0.280660301, -0.763496764};
inline constexpr double running_mean[] = {0.0873046815, 0.0840429902};
inline constexpr double running_var[] = {1.38341648, 1.40811951};
}  // namespace batch_norm

}  // namespace elbo::golden
// clang-format on
