// Runs of models that are told something of an image, label or attributes, and what tools make of them.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/apps/png_reader.h"
#include "tests/apps/program_fixture.h"

namespace elbo::testing_apps {

class ToldProgram : public ProgramTest {
 protected:
  // A tiny run whose directory is "run".
  void train(const std::string& condition, const Strings& more = {}) const {
    const Outcome outcome =
        run_in_process(tiny_run("run") + Strings{"--condition", condition, "-q"} + more);
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  }
  // A tool that takes it. The auditor's have no --device.
  Outcome audit(const std::string& command, const Strings& more = {}) const {
    return run_in_process(Strings{command, "--run", path("run"), "--threads", "1"} + more);
  }
  Outcome run(const std::string& command, const Strings& more = {}) const {
    return audit(command, Strings{"--device", "cpu"} + more);
  }
  std::string picture(const std::string& command, const Strings& more = {}) const {
    const Outcome outcome = run(command, more + Strings{"--out", path("p.png")});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return read_file_text(path("p.png"));
  }
  // Commands with their arguments.
  void expect_all_work(const std::vector<Strings>& commands) const {
    for (const Strings& command : commands) {
      const Outcome outcome = audit(command[0], {command.begin() + 1, command.end()});
      EXPECT_EQ(outcome.status, 0) << command[0] << ": " << outcome.err;
    }
  }
  static void error(const Outcome& outcome, int status, const std::string& part) {
    EXPECT_EQ(outcome.status, status) << outcome.err;
    const std::string line = outcome.err.substr(outcome.err.rfind("elbo: "));
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
    EXPECT_NE(line.find(part), std::string::npos) << line;
  }

  void expect_audit_and_resume() const {
    const Outcome audited = audit("evaluate", {"--json"});
    ASSERT_EQ(audited.status, 0) << audited.err;
    EXPECT_TRUE(nlohmann::json::parse(audited.out).at("neg_elbo_nats").is_number());
    const Outcome resumed = run_in_process({"train", "--resume", "--out", path("run"), "-e", "3"});
    EXPECT_EQ(resumed.status, 0) << resumed.err;
  }

  using Cells = std::vector<std::vector<uint8_t>>;
  // One row of pictures of a grid of 8 x 8 pixels eightfold, each with its frame.
  static Cells cells_of(const std::string& png, int64_t row, int64_t padding = 2) {
    const Picture grid = decode_png(png);
    Cells cells;
    for (int64_t left = padding; left + 64 <= grid.width; left += 64 + padding) {
      std::vector<uint8_t> cell;
      const int64_t top = padding + (64 + padding) * row;
      for (int64_t y = top; y < top + 64; ++y) {
        const auto begin = grid.pixels.begin() + y * grid.width + left;
        cell.insert(cell.end(), begin, begin + 64);
      }
      cells.push_back(cell);
    }
    return cells;
  }
  static std::vector<Cells> rows_of(const std::string& png) {
    std::vector<Cells> rows;
    const int64_t count = (decode_png(png).height - 2) / 66;
    for (int64_t row = 0; row < count; ++row) rows.push_back(cells_of(png, row));
    return rows;
  }
};

}  // namespace elbo::testing_apps
