"""The one file that knows what has been done: results so far, written whole after every step."""
import json
import os
import tempfile

from gpu_check.layout import CheckError

FORMAT = 1
OK, FAILED, TIMEOUT, SKIPPED, CPU_ONLY = "ok", "FAILED", "TIMEOUT", "SKIPPED", "cpu-only"
FINAL = (OK, FAILED)  # of these nothing is left to do; the others may fare better another time


def write_json(path, value):
    """The old file or the new one, whatever happens in between."""
    folder = os.path.dirname(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(prefix=os.path.basename(path), dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's file is for its owner alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


class State:
    """identity says what was checked on what: results of another build or GPU are not continued."""

    def __init__(self, path, identity):
        self.path = path
        self.value = {"format": FORMAT, "identity": identity, "phases": {}}
        if not os.path.exists(path):
            return
        try:
            with open(path, encoding="utf-8") as file:
                old = json.load(file)
        except ValueError as error:
            raise CheckError(f"{path}: is not JSON: {error}; remove it or use another --out") from error
        if not isinstance(old, dict) or old.get("format") != FORMAT or old.get("identity") != identity:
            raise CheckError(f"{path}: has results of another build, GPU or mode; use another --out")
        self.value = old

    def save(self):
        write_json(self.path, self.value)

    def set(self, key, value):
        self.value[key] = value
        self.save()

    def phase(self, name):
        return self.value["phases"].setdefault(name, {"result": None, "remark": "", "seconds": 0.0,
                                                      "steps": {}})

    def forget(self, name):
        self.value["phases"].pop(name, None)

    def record_step(self, phase, step, outcome):
        self.phase(phase)["steps"][step] = outcome
        self.save()

    def finish(self, phase, result, remark, seconds):
        entry = self.phase(phase)
        entry.update(result=result, remark=remark, seconds=round(entry["seconds"] + seconds, 1))
        self.save()

    def is_finished(self, phase):
        return self.phase(phase)["result"] in FINAL
