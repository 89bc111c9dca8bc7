"""Results: written whole, continued, and never those of something else."""
import json
import os
import unittest
from unittest import mock

from support import FolderTest

from gpu_check import phase, report, state
from gpu_check.layout import CheckError
from gpu_check.state import CPU_ONLY, FAILED, OK, SKIPPED, TIMEOUT


class FakePhase(phase.Phase):
    """Three steps; `does` says what each returns or raises."""
    name = "fake"

    def __init__(self, does, on_cpu=False, limit_s=100.0):
        self.does, self.on_cpu, self.limit_s, self.ran = does, on_cpu, limit_s, []

    def steps(self, context):
        return [phase.Step(name, lambda context, budget_s, name=name: self.run(name)) for name in self.does]

    def run(self, name):
        self.ran.append(name)
        result = self.does[name]
        if isinstance(result, Exception):
            raise result
        return phase.outcome(result, name)


class StateTest(FolderTest):
    def state(self, identity="same"):
        return state.State(self.path("r.json"), {"build": identity})

    def context(self, gpu="GPU"):
        return phase.Context(None, None, gpu, False, self.folder, "python", None, say=lambda text: None)

    def run_phase(self, fake, gpu="GPU", time_left=lambda: 1e9, results=None):
        return phase.run_phase(fake, self.context(gpu), results or self.state(), time_left)

    def test_a_write_that_fails_leaves_the_old_file(self):
        path = self.path("a.json")
        state.write_json(path, {"old": 1})
        with self.assertRaises(TypeError):
            state.write_json(path, {"new": object()})
        with mock.patch("os.replace", side_effect=OSError("disk")), self.assertRaises(OSError):
            state.write_json(path, {"new": 2})
        with open(path, encoding="utf-8") as file:
            self.assertEqual(json.load(file), {"old": 1})
        self.assertEqual(os.listdir(self.folder), ["a.json"])

    def test_every_step_is_on_disk_before_the_next(self):
        seen = []

        def look():
            seen.append(len(self.state().value["phases"].get("fake", {}).get("steps", {})))
            return 1e9
        results = self.state()
        results.save()
        self.run_phase(FakePhase({"a": OK, "b": OK, "c": OK}), time_left=look, results=results)
        self.assertEqual(seen, [0, 1, 2])

    def test_a_phase_goes_on_where_it_stopped(self):
        first = FakePhase({"a": OK, "b": TIMEOUT, "c": TIMEOUT})
        self.assertEqual(self.run_phase(first), TIMEOUT)
        self.assertIn("1 of 3 steps", self.state().phase("fake")["remark"])
        self.assertFalse(self.state().is_finished("fake"))
        second = FakePhase({"a": OK, "b": OK, "c": OK})
        self.assertEqual(self.run_phase(second), OK)
        self.assertEqual(second.ran, ["b", "c"])
        self.assertTrue(self.state().is_finished("fake"))

    def test_no_step_begins_without_time(self):
        fake = FakePhase({"a": OK, "b": OK})
        self.assertEqual(self.run_phase(fake, time_left=lambda: 0.5), TIMEOUT)
        self.assertEqual(fake.ran, [])
        fake = FakePhase({"a": OK}, limit_s=0.5)
        self.assertEqual(self.run_phase(fake), TIMEOUT)
        self.assertEqual(fake.ran, [])

    def test_one_failure_fails_the_phase_and_not_the_other_steps(self):
        fake = FakePhase({"a": RuntimeError("broken"), "b": OK})
        self.assertEqual(self.run_phase(fake), FAILED)
        self.assertEqual(fake.ran, ["a", "b"])
        self.assertIn("broken", self.state().phase("fake")["steps"]["a"]["remark"])

    def test_without_a_gpu_nothing_is_ok(self):
        self.assertEqual(self.run_phase(FakePhase({"a": OK}), gpu=""), SKIPPED)
        self.assertEqual(self.state().phase("fake")["remark"], "no GPU")
        self.assertEqual(self.run_phase(FakePhase({"a": OK}, on_cpu=True), gpu=""), CPU_ONLY)
        self.assertFalse(self.state().is_finished("fake"))

    def test_results_of_another_build_or_gpu_are_refused(self):
        self.state().save()
        self.state()
        with self.assertRaisesRegex(CheckError, "another build"):
            self.state("other")

    def test_a_damaged_file_is_refused(self):
        self.write("r.json", "{")
        with self.assertRaisesRegex(CheckError, "is not JSON"):
            self.state()


class ReportTest(FolderTest):
    PHASES = {"a": {"result": OK, "seconds": 12.3, "remark": "fine"},
              "b": {"result": FAILED, "seconds": 400.0, "remark": "2 failed"}}

    def test_the_table_has_every_phase_and_says_what_was_not_run(self):
        lines = report.table(self.PHASES, ["a", "b", "c"]).splitlines()
        self.assertEqual([line.split()[:3] for line in lines[1:]],
                         [["a", "ok", "12"], ["b", "FAILED", "400"], ["c", "not", "run"]])
        self.assertTrue(lines[1].endswith("fine"))

    def test_the_exit_status_tells_failure_from_lack_of_time(self):
        def status(*results):
            return report.exit_status({str(i): {"result": result} for i, result in enumerate(results)},
                                      [str(i) for i in range(len(results))])
        self.assertEqual(status(OK, SKIPPED, CPU_ONLY), 0)
        self.assertEqual(status(OK, TIMEOUT), 75)
        self.assertEqual(status(OK, None), 75)
        self.assertEqual(status(TIMEOUT, FAILED), 1)
        self.assertEqual(list(report.loudest({"x": {"result": SKIPPED}}, ["x", "y"])),
                         ["!!!! x: SKIPPED", "!!!! y: not run"])

    def test_logs_go_into_one_archive_and_come_back(self):
        self.write("logs/tests/a.log", "short")
        self.write("logs/b.log", "x" * (report.LOG_BYTES + 50))
        report.pack_logs(self.path("logs"), self.path("logs.tar.gz"))
        report.unpack_logs(self.path("logs.tar.gz"), self.path("again"))
        with open(self.path("again/tests/a.log"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "short")
        with open(self.path("again/b.log"), encoding="utf-8") as file:
            text = file.read()
        self.assertIn("[... 50 bytes left out ...]", text)
        self.assertLess(len(text), report.LOG_BYTES + 50)


if __name__ == "__main__":
    unittest.main()
