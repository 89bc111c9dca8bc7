"""What a person reads at the end, and what is sent back."""
import io
import os
import tarfile

from gpu_check.state import FAILED, OK, TIMEOUT

LOG_BYTES = 1_000_000  # of one log; the middle of a longer one is left out
NOT_RUN = "not run"


def table(phases, names):
    """Rows of {name: entry} in the order of `names`."""
    lines = [f"{'phase':<14} {'result':<9} {'s':>6}  remark"]
    for name in names:
        entry = phases.get(name) or {}
        result = entry.get("result") or NOT_RUN
        seconds = f"{entry['seconds']:.0f}" if entry.get("result") else "-"
        lines.append(f"{name:<14} {result:<9} {seconds:>6}  {entry.get('remark', '')}".rstrip())
    return "\n".join(lines)


def exit_status(phases, names):
    """1: something failed; 75 (try again): time ran out; 0: all was done that can be done here."""
    results = [(phases.get(name) or {}).get("result") for name in names]
    if FAILED in results:
        return 1
    return 75 if TIMEOUT in results or None in results else 0


def shortened(path, most=LOG_BYTES):
    with open(path, "rb") as file:
        text = file.read()
    if len(text) <= most:
        return text
    half = most // 2
    return text[:half] + f"\n[... {len(text) - 2 * half} bytes left out ...]\n".encode() + text[-half:]


def pack_logs(folder, out):
    """All of folder/**/*.log as one file."""
    partial = out + ".part"
    with tarfile.open(partial, "w:gz") as archive:
        for parent, _, names in sorted(os.walk(folder)):
            for name in sorted(names):
                path = os.path.join(parent, name)
                entry = tarfile.TarInfo(os.path.relpath(path, folder))
                text = shortened(path)
                entry.size, entry.mtime = len(text), int(os.path.getmtime(path))
                with io.BytesIO(text) as file:
                    archive.addfile(entry, file)
    os.replace(partial, out)


def unpack_logs(archive, folder):
    """Logs of an earlier run whose work folder is gone, so that they are sent back again."""
    if os.path.exists(archive) and not os.path.isdir(folder):
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")


def loudest(phases, names):
    """Lines for what must not be overlooked."""
    for name in names:
        result = (phases.get(name) or {}).get("result")
        if result != OK:
            yield f"!!!! {name}: {result or NOT_RUN}"
