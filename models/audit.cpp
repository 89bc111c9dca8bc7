// Reading guide. audit() splits the images into batches, which threads take one by one; audit_batch()
// fills in the figures of each image; summarise() averages them in the order of the images.
#include "models/audit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "kernels/error.h"
#include "kernels/parallel.h"
#include "models/audit_random.h"

namespace elbo {
namespace {

// Images or draws per product; small, so that threads finish together.
constexpr int64_t kBatch = 16;
constexpr double kNatsPerBit = std::numbers::ln2;

double binary_entropy(int64_t size, const double* x) {
  double nats = 0;
  for (int64_t d = 0; d < size; ++d) {
    if (x[d] > 0 && x[d] < 1) nats -= x[d] * std::log(x[d]) + (1 - x[d]) * std::log(1 - x[d]);
  }
  return nats;
}

double intersection_over_union(const double* x, const std::vector<double>& picture) {
  int64_t both = 0, either = 0;
  for (size_t d = 0; d < picture.size(); ++d) {
    const bool target = x[d] > 0.5, drawn = picture[d] > 0.5;
    both += target && drawn;
    either += target || drawn;
  }
  return either ? static_cast<double>(both) / static_cast<double>(either) : 1.0;
}

// log of a sum of exponentials, fed one term at a time.
class StreamingLogSum {
 public:
  void add(double log_term) {
    if (log_term <= largest_) {
      sum_ += std::exp(log_term - largest_);
    } else {
      sum_ = sum_ * std::exp(largest_ - log_term) + 1.0;
      largest_ = log_term;
    }
  }
  double value() const { return largest_ + std::log(sum_); }

 private:
  double largest_ = -std::numeric_limits<double>::infinity();
  double sum_ = 0;
};

class Auditor {
 public:
  Auditor(const AuditNet& net, const AuditLikelihood& likelihood, const AuditData& data,
          const AuditOptions& options)
      : net_(net), likelihood_(likelihood), data_(data), options_(options) {
    if (net.log_variance()) likelihood_.log_variance = *net.log_variance();
    const auto images = static_cast<size_t>(data.count());
    recon_.resize(images);
    entropy_.resize(images);
    iou_.resize(images);
    kl_.resize(images);
    nll_.resize(images);
    effective_.resize(images);
    guessed_.resize(images);
    if (net.codebook().size > 0) codes_.resize(images * net.latent_dim() / net.codebook().dim);
    mean_.resize(images * net.latent_dim());
    kl_latent_.resize(images * net.latent_dim());
  }

  void audit_batch(int64_t first, int64_t count);
  AuditReport summarise() const;

 private:
  AuditRows sample(const AuditPosterior& posterior, int64_t first, int64_t count) const;
  void posterior_figures(const AuditPosterior& posterior, int64_t first, int64_t count);
  void sampled_kl(const AuditPosterior& posterior, const AuditRows& z, int64_t first,
                  int64_t count);
  AuditConditions told_for_draws(int64_t image, int64_t draws) const;
  double draw(std::mt19937_64& engine, const double* mean, const double* logvar, double* z) const;
  void estimate_nll(const double* x, const double* mean, const double* logvar, int64_t image);
  void summarise_latents(AuditReport& report) const;
  double nll(const double* x, const double* output) const {
    return audit_nll(likelihood_, data_.size(), net_.channels(), x, output);
  }
  std::optional<double> bits_per_dim(double nats) const;
  bool binary() const {
    return data_.variant() == DataVariant::dynamic || data_.variant() == DataVariant::fixed;
  }
  bool bernoulli() const { return likelihood_.kind == Likelihood::bernoulli; }

