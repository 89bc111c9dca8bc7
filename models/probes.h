// What codes know about labels: simple classifiers on top of them, and directions that change a label.
//
//   linear probe   softmax regression on standardised codes, L2 penalty 1e-4, fitted on one set and
//                  counted on another
//   k-NN           the label that most of the k nearest codes have (Euclidean; of equally many, the
//                  label of the nearest among them)
//   direction      from images without a label to those with it: the difference of their mean codes, or
//                  the steepest ascent of a logistic regression on standardised codes, as long as the
//                  difference of the means is along it
//   auroc          the probability that an outlier scores higher than another image, ties half
//
// Shapes    codes [n, D] row-major, labels [n]
// Work      linear probe: 300 passes over the codes; k-NN: n m D at most, as a sum of squares ends
//           where it passes the k-th smallest
// Numerics  double; results do not depend on the number of threads
// Errors    elbo::Error if sizes do not fit together or a class is missing
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace elbo {

struct LabelledCodes {
  std::span<const float> codes;
  std::span<const uint8_t> labels;
  int64_t dim = 0;

  int64_t count() const { return std::ssize(labels); }
};

// Shares of `test` that are classified as labelled, in [0, 1].
double linear_probe_accuracy(const LabelledCodes& train, const LabelledCodes& test);
double nearest_neighbour_accuracy(const LabelledCodes& train, const LabelledCodes& test, int64_t k);

// The label that k-NN gives each row of `codes` [n, train.dim].
std::vector<uint8_t> nearest_neighbour_labels(const LabelledCodes& train,
                                              std::span<const float> codes, int64_t k);

enum class DirectionKind { mean_difference, logistic };
std::vector<double> label_direction(const LabelledCodes& set, uint8_t label, DirectionKind kind);

double auroc(std::span<const double> scores, std::span<const uint8_t> is_outlier);

}  // namespace elbo
