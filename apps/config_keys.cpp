#include "apps/config_keys.h"

#include <cctype>
#include <utility>

#include "apps/config_key_types.h"
#include "models/likelihood.h"

namespace elbo {
namespace {

// Name and accessor of one member of RunConfig; the accessor serves const and non-const.
#define ELBO_MEMBER(path) \
#path, [](auto& config) -> auto& { return config.path; }

constexpr const char* kData = "Data";
constexpr const char* kModel = "Model";
constexpr const char* kTraining = "Training";
constexpr const char* kOutput = "Output";
constexpr const char* kDevice = "Device";
constexpr const char* kDebug = "Debug";

// Choices that are named where they are defined.
Choices<Activation> activation_choices() {
  Choices<Activation> choices;
  for (const Activation activation : kActivations)
    choices.emplace_back(activation_name(activation), activation);
  return choices;
}

Choices<Likelihood> likelihood_choices() {
  Choices<Likelihood> choices;
  for (const Likelihood likelihood : kLikelihoods)
    choices.emplace_back(likelihood_name(likelihood), likelihood);
  return choices;
}

Choices<InitKind> init_choices() {
  Choices<InitKind> choices;
  for (const InitKind kind :
       {InitKind::torch_uniform, InitKind::glorot_uniform, InitKind::he_normal, InitKind::normal})
    choices.emplace_back(init_kind_name(kind), kind);
  return choices;
}

std::vector<ConfigKey> data_keys() {
  return {
      // "idx" is what earlier versions wrote.
      choice_key(ELBO_MEMBER(data.kind), {kData, "where images come from"},
                 Choices<DataKind>{{"images", DataKind::images}, {"sprites", DataKind::sprites}},
                 {{"idx", DataKind::images}}),
      text_key(ELBO_MEMBER(data.path),
               {kData, "images: a folder of IDX, CIFAR, NumPy or picture files, or a .npz or .npy",
                "--data"},
               "DIR"),
      size_key(ELBO_MEMBER(data.image_size),
               {kData, "picture files: bring to this size; auto: as most are", "--image-size"}),
      integer_key(ELBO_MEMBER(data.channels),
                  {kData, "picture files: 1 grey, 3 colour; 0: as most are"}, 0, 3),
      text_key(ELBO_MEMBER(data.cache),
               {kData,
                "picture files: where to keep them decoded; off: nowhere; empty: in "
                "~/.cache/elbo"},
               "DIR"),
      number_key(ELBO_MEMBER(data.test_fraction),
                 {kData, "share of images to test on, if a set names none"}, {1e-6, 1, true}),
      names_key(ELBO_MEMBER(data.attributes),
                {kData, "condition attributes: those of the set to use; empty: all"}),
      choice_key(ELBO_MEMBER(data.binarise),
                 {kData, "make pixels 0 or 1, at one half or by chance each time"},
                 Choices<Binarise>{{"none", Binarise::none},
                                   {"threshold", Binarise::threshold},
                                   {"dynamic", Binarise::dynamic}}),
      integer_key(
          ELBO_MEMBER(data.leave_out),
          {kData, "training: no images with this label, to score them as outliers; -1: all"}, -1,
          255),
      number_key(ELBO_MEMBER(data.labelled),
                 {kData,
                  "training: labels are known of so many images, or up to 1 of this share, and "
                  "guessed of the "
                  "others; 0: of all, and nothing is guessed",
                  "--labelled"},
                 {0, 1e12}),
      switch_key(ELBO_MEMBER(data.flip), {kData, "training: mirror half of the images"}),
      switch_key(ELBO_MEMBER(data.dequantise),
                 {kData, "add noise below one grey level, for a Gaussian likelihood"}),
      corruption_key(
          ELBO_MEMBER(data.corrupt),
          {kData, "damage that the model is to undo, like gaussian:0.3,blur:2", "--corrupt"}),
      integer_key(ELBO_MEMBER(data.resolution), {kData, "sprites: width and height in pixels"}, 8,
                  1024),
      integer_key(ELBO_MEMBER(data.train_samples),
                  {kData, "use only so many training images; 0: all", "--subset"}, 0, kUnbounded),
      integer_key(ELBO_MEMBER(data.test_samples), {kData, "use only so many test images; 0: all"},
                  0, kUnbounded),
      integer_key(ELBO_MEMBER(data.device_mb),
                  {kData,
                   "CUDA: MiB of images to keep on the device, more stay in host memory; 0: "
                   "half of what is free"},
                  0, int64_t{1} << 30),
  };
}

std::vector<ConfigKey> model_keys() {
  return {
      choice_key(ELBO_MEMBER(model.kind), {kModel, "variational or plain autoencoder"},
                 Choices<ModelKind>{{"mlp-vae", ModelKind::mlp_vae},
                                    {"mlp-ae", ModelKind::mlp_ae},
                                    {"conv-vae", ModelKind::conv_vae},
                                    {"conv-ae", ModelKind::conv_ae}}),
      widths_key(ELBO_MEMBER(model.hidden),
                 {kModel, "mlp: encoder widths from image to latent; the decoder mirrors them"}),
      layers_key(ELBO_MEMBER(model.encoder), {kModel, "conv: layers from the image on"}),
      layers_key(ELBO_MEMBER(model.decoder), {kModel, "conv: layers from the latent to the image"}),
      integer_key(ELBO_MEMBER(model.latent_dim), {kModel, "latent dimensions", "--latent-dim", 'z'},
                  1, 65536),
      integer_key(ELBO_MEMBER(model.latent_channels),
                  {kModel, "conv: channels of a latent that is a picture; 0: latent_dim values"}, 0,
                  4096),
      choice_key(ELBO_MEMBER(model.activation), {kModel, "mlp: between hidden layers"},
                 activation_choices()),
      choice_key(ELBO_MEMBER(model.code_activation), {kModel, "plain autoencoder: of the code"},
                 activation_choices()),
      choice_key(ELBO_MEMBER(model.init), {kModel, "how weights start"}, init_choices()),
      choice_key(ELBO_MEMBER(model.condition),
                 {kModel, "what encoder and decoder are told of an image", "--condition"},
                 Choices<Condition>{{"none", Condition::none},
                                    {"label", Condition::label},
                                    {"attributes", Condition::attributes}}),
      integer_key(ELBO_MEMBER(model.classes),
                  {kModel, "condition label: how many there are; 0: as the data has"}, 0, 256),
      integer_key(ELBO_MEMBER(model.attributes),
                  {kModel, "condition attributes: how many; 0: as the data has"}, 0,
                  kMostAttributes),
      switch_key(ELBO_MEMBER(model.classifier),
                 {kModel, "condition label: learn to guess labels too; --labelled switches it on"}),
      choice_key(ELBO_MEMBER(model.likelihood),
                 {kModel, "of pixels given a latent (docs/models.md)"}, likelihood_choices()),
      number_key(ELBO_MEMBER(model.log_variance),
                 {kModel,
                  "gaussian: fixed; 0 is half the squared error. gaussian-learned and -optimal: "
                  "where it starts"},
                 {-20, 20}),
      number_key(ELBO_MEMBER(model.log_scale), {kModel, "laplace: fixed; 0 is the absolute error"},
                 {-10, 10}),
      integer_key(ELBO_MEMBER(model.codebook),
                  {kModel, "plain autoencoder: how many codes latents are made of; 0: any latent"},
                  0, 1 << 18),
      integer_key(ELBO_MEMBER(model.code_size),
                  {kModel, "values of a code; 0: a picture's channels, or all of a vector"}, 0,
                  65536),
      number_key(ELBO_MEMBER(model.codebook_decay),
                 {kModel, "memory of the running means that codes are"}, {0, 1, true}),
      number_key(ELBO_MEMBER(model.codebook_restart),
                 {kModel, "codes below so much of an even share of use start again; 0: never"},
                 {0, 1}),
      choice_key(ELBO_MEMBER(model.prior),
                 {kModel, "of the latent: N(0, I), or a VampPrior, which is learned", "--prior"},
                 Choices<Prior>{{"standard", Prior::standard}, {"vamp", Prior::vamp}}),
      integer_key(ELBO_MEMBER(model.pseudo_inputs), {kModel, "vamp: components of the prior"}, 1,
                  65536),
  };
}

std::vector<ConfigKey> optimizer_keys() {
  return {
      choice_key(ELBO_MEMBER(train.optimizer.kind), {kTraining, "update rule"},
                 Choices<OptimizerKind>{{"adam", OptimizerKind::adam},
                                        {"adamw", OptimizerKind::adamw},
                                        {"sgd", OptimizerKind::sgd},
                                        {"adagrad", OptimizerKind::adagrad}}),
      number_key(ELBO_MEMBER(train.optimizer.beta1),
                 {kTraining, "adam, adamw: memory of the gradient"}, {0, 1, true}),
      number_key(ELBO_MEMBER(train.optimizer.beta2),
                 {kTraining, "adam, adamw: memory of its square"}, {0, 1, true}),
      number_key(ELBO_MEMBER(train.optimizer.epsilon),
                 {kTraining, "adam, adamw, adagrad: added to the root"}, {0, 1}),
      number_key(ELBO_MEMBER(train.optimizer.weight_decay), {kTraining, "pulls weights towards 0"},
                 {0, 1e3}),
      number_key(ELBO_MEMBER(train.optimizer.momentum),
                 {kTraining, "sgd: share of the last step that is kept"}, {0, 1, true}),
      switch_key(ELBO_MEMBER(train.optimizer.nesterov),
                 {kTraining, "sgd: look ahead along the momentum"}),
  };
}

std::vector<ConfigKey> objective_keys() {
  const Range weight{0, 1e9};
  return {
      choice_key(ELBO_MEMBER(train.objective.bound),
                 {kTraining, "what is minimised", "--objective"},
                 Choices<Bound>{{"elbo", Bound::elbo},
                                {"iwae", Bound::iwae},
                                {"dreg", Bound::dreg},
                                {"tcvae", Bound::tcvae}}),
      integer_key(ELBO_MEMBER(train.objective.samples),
                  {kTraining, "iwae, dreg: latents drawn per image"}, 1, 65536),
      number_key(ELBO_MEMBER(train.objective.recon_weight),
                 {kTraining, "weight of the reconstruction; 0: KL alone", "--recon-weight"},
                 weight),
      number_key(ELBO_MEMBER(train.objective.free_bits),
                 {kTraining, "nats of KL per latent dimension that cost nothing"}, weight),
      number_key(ELBO_MEMBER(train.objective.capacity_weight),
                 {kTraining, "draw the KL to the capacity with this weight; 0: beta KL"}, weight),
      schedule_key(ELBO_MEMBER(train.objective.capacity),
                   {kTraining, "nats of KL, or a schedule of them"}),
      number_key(ELBO_MEMBER(train.objective.mutual_information),
                 {kTraining, "tcvae: weight of I(x; z); beta is that of total correlation"},
                 weight),
      number_key(ELBO_MEMBER(train.objective.dimension_kl),
                 {kTraining, "tcvae: weight of the dimensions' own KL"}, weight),
      number_key(ELBO_MEMBER(train.objective.dip_off_diagonal),
                 {kTraining, "DIP-VAE: weight of squared covariances"}, weight),
      number_key(ELBO_MEMBER(train.objective.dip_diagonal),
                 {kTraining, "DIP-VAE: weight of variances' squared distance from 1"}, weight),
      choice_key(ELBO_MEMBER(train.objective.dip_covariance),
                 {kTraining, "DIP-VAE: of posterior means (I) or of samples (II)"},
                 Choices<Spread>{{"means", Spread::means}, {"samples", Spread::samples}}),
      number_key(ELBO_MEMBER(train.objective.mmd),
                 {kTraining, "InfoVAE, WAE: weight of the distance from the prior"}, weight),
      number_key(ELBO_MEMBER(train.objective.factor),
                 {kTraining, "FactorVAE: weight of the total correlation, by a discriminator"},
                 weight),
      widths_key(ELBO_MEMBER(train.objective.discriminator),
                 {kTraining, "FactorVAE: widths of the discriminator's layers"}),
      number_key(ELBO_MEMBER(train.objective.l1),
                 {kTraining, "plain autoencoder: weight of the code's absolute values"}, weight),
      number_key(ELBO_MEMBER(train.objective.sparsity),
                 {kTraining, "plain autoencoder: weight of mean activities' KL from the target"},
                 weight),
      number_key(ELBO_MEMBER(train.objective.sparsity_target),
                 {kTraining, "mean activity of a sparse code"}, {1e-6, 1, true}),
      number_key(ELBO_MEMBER(train.objective.contractive),
                 {kTraining, "plain autoencoder: weight of the code's squared Jacobian"}, weight),
      number_key(ELBO_MEMBER(train.objective.classification),
                 {kTraining, "classifier: weight of the known labels' mean cross-entropy"}, weight),
      number_key(ELBO_MEMBER(train.objective.commitment),
                 {kTraining, "codebook: weight of the latent's squared distance from its codes"},
                 weight),
  };
}

std::vector<ConfigKey> training_keys() {
  return {
      integer_key(ELBO_MEMBER(train.batch_size),
                  {kTraining, "images per step", "--batch-size", 'b'}, 1, 1 << 20),
      integer_key(ELBO_MEMBER(train.epochs),
                  {kTraining, "passes over the training set", "--epochs", 'e'}, 0, 1000000),
      integer_key(ELBO_MEMBER(train.max_steps),
                  {kTraining, "stop after so many steps; 0: no limit", "--max-steps"}, 0,
                  kUnbounded),
      switch_key(ELBO_MEMBER(train.drop_last),
                 {kTraining, "leave out an epoch's last, smaller batch"}),
      schedule_key(ELBO_MEMBER(train.learning_rate),
                   {kTraining, "learning rate, or a schedule", "--lr"}),
      number_key(ELBO_MEMBER(train.beta),
                 {kTraining, "weight of the KL term; 1 is the ELBO", "--beta"}, {0, 1e6}),
      number_key(
          ELBO_MEMBER(train.beta_norm),
          {kTraining, "weight of the KL as means over pixels and latents have it; 0: use beta"},
          {0, 1e6}),
      schedule_key(ELBO_MEMBER(train.kl_schedule),
                   {kTraining, "multiplies beta, or a schedule that does"}),
      number_key(ELBO_MEMBER(train.clip_grad),
                 {kTraining, "largest gradient norm; 0: no limit", "--clip-grad"}, {0, 1e9}),
      integer_key(ELBO_MEMBER(train.seed),
                  {kTraining, "of weights, order and noise", "--seed", 's'}, 0, kUnbounded),
      switch_key(ELBO_MEMBER(train.overfit_batch),
                 {kDebug, "train on the first batch only", "--overfit-batch"}),
  };
}

std::vector<ConfigKey> output_keys() {
  return {
      text_key(ELBO_MEMBER(output.dir), {kOutput, "run directory; empty: runs/NAME", "--out"},
               "DIR"),
      text_key(ELBO_MEMBER(output.name),
               {kOutput, "name of the run; empty: date, time and preset", "--name"}, "NAME"),
      integer_key(ELBO_MEMBER(output.log_interval),
                  {kOutput, "steps between lines of metrics", "--log-interval"}, 1, kUnbounded),
      integer_key(ELBO_MEMBER(output.save_interval),
                  {kOutput, "steps between checkpoints; 0: one per epoch", "--save-interval"}, 0,
                  kUnbounded),
      integer_key(ELBO_MEMBER(output.sample_interval),
                  {kOutput, "epochs between picture grids; 0: none", "--sample-interval"}, 0,
                  kUnbounded),
      integer_key(ELBO_MEMBER(output.eval_interval),
                  {kOutput, "epochs between passes over the test set; 0: none", "--eval-interval"},
                  0, kUnbounded),
      integer_key(ELBO_MEMBER(output.keep),
                  {kOutput, "checkpoints kept besides the best", "--keep"}, 2, 1000),
  };
}

std::vector<ConfigKey> device_keys() {
  return {
      text_key(ELBO_MEMBER(device),
               {kDevice, "where to compute: auto, cpu, cuda or cuda:N", "--device"}, "DEVICE"),
      choice_key(
          ELBO_MEMBER(precision), {kDevice, "number format of products", "--precision"},
          Choices<Precision>{
              {"fp32", Precision::fp32}, {"tf32", Precision::tf32}, {"bf16", Precision::bf16}}),
      choice_key(
          ELBO_MEMBER(product_kernels),
          {kDevice, "CUDA: whose kernels compute what both can, convolutions and tf32 products",
           "--product-kernels"},
          Choices<ProductKernels>{{"automatic", ProductKernels::automatic},
                                  {"vendor", ProductKernels::vendor},
                                  {"own", ProductKernels::own}}),
      choice_key(ELBO_MEMBER(plan_mode),
                 {kDevice, "CUDA: time whose kernels are faster in the first step, or go by a rule",
                  "--plan-mode"},
                 Choices<PlanMode>{{"timed", PlanMode::timed}, {"heuristic", PlanMode::heuristic}}),
      integer_key(ELBO_MEMBER(threads),
                  {kDevice, "CPU threads; 0: as many as are allowed", "--threads"}, 0, 1024),
      integer_key(ELBO_MEMBER(graph_steps),
                  {kDevice, "CUDA: steps per launch of a recorded graph; 0: no graphs"}, 0, 1024),
      switch_key(ELBO_MEMBER(overlap_launches),
                 {kDevice, "CUDA 9.0 on: let a kernel start while the one before it ends"}),
      switch_key(ELBO_MEMBER(check_finite),
                 {kDebug, "check every op's output for NaN", "--check-finite"}),
      steps_key(ELBO_MEMBER(profile),
                {kDebug, "steps to profile: from A, counted from 0, to before B", "--profile"}),
  };
}

#undef ELBO_MEMBER

// In the order of a TOML file: top-level keys before the first section, a subsection at the end of
// its section.
std::vector<ConfigKey> build_keys() {
  std::vector<ConfigKey> all;
  for (const auto& group : {device_keys(), data_keys(), model_keys(), training_keys(),
                            optimizer_keys(), objective_keys(), output_keys()})
    all.insert(all.end(), group.begin(), group.end());
  return all;
}

}  // namespace

std::string ConfigKey::environment() const {
  std::string text = "ELBO_" + (flag.empty() ? name : flag.substr(2));
  for (char& c : text) c = c == '.' || c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return text;
}

std::string ConfigKey::full_doc() const {
  std::string text = doc;
  for (size_t i = 0; i < choices.size() && choices.size() > 1; ++i)
    text += (i == 0 ? ": " : ", ") + choices[i];
  return text;
}

std::string ConfigKey::section() const {
  const size_t dot = name.rfind('.');
  return dot == std::string::npos ? "" : name.substr(0, dot);
}

std::string ConfigKey::leaf() const { return name.substr(name.rfind('.') + 1); }

const std::vector<ConfigKey>& config_keys() {
  static const std::vector<ConfigKey> keys = build_keys();
  return keys;
}

const ConfigKey* find_config_key(std::string_view name) {
  for (const ConfigKey& key : config_keys())
    if (key.name == name) return &key;
  return nullptr;
}

std::vector<std::string> config_key_names() {
  std::vector<std::string> names = {"preset"};
  for (const ConfigKey& key : config_keys()) names.push_back(key.name);
  return names;
}

}  // namespace elbo
