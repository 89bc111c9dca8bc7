"""`gpu-check pack`: builds the preset and packs what a machine with a GPU needs to check it."""
import datetime
import hashlib
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

from gpu_check import libraries
from gpu_check.layout import BUILD, MANIFEST, MNIST, PRESET, PROGRAMS, ROOT, CheckError, Layout
from gpu_check.state import write_json

FOLDER = "elbo-gpu-check"  # what the bundle unpacks to
MOST_BYTES = 40 * 1000 * 1000  # what still travels easily
DEFAULT_ARCHITECTURES = "80,90"
# Of C++ and CUDA code. Both are named at every build, as CMake would keep what an earlier one was told.
OPTIMISED = ("-O3 -DNDEBUG", "-O3 -DNDEBUG")
UNOPTIMISED = ("-O1 -DNDEBUG", "-O1 -DNDEBUG -Xcicc -O1 -Xptxas -O1")
# Beside the programs. bench/results are old figures and stay behind.
SCRIPTS = ["scripts/gpu-check", "scripts/gpu_check", "bench/run", "bench/sweep", "bench/report",
           "bench/compare", "bench/harness", "bench/peers", "docs/gpu-check.md", "LICENSE"]
# All programs hold the same kernels; a dictionary that spans several of them stores these once, where
# gzip's 32 KB or xz's usual 8 MB store them eight times. It must be larger than the largest program, 80 MB
# with one architecture and twice that with two.
XZ_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 256 << 20}]


def cmake_architectures(given):
    """"80,90" to machine code for each and, for GPUs to come, PTX of the last."""
    numbers = [number for number in given.split(",") if number]
    if not numbers or not all(number.isdigit() for number in numbers):
        raise CheckError(f"--arch {given}: expected numbers such as 80,90")
    return ";".join([f"{number}-real" for number in numbers] + [f"{numbers[-1]}-virtual"])


def build(architectures, programs, jobs, flags):
    for command in (["cmake", "--preset", PRESET, f"-DCMAKE_CUDA_ARCHITECTURES={architectures}",
                     f"-DCMAKE_CXX_FLAGS_RELEASE={flags[0]}", f"-DCMAKE_CUDA_FLAGS_RELEASE={flags[1]}"],
                    ["cmake", "--build", BUILD, "-j", str(jobs), "--target", *programs]):
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            raise CheckError(f"{' '.join(command)} failed")


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def add_programs(folder, programs):
    """Stripped programs, and the libraries they need where the programs look for them ($ORIGIN/../lib)."""
    layout, digests = Layout(), {}
    layout.check(programs)
    shipped = libraries.to_pack([layout.program(name) for name in programs])
    for name in programs:
        relative = PROGRAMS[name]
        target = os.path.join(folder, BUILD, relative)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        subprocess.run(["strip", "-o", target, layout.program(name)], check=True)
        digests[name] = sha256(target)
    os.makedirs(os.path.join(folder, BUILD, "lib"))
    for name, path in shipped.items():
        shutil.copy(os.path.realpath(path), os.path.join(folder, BUILD, "lib", name))
    return digests, sorted(shipped)


def add_scripts(folder):
    for relative in SCRIPTS:
        source, target = os.path.join(ROOT, relative), os.path.join(folder, relative)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.isdir(source):
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    os.symlink("scripts/gpu-check", os.path.join(folder, "gpu-check"))


def add_mnist(folder, source):
    names = [name for name in sorted(os.listdir(source)) if "-ubyte" in name]
    if not any("train-images" in name for name in names):
        raise CheckError(f"--mnist {source}: has no train-images-idx3-ubyte, plain or .gz")
    os.makedirs(os.path.join(folder, MNIST))
    for name in names:
        shutil.copy(os.path.join(source, name), os.path.join(folder, MNIST, name))


def commit():
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True,
                          text=True, check=False)
    return done.stdout.strip() or "unknown"


def write_bundle(folder, out, most_bytes=MOST_BYTES):
    """An archive of `folder`, or an error that leaves none."""
    kind = os.path.splitext(out)[1]
    partial = out + ".part"
    try:
        with open(partial, "wb") as raw:
            if kind == ".xz":
                with lzma.open(raw, "wb", filters=XZ_FILTERS) as file, \
                        tarfile.open(fileobj=file, mode="w|") as archive:
                    archive.add(folder, FOLDER)
            else:
                with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=6) as archive:
                    archive.add(folder, FOLDER)
        size = os.path.getsize(partial)
        if size > most_bytes:
            raise CheckError(f"the bundle has {size / 1e6:.1f} MB; at most {most_bytes / 1e6:.0f} are allowed")
        os.replace(partial, out)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)
    return size


def pack(args):
    if not args.out.endswith((".tar.xz", ".tar.gz")):
        raise CheckError(f"--out {args.out}: expected a name in .tar.xz or .tar.gz")
    if args.out.endswith(".gz"):
        print("gpu-check: .tar.xz is three times smaller", file=sys.stderr)
    architectures = cmake_architectures(args.arch)
    programs = [name for name in PROGRAMS if name not in args.without]
    build(architectures, programs, args.jobs, UNOPTIMISED if args.unoptimised else OPTIMISED)
    with tempfile.TemporaryDirectory(prefix="elbo-gpu-check-") as folder:
        digests, shipped = add_programs(folder, programs)
        add_scripts(folder)
        if args.mnist:
            add_mnist(folder, args.mnist)
        write_json(os.path.join(folder, MANIFEST), {
            "commit": commit(), "architectures": architectures, "programs": digests, "libraries": shipped,
            "mnist": bool(args.mnist), "optimised": not args.unoptimised,
            "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds")})
        os.makedirs(os.path.dirname(os.path.abspath(args.out)), exist_ok=True)
        size = write_bundle(folder, args.out)
    print(f"gpu-check: {args.out}: {size / 1e6:.1f} MB, {len(digests)} programs for {architectures}; "
          f"brings {', '.join(shipped) or 'no libraries'}{', MNIST' if args.mnist else ''}")
    return 0
