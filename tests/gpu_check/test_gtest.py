"""What GoogleTest prints is counted right, above all when it stops in the middle."""
import unittest

import support  # noqa: F401

from gpu_check import gtest, phase_tests
from gpu_check.phase import Context
from gpu_check.state import FAILED, OK, TIMEOUT

BEGIN = """Note: This is test shard 1 of 2.
[==========] Running 4 tests from 2 test suites.
[----------] 2 tests from A
[ RUN      ] A.Passes
noise without a line end[       OK ] A.Passes (0 ms)
[ RUN      ] A.Fails/cuda
a.cpp:7: Failure
Expected: 1
[  FAILED  ] A.Fails/cuda, where GetParam() = 4-byte object <01-00 00-00> (0 ms)
"""
MIDDLE = """[ RUN      ] B.Skips/cuda
device.cpp:248: Skipped
NOT TESTED on CUDA: no driver

[  SKIPPED ] B.Skips/cuda (0 ms)
"""
LAST = """[ RUN      ] B.Last
[       OK ] B.Last (0 ms)
"""
END = """[==========] 4 tests from 2 test suites ran. (1 ms total)
[  PASSED  ] 2 tests.
[  SKIPPED ] 1 test, listed below:
[  SKIPPED ] B.Skips/cuda
[  FAILED  ] 1 test, listed below:
[  FAILED  ] A.Fails/cuda
"""


def context(gpu):
    return Context(None, None, gpu, False, "", "", None)


class GtestTest(unittest.TestCase):
    def test_a_whole_run_is_counted_once(self):
        report = gtest.parse(BEGIN + MIDDLE + LAST + END)
        self.assertEqual((report.expected, report.passed, report.ran), (4, 2, 4))
        self.assertEqual(list(report.failures), ["A.Fails/cuda"])
        self.assertIn("Expected: 1", report.failures["A.Fails/cuda"])
        self.assertEqual(report.skips, {"B.Skips/cuda": "NOT TESTED on CUDA: no driver"})
        self.assertEqual(report.unfinished, [])

    def test_a_crash_names_the_case_it_happened_in(self):
        report = gtest.parse(BEGIN + "[ RUN      ] B.Crashes\n", "signal 11 (SIGSEGV)", ended_well=False)
        self.assertEqual(report.unfinished, ["signal 11 (SIGSEGV), 2 of 4 cases, in B.Crashes"])

    def test_no_output_is_no_success(self):
        self.assertEqual(len(gtest.parse("").unfinished), 1)
        self.assertEqual(len(gtest.parse(BEGIN + MIDDLE + LAST + END, "status 2", False).unfinished), 1)
        self.assertEqual(len(gtest.parse(BEGIN + LAST + END).unfinished), 1)

    def test_a_forked_child_does_not_count_twice(self):
        report = gtest.parse(BEGIN + MIDDLE + LAST + LAST.splitlines()[1] + "\n" + END)
        self.assertEqual((report.passed, report.unfinished), (2, []))

    def judged(self, text, gpu="GPU", timed_out=False):
        return phase_tests.judge(gtest.parse(text), context(gpu), timed_out)

    def test_verdicts(self):
        passing = BEGIN.replace("[  FAILED  ]", "[       OK ]")
        whole = passing + MIDDLE + LAST + END
        self.assertEqual(self.judged(BEGIN + MIDDLE + LAST + END)["result"], FAILED)
        self.assertEqual(self.judged(whole, gpu="")["result"], OK)
        self.assertIn("NOT TESTED", self.judged(whole, gpu="")["remark"])
        skipped = self.judged(whole)
        self.assertEqual(skipped["result"], FAILED)
        self.assertIn("though there is a GPU", skipped["remark"])
        self.assertEqual(self.judged(passing, timed_out=True)["result"], TIMEOUT)
        self.assertEqual(self.judged(passing)["result"], FAILED)
        self.assertEqual(self.judged("[==========] Running 0 tests from 0 test suites.\n"
                                     "[==========] 0 tests from 0 test suites ran. (0 ms total)\n")["result"],
                         FAILED)


if __name__ == "__main__":
    unittest.main()
