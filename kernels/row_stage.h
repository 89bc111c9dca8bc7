// The rows of the next batch, fetched into device memory while a step still trains on those of this one:
// for a data set in page-locked host memory, so that a step does not wait for the bus.
//
//   block[(step + 1) % 2][b,d] = data[s_b, d]      s_b: the samples of the batch after this one
//   tag[(step + 1) % 2]        = which batch that is
//
// Two blocks take turns by the parity of the step, so that the batch in use and the one under way
// never share memory. gather() reads a block if its tag says that it holds the batch in question, and
// the data set itself otherwise: in a first step, after a resume, in an evaluation. So a batch has the same
// bits with and without a stage.
//
// Shapes    data [N, D] bytes, readable from the device; block [2][rows, D] and tag [2] in device memory
// Work      one launch; reads and writes rows * D bytes, in a few blocks only: it runs beside the
//           kernels of a step, and a bus needs few to be busy
// Errors    elbo::Error if data, a state or the stage is null, or the rule can make no batch;
//           rows == 0 or D == 0 is a no-op
#pragma once

#include <cstdint>

#include "kernels/batch_order.h"
#include "kernels/exec.h"
#include "kernels/portability.h"
#include "kernels/step_state.h"

namespace elbo {

// Zero for a block that holds nothing.
struct StageTag {
  uint64_t epoch = 0, position = 0, rows = 0;
};

struct RowStage {
  uint8_t* block[2] = {};
  StageTag* tag = nullptr;  // [2]; null: no stage
  int64_t rows = 0;         // of a block
};

// The block that holds `batch` rows from where the order stands; null if none does.
ELBO_HD const uint8_t* staged_rows(const RowStage& stage, const BatchOrder& order, int64_t batch) {
  if (!stage.tag || !order.state) return nullptr;
  const uint64_t turn = order.state->step % 2;
  const StageTag tag = stage.tag[turn];
  const bool holds = tag.epoch == order.state->epoch && tag.position == order.state->position &&
                     tag.rows >= static_cast<uint64_t>(batch);
  return holds ? stage.block[turn] : nullptr;
}

struct StageRows {
  const uint8_t* data = nullptr;
  int64_t dim = 0;
  BatchOrder order;
  StepRule rule;
  RowStage stage;
};

void stage_rows(const Exec& exec, const StageRows& args);

}  // namespace elbo
