#include "engine/ops/density_ratio_op.h"

#include "kernels/density_ratio.h"

namespace elbo {

PermutedLatents permute_dimensions(Tape& tape, const Tensor& z, const NoiseSource& noise) {
  constexpr const char* kOp = "permute_dimensions";
  ELBO_CHECK(z.shape.rank() == 2, kOp, ": expected a matrix, got ", z.shape.to_string());
  const int64_t batch = z.shape[0], dim = z.shape[1];
  const Tensor rows = tape.new_value({2 * batch, dim}, z.dtype);
  const Tensor target = tape.new_buffer({2 * batch, 1}, z.dtype);
  tape.op(kOp, {z}, {rows, target}, [&](const Exec& exec) {
    with_element_type(kOp, z, [&]<class T>(T) {
      permute_dimensions(
          exec, PermuteDimensions<T>{batch, dim, noise, z.as<T>(), rows.as<T>(), target.as<T>()});
    });
  });
  tape.record(kOp, {z}, [z, rows, batch, dim](Tape& t) {
    const std::optional<Tensor> dy = t.upstream(rows);
    const GradSlot slot = dy ? t.grad_slot(z) : GradSlot{};
    if (!slot) return;
    t.op("permute_dimensions_backward", {*dy, slot.dx}, {slot.dx}, [&](const Exec& exec) {
      with_element_type(kOp, z, [&]<class T>(T) {
        permute_dimensions_backward<T>(exec, batch, dim, dy->as<T>(), slot.dx.as<T>(), slot.mode);
      });
    });
  });
  return {rows, target};
}

void ratio_weights(Tape& tape, const Tensor& logits, float factor, const Tensor& w) {
  const int64_t rows = logits.size();
  ELBO_CHECK(rows % 2 == 0 && w.size() == rows, "ratio_weights: ", rows, " logits, ", w.size(),
             " weights; expected 2 B of both");
  tape.op("ratio_weights", {logits}, {w}, [&](const Exec& exec) {
    with_element_type("ratio_weights", logits, [&]<class T>(T) {
      ratio_weights<T>(exec, rows / 2, factor, logits.as<T>(), w.as<T>());
    });
  });
}

}  // namespace elbo
