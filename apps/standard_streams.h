// Standard input, output and error, should the caller have closed one of them.
#pragma once

namespace elbo {

// Opens /dev/null for each of descriptors 0 to 2 that is closed. Otherwise the next files opened
// get these numbers, and what is meant for stderr lands in a metrics file. Descriptor 1 cannot be
// written to: results that nobody gets stay an error.
void fill_standard_streams();

}  // namespace elbo
