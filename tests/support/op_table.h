// Every op of engine/ops with samples of its use. op_table_test.cpp runs the same checks on each, and
// fails when an op of those headers has no entry here.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "tests/support/op_harness.h"

namespace elbo {

struct OpEntry {
  std::string op;  // the function's name
  std::vector<OpCase> cases;
};

// What GoogleTest prints for a parameter.
inline void PrintTo(const OpEntry& entry, std::ostream* out) { *out << entry.op; }

const std::vector<OpEntry>& op_table();

}  // namespace elbo
