// What a call throws, as text that EXPECT_EQ can compare: "4: mnist.gz: ends too early".
#pragma once

#include <string>

#include "kernels/error.h"

namespace elbo {

// The exit status, a colon and the message; "no error" if nothing is thrown. Exceptions of other
// types pass through and fail the test.
template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return std::to_string(error.exit_status()) + ": " + error.what();
  }
  return "no error";
}

}  // namespace elbo
