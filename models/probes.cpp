#include "models/probes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "kernels/error.h"

namespace elbo {
namespace {

constexpr double kPenalty = 1e-4;  // makes the fit unique; too weak to be seen in accuracies
constexpr int kPasses = 300;       // accelerated: accuracies settle after some 100

void check(const LabelledCodes& set) {
  ELBO_CHECK(set.dim > 0 && set.count() > 0 && std::ssize(set.codes) == set.count() * set.dim,
             "probe: ", set.codes.size(), " values are not ", set.count(), " codes of ", set.dim);
}

// Softmax regression by Nesterov's accelerated gradient descent.
class SoftmaxRegression {
 public:
  SoftmaxRegression(const LabelledCodes& set, int64_t classes)
      : dim_(set.dim), classes_(classes), mean_(set.dim, 0.0), scale_(set.dim, 0.0) {
    standardise(set);
    const auto size = static_cast<size_t>(classes_ * (dim_ + 1));
    weights_.assign(size, 0.0);
    std::vector<double> ahead = weights_, gradient(size), next(size);
    // Softmax has curvature of at most 1/2 times that of the features: 1 + dim if all were one.
    const double step = 1 / (0.5 * largest_curvature(set) + kPenalty);
    for (int pass = 0; pass < kPasses; ++pass) {
      gradient_at(set, ahead, gradient);
      const double momentum = pass / (pass + 3.0);
      for (size_t i = 0; i < size; ++i) {
        next[i] = ahead[i] - step * gradient[i];
        ahead[i] = next[i] + momentum * (next[i] - weights_[i]);
      }
      std::swap(weights_, next);
    }
  }

  int64_t classify(const float* code) const {
    std::vector<double> logits(static_cast<size_t>(classes_));
    logits_of(code, weights_, logits);
    return std::max_element(logits.begin(), logits.end()) - logits.begin();
  }

  // Steepest for standardised codes, given in those that are not: what the scale of a latent is does
  // not matter.
  std::vector<double> ascent(int64_t of_class) const {
    std::vector<double> direction;
    for (int64_t d = 0; d < dim_; ++d) {
      direction.push_back(scale_[d] > 0 ? weights_[of_class * (dim_ + 1) + d] / scale_[d] : 0);
    }
    return direction;
  }

 private:
  void standardise(const LabelledCodes& set) {
    const auto n = static_cast<double>(set.count());
    for (size_t i = 0; i < set.codes.size(); ++i) mean_[i % mean_.size()] += set.codes[i] / n;
    for (size_t i = 0; i < set.codes.size(); ++i) {
      const double off = set.codes[i] - mean_[i % mean_.size()];
      scale_[i % mean_.size()] += off * off / n;
    }
    for (double& scale : scale_) scale = scale > 0 ? 1 / std::sqrt(scale) : 0;
  }

  double feature(const float* code, int64_t d) const { return (code[d] - mean_[d]) * scale_[d]; }

  // Largest eigenvalue of the features' second moments, by power iteration; 5 % on top of what it finds.
  double largest_curvature(const LabelledCodes& set) const {
    std::vector<double> v(static_cast<size_t>(dim_), 1.0);
    double value = 1;
    for (int pass = 0; pass < 20; ++pass) {
      std::vector<double> image(v.size(), 0.0);
      for (int64_t i = 0; i < set.count(); ++i) {
        const float* code = set.codes.data() + i * dim_;
        double along = 0;
        for (int64_t d = 0; d < dim_; ++d) along += feature(code, d) * v[d];
        for (int64_t d = 0; d < dim_; ++d) image[d] += along * feature(code, d);
      }
      const double length =
          std::sqrt(std::inner_product(image.begin(), image.end(), image.begin(), 0.0));
      if (length == 0) break;  // all codes are one
      value = length / std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0)) /
              static_cast<double>(set.count());
      for (size_t d = 0; d < v.size(); ++d) v[d] = image[d] / length;
    }
    return 1.05 * std::max(value, 1.0);  // 1: of the constant
  }

