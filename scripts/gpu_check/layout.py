"""Where things are. A bundle has the repository's paths, only fewer of them, so both are found alike."""
import json
import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
PRESET = "gpu-check"
BUILD = os.path.join("build", PRESET)
MANIFEST = "manifest.json"  # only a bundle has one
MNIST = "mnist"

PROGRAMS = {"elbo": "apps/elbo", "kernels_test": "tests/kernels_test", "engine_test": "tests/engine_test",
            "models_test": "tests/models_test", "step_worker": "bench/step_worker",
            "kernel_bench": "bench/kernel_bench", "node_bench": "bench/node_bench",
            "product_bench": "bench/product_bench", "conv_device_bench": "bench/conv_device_bench"}
TESTS = ("kernels_test", "engine_test", "models_test")


class CheckError(Exception):
    """One line for the user; ends the program with status 1."""


class Layout:
    """The programs of one build."""

    def __init__(self, build=None):
        self.build = os.path.abspath(build) if build else os.path.join(ROOT, BUILD)

    def program(self, name):
        return os.path.join(self.build, PROGRAMS[name])

    def has(self, name):
        return os.access(self.program(name), os.X_OK)

    def programs(self):
        """{name: path} of those that are there."""
        return {name: self.program(name) for name in PROGRAMS if self.has(name)}

    def check(self, names):
        missing = [name for name in names if not self.has(name)]
        if missing:
            raise CheckError(f"{self.build} lacks {', '.join(missing)}; build it with scripts/gpu-check "
                             "pack, or name another build with --build")


def manifest():
    """What `pack` wrote into the bundle; {} in the repository."""
    try:
        with open(os.path.join(ROOT, MANIFEST), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def mnist_folder(given):
    """The folder with MNIST's files, or None."""
    for folder in (given, os.path.join(ROOT, MNIST)):
        if folder and os.path.isdir(folder):
            return os.path.abspath(folder)
    return None
