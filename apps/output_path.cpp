#include "apps/output_path.h"

#include <algorithm>

#include "engine/io/blob.h"
#include "engine/io/file_ops.h"

namespace elbo {

std::string output_path(const Arguments& arguments, const std::string& flag,
                        const std::string& fallback, const std::vector<std::string>& endings) {
  if (!arguments.has(flag)) {
    return fallback.empty() ? "" : join_path(arguments.text("--run"), fallback);
  }
  const std::string path = arguments.text(flag);
  const bool known = std::any_of(endings.begin(), endings.end(), [&](const std::string& ending) {
    return path.size() > ending.size() && path.ends_with(ending);
  });
  if (!known) {
    std::string expected;
    for (const std::string& ending : endings) expected += (expected.empty() ? "" : " or ") + ending;
    throw_error(ErrorCode::usage, flag, ": found ", in_quotes(path), ", expected the name of a ",
                expected, " file");
  }
  const std::string directory = parent_path(path);
  if (!directory.empty() && !exists(real_fs(), directory)) {
    throw_error(ErrorCode::usage, flag, " ", path, ": there is no directory ", directory);
  }
  return path;
}

}  // namespace elbo
