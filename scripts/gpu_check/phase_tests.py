"""Phases tests, noise and sanitizer: the GoogleTest programs on the real GPU."""
import os
import re
import shutil

from gpu_check import gtest, layout, process
from gpu_check.phase import Phase, Step, outcome
from gpu_check.state import FAILED, OK, TIMEOUT

# Reads the sources, at the place where the program was built.
LEFT_OUT = "OpTableItself.HasAnEntryForEveryOpDeclaredInEngineOps"
MOST_SHARDS = 8  # side by side: each has a context of its own on the GPU
QUICK_SHARDS = 25  # of which --quick runs one


def judge(report, context, timed_out):
    """The outcome of a step that ran test programs."""
    counts = f"{report.passed} passed, {len(report.failures)} failed, {len(report.skips)} skipped"
    figures = report.as_json()
    cuda_skips = report.cuda_skips()
    if report.failures or (report.unfinished and not timed_out):
        first = [*report.failures, *report.unfinished][0]
        return outcome(FAILED, f"{counts}; first: {first}", **figures)
    if context.gpu and cuda_skips:
        return outcome(FAILED, f"{counts}; {len(cuda_skips)} CUDA cases skipped though there is a GPU: "
                       f"{next(iter(cuda_skips.values()))}", **figures)
    if timed_out:
        return outcome(TIMEOUT, f"{counts}; {len(report.unfinished)} shards cut short", **figures)
    if report.passed == 0:
        return outcome(FAILED, f"{counts}: no case passed, so nothing was tested", **figures)
    if cuda_skips:
        counts += f" ({len(cuda_skips)} of them CUDA cases, NOT TESTED)"
    return outcome(OK, counts, **figures)


def run_shards(context, program, budget_s):
    """A step's outcome from all shards of a test program, side by side."""
    parallel = min(MOST_SHARDS if context.gpu else 2, len(os.sched_getaffinity(0)))
    shards = QUICK_SHARDS if context.quick else parallel
    jobs = [context.job(program, f"--gtest_filter=-{LEFT_OUT}", log=("tests", f"{program}.{index}"),
                        env=gtest.shard_env(index, shards) | {"OMP_NUM_THREADS": "2"})
            for index in range(1 if context.quick else shards)]
    outcomes = process.run_all(jobs, budget_s, parallel)
    result = judge(gtest.report_of(outcomes), context, any(one.timed_out for one in outcomes))
    return result | {"left_out": [LEFT_OUT]}


class Tests(Phase):
    name = "tests"
    answers = "do all cases of kernels, engine and models pass, and which were skipped?"
    on_cpu = True

    def steps(self, context):
        def step(program):
            return Step(program, lambda context, budget_s: run_shards(context, program, budget_s))
        packed = layout.manifest().get("programs", layout.TESTS)  # a bundle may have left some out
        return [step(program) for program in layout.TESTS if program in packed]

    def remark(self, steps):
        totals = {key: sum(step.get(key, 0) for step in steps.values())
                  for key in ("passed", "failed", "skipped")}
        reasons = dict.fromkeys(reason.removeprefix(gtest.NOT_TESTED) for step in steps.values()
                                for reason in step.get("skip_reasons", {}))
        text = ", ".join(f"{count} {key}" for key, count in totals.items())
        return text + (f" ({'; '.join(list(reasons)[:2])})" if reasons else "")


class Noise(Phase):
    name = "noise"
    answers = "does the GPU draw the very bits that the CPU draws?"
    limit_s = 120.0
    CASES = "*MathBits*:*NoiseHasTheSameBits*:*Shuffle*cuda*"

    def steps(self, context):
        return [Step("bits", self.compare)]

    def compare(self, context, budget_s):
        job = context.job("kernels_test", f"--gtest_filter={self.CASES}", log=("noise", "bits"),
                          env={"GTEST_COLOR": "no"})
        one = process.run(job, budget_s)
        report = gtest.report_of([one])
        result = judge(report, context, one.timed_out)
        compared = set(re.findall(r"\[ +OK \] (\S*(?:MathBits|SameBits)\S*/cuda\S*)", one.text()))
        if result["result"] == OK and not compared:
            return outcome(FAILED, "no case that compares the devices was run", **report.as_json())
        return result | {"compared_on_cuda": sorted(compared)}


