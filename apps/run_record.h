// run.json: who ran what, where and when, and how it ended. Times and host live here and nowhere
// else, so that equal runs leave equal checkpoints.
//
//   {"program": "elbo", "version": ..., "git": ..., "status": "finished", "started": ..., "ended": ...,
//    "device": ..., "threads": ..., "seed": ..., "step": ..., "argv": [...], "earlier": [{...}]}
//
// status    running, finished, interrupted or failed (then with "error"). A run that was killed
//           still says running.
// earlier   the entries of the invocations that a resumed run goes on from
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/io/file_ops.h"

namespace elbo {

struct RunFacts {
  std::vector<std::string> argv;
  std::string preset, device, precision;
  int threads = 0;
  uint64_t seed = 0;
  int64_t first_step = 0;  // > 0 when resumed
};

class RunRecord {
 public:
  // Writes the file with status "running". `resumed` keeps what is there as "earlier".
  RunRecord(Fs& fs, std::string path, RunFacts facts, bool resumed);

  void end(const std::string& status, int64_t step, const std::string& error = "");

 private:
  void write(const std::string& status, int64_t step, const std::string& ended,
             const std::string& error);

  Fs& fs_;
  std::string path_;
  RunFacts facts_;
  std::string started_;
  std::string earlier_;  // JSON text of an array
};

}  // namespace elbo
