#!/usr/bin/env python3
"""Does a bundle of scripts/gpu-check work away from where it was built?  check_bundle.py BUNDLE

Unpacks it into a folder of its own, runs it with next to nothing in the environment, a little of every phase,
and looks at the results. Where there is no GPU, phases that need one must be skipped and say so.
"""
import json
import os
import subprocess
import sys
import tarfile
import tempfile

CPU_PHASES = ("environment", "tests", "kernel-bench", "step-bench")
OUTPUTS = ["gpu-check-logs.tar.gz", "gpu-check.json", "gpu-check.log"]


def check(true, text):
    if not true:
        sys.exit(f"check_bundle: {text}")


def run(root, out, *options):
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run([os.path.join(root, "gpu-check"), "run", "--quick", "--out", out, *options],
                          env=environment, cwd="/", check=False).returncode


def check_results(results, has_gpu):
    phases = results["phases"]
    for name, phase in phases.items():
        wanted = ("ok", "SKIPPED") if has_gpu else ("cpu-only",) if name in CPU_PHASES else ("SKIPPED",)
        check(phase["result"] in wanted, f"{name} is {phase['result']}; expected {' or '.join(wanted)}")
        check(phase["remark"], f"{name} says nothing")
    check(set(CPU_PHASES) <= set(phases), "a phase is missing")
    for program, step in phases["tests"]["steps"].items():
        check(step["passed"] > 0 and step["failed"] == 0 and not step["unfinished"],
              f"{program}: {step['remark']}")
        check(step["passed"] + step["skipped"] == step["expected"], f"{program}: cases are missing")
    kernels = phases["tests"]["steps"]["kernels_test"]
    check(has_gpu or (kernels["skipped"] > 0 and kernels["skip_reasons"]), "no CUDA case was seen to be skipped")
    libraries = phases["environment"]["steps"]["facts"]["libraries"]
    check(libraries and all(found["path"] for found in libraries.values()), f"libraries: {libraries}")
    for name in ("kernel-bench", "step-bench"):
        for label, step in phases[name]["steps"].items():
            figures = step.get("cells", step.get("rows"))
            check(figures, f"{name} {label} measured nothing")


def main():
    with tempfile.TemporaryDirectory(prefix="gpu-check-bundle-") as folder:
        with tarfile.open(sys.argv[1]) as archive:
            archive.extractall(folder, filter="data")
        root, out = os.path.join(folder, "elbo-gpu-check"), os.path.join(folder, "out")
        check(run(root, out) == 0, "the run failed")
        check(sorted(os.listdir(out)) == OUTPUTS, f"left {os.listdir(out)}")
        with open(os.path.join(out, "gpu-check.json"), encoding="utf-8") as file:
            results = json.load(file)
        has_gpu = bool(results["device"])
        check_results(results, has_gpu)
        status = run(root, os.path.join(folder, "second"), "--require-gpu", "--phase", "environment")
        check(status == (0 if has_gpu else 3), f"--require-gpu ended with status {status}")
    print("check_bundle: the bundle works")


if __name__ == "__main__":
    main()
