"""Builds kernels_test with one changed source file, reusing the objects of a finished build."""
import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARGET = "tests/kernels_test"


class BuildError(Exception):
    pass


def _output(command, cwd):
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=True, stdin=subprocess.DEVNULL).stdout


@dataclasses.dataclass
class Outcome:
    kind: str  # caught, survived, stillborn (does not compile)
    how: str = ""


class Build:
    """A build directory of preset sim, sim-asan or sim-race in which kernels_test is up to date."""

    def __init__(self, name, directory):
        self.name = name
        self.directory = os.path.abspath(directory)
        if not os.path.exists(os.path.join(self.directory, TARGET)):
            raise BuildError(f"{self.directory}/{TARGET} is missing: build preset {name} first "
                             f"(cmake --preset {name} && ninja -C {directory} kernels_test)")
        with open(os.path.join(self.directory, "compile_commands.json"), encoding="utf-8") as file:
            self.commands = {self._object(entry): entry["command"] for entry in json.load(file)}
        self.dependents = self._read_dependents()
        self.link = self._link_command()

    @staticmethod
    def _object(entry):
        return entry.get("output") or re.search(r" -o (\S+)", entry["command"])[1]

    def _read_dependents(self):
        """Source or header, relative to the root, to the .cu objects that include it."""
        dependents, current = {}, None
        for line in _output(["ninja", "-t", "deps"], self.directory).splitlines():
            if line and not line.startswith(" "):
                current = line.split(":", 1)[0]
            elif line.strip() and current.endswith(".cu.o") and not current.startswith("bench/"):
                path = os.path.relpath(os.path.join(self.directory, line.strip()), ROOT)
                dependents.setdefault(path, []).append(current)
        return dependents

    def _link_command(self):
        lines = _output(["ninja", "-t", "commands", TARGET], self.directory).splitlines()
        return lines[-1]

    def compile(self, folder, relative, obj):
        """Compiles obj with folder/relative in place of ROOT/relative. Returns the new object."""
        out = os.path.join(folder, self.name, obj)
        os.makedirs(os.path.dirname(out), exist_ok=True)
        command = shlex.split(self.commands[obj])
        if command[0].endswith("ccache"):
            command = command[1:]
        source = os.path.join(ROOT, relative)
        if command[-1] == source:
            command[-1] = os.path.join(folder, relative)
        command[command.index("-o") + 1] = out
        for option in ("-MF", "-MT"):
            if option in command:
                command[command.index(option) + 1] = out + ".d"
        # -O1 compiles in half the time; line tables stay as they are.
        command[1:1] = ["-I", folder, f"-ffile-prefix-map={folder}={ROOT}"]
        command += ["-O1", "-w"]
        result = subprocess.run(command, cwd=self.directory, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, check=False)
        if result.returncode:
            raise BuildError(result.stdout[:400])
        return out

    def relink(self, folder, objects):
        """Links kernels_test with `objects` (original name to replacement) in front."""
        program = os.path.join(folder, self.name, "kernels_test")
        command = self.link
        for original in objects:
            command = command.replace(f" {original} ", " ")
        command = command.replace(f"-o {TARGET} ", f"{' '.join(objects.values())} -o {program} ", 1)
        command = command.split(" && cd ")[0]  # nothing after linking
        result = subprocess.run(command, cwd=self.directory, shell=True, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, check=False)
        if result.returncode or not os.path.exists(program):
            raise BuildError(result.stdout[:400])
        return program

    def test(self, program, suites, seconds):
        """Runs some suites ("" for all) until the first failure."""
        command = [program, "--gtest_brief=1", "--gtest_fail_fast"]
        if suites:
            command.append("--gtest_filter=" + ":".join(f"*{suite}.*" for suite in suites))
        environment = dict(os.environ, GOMP_SPINCOUNT="1000", ELBO_SIM_SEEDS="2")
        start = time.monotonic()
        try:
            result = subprocess.run(command, cwd=self.directory, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True, errors="replace",
                                    timeout=seconds, check=False, env=environment)
        except subprocess.TimeoutExpired:
            return Outcome("caught", "ran into the time limit"), seconds
        taken = time.monotonic() - start
        if result.returncode == 0:
            if not re.search(r"\[  PASSED  \] [1-9]", result.stdout):
                raise BuildError(f"no test ran: {' '.join(command)}")
            return Outcome("survived"), taken
        return Outcome("caught", _reason(result)), taken


def _reason(result):
    for pattern in (r"simulator: (.*)", r"cudasim: (.*)", r"(runtime error: .*)",
                    r"ERROR: (AddressSanitizer.*)", r"\[  FAILED  \] (\S+)"):
        found = re.search(pattern, result.stdout)
        if found:
            return found[1][:160]
    return f"exit status {result.returncode}"


def copy_with(folder, relative, text):
    """Writes the changed file where the compiler will find it first."""
    shutil.rmtree(folder, ignore_errors=True)
    path = os.path.join(folder, relative)
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