class Sanitizer(Phase):
    name = "sanitizer"
    answers = "does compute-sanitizer find bad accesses, races, unset memory or wrong barriers in the kernels?"
    TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
    SHARDS = 16
    ERROR_STATUS = 66  # not one that a test program ends with
    SUMMARY = re.compile(r"ERROR SUMMARY: (\d+) errors?|RACECHECK SUMMARY: (\d+) hazards?")

    @staticmethod
    def find():
        for folder in filter(None, (os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"),
                                    "/usr/local/cuda", "/opt/nvidia")):
            for path in (f"{folder}/bin/compute-sanitizer", f"{folder}/compute-sanitizer/compute-sanitizer"):
                if os.access(path, os.X_OK):
                    return path
        return shutil.which("compute-sanitizer")

    def why_not(self, context):
        if not context.gpu:
            return "no GPU"
        return "" if self.find() else "compute-sanitizer was not found (CUDA_PATH/bin); it cannot be packed"

    def steps(self, context):
        tools = self.TOOLS[:1] if context.quick else self.TOOLS
        def step(tool, first):
            return Step(f"{tool} {first + 1}-{first + MOST_SHARDS}/{self.SHARDS}",
                        lambda context, budget_s: self.check(context, tool, first, budget_s))
        return [step(tool, first) for tool in tools for first in range(0, self.SHARDS, MOST_SHARDS)]

    def check(self, context, tool, first, budget_s):
        # Calls of the runtime that fail are no errors here: NVIDIA's own libraries try out what there is, and
        # of ours each is checked where it is made.
        wrapper = [self.find(), "--tool", tool, "--report-api-errors", "no", "--error-exitcode",
                   str(self.ERROR_STATUS), "--print-limit", "20"]
        jobs = []
        for index in range(first, first + MOST_SHARDS):
            job = context.job("kernels_test", "--gtest_filter=*/cuda*",
                              log=("sanitizer", f"{tool}.{index}"),
                              env=gtest.shard_env(index, self.SHARDS) | {"OMP_NUM_THREADS": "1"})
            job.command = [*wrapper, *job.command]
            jobs.append(job)
        outcomes = process.run_all(jobs, budget_s, parallel=min(MOST_SHARDS, len(os.sched_getaffinity(0))))
        return self.judge(context, outcomes)

    def remark(self, steps):
        totals = {}
        for name, step in steps.items():
            cases, errors = totals.get(name.split()[0], (0, 0))
            totals[name.split()[0]] = cases + step.get("passed", 0), errors + step.get("errors", 0)
        return ", ".join(f"{tool}: {errors} errors in {cases} cases" for tool, (cases, errors) in totals.items())

    def judge(self, context, outcomes):
        errors = [one for one in outcomes if one.status == self.ERROR_STATUS or self.errors(one)]
        silent = [one for one in outcomes if not one.timed_out and self.errors(one) is None]
        report = gtest.report_of(outcomes)
        figures = report.as_json() | {"errors": sum(self.errors(one) or 0 for one in outcomes)}
        if silent:
            return outcome(FAILED, f"no summary from the sanitizer: {silent[0].last_line()}", **figures)
        if errors:
            return outcome(FAILED, f"{figures['errors']} errors; see {os.path.basename(errors[0].log)}", **figures)
        return judge(report, context, any(one.timed_out for one in outcomes)) | {"errors": 0}

    def errors(self, one):
        """How many the tool counted; None if it gave no summary."""
        found = self.SUMMARY.findall(one.text())
        return sum(int(a or b) for a, b in found) if found else None
