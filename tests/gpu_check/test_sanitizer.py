"""compute-sanitizer's silence counts only where it says that it looked."""
import os
import stat
import unittest
from unittest import mock

from support import FolderTest
from test_gtest import BEGIN, END, LAST, MIDDLE

from gpu_check import phase_tests, process
from gpu_check.phase import Context
from gpu_check.state import FAILED, OK, TIMEOUT

PASSING = BEGIN.replace("[  FAILED  ]", "[       OK ]") + MIDDLE.replace("SKIPPED ]", "     OK ]") + LAST + END


class SanitizerTest(FolderTest):
    sanitizer = phase_tests.Sanitizer()

    def judged(self, text, status=0):
        one = process.Outcome(status, 1.0, self.write("memcheck.0.log", text))
        return self.sanitizer.judge(Context(None, None, "GPU", False, "", "", None), [one])

    def test_clean(self):
        for summary in ("========= ERROR SUMMARY: 0 errors",
                        "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"):
            self.assertEqual(self.judged(PASSING + summary)["result"], OK)

    def test_errors_are_failures_whatever_the_cases_say(self):
        found = self.judged(PASSING + "========= ERROR SUMMARY: 3 errors", self.sanitizer.ERROR_STATUS)
        self.assertEqual((found["result"], found["errors"]), (FAILED, 3))
        found = self.judged(PASSING + "========= RACECHECK SUMMARY: 1 hazard displayed (1 error)")
        self.assertEqual(found["result"], FAILED)

    def test_a_tool_that_did_not_run_is_a_failure(self):
        found = self.judged(PASSING + "Device not supported")
        self.assertEqual(found["result"], FAILED)
        self.assertIn("Device not supported", found["remark"])

    def test_a_failed_case_is_a_failure(self):
        found = self.judged(BEGIN + MIDDLE + LAST + END + "========= ERROR SUMMARY: 0 errors", status=1)
        self.assertEqual(found["result"], FAILED)

    def test_failing_calls_of_the_runtime_are_no_errors(self):
        context = mock.Mock()
        context.job.side_effect = lambda *_, **__: process.Job(["kernels_test"], self.path("log"))
        with mock.patch.object(process, "run_all", return_value=[]) as run_all, \
                mock.patch.object(phase_tests.Sanitizer, "find", return_value="compute-sanitizer"):
            self.sanitizer.check(context, "memcheck", 0, 1.0)
        jobs = run_all.call_args[0][0]
        self.assertEqual(len(jobs), phase_tests.MOST_SHARDS)
        for job in jobs:
            self.assertIn(" --report-api-errors no ", " ".join(job.command))
            self.assertEqual((job.command[0], job.command[-1]), ("compute-sanitizer", "kernels_test"))

    def test_the_remark_adds_up_by_tool(self):
        steps = {"memcheck 1-8/16": {"passed": 5, "errors": 0}, "memcheck 9-16/16": {"passed": 4, "errors": 2},
                 "racecheck 1-8/16": {"passed": 3}}
        self.assertEqual(self.sanitizer.remark(steps),
                         "memcheck: 2 errors in 9 cases, racecheck: 0 errors in 3 cases")

    def test_time_ran_out(self):
        self.assertEqual(self.judged(BEGIN[:100], status=None)["result"], TIMEOUT)

    def test_it_is_looked_for_and_its_lack_is_said(self):
        context = Context(None, None, "GPU", False, "", "", None)
        with mock.patch.dict(os.environ, {"CUDA_PATH": self.folder, "PATH": ""}):
            if not os.path.exists("/usr/local/cuda/bin/compute-sanitizer"):
                self.assertIn("not found", self.sanitizer.why_not(context))
            path = self.write("bin/compute-sanitizer")
            os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
            self.assertEqual(self.sanitizer.find(), path)
            self.assertEqual(self.sanitizer.why_not(context), "")


if __name__ == "__main__":
    unittest.main()
