"""What the machine is and what else it is doing."""
import json
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Settings of a user's that children inherit and that decide how fast they are.
SETTINGS = ("OMP_WAIT_POLICY", "OMP_PROC_BIND", "GOMP_SPINCOUNT", "GOMP_CPU_AFFINITY", "KMP_BLOCKTIME",
            "KMP_AFFINITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "LD_PRELOAD",
            "XLA_FLAGS", "NVIDIA_TF32_OVERRIDE")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def first_line(command):
    """Of what a program prints; "" if it cannot be run."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.split("\n", maxsplit=1)[0].strip()


def commit():
    """Of the sources; a bundle of scripts/gpu-check has it written down."""
    try:
        with open(os.path.join(ROOT, "manifest.json"), encoding="utf-8") as file:
            return json.load(file)["commit"]
    except FileNotFoundError:
        return first_line(["git", "describe", "--always", "--dirty"])


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else "unknown"


def describe(device):
    facts = {"cpu": cpu_model(), "cpus": os.cpu_count(), "kernel": os.uname().release}
    if device == "cuda":
        facts["gpu"] = first_line(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return facts


def settings():
    return {name: os.environ[name] for name in SETTINGS if name in os.environ}


def busy_s():
    """CPU seconds that all CPUs have worked since boot, time stolen by other guests included."""
    with open("/proc/stat", encoding="utf-8") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK_S


def process_s(pid):
    """CPU seconds of all threads of a process."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def gpu_state():
    """{sm_mhz, watt, celsius} at this moment; {} where nvidia-smi does not answer."""
    line = first_line(["nvidia-smi", "--query-gpu=clocks.sm,power.draw,temperature.gpu",
                       "--format=csv,noheader,nounits"])
    try:
        return dict(zip(("sm_mhz", "watt", "celsius"), map(float, line.split(",")), strict=True))
    except ValueError:
        return {}
