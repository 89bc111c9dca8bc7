// Everything that defines a run, as plain data. apps/ fills it from presets, files and flags; a run
// directory's config.toml holds all of it, so that the run can be repeated from that file alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/condition.h"
#include "engine/initialiser.h"
#include "kernels/activation.h"
#include "kernels/gather.h"
#include "kernels/latent_moments.h"
#include "kernels/likelihood.h"
#include "kernels/optimizer.h"
#include "kernels/plan_choices.h"
#include "kernels/schedule.h"

namespace elbo {

enum class ModelKind : int { mlp_vae, mlp_ae, conv_vae, conv_ae };

// p(z). vamp: a mixture of posteriors of pseudo-inputs that are learned, Tomczak & Welling 2017,
// arXiv:1705.07120.
enum class Prior : int { standard, vamp };

struct ModelConfig {
  ModelKind kind = ModelKind::mlp_vae;
  std::vector<int64_t> hidden = {400};  // mlp: encoder widths; the decoder mirrors them
  // conv: layers as models/layer_spec.h reads them, from the image to the latent's layer, and from the
  // latent to the image
  std::vector<std::string> encoder, decoder;
  int64_t latent_dim = 20;
  // conv: the latent is a picture of so many channels, as large as the one that the encoder ends with,
  // which has twice as many if variational; 0: latent_dim values
  int64_t latent_channels = 0;
  Activation activation = Activation::relu;           // mlp: between hidden layers
  Activation code_activation = Activation::identity;  // plain autoencoder: of the code
  InitKind init = InitKind::torch_uniform;
  Likelihood likelihood = Likelihood::bernoulli;
  // of the Gaussian likelihood, fixed: 0 is half the squared error; of the learned and the optimal variance
  // where it starts
  float log_variance = 0.0f;
  float log_scale = 0.0f;  // of the Laplace likelihood: 0 is the absolute error
  Prior prior = Prior::standard;
  int64_t pseudo_inputs = 500;  // vamp: components of the mixture

  // plain autoencoder: so many codes are what latents are put together from; 0: latents are free
  int64_t codebook = 0;
  int64_t code_size = 0;         // values of a code; 0: a picture's channels, or all of a vector
  float codebook_decay = 0.99f;  // of the running means that codes are
  // A code used less than so much of an even share starts again from the batch. A twentieth: an
  // unused code waits 300 steps, and a used one rests on enough vectors to be more than chance.
  float codebook_restart = 0.05f;

  Condition condition = Condition::none;
  int64_t classes = 0;     // labels 0 to below; 0: as many as the data has
  int64_t attributes = 0;  // how many; 0: as many as the data has, or as data.attributes names
  // Beside a conditional model a network that guesses the label, q(y | x): images may then hide
  // theirs.
  bool classifier = false;

  bool conditional() const { return condition != Condition::none; }
  // That stand beside a vector or a pixel.
  int64_t condition_values() const {
    return condition == Condition::label        ? classes
           : condition == Condition::attributes ? attributes
                                                : 0;
  }
  bool quantised() const { return codebook > 0; }
  bool variational() const { return kind == ModelKind::mlp_vae || kind == ModelKind::conv_vae; }
  bool convolutional() const { return kind == ModelKind::conv_vae || kind == ModelKind::conv_ae; }
};

enum class DataKind : int { images, sprites };

// 0 x 0: as most image files are.
struct PixelSize {
  int64_t height = 0, width = 0;
};

struct DataConfig {
  DataKind kind = DataKind::images;
  std::string path;                     // of an image set, see engine/io/open_images.h
  PixelSize image_size;                 // that image files are brought to
  int64_t channels = 0;                 // 1 or 3 of image files; 0: as most have
  std::string cache;                    // directory; empty: the user's own; "off": none
  double test_fraction = 0.1;           // held out where a set has no test images
  std::vector<std::string> attributes;  // those of the set that are used; empty: all
  Binarise binarise = Binarise::none;   // grey, threshold or dynamic
  int64_t leave_out = -1;               // training: no images with this label; -1: all
  // Training: labels are known of so many images, or if at most 1 of this share; 0: of all.
  double labelled = 0;
  bool flip = false;          // training: mirror half of the images
  bool dequantise = false;    // add noise between byte values
  std::string corrupt;        // the model's input, as models/corruption_text.h says
  int resolution = 32;        // sprites: images are resolution x resolution
  int64_t train_samples = 0;  // 0: all there are; sprites: how many of the 737,280
  int64_t test_samples = 0;
  int64_t device_mb = 0;  // CUDA: larger sets stay in host memory; 0: half of what is free
};

// What is minimised: a bound, with weights, and penalties that add to it. Weights of 0 leave a term out.
enum class Bound : int {
  elbo,   // reconstruction and KL divergence
  iwae,   // k-sample importance-weighted bound
  dreg,   // the same with doubly reparameterised gradients of the encoder
  tcvae,  // KL as mutual information, total correlation (times beta) and dimension-wise KL
};
struct ObjectiveConfig {
  Bound bound = Bound::elbo;
  int64_t samples = 1;                               // iwae, dreg: draws per image
  float recon_weight = 1.0f;                         // 0: the lectures' "only KL"
  float free_bits = 0.0f;                            // nats per latent dimension that cost nothing
  float capacity_weight = 0.0f;                      // gamma of gamma |KL - C|, in place of beta KL
  Schedule capacity{ScheduleKind::constant, 25.0f};  // C, nats
  float mutual_information = 1.0f, dimension_kl = 1.0f;  // tcvae
  float dip_off_diagonal = 0.0f, dip_diagonal = 0.0f;
  Spread dip_covariance = Spread::means;  // means: DIP-VAE-I; samples: DIP-VAE-II
  float mmd = 0.0f;                       // InfoVAE, WAE
  float factor = 0.0f;                    // FactorVAE: of the discriminator's total correlation
  std::vector<int64_t> discriminator = std::vector<int64_t>(6, 1000);  // widths of its layers
  float l1 = 0.0f;                                                     // of the code
  float sparsity = 0.0f;  // KL of mean activations from sparsity_target
  float sparsity_target = 0.05f;
  float contractive = 0.0f;      // of the squared norm of d code / d x
  float commitment = 0.25f;      // with a codebook: of the latent's squared distance from its codes
  float classification = 10.0f;  // with model.classifier: of the known labels' mean cross-entropy

