"""`gpu-check run`: the phases in order, within the time there is, with a file of results at the end."""
import contextlib
import datetime
import math
import os
import sys
import time

from gpu_check import layout, report, state
from gpu_check.libraries import VendorLibraries
from gpu_check.phase import Context, run_phase
from gpu_check.phase_benches import KernelBench, Peers, StepBench
from gpu_check.phase_day_one import DayOne
from gpu_check.phase_environment import Environment, doctor, gpu_facts
from gpu_check.phase_tests import Noise, Sanitizer, Tests
from gpu_check.phase_train import Train

PHASES = [Environment(), Tests(), Noise(), Train(), KernelBench(), StepBench(), DayOne(), Sanitizer(), Peers()]
NAMES = [phase.name for phase in PHASES]
NO_GPU_STATUS = 3  # as elbo's own
CLOSING_S = 5.0  # kept free for the logs and the table


class Tee:
    """What is said goes to the terminal and to a log."""

    def __init__(self, path):
        self.path = path

    def __call__(self, text):
        print(text, flush=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"{datetime.datetime.now().astimezone():%H:%M:%S} {text}\n")


def gpu_name(context):
    """Of the GPU that the program itself would train on: one that only nvidia-smi sees is of no use."""
    device = (doctor(context) or {}).get("device_auto", "")
    if not device.startswith("cuda"):
        return ""
    return gpu_facts().get("name") or device.removeprefix("cuda:").strip()


def identity(args, context):
    """What results depend on, so that they are not continued with another."""
    made = layout.manifest()
    return {"commit": made.get("commit", "repository"), "programs": made.get("programs", {}),
            "gpu": context.gpu, "quick": args.quick}


def make_context(args, say, work):
    where = layout.Layout(args.build)
    where.check(["elbo"])
    libraries = VendorLibraries(where.programs().values(), args.python)
    for name, path in libraries.chosen.items():
        say(f"{name}: {path or '!!!! NOT FOUND'}")
    context = Context(layout=where, libraries=libraries, gpu="", quick=args.quick, work=work,
                      python=args.python, mnist=layout.mnist_folder(args.mnist), say=say)
    context.gpu = gpu_name(context)
    say(f"GPU: {context.gpu}" if context.gpu else "!!!! no usable GPU: only what needs none is run")
    return context


def run(args):
    out = os.path.abspath(args.out)
    work = os.path.abspath(args.work) if args.work else out + ".work"
    start = time.monotonic()
    os.makedirs(out, exist_ok=True)
    logs = os.path.join(out, "gpu-check-logs.tar.gz")
    report.unpack_logs(logs, os.path.join(work, "logs"))
    os.makedirs(work, exist_ok=True)
    say = Tee(os.path.join(out, "gpu-check.log"))
    context = make_context(args, say, work)
    if args.require_gpu and not context.gpu:
        print("gpu-check: there is no usable GPU, and --require-gpu was given", file=sys.stderr)
        return NO_GPU_STATUS
    results = state.State(os.path.join(out, "gpu-check.json"), identity(args, context))
    results.set("date", f"{datetime.datetime.now().astimezone():%Y-%m-%dT%H:%M:%S%z}")
    results.set("device", context.gpu or None)

    phases = [phase for phase in PHASES if phase.name in args.phase]

    def time_left():
        return args.limit - CLOSING_S - (time.monotonic() - start) if args.limit else math.inf

    try:
        for phase in phases:
            run_one(phase, context, results, time_left, args.again)
    finally:
        with contextlib.suppress(FileNotFoundError):
            report.pack_logs(os.path.join(work, "logs"), logs)
    return close(say, results.value["phases"], [phase.name for phase in phases], time.monotonic() - start)


def run_one(phase, context, results, time_left, again):
    if again:
        results.forget(phase.name)
    elif results.is_finished(phase.name):
        context.say(f"{phase.name}: {results.phase(phase.name)['result']} earlier; --again repeats it")
        return
    if time_left() <= 0:
        context.say(f"{phase.name}: no time left")
        return
    context.say(f"==== {phase.name}")
    run_phase(phase, context, results, time_left)


def close(say, phases, names, seconds):
    for line in report.loudest(phases, names):
        say(line)
    say("\n" + report.table(phases, names))
    say(f"{seconds:.0f} s in all")
    return report.exit_status(phases, names)


def show_phases(_args):
    for phase in PHASES:
        print(f"{phase.name:<13} {phase.answers}")
    return 0
