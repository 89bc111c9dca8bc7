"""Phase environment: what is being checked, on what."""
import json
import os
import platform
import re

from gpu_check import layout
from gpu_check.phase import Phase, Step, outcome
from gpu_check.process import output_of
from gpu_check.state import FAILED, OK

GPU_FACTS = ("name", "driver_version", "memory.total", "compute_cap", "clocks.sm", "clocks.max.sm", "clocks.mem",
             "clocks.max.mem", "power.limit", "temperature.gpu", "ecc.mode.current", "mig.mode.current")
PACKAGES = ("torch", "triton", "jax", "jaxlib", "numpy", "nvidia-cublas", "nvidia-cudnn-cu13")
ASK_PACKAGES = """
import json, platform, sys
from importlib import metadata
found = {"python": platform.python_version(), "interpreter": sys.executable}
for name in %r:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        found[name] = None
print(json.dumps(found))
"""
ASK_VERSION = "import ctypes; f = ctypes.CDLL(%r).cublasLtGetVersion; f.restype = ctypes.c_size_t; print(f())"


def doctor(context):
    text = output_of([context.layout.program("elbo"), "doctor", "--json"], context.env())
    return json.loads(text) if text else None


def gpu_facts():
    text = output_of(["nvidia-smi", f"--query-gpu={','.join(GPU_FACTS)}", "--format=csv,noheader"])
    values = [value.strip() for value in (text or "").split("\n", 1)[0].split(",")]
    return dict(zip(GPU_FACTS, values)) if len(values) == len(GPU_FACTS) else {}


def cpu_facts():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"^model name\s*: (.*)", file.read(), re.M)
    return {"cpu": model[1] if model else "unknown", "cpus": os.cpu_count(),
            "allowed_cpus": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "libc": " ".join(platform.libc_ver())}


def packages(python):
    text = output_of([python, "-c", ASK_PACKAGES % (PACKAGES,)])
    return json.loads(text) if text else {}


def library_facts(context):
    """{soname: {path, version}}; only cublasLt tells its version without a device."""
    facts = {}
    for name, path in context.libraries.chosen.items():
        facts[name] = {"path": path}
        if path and name.startswith("libcublasLt"):
            version = output_of([context.python, "-c", ASK_VERSION % path], context.env())
            facts[name]["version"] = int(version) if version else None
    return facts


class Environment(Phase):
    name = "environment"
    answers = "which GPU, driver, libraries, clocks, CPU and Python packages?"
    limit_s = 120.0
    on_cpu = True

    def steps(self, context):
        return [Step("facts", self.collect)]

    def collect(self, context, _budget_s):
        facts = {"cpu": cpu_facts(), "gpu": gpu_facts(), "libraries": library_facts(context),
                 "packages": packages(context.python), "bundle": layout.manifest(), "doctor": doctor(context)}
        if context.libraries.missing:
            return outcome(FAILED, f"not found: {', '.join(context.libraries.missing)}; set CUDA_PATH, or "
                           "ELBO_VENDOR_LIBRARIES to their folder", **facts)
        if facts["doctor"] is None:
            return outcome(FAILED, "elbo doctor does not run", **facts)
        return outcome(OK, f"{context.gpu or 'no GPU: ' + facts['doctor']['device_auto']}; "
                       f"cublasLt {facts['doctor'].get('cublaslt')}; {facts['doctor']['program']}", **facts)
