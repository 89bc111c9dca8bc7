#include "engine/ops/label_op.h"

#include "engine/ops/basis_op.h"
#include "kernels/label_bound.h"

namespace elbo {
namespace {

template <class T>
LabelGuess<T> guess_of(const HiddenLabels& hidden) {
  LabelGuess<T> guess;
  guess.batch = hidden.images();
  guess.classes = hidden.classes();
  guess.logits = hidden.logits.as<T>();
  guess.log_sum = hidden.log_sum.as<T>();
  if (hidden.label.data) guess.label = hidden.label.as<int32_t>();
  guess.recon = hidden.recon.as<T>();
  guess.kl_weight = hidden.kl_weight.as<T>();
  return guess;
}

template <class T>
LabelBound<T> bound_of(const HiddenLabels& hidden, const Tensor& nll, const Tensor& kl,
                       double label_weight, const LabelBoundTerms& terms) {
  LabelBound<T> args;
  args.guess = guess_of<T>(hidden);
  args.nll = nll.as<T>();
  args.parts = nll.size() / std::max<int64_t>(kl.size(), 1);
  args.kl = kl.as<T>();
  args.label_weight = static_cast<T>(label_weight);
  args.loss = terms.loss.as<T>();
  args.mean_nll = terms.nll.as<T>();
  args.mean_kl = terms.kl.as<T>();
  return args;
}

}  // namespace

HiddenLabels hidden_labels(Tape& tape, const Tensor& logits, const Tensor& label,
                           const Tensor& recon, const Tensor& kl_weight) {
  ELBO_CHECK(logits.shape.rank() == 2, "hidden_labels: expected logits [B, C], got ",
             logits.shape.to_string());
  ELBO_CHECK(
      label.shape.rank() == 0 || (label.dtype == DType::i32 && label.size() == logits.shape[0]),
      "hidden_labels: found ", dtype_name(label.dtype), " ", label.shape.to_string(),
      " as labels of ", logits.shape[0], " images");
  ELBO_CHECK(recon.size() == 1 && kl_weight.size() == 1, "hidden_labels: weights are scalars");
  return {logits, logsumexp_rows(tape, detach(logits)), label, recon, kl_weight};
}

LabelRows label_rows(Tape& tape, const HiddenLabels& hidden) {
  const int64_t rows = hidden.images() * hidden.classes();
  const DType type = hidden.logits.dtype;
  const LabelRows to{tape.new_buffer({rows}, type), tape.new_buffer({rows}, type),
                     tape.new_buffer({rows}, DType::i32)};
  tape.op("label_weights",
          {hidden.logits, hidden.log_sum, hidden.label, hidden.recon, hidden.kl_weight},
          {to.recon, to.kl, to.label}, [&](const Exec& exec) {
            with_element_type("label_weights", hidden.logits, [&]<class T>(T) {
              LabelWeights<T> args;
              args.guess = guess_of<T>(hidden);
              args.recon_rows = to.recon.as<T>();
              args.kl_rows = to.kl.as<T>();
              args.class_rows = to.label.as<int32_t>();
              label_weights(exec, args);
            });
          });
  return to;
}

LabelBoundTerms label_bound(Tape& tape, const HiddenLabels& hidden, const Tensor& nll,
                            const Tensor& kl, double label_weight, const RowWeight& weight) {
  const int64_t images = hidden.images(), rows = images * hidden.classes();
  ELBO_CHECK(kl.size() == rows && (rows == 0 || nll.size() % rows == 0), "label_bound: nll is ",
             nll.shape.to_string(), " and kl ", kl.shape.to_string(), " of ", images,
             " images and ", hidden.classes(), " labels");
  check_row_weight("label_bound", weight, images);
  const DType type = hidden.logits.dtype;
  const LabelBoundTerms terms{tape.new_buffer({images}, type), tape.new_buffer({images}, type),
                              tape.new_buffer({images}, type)};
  tape.op("label_bound",
          {hidden.logits, hidden.log_sum, hidden.label, hidden.recon, hidden.kl_weight, nll, kl},
          {terms.loss, terms.nll, terms.kl}, [&](const Exec& exec) {
            with_element_type("label_bound", hidden.logits, [&]<class T>(T) {
              label_bound(exec, bound_of<T>(hidden, nll, kl, label_weight, terms));
            });
          });
  if (!weight.given()) return terms;
  tape.record(
      "label_bound", {hidden.logits}, [hidden, nll, kl, label_weight, weight, terms](Tape& t) {
        const GradSlot slot = t.grad_slot(hidden.logits);
        if (!slot) return;
        t.op("label_bound_backward",
             {hidden.logits, hidden.log_sum, hidden.label, hidden.recon, hidden.kl_weight, nll, kl,
              terms.loss, weight.values, slot.dx},
             {slot.dx}, [&](const Exec& exec) {
               with_element_type("label_bound", hidden.logits, [&]<class T>(T) {
                 label_bound_backward(exec, bound_of<T>(hidden, nll, kl, label_weight, terms),
                                      weight.as<T>(hidden.images()), slot.dx.as<T>(), slot.mode);
               });
             });
      });
  return terms;
}

}  // namespace elbo