  const AuditNet& net_;
  AuditLikelihood likelihood_;
  const AuditData& data_;
  const AuditOptions& options_;
  std::vector<double> recon_, entropy_, iou_, kl_, nll_, effective_;  // per image
  std::vector<double> guessed_;           // 1: its own label is the likeliest
  std::vector<double> mean_, kl_latent_;  // [images, latent_dim]
  std::vector<int32_t> codes_;            // of all images
};

AuditRows Auditor::sample(const AuditPosterior& posterior, int64_t first, int64_t count) const {
  AuditRows z = posterior.mean;
  if (!net_.variational()) return z;
  const int64_t latent = net_.latent_dim();
  for (int64_t i = 0; i < count; ++i) {
    std::mt19937_64 engine = audit_engine(options_.seed, AuditStream::posterior, first + i);
    std::normal_distribution<double> normal;
    for (int64_t d = i * latent; d < (i + 1) * latent; ++d) {
      z[d] += std::exp(0.5 * posterior.logvar[d]) * normal(engine);
    }
  }
  return z;
}

void Auditor::posterior_figures(const AuditPosterior& posterior, int64_t first, int64_t count) {
  const int64_t latent = net_.latent_dim();
  for (int64_t i = 0; i < count; ++i) {
    double total = 0;
    for (int64_t d = 0; d < latent; ++d) {
      const double mu = posterior.mean[i * latent + d], v = posterior.logvar[i * latent + d];
      const double kl = 0.5 * (mu * mu + std::exp(v) - 1 - v);
      mean_[(first + i) * latent + d] = mu;
      kl_latent_[(first + i) * latent + d] = kl;
      total += kl;
    }
    kl_[first + i] = total;
  }
}

void Auditor::sampled_kl(const AuditPosterior& posterior, const AuditRows& z, int64_t first,
                         int64_t count) {
  const int64_t latent = net_.latent_dim();
  for (int64_t i = 0; i < count; ++i) {
    double log_q = 0;  // + D/2 log 2 pi, as log_prior() has it
    for (int64_t d = i * latent; d < (i + 1) * latent; ++d) {
      const double off = z[d] - posterior.mean[d], v = posterior.logvar[d];
      log_q -= 0.5 * (off * off / std::exp(v) + v);
    }
    kl_[first + i] = log_q - net_.log_prior(z.data() + i * latent);
  }
}

void Auditor::audit_batch(int64_t first, int64_t count) {
  const int64_t size = data_.size(), latent = net_.latent_dim();
  const int64_t outputs = size * audit_outputs(likelihood_.kind);
  const AuditRows x = data_.images(first, count, options_.seed);
  const AuditConditions told(data_.labels(first, count), data_.attributes(first, count));
  const AuditRows seen = audit_corrupted(options_.damage, x, first, options_.seed);
  const AuditPosterior posterior = net_.encode(seen, told);
  const AuditLabels guesses = net_.classifies() ? net_.classify(seen) : AuditLabels{};
  const AuditRows z = sample(posterior, first, count);
  const AuditRows output = net_.decode(z, told);
  const AuditRows at_mean = binary() ? net_.decode(posterior.mean, told) : AuditRows{};
  if (net_.variational()) posterior_figures(posterior, first, count);
  const auto codes_per_image = static_cast<int64_t>(posterior.codes.size()) / count;
  std::copy(posterior.codes.begin(), posterior.codes.end(),
            codes_.begin() + first * codes_per_image);
  if (net_.has_learned_prior()) sampled_kl(posterior, z, first, count);
  for (int64_t i = 0; i < count; ++i) {
    const double* target = x.data() + i * size;
    recon_[first + i] = nll(target, output.data() + i * outputs);
    entropy_[first + i] = binary_entropy(size, target);
    if (!guesses.empty()) guessed_[first + i] = guesses[i] == told.labels[i];
    if (binary()) {
      iou_[first + i] = intersection_over_union(
          target, audit_means(likelihood_, size, net_.channels(), at_mean.data() + i * outputs));
    }
    if (net_.variational() && options_.nll_samples > 0) {
      estimate_nll(target, posterior.mean.data() + i * latent, posterior.logvar.data() + i * latent,
                   first + i);
    }
  }
}

// Of one image, once for each of so many draws.
AuditConditions Auditor::told_for_draws(int64_t image, int64_t draws) const {
  AuditConditions told(data_.labels(image, 1));
  if (!told.labels.empty()) told.labels.resize(static_cast<size_t>(draws), told.labels[0]);
  const AuditRows row = data_.attributes(image, 1);
  for (int64_t k = 0; k < draws; ++k)
    told.attributes.insert(told.attributes.end(), row.begin(), row.end());
  return told;
}

// One latent z of the proposal r, and log p(z) - log r(z). For r = q that is log p(z) + sum_d
// (eps^2 + v) / 2 with z = mu + e^(v/2) eps: log 2 pi cancels.
double Auditor::draw(std::mt19937_64& engine, const double* mean, const double* logvar,
                     double* z) const {
  if (options_.proposal == NllProposal::prior) {
    net_.draw_prior(engine, z);
    return 0;
  }
  std::normal_distribution<double> normal;
  double log_ratio = 0;
  for (int64_t d = 0; d < net_.latent_dim(); ++d) {
    const double eps = normal(engine);
    z[d] = mean[d] + std::exp(0.5 * logvar[d]) * eps;
    log_ratio += 0.5 * (eps * eps + logvar[d]);
  }
  return log_ratio + net_.log_prior(z);
}

void Auditor::estimate_nll(const double* x, const double* mean, const double* logvar,
                           int64_t image) {
  const int64_t latent = net_.latent_dim();
  const int64_t outputs = data_.size() * audit_outputs(likelihood_.kind);
  std::mt19937_64 engine = audit_engine(options_.seed, AuditStream::importance, image);
  StreamingLogSum total, squares;
  for (int64_t done = 0; done < options_.nll_samples; done += kBatch) {
    const int64_t count = std::min(kBatch, options_.nll_samples - done);
    AuditRows z(static_cast<size_t>(count * latent));
    std::vector<double> log_ratio(static_cast<size_t>(count));
    for (int64_t k = 0; k < count; ++k) {
      log_ratio[k] = draw(engine, mean, logvar, z.data() + k * latent);
    }
    const AuditRows output = net_.decode(z, told_for_draws(image, count));
    for (int64_t k = 0; k < count; ++k) {
      const double log_weight = log_ratio[k] - nll(x, output.data() + k * outputs);
      total.add(log_weight);
      squares.add(2 * log_weight);
    }
  }
  nll_[image] = std::log(static_cast<double>(options_.nll_samples)) - total.value();
  effective_[image] = std::exp(2 * total.value() - squares.value());
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

void Auditor::summarise_latents(AuditReport& report) const {
  const int64_t latent = net_.latent_dim(), images = data_.count();
  int64_t active = 0;
  for (int64_t d = 0; d < latent; ++d) {
    double kl = 0, sum = 0, squares = 0;
    for (int64_t i = 0; i < images; ++i) {
      kl += kl_latent_[i * latent + d];
      sum += mean_[i * latent + d];
    }
    const double centre = sum / static_cast<double>(images);
    for (int64_t i = 0; i < images; ++i) {
      const double off = mean_[i * latent + d] - centre;
      squares += off * off;
    }
    if (!net_.has_learned_prior()) report.kl_per_latent.push_back(kl / static_cast<double>(images));
    active += squares / static_cast<double>(images) > kActiveVariance;
  }
  report.active_units = active;
}

// Where -log p is of discrete data: of black and white pixels, of grey levels, or a density of bytes that
// noise made real, x = (byte + u) / 256, which bounds theirs (Theis et al. 2015, arXiv:1511.01844).
std::optional<double> Auditor::bits_per_dim(double nats) const {
  constexpr double kBitsOfAByte = 8;
  const double bits = nats / (kNatsPerBit * static_cast<double>(data_.size()));
  const DataVariant variant = data_.variant();
  if (bernoulli()) return binary() ? std::optional(bits) : std::nullopt;
  if (likelihood_.kind == Likelihood::logistic) {
    return variant == DataVariant::dequantised ? std::nullopt : std::optional(bits);
  }
  return variant == DataVariant::dequantised ? std::optional(bits + kBitsOfAByte) : std::nullopt;
}

AuditReport Auditor::summarise() const {
  AuditReport report;
  report.images = data_.count();
  report.image_size = data_.size();
  report.latent_dim = net_.latent_dim();
  report.variant = data_.variant();
  for (size_t i = 0; i < recon_.size(); ++i) {
    report.per_image.push_back({recon_[i], kl_[i], nll_[i], effective_[i]});
  }
  report.recon_nats = mean_of(recon_);
  if (binary()) report.iou = mean_of(iou_);
  if (net_.classifies()) report.accuracy = mean_of(guessed_);
  if (data_.variant() == DataVariant::grey && bernoulli())
    report.entropy_floor_nats = mean_of(entropy_);
  if (!codes_.empty()) {
    const AuditCodeUse use = audit_code_use(codes_, net_.codebook().size);
    report.perplexity = use.perplexity;
    report.codes_used = use.used;
    report.codes = net_.codebook().size;
  }
  if (!net_.variational()) return report;

  report.kl_nats = mean_of(kl_);
  report.neg_elbo_nats = report.recon_nats + *report.kl_nats;
  double squares = 0;
  for (size_t i = 0; i < recon_.size(); ++i) {
    const double off = recon_[i] + kl_[i] - *report.neg_elbo_nats;
    squares += off * off;
  }
  if (recon_.size() > 1) {
    const auto n = static_cast<double>(recon_.size());
    report.neg_elbo_stderr = std::sqrt(squares / (n - 1) / n);
  }
  if (options_.nll_samples > 0) {
    report.nll_nats = mean_of(nll_);
    report.effective_samples = mean_of(effective_);
  }
  report.bits_per_dim = bits_per_dim(*report.neg_elbo_nats);
  for (size_t i = 0; i < recon_.size(); ++i) {
    if (!std::isfinite(recon_[i] + kl_[i] + nll_[i])) {
      throw_error(ErrorCode::numeric, "evaluate: image ", i, " has recon ", recon_[i], ", kl ",
                  kl_[i], "; expected finite figures (has training diverged?)");
    }
  }
  summarise_latents(report);
  return report;
}

// Before threads start: none of them could throw.
void check_labels(const AuditLabels& labels, int64_t classes) {
  if (labels.empty()) {
    throw_error(ErrorCode::data,
                "evaluate: the model is conditional, and the images have no labels");
  }
  const auto largest = std::max_element(labels.begin(), labels.end());
  if (*largest >= classes) {
    throw_error(ErrorCode::data, "evaluate: found label ", static_cast<int>(*largest),
                ", expected 0 to ", classes - 1, ": the model was trained on no other");
  }
}

}  // namespace

AuditReport audit(const AuditNet& net, const AuditLikelihood& likelihood, const AuditData& data,
                  const AuditOptions& options) {
  if (net.outputs() != audit_outputs(likelihood.kind)) {
    throw_error(ErrorCode::data, "evaluate: the decoder has ", net.outputs(),
                " outputs per value and its likelihood takes ", audit_outputs(likelihood.kind),
                "; is this the checkpoint of another configuration?");
  }
  if (net.image_size() != data.size()) {
    throw_error(ErrorCode::data, "evaluate: the model takes images of ", net.image_size(),
                " pixels, the data set has ", data.size(),
                "; is --data the set it was trained on?");
  }
  if (!options.damage.chain.empty() && options.damage.image.size() != data.size()) {
    throw_error(ErrorCode::data, "evaluate: images of ", data.size(),
                " pixels cannot be corrupted as ", options.damage.image.height, " x ",
                options.damage.image.width, " x ", options.damage.image.channels);
  }
  if (net.classes() > 0) check_labels(data.labels(0, data.count()), net.classes());
  const int64_t numbers = std::ssize(data.attribute_names());
  if (net.attributes() > 0 && numbers != net.attributes()) {
    throw_error(ErrorCode::data, "evaluate: the images have ", numbers,
                " attributes, and the model was trained with ", net.attributes());
  }
  Auditor auditor(net, likelihood, data, options);
  // Few images are spread over all threads.
  const int64_t size = std::clamp<int64_t>(data.count() / cpu::thread_count(), 1, kBatch);
  const int64_t batches = (data.count() + size - 1) / size;
#pragma omp parallel for schedule(dynamic)
  for (int64_t batch = 0; batch < batches; ++batch) {
    const int64_t first = batch * size;
    auditor.audit_batch(first, std::min(size, data.count() - first));
  }
  return auditor.summarise();
}

}  // namespace elbo
