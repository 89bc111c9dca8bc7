// A scalar as a function of the optimiser step: learning rate or KL weight.
//
// Plain data evaluated on either device, so that a whole training step can be replayed as a graph
// with nothing but a step counter changing.
#pragma once

#include <cstdint>

#include "kernels/math.h"
#include "kernels/portability.h"

namespace elbo {

enum class ScheduleKind : int {
  constant,  // base
  warmup,    // start -> base over `steps`, then base
  cyclical,  // every `steps`: start -> base over the first `ratio` of the cycle, then base (Fu et
             // al. 2019)
  cosine,    // base -> start over `steps` by half a cosine, then start
  stages,    // value[i] while step < until[i]; the last value afterwards
};

struct Schedule {
  static constexpr int kMaxStages = 16;

  ScheduleKind kind = ScheduleKind::constant;
  float base = 1.0f;
  float start = 0.0f;
  int64_t steps = 0;
  float ratio = 0.5f;
  int stage_count = 0;
  int64_t until[kMaxStages] = {};
  float value[kMaxStages] = {};
};

// `step` counts finished optimiser steps: the first update is made at step 0.
ELBO_HD float schedule_value(const Schedule& s, uint64_t step) {
  const auto now = static_cast<int64_t>(step);
  switch (s.kind) {
    case ScheduleKind::constant:
      return s.base;
    case ScheduleKind::warmup: {
      if (now >= s.steps) return s.base;
      const float t = static_cast<float>(now) / static_cast<float>(s.steps);
      return s.start + (s.base - s.start) * t;
    }
    case ScheduleKind::cyclical: {
      if (s.steps <= 0) return s.base;
      const float t = static_cast<float>(now % s.steps) / (s.ratio * static_cast<float>(s.steps));
      return t < 1.0f ? s.start + (s.base - s.start) * t : s.base;
    }
    case ScheduleKind::cosine: {
      if (now >= s.steps) return s.start;
      const float half_turns = static_cast<float>(now) / static_cast<float>(s.steps);
      return s.start +
             (s.base - s.start) * 0.5f * (1.0f + math::sincos_turns(0.5f * half_turns).cos);
    }
    case ScheduleKind::stages: {
      for (int i = 0; i < s.stage_count; ++i) {
        if (now < s.until[i]) return s.value[i];
      }
      return s.stage_count > 0 ? s.value[s.stage_count - 1] : s.base;
    }
  }
  return s.base;
}

}  // namespace elbo