  bool is_elbo() const;  // nothing but the two terms of the ELBO, however weighted
};

struct TrainConfig {
  int64_t batch_size = 128;
  int64_t epochs = 10;
  int64_t max_steps = 0;  // 0: no limit besides epochs
  bool drop_last = false;
  Schedule learning_rate{ScheduleKind::constant, 1e-3f};
  float beta = 1.0f;  // final KL weight
  float beta_norm =
      0.0f;  // the same of the KL's mean over latents and the likelihood's over pixels
  Schedule kl_schedule{ScheduleKind::constant, 1.0f};  // multiplies beta
  ObjectiveConfig objective;
  OptimizerHyper optimizer;
  float clip_grad = 0.0f;  // 0: off
  uint64_t seed = 42;
  bool overfit_batch = false;  // train on the first batch only
};

struct OutputConfig {
  std::string dir;  // the run directory; empty: runs/<name>
  std::string name;
  int64_t log_interval = 100;   // steps
  int64_t save_interval = 0;    // steps; 0: once per epoch
  int64_t sample_interval = 1;  // epochs between picture grids; 0: never
  int64_t eval_interval = 1;    // epochs between passes over the test set; 0: never
  int keep = 2;                 // checkpoints kept besides the best
};

// tf32 rounds the operands of matrix products. bf16 also stores activations and their gradients as bf16
// and multiplies by weights rounded to it; the weights themselves, their gradients and moments, losses,
// KL and log-variance stay fp32, and so do evaluation and sampling. Both need CUDA.
enum class Precision : int { fp32, tf32, bf16 };
const char* precision_name(Precision precision);

// Steps from `first` to before `end`, by the number of finished steps before them. Empty: none.
struct StepWindow {
  int64_t first = 0, end = 0;

  bool empty() const { return first >= end; }
  bool contains(int64_t step) const { return first <= step && step < end; }
};

struct RunConfig {
  std::string preset;
  ModelConfig model;
  DataConfig data;
  TrainConfig train;
  OutputConfig output;
  std::string device = "auto";
  Precision precision = Precision::fp32;
  ProductKernels product_kernels = ProductKernels::automatic;  // see linear_uses_tensor_cores()
  PlanMode plan_mode = PlanMode::timed;  // CUDA: whose kernels are automatic's, see plan_choices.h
  bool overlap_launches = false;         // CUDA: see Context::set_overlap_launches
  int threads = 0;                       // 0: as many as affinity and cgroup allow
  int graph_steps = 1;        // CUDA: training steps in one recorded graph; 0: launch every kernel
  bool check_finite = false;  // check every op's output, not only losses and gradient norm
  StepWindow profile;         // steps for a profiler to look at, or on the CPU to be timed by op
};

// Named presets as data: "mlp-mnist", "sprites".
struct Preset {
  std::string name;
  std::string summary;  // one line: what it is and what to expect of it
  RunConfig config;
};
const std::vector<Preset>& presets();
// Throws ErrorCode::usage listing the presets there are.
const Preset& find_preset(const std::string& name);

}  // namespace elbo
