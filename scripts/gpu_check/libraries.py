"""Shared libraries: which a bundle brings along, and where a machine keeps those of NVIDIA."""
import glob
import os
import re
import sys

from gpu_check.layout import CheckError
from gpu_check.process import output_of

# Of the driver or the CUDA toolkit; found on the machine, never packed. The number at the end of a
# library's name is the major version, so the right name is the right version.
VENDOR = re.compile(r"^lib(cuda|cublas|cublasLt|cudnn\w*|cudart|nvrtc\w*|nvJitLink|cu\w+|nv\w+)\.so\b")
# glibc must be the machine's own: its parts work with each other and with the kernel's loader only.
SYSTEM = re.compile(r"^(linux-vdso|ld-linux-x86-64|lib(c|m|dl|rt|pthread|resolv|util|mvec))\.so\b")

LDD_LINE = re.compile(r"^\s*(\S+) => (not found|\S+)", re.M)


def needed(program, env=None):
    """{soname: path, or None where the loader finds none} of everything a program loads."""
    text = output_of(["ldd", program], env)
    if text is None:
        raise CheckError(f"ldd cannot read {program}")
    return {name: None if path == "not found" else path for name, path in LDD_LINE.findall(text)}


def to_pack(programs, env=None):
    """Paths of the libraries that a bundle must bring along."""
    found = {}
    for program in programs:
        for name, path in needed(program, env).items():
            if VENDOR.match(name) or SYSTEM.match(name):
                continue
            if path is None:
                raise CheckError(f"{program} needs {name}, which is not on this machine")
            found[name] = path
    return found


def python_folders(pythons):
    """Folders that the interpreters import from; nvidia's wheels lie there."""
    ask = "import sys, site; print('\\n'.join(sys.path + site.getsitepackages() + [site.getusersitepackages()]))"
    for python in dict.fromkeys(pythons):
        yield from (line for line in (output_of([python, "-c", ask]) or "").splitlines() if line)


def candidate_folders(environ=None, pythons=(), root="/"):
    """Where vendor libraries may be, best first: the user's word, toolkits, the loader's cache, wheels."""
    environ = os.environ if environ is None else environ
    toolkits = [environ.get(name) for name in ("CUDA_PATH", "CUDA_HOME")]
    toolkits += [os.path.join(root, "usr/local/cuda"),
                 *sorted(glob.glob(os.path.join(root, "usr/local/cuda-*")), reverse=True)]
    folders = [environ.get("ELBO_VENDOR_LIBRARIES")]
    for toolkit in filter(None, toolkits):
        folders += [os.path.join(toolkit, part) for part in ("lib64", "lib", "targets/x86_64-linux/lib")]
    if root == "/":
        cached = re.findall(r"=> (/\S+)", output_of(["ldconfig", "-p"]) or output_of(["/sbin/ldconfig", "-p"])
                            or "")
        folders += [os.path.dirname(path) for path in cached if VENDOR.match(os.path.basename(path))]
    for folder in python_folders(pythons):
        folders += [*sorted(glob.glob(os.path.join(folder, "nvidia/cu[0-9]*/lib"))),
                    *sorted(glob.glob(os.path.join(folder, "nvidia/*/lib")))]
    return [folder for folder in dict.fromkeys(filter(None, folders)) if os.path.isdir(folder)]


def find(names, folders):
    """{soname: path} of the first folder that has it; None where none does."""
    return {name: next((path for path in (os.path.join(folder, name) for folder in folders)
                        if os.path.exists(path)), None) for name in names}


class VendorLibraries:
    """The vendor libraries of a set of programs on this machine, and the environment that finds them."""

    def __init__(self, programs, python=None):
        names = sorted({name for program in programs for name in needed(program)
                        if VENDOR.match(name) and not name.startswith("libcuda.so")})
        pythons = [python or sys.executable, "python3", "python"]
        self.chosen = find(names, candidate_folders(pythons=pythons))
        self.folders = list(dict.fromkeys(os.path.dirname(path) for path in self.chosen.values() if path))

    @property
    def missing(self):
        return [name for name, path in self.chosen.items() if path is None]

    def path(self):
        """For LD_LIBRARY_PATH of our programs; not of Python's, whose packages bring their own."""
        return ":".join([*self.folders, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])

    def env(self):
        return {"LD_LIBRARY_PATH": self.path()} if self.path() else {}
