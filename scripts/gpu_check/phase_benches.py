"""Phases kernel-bench, step-bench and peers: how fast?"""
import itertools
import json
import os
import statistics

from gpu_check import layout, process
from gpu_check.phase import Phase, Step, outcome
from gpu_check.process import output_of
from gpu_check.state import FAILED, OK, SKIPPED, TIMEOUT

MLP, BURDA = "mlp-mnist", "burda"
CONV = ("conv32", "burgess64", "vanilla64")


def read_json(path):
    """What a program wrote last; None if it wrote nothing whole."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def scratch(context, phase, name):
    """A path for a program's JSON, with no older file at it."""
    folder = os.path.join(context.work, phase)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name + ".json")
    if os.path.exists(path):
        os.unlink(path)
    return path


def trouble(one, figures):
    """The outcome of a benchmark that did not end well; None if it did."""
    if one.timed_out:
        return outcome(TIMEOUT, "cut short", **figures)
    if one.status != 0:
        return outcome(FAILED, f"{one.how()}: {one.last_line()}", **figures)
    return None


class StepBench(Phase):
    name = "step-bench"
    answers = "how long is a training step, by batch, precision, kernels and steps per graph?"
    on_cpu = True
    MODES = ("fp32", "bf16", "tf32+own", "tf32+vendor", "bf16+overlap", "tf32+own+overlap", "fp32+overlap",
             "fp32+host")
    CONV_MODES = ("tf32", "bf16", "tf32+host", "fp32", "tf32+own", "tf32+vendor")
    BATCHES = {MLP: "128,512,4096", BURDA: "20,100,1000"} | dict.fromkeys(CONV, "64,256")

    def steps(self, context):
        def step(workload, mode):
            return Step(f"{workload} {mode}",
                        lambda context, budget_s: self.sweep(context, workload, mode, budget_s))
        # Not all may fit into the phase's limit: by turns, so that the most telling come first.
        cells = [(workload, mode) for modes in itertools.zip_longest(self.MODES, self.CONV_MODES)
                 for mode, workloads in zip(modes, ((MLP, BURDA), CONV)) if mode for workload in workloads]
        return [step(*cell) for cell in (cells if context.gpu else cells[:2])]

    def sweep(self, context, workload, mode, budget_s):
        out = scratch(context, self.name, f"{workload}-{mode}")
        small = context.quick or not context.gpu
        cell = ["--batches", self.BATCHES[workload], "--chunks", "0,1,16" if workload in CONV else "0,1,16,50"]
        if small:
            cell = ["--batches", self.BATCHES[workload].split(",", maxsplit=1)[0], "--blocks", "2", "--block-s",
                    "0.02", "--chunks", "0,2" if context.gpu else "0"]
        job = process.Job([context.python, os.path.join(layout.ROOT, "bench", "sweep"), "--workload", workload,
                           "--device", context.device, "--modes", mode, "--build",
                           context.layout.build, "--out", out, *cell],
                          context.log(self.name, f"{workload}-{mode}"), context.env())
        one = process.run(job, budget_s)
        figures = read_json(out) or {"cells": []}
        best = {}
        for found in figures["cells"]:
            best[found["batch"]] = min(found["us_per_step"], best.get(found["batch"], float("inf")))
        text = ", ".join(f"{us:.1f} us at {batch}" for batch, us in best.items())
        return trouble(one, figures) or outcome(OK, f"{workload} {mode}: {text}", **figures)


class Peers(Phase):
    name = "peers"
    answers = "how does a step compare with PyTorch's (eager, compiled, as a graph) and JAX's?"
    # (workload, batch, precision, steps per graph or scan), the most telling first: one takes minutes,
    # most of them spent in other people's compilers.
    RUNS = ((MLP, 128, "fp32", 50), (BURDA, 20, "fp32", 50), ("burgess64", 64, "tf32", 10),
            ("vanilla64", 64, "tf32", 10), (MLP, 128, "tf32", 50), ("conv32", 64, "tf32", 10),
            (MLP, 4096, "tf32", 50), (MLP, 128, "tf32", 1), (BURDA, 100, "tf32", 50), ("burgess64", 64, "fp32", 10))

    def why_not(self, context):
        if not context.gpu:
            return "no GPU"
        ask = "import importlib.util as u; print(bool(u.find_spec('torch') or u.find_spec('jax')))"
        found = output_of([context.python, "-c", ask])
        found = (found or "").strip() == "True"
        return "" if found else f"{context.python} has neither torch nor jax; see --python"

    def steps(self, context):
        def step(workload, batch, precision, chunk):
            return Step(f"{workload} {batch} {precision} {chunk}", lambda context, budget_s: self.compare(
                context, workload, batch, precision, chunk, budget_s))
        return [step(*run) for run in (self.RUNS[:1] if context.quick else self.RUNS)]

    def compare(self, context, workload, batch, precision, chunk, budget_s):
        label = f"{workload}-{batch}-{precision}-{chunk}"
        out = scratch(context, self.name, label)
        command = [context.python, os.path.join(layout.ROOT, "bench", "run"), "--device", "cuda", "--workload",
                   workload, "--batch", str(batch), "--precision", precision, "--chunk", str(chunk), "--build",
                   context.layout.build, "--python", context.python, "--library-path", context.libraries.path(),
                   "--rounds", "10", "--warm-up-s", "2", "--allow-load", "--keep-going", "--out", out]
        # All contenders live at the same time; JAX alone would take three quarters of the GPU's memory.
        one = process.run(process.Job(command + (["--smoke"] if context.quick else []),
                                      context.log(self.name, label),
                                      {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}), budget_s)
        figures = read_json(out)
        if not figures:
            return trouble(one, {}) or outcome(FAILED, "left no figures")
        return self.judge(f"{workload} {batch} {precision} {chunk}", figures)

    @staticmethod
    def judge(label, figures):
        text = [f"{name} {found['ratio']['median']:.2f}" for name, found in figures["contenders"].items()
                if name != "elbo"]
        text += [f"{name} FAILED ({entry['reason']})" for name, entry in figures["failed"].items()]
        text += [f"no {name}" for name in figures["skipped"]]
        result = FAILED if figures["failed"] else OK if len(figures["contenders"]) > 1 else SKIPPED
        return outcome(result, f"{label}: {', '.join(text)}", **figures)


class KernelBench(Phase):
    name = "kernel-bench"
    answers = "what share of our own copy kernel's bandwidth do the memory-bound kernels reach?"
    on_cpu = True

    def steps(self, context):
        return [Step(cache, lambda context, budget_s, cache=cache: self.measure(context, cache, budget_s))
                for cache in (("cold", "warm") if context.gpu else ("warm",))]

    def measure(self, context, cache, budget_s):
        out = scratch(context, self.name, cache)
        small = ["--most-mb", "0.0625", "--rotate-mb", "0.25", "--samples", "3"] if context.quick else \
            [] if context.gpu else ["--most-mb", "16"]
        one = process.run(context.job("kernel_bench", "--device", context.device, "--cache", cache, "--json", out,
                                      *small, log=(self.name, cache)), budget_s)
        figures = read_json(out) or {"rows": []}
        shares = {}
        for found in figures["rows"]:
            if not found["op"].startswith("copy"):
                shares.setdefault(found["op"], []).append(found["share_of_copy"])
        largest = {op: values[-1] for op, values in shares.items()}
        text = f"{cache}: {min(largest.values()):.2f} to {max(largest.values()):.2f} of copy, median " \
               f"{statistics.median(largest.values()):.2f}" if largest else "nothing was measured"
        return trouble(one, figures) or outcome(OK if largest else FAILED, text, **figures)
