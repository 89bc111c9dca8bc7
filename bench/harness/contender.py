"""A contender of bench/run: a child process that trains when told to (protocol: bench/step_worker.cpp)."""
import json
import os
import subprocess

from harness import machine

UNAVAILABLE = 3  # exit status of a child that lacks a library or a device


class ContenderError(Exception):
    """One line that names the contender and says what went wrong."""


class Unavailable(ContenderError):
    """Not on this machine; no failure."""


class Contender:
    def __init__(self, name, command, *, threads, cpus, log, env=None):
        """Starts the child on `cpus` (None: all) and waits until it is ready; its stderr goes to `log`.
        `env` comes on top of ours."""
        self.name = name
        self.log = log
        counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
                               str(threads))
        try:
            with open(log, "w", encoding="utf-8") as stderr:
                self.child = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
                    env=os.environ | counts | (env or {}),
                    preexec_fn=(lambda: os.sched_setaffinity(0, cpus)) if cpus else None)
        except OSError as error:
            raise ContenderError(f"{name}: cannot start {command[0]}: {error.strerror}") from error
        self.ready = self._reply()

    def steps(self, count):
        """{"wall_s": ..., "cpu_s": ...} of `count` training steps."""
        self.start_steps(count)
        return self._reply()

    def start_steps(self, count):
        self._send(f"steps {count}")

    def finish_steps(self):
        return self._reply()

    def losses(self, count):
        self._send(f"losses {count}")
        return self._reply()

    def cpu_s(self):
        return machine.process_s(self.child.pid)

    def stop(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()

    def _send(self, request):
        try:
            self.child.stdin.write(request + "\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            self._raise_dead()

    def _reply(self):
        line = self.child.stdout.readline()
        if not line.endswith("\n"):
            self._raise_dead()
        try:
            return json.loads(line)
        except ValueError as error:
            self.stop()
            raise ContenderError(f"{self.name}: answered {line.strip()!r}; expected JSON") from error

    def _raise_dead(self):
        status = self.child.wait()
        with open(self.log, encoding="utf-8", errors="replace") as file:
            said = [line.strip() for line in file if line.strip()]
        reason = said[-1] if said else "it said nothing"
        if status == UNAVAILABLE:
            raise Unavailable(reason)
        end = f"signal {-status}" if status < 0 else f"status {status}"
        raise ContenderError(f"{self.name} ended with {end}: {reason}")
