#include "kernels/pick_labels.h"

#include "kernels/error.h"
#include "kernels/launch.h"

namespace elbo {
namespace {

struct PickLabel {
  const int32_t* index;
  const int32_t* table;
  int32_t* y;

  ELBO_HD void operator()(int64_t b) const { y[b] = table[index[b]]; }
};

}  // namespace

void pick_labels(const Exec& exec, int64_t batch, const int32_t* index, const int32_t* table,
                 int32_t* y) {
  if (batch == 0) return;
  ELBO_CHECK(index && table && y, "pick_labels: index, table or y is null");
  for_each(exec, batch, PickLabel{index, table, y});
}

}  // namespace elbo