  void logits_of(const float* code, const std::vector<double>& weights,
                 std::vector<double>& logits) const {
    for (int64_t c = 0; c < classes_; ++c) {
      const double* row = weights.data() + c * (dim_ + 1);
      double sum = row[dim_];
      for (int64_t d = 0; d < dim_; ++d) sum += row[d] * feature(code, d);
      logits[c] = sum;
    }
  }

  void gradient_at(const LabelledCodes& set, const std::vector<double>& weights,
                   std::vector<double>& gradient) const {
    for (size_t i = 0; i < gradient.size(); ++i) gradient[i] = kPenalty * weights[i];
    std::vector<double> p(static_cast<size_t>(classes_));
    const double share = 1 / static_cast<double>(set.count());
    for (int64_t i = 0; i < set.count(); ++i) {
      const float* code = set.codes.data() + i * dim_;
      logits_of(code, weights, p);
      const double largest = *std::max_element(p.begin(), p.end());
      double sum = 0;
      for (double& value : p) sum += value = std::exp(value - largest);
      for (int64_t c = 0; c < classes_; ++c) {
        const double off = share * (p[c] / sum - (set.labels[i] == c ? 1 : 0));
        double* row = gradient.data() + c * (dim_ + 1);
        for (int64_t d = 0; d < dim_; ++d) row[d] += off * feature(code, d);
        row[dim_] += off;
      }
    }
  }

  int64_t dim_, classes_;
  std::vector<double> mean_, scale_;  // of the codes: subtracted, then multiplied
  std::vector<double> weights_;       // [classes, dim + 1], the constant last
};

// Of two codes, summed in lanes that a compiler can keep in a register. It may end early with
// something above `enough`: a sum of squares only grows, rounded or not.
float squared_distance(const float* a, const float* b, int64_t dim, float enough) {
  constexpr int64_t kLanes = 16, kStride = 128;
  float lanes[kLanes] = {};
  float sum = 0;
  for (int64_t begin = 0; begin < dim; begin += kStride) {
    const int64_t end = std::min(begin + kStride, dim);
    int64_t d = begin;
    for (; d + kLanes <= end; d += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        const float off = a[d + lane] - b[d + lane];
        lanes[lane] += off * off;
      }
    }
    for (; d < end; ++d) lanes[0] += (a[d] - b[d]) * (a[d] - b[d]);
    sum = std::accumulate(lanes, lanes + kLanes, 0.0f);
    if (sum > enough) break;
  }
  return sum;
}

// Of the k nearest codes, ordered by distance, then by index.
uint8_t vote(const LabelledCodes& train, const float* code, int64_t k) {
  std::vector<std::pair<float, int64_t>> nearest;  // a heap with the farthest on top
  for (int64_t i = 0; i < train.count(); ++i) {
    const bool full = std::ssize(nearest) == k;
    const float enough = full ? nearest.front().first : std::numeric_limits<float>::infinity();
    const std::pair<float, int64_t> entry{
        squared_distance(code, train.codes.data() + i * train.dim, train.dim, enough), i};
    if (full) {
      if (entry >= nearest.front()) continue;
      std::pop_heap(nearest.begin(), nearest.end());
      nearest.pop_back();
    }
    nearest.push_back(entry);
    std::push_heap(nearest.begin(), nearest.end());
  }
  std::sort(nearest.begin(), nearest.end());
  std::map<uint8_t, int64_t> votes;
  for (const auto& [distance, i] : nearest) ++votes[train.labels[i]];
  uint8_t winner = train.labels[nearest.front().second];
  for (const auto& [distance, i] : nearest) {
    if (votes[train.labels[i]] > votes[winner]) winner = train.labels[i];
  }
  return winner;
}

double share_of(const std::vector<uint8_t>& right) {
  return static_cast<double>(std::accumulate(right.begin(), right.end(), int64_t{0})) /
         static_cast<double>(right.size());
}

}  // namespace

double linear_probe_accuracy(const LabelledCodes& train, const LabelledCodes& test) {
  check(train);
  check(test);
  const int64_t classes = *std::max_element(train.labels.begin(), train.labels.end()) + int64_t{1};
  const SoftmaxRegression probe(train, classes);
  std::vector<uint8_t> right(static_cast<size_t>(test.count()));
  for (int64_t i = 0; i < test.count(); ++i) {
    right[i] = probe.classify(test.codes.data() + i * test.dim) == test.labels[i];
  }
  return share_of(right);
}

