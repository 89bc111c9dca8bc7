"""Child processes with a time limit that holds for everything they start."""
import contextlib
import dataclasses
import os
import signal
import subprocess
import time

POLL_S = 0.05
GRACE_S = 3.0  # between asking a group to end and ending it


@dataclasses.dataclass
class Job:
    command: list
    log: str  # stdout and stderr go there
    env: dict = dataclasses.field(default_factory=dict)  # on top of ours
    cwd: str | None = None


@dataclasses.dataclass
class Outcome:
    status: int | None  # None: killed at the limit, or never started
    seconds: float
    log: str

    @property
    def timed_out(self):
        return self.status is None

    def text(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def how(self):
        """"status 1", "signal 11 (SIGSEGV)" or "time limit"."""
        if self.status is None:
            return "time limit"
        if self.status < 0:
            with contextlib.suppress(ValueError):
                return f"signal {-self.status} ({signal.Signals(-self.status).name})"
        return f"status {self.status}"

    def last_line(self):
        lines = [line.strip() for line in self.text().splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it said nothing"


def kill_group(pid):
    """Ends a process group that started with process `pid`, politely first."""
    for kind, patience in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, 0.0)):
        try:
            os.killpg(pid, kind)
        except (ProcessLookupError, PermissionError):
            return
        end = time.monotonic() + patience
        while time.monotonic() < end and group_lives(pid):
            time.sleep(POLL_S)


def group_lives(pid):
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


class Running:
    def __init__(self, job):
        self.job = job
        self.start = time.monotonic()
        os.makedirs(os.path.dirname(job.log), exist_ok=True)
        with open(job.log, "wb") as log:
            self.child = subprocess.Popen(job.command, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=subprocess.STDOUT, env=os.environ | job.env, cwd=job.cwd,
                                          start_new_session=True)

    def finished(self):
        return self.child.poll() is not None

    def outcome(self, in_time):
        """Ends whatever is left of the group, also what a finished child left behind."""
        seconds = time.monotonic() - self.start
        if in_time:
            self.child.wait()
        else:
            # The leader is reaped as it ends, or the group would live on as a zombie.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(GRACE_S)
        kill_group(self.child.pid)
        self.child.wait()
        return Outcome(self.child.returncode if in_time else None, seconds, self.job.log)


def run_all(jobs, limit_s, parallel=1):
    """Outcomes in the order of the jobs, `parallel` of which run at a time; all ends within limit_s."""
    deadline = time.monotonic() + limit_s
    waiting, running = list(enumerate(jobs)), {}
    outcomes = [Outcome(None, 0.0, job.log) for job in jobs]
    try:
        while (waiting or running) and time.monotonic() < deadline:
            while waiting and len(running) < parallel:
                index, job = waiting.pop(0)
                running[index] = Running(job)
            for index in [i for i, one in running.items() if one.finished()]:
                outcomes[index] = running.pop(index).outcome(in_time=True)
            time.sleep(POLL_S)
    finally:
        for index, one in running.items():
            outcomes[index] = one.outcome(in_time=False)
    return outcomes


def run(job, limit_s):
    return run_all([job], limit_s)[0]


def output_of(command, env=None, limit_s=60):
    """What a short command prints to stdout; None if it cannot be run or fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, errors="replace", timeout=limit_s,
                              env=os.environ | (env or {}), check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
