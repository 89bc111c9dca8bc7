"""A time limit holds for a child and for everything that it started."""
import os
import sys
import time
import unittest

from support import FolderTest

from gpu_check import process

# Starts a grandchild that ignores SIGTERM, says its id, and waits for it.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"])
print(child.pid, flush=True)
%s
"""


def is_alive(pid):
    """A zombie, which only waits to be counted by its parent, is not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class ProcessTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.grace, process.GRACE_S = process.GRACE_S, 0.3
        self.addCleanup(setattr, process, "GRACE_S", self.grace)

    def job(self, code, name="log"):
        return process.Job([sys.executable, "-c", code], self.path(name))

    def assert_dies(self, pid):
        end = time.monotonic() + 10
        while is_alive(pid) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertFalse(is_alive(pid))

    def test_the_limit_ends_the_whole_group(self):
        one = process.run(self.job(STUBBORN % "child.wait()"), 1.5)
        self.assertTrue(one.timed_out)
        self.assertLess(one.seconds, 10)
        self.assert_dies(int(one.text()))

    def test_what_a_finished_child_leaves_behind_is_ended(self):
        one = process.run(self.job(STUBBORN % ""), 30)
        self.assertEqual(one.status, 0)
        self.assert_dies(int(one.text()))

    def test_status_and_output_are_kept(self):
        one = process.run(self.job("import sys; print('said'); sys.exit(7)"), 30)
        self.assertEqual((one.status, one.how(), one.last_line()), (7, "status 7", "said"))

    def test_a_signal_is_named(self):
        one = process.run(self.job("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"), 30)
        self.assertEqual(one.how(), "signal 11 (SIGSEGV)")

    def test_jobs_run_side_by_side_and_keep_their_order(self):
        start = time.monotonic()
        jobs = [self.job(f"import time; time.sleep({delay}); print({delay})", str(delay))
                for delay in (1.0, 0.9, 0.8)]
        outcomes = process.run_all(jobs, 30, parallel=3)
        self.assertEqual([one.text().strip() for one in outcomes], ["1.0", "0.9", "0.8"])
        self.assertLess(time.monotonic() - start, 2.4)

    def test_what_found_no_time_was_not_run(self):
        outcomes = process.run_all([self.job("import time; time.sleep(60)", "a"), self.job("print(1)", "b")], 1)
        self.assertEqual([one.status for one in outcomes], [None, None])
        self.assertFalse(os.path.exists(self.path("b")))


if __name__ == "__main__":
    unittest.main()