std::vector<uint8_t> nearest_neighbour_labels(const LabelledCodes& train,
                                              std::span<const float> codes, int64_t k) {
  check(train);
  ELBO_CHECK(k > 0 && std::ssize(codes) % train.dim == 0, "k-NN: ", k, " neighbours of ",
             codes.size(), " values among codes of ", train.dim);
  const int64_t neighbours = std::min(k, train.count());
  std::vector<uint8_t> labels(codes.size() / static_cast<size_t>(train.dim));
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < std::ssize(labels); ++i) {
    labels[i] = vote(train, codes.data() + i * train.dim, neighbours);
  }
  return labels;
}

double nearest_neighbour_accuracy(const LabelledCodes& train, const LabelledCodes& test,
                                  int64_t k) {
  check(test);
  ELBO_CHECK(train.dim == test.dim, "k-NN: codes of ", test.dim, " among codes of ", train.dim);
  std::vector<uint8_t> right = nearest_neighbour_labels(train, test.codes, k);
  for (size_t i = 0; i < right.size(); ++i) right[i] = right[i] == test.labels[i];
  return share_of(right);
}

std::vector<double> label_direction(const LabelledCodes& set, uint8_t label, DirectionKind kind) {
  check(set);
  std::vector<double> mean[2];
  int64_t counts[2] = {0, 0};
  for (auto& one : mean) one.assign(static_cast<size_t>(set.dim), 0.0);
  std::vector<uint8_t> has_label;
  for (int64_t i = 0; i < set.count(); ++i) {
    const bool has = set.labels[i] == label;
    has_label.push_back(has);
    ++counts[has];
    for (int64_t d = 0; d < set.dim; ++d) mean[has][d] += set.codes[i * set.dim + d];
  }
  ELBO_CHECK(counts[0] > 0 && counts[1] > 0, "a direction needs images with label ", int{label},
             " and without; found ", counts[1], " and ", counts[0]);
  std::vector<double> difference;
  for (int64_t d = 0; d < set.dim; ++d) {
    difference.push_back(mean[1][d] / static_cast<double>(counts[1]) -
                         mean[0][d] / static_cast<double>(counts[0]));
  }
  if (kind == DirectionKind::mean_difference) return difference;
  // With two classes the rows of a softmax regression are each other's negatives.
  std::vector<double> ascent = SoftmaxRegression({set.codes, has_label, set.dim}, 2).ascent(1);
  double along = 0, squares = 0;
  for (size_t d = 0; d < ascent.size(); ++d) {
    along += ascent[d] * difference[d];
    squares += ascent[d] * ascent[d];
  }
  if (squares == 0) return difference;  // nothing tells them apart
  for (double& value : ascent) value *= along / squares;
  return ascent;
}

double auroc(std::span<const double> scores, std::span<const uint8_t> is_outlier) {
  ELBO_CHECK(scores.size() == is_outlier.size(), "auroc: ", scores.size(), " scores and ",
             is_outlier.size(), " labels do not fit together");
  ELBO_CHECK(std::none_of(scores.begin(), scores.end(), [](double s) { return std::isnan(s); }),
             "auroc: a score that is not a number has no rank");
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  double wins = 0;
  int64_t others = 0, outliers = 0;
  for (size_t begin = 0; begin < order.size();) {
    int64_t tied[2] = {0, 0};
    size_t end = begin;
    for (; end < order.size() && scores[order[end]] == scores[order[begin]]; ++end) {
      ++tied[is_outlier[order[end]] != 0];
    }
    wins += static_cast<double>(tied[1]) *
            (static_cast<double>(others) + 0.5 * static_cast<double>(tied[0]));
    others += tied[0];
    outliers += tied[1];
    begin = end;
  }
  ELBO_CHECK(others > 0 && outliers > 0, "auroc: found ", outliers, " outliers and ", others,
             " others; expected some of both");
  return wins / (static_cast<double>(others) * static_cast<double>(outliers));
}

}  // namespace elbo
