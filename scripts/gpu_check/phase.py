"""What a phase is, and how one is run: step by step, with what is done kept whatever happens next."""
import dataclasses
import os
import time
import traceback
from collections.abc import Callable

from gpu_check import layout, process
from gpu_check.state import CPU_ONLY, FAILED, FINAL, OK, SKIPPED, TIMEOUT

PHASE_LIMIT_S = 480.0
LEAST_STEP_S = 2.0  # with less left no step is begun


@dataclasses.dataclass
class Step:
    """run(context, budget_s) returns outcome(...) below."""
    name: str
    run: Callable


def outcome(result, remark="", **figures):
    return {"result": result, "remark": remark, **figures}


@dataclasses.dataclass
class Context:
    """What steps may use."""
    layout: layout.Layout
    libraries: object  # of NVIDIA, for our programs
    gpu: str  # its name; "" without one
    quick: bool
    work: str  # folder for logs and runs
    python: str
    mnist: str | None
    say: Callable = print

    def log(self, *parts):
        return os.path.join(self.work, "logs", *parts) + ".log"

    def env(self):
        """libgomp's default spinning would make programs that run side by side crawl."""
        return {"GOMP_SPINCOUNT": "1000"} | self.libraries.env()

    def job(self, program, *arguments, log, env=None):
        return process.Job([self.layout.program(program), *map(str, arguments)], self.log(*log),
                           self.env() | (env or {}), self.work)

    @property
    def device(self):
        return "cuda" if self.gpu else "cpu"


class Phase:
    name = ""
    answers = ""  # the question, for people
    limit_s = PHASE_LIMIT_S
    on_cpu = False  # has something to do without a GPU

    def steps(self, context):
        raise NotImplementedError

    def why_not(self, context):
        """Why there is nothing to do here; "" if there is."""
        return "" if context.gpu or self.on_cpu else "no GPU"

    def remark(self, steps):
        """One line of the table from {step: outcome} of what was done."""
        return ", ".join(dict.fromkeys(step["remark"] for step in steps.values() if step["remark"]))


def run_step(step, context, budget_s):
    start = time.monotonic()
    try:
        result = step.run(context, budget_s)
    except Exception as error:  # a mistake in one step must not cost the results of the others
        context.say(traceback.format_exc())
        result = outcome(FAILED, f"{type(error).__name__}: {error}")
    return result | {"seconds": round(time.monotonic() - start, 1)}


def verdict(planned, done, on_cpu_only):
    """(result, count of steps left)"""
    results = [done[name]["result"] for name in planned if name in done]
    left = len(planned) - sum(result != TIMEOUT for result in results)
    if FAILED in results:
        return FAILED, left
    if left:
        return TIMEOUT, left
    if all(result == SKIPPED for result in results):
        return SKIPPED, 0
    return (CPU_ONLY if on_cpu_only else OK), 0


def run_phase(phase, context, state, time_left):
    """Does what is left of a phase within its limit and `time_left`() seconds; returns its result."""
    start = time.monotonic()
    reason = phase.why_not(context)
    if reason:
        context.say(f"!!!! SKIPPED {phase.name}, so nothing is known about it: {reason}")
        state.finish(phase.name, SKIPPED, reason, 0.0)
        return SKIPPED
    steps = phase.steps(context)
    done = state.phase(phase.name)["steps"]
    for step in steps:
        budget = min(phase.limit_s - (time.monotonic() - start), time_left())
        if done.get(step.name, {}).get("result") in FINAL:
            continue
        if budget < LEAST_STEP_S:
            break
        context.say(f"  {phase.name}: {step.name}")
        result = run_step(step, context, budget)
        state.record_step(phase.name, step.name, result)
        text = f"{result['result']}: {result['remark']}" if result["remark"] else result["result"]
        context.say(f"  {phase.name}: {step.name}: {text} ({result['seconds']} s)")
    result, left = verdict([step.name for step in steps], done, not context.gpu)
    remark = phase.remark(done)
    if left:
        remark = f"{len(steps) - left} of {len(steps)} steps in time" + (f"; {remark}" if remark else "")
    state.finish(phase.name, result, remark, time.monotonic() - start)
    return result
