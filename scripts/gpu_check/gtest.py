"""Running GoogleTest programs in shards, and reading what they print.

What they print is read rather than --gtest_output's file, because that is written at the very end: a
program that crashes or hangs leaves none, and the last case it began is what one wants to know.
"""
import collections
import dataclasses
import re

EVENT = re.compile(r"\[ +(RUN|OK|FAILED|SKIPPED) +\] ([^\s,]+)")
RUNNING = re.compile(r"^\[==========\] Running (\d+) tests? from", re.M)
END = re.compile(r"^\[==========\] \d+ tests? from .* ran\.", re.M)
SKIP_REASON = re.compile(r": Skipped\n(.*)")
NOT_TESTED = "NOT TESTED on CUDA: "  # what tests/support/device.cpp puts before the runtime's reason
CUDA = re.compile("cuda", re.I)
MOST_LISTED = 20  # failures and reasons in a report; all are in the log
FAILURE_CHARACTERS = 600


@dataclasses.dataclass
class Report:
    expected: int = 0
    passed: int = 0
    failures: dict = dataclasses.field(default_factory=dict)  # case: what it said
    skips: dict = dataclasses.field(default_factory=dict)  # case: reason
    unfinished: list = dataclasses.field(default_factory=list)  # how a shard ended too early, and in which case

    def add(self, other):
        self.expected += other.expected
        self.passed += other.passed
        self.failures |= other.failures
        self.skips |= other.skips
        self.unfinished += other.unfinished

    @property
    def ran(self):
        return self.passed + len(self.failures) + len(self.skips)

    def reasons(self):
        return dict(collections.Counter(self.skips.values()).most_common(MOST_LISTED))

    def cuda_skips(self):
        return {case: reason for case, reason in self.skips.items() if CUDA.search(reason)}

    def as_json(self):
        return {"expected": self.expected, "passed": self.passed, "failed": len(self.failures),
                "skipped": len(self.skips), "skip_reasons": self.reasons(),
                "failures": dict(list(self.failures.items())[:MOST_LISTED]), "unfinished": self.unfinished}


def parse(text, outcome_text="", ended_well=True):
    """A Report of one program's output; `ended_well` is whether its exit status was 0 or 1."""
    report = Report()
    began = RUNNING.search(text)
    report.expected = int(began[1]) if began else 0
    end = END.search(text)
    events = list(EVENT.finditer(text, 0, end.start() if end else len(text)))
    current, start, done = None, 0, set()
    for event in events:
        kind, case = event[1], event[2]
        if kind == "RUN":
            current, start = case, event.end()
        elif case not in done:  # a case that forks may say it twice
            done.add(case)
            said = text[start:event.start()].strip()
            current = None
            if kind == "OK":
                report.passed += 1
            elif kind == "FAILED":
                report.failures[case] = said[:FAILURE_CHARACTERS]
            else:
                reason = SKIP_REASON.search(said)
                report.skips[case] = reason[1].strip() if reason else "no reason given"
    if not (end and began and ended_well and report.ran == report.expected):
        report.unfinished.append(f"{outcome_text or 'ended early'}, {report.ran} of {report.expected} cases"
                                 + (f", in {current}" if current else ""))
    return report


def shard_env(index, count):
    return {"GTEST_TOTAL_SHARDS": str(count), "GTEST_SHARD_INDEX": str(index), "GTEST_COLOR": "no"}


def report_of(outcomes):
    """One Report over the shards of a program."""
    whole = Report()
    for outcome in outcomes:
        whole.add(parse(outcome.text(), outcome.how(), outcome.status in (0, 1)))
    return whole
