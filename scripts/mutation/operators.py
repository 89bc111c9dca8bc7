"""Finds places in CUDA sources where one small change makes a plausible bug."""
import dataclasses
import re

# A place in a file, and what it becomes. Lines and columns count from 1.


@dataclasses.dataclass(frozen=True)
class Mutant:
    file: str
    line: int
    column: int
    operator: str
    old: str
    new: str
    source_line: str

    @property
    def name(self):
        return f"{self.file}:{self.line}:{self.column}:{self.operator}"

    def apply(self, text):
        lines = text.split("\n")
        line = lines[self.line - 1]
        start = self.column - 1
        assert line[start:start + len(self.old)] == self.old, self.name
        lines[self.line - 1] = line[:start] + self.new + line[start + len(self.old):]
        return "\n".join(lines)


# (operator, pattern of what changes, replacement). Patterns see code without comments and strings,
# clang-formatted: binary operators have spaces, template brackets have none. Group 1, if there is
# one, is the part that changes; the rest is context.
FLOAT = r"-?\d+\.\d*f?|\d+e-?\d+f?"
NOT_FLOAT = rf"(?!{FLOAT})"
OPERATORS = [
    ("barrier", r"__sync(?:threads|warp)\(\);", ";"),
    ("fence", r"__threadfence\(\);", ";"),
    ("mask", r"0xffffffffu", "0x7fffffffu"),
    ("bound", rf"( < ){NOT_FLOAT}", " <= "),
    ("bound", rf"( <= ){NOT_FLOAT}", " < "),
    ("bound", rf"( > ){NOT_FLOAT}(?!0 \? )", " >= "),
    ("bound", rf"( >= ){NOT_FLOAT}", " > "),
    ("guard", rf"( == ){NOT_FLOAT}", " != "),
    ("guard", rf"( != ){NOT_FLOAT}", " == "),
    ("offset", rf"( \+ 1)(?![\w.])", " + 2"),
    ("offset", rf"( - 1)(?![\w.])", " - 2"),
    ("stride", r"\w+ (\+= )[\w.]+(?: \* [\w.]+)?\) ", "+= 2 * "),
    ("stride", r"\bthreadIdx\.x( \+ )", " - "),
    ("stride", r"\b(blockDim\.x)\b", "(blockDim.x + 32)"),
    ("stride", r"\b(gridDim\.x)\b(?! - 1)", "(gridDim.x + 1)"),
    ("start", r"= (threadIdx\.x);", "threadIdx.x + 1"),
    ("tree", r"( /= 2)\b", " /= 4"),
    ("tail", r"( % )(?=[\w.]+<|k[A-Z]|\d)", " / "),
    ("sign", r"(?<=[\w)\]])( \+ )(?!1\b(?!\.))", " - "),
    ("sign", r"(?<=[\w)\]])( - )(?!1\b(?!\.))", " + "),
    ("sign", r"(?:= |return |\(|, |\? |: )(-)(?=[\w(])", ""),
    ("sign", r"( \+= )(?![^;]*\) )", " -= "),
    ("factor", r"\b0\.5f", "1.0f"),
    ("factor", r"\b2\.0f", "1.0f"),
    ("ticket", r"\*\w*ticket\w* = 0;", ";"),
]
_COMPILED = [(name, re.compile(pattern), new) for name, pattern, new in OPERATORS]

# Where a function of the device begins. ELBO_HD is scalar maths that runs on both.
_DEVICE = re.compile(r"\b(?:__global__|__device__|ELBO_HD)\b")
# Lines of host functions that decide how many threads run over what.
_CONFIGURATION = re.compile(r"\b(?:gpu::launch|blocks_for|grid|block|kBlock|kMaxBlocks)\b")


def blank_comments(text):
    """The text with comments, strings and preprocessor lines replaced by spaces, same layout."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|^[ \t]*#(?:\\\n|[^\n])*',
                         re.S | re.M)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def device_ranges(code):
    """Character ranges of the bodies of functions that run on the device."""
    ranges = []
    for match in _DEVICE.finditer(code):
        start = code.find("{", match.end())
        semicolon = code.find(";", match.end())
        if start < 0 or 0 <= semicolon < start:
            continue  # a declaration
        depth, end = 0, start
        while end < len(code):
            depth += {"{": 1, "}": -1}.get(code[end], 0)
            end += 1
            if depth == 0:
                break
        ranges.append((match.start(), end))
    return ranges


def find_mutants(file, text):
    code = blank_comments(text)
    ranges = device_ranges(code)
    starts = [0]
    for line in code.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    found = {}
    lines = text.split("\n")
    for number, line in enumerate(code.split("\n"), 1):
        on_device = any(a <= starts[number - 1] + len(line) // 2 < b for a, b in ranges)
        if not on_device and not _CONFIGURATION.search(line):
            continue
        for operator, pattern, new in _COMPILED:
            if not on_device and operator not in ("bound", "offset", "tail", "sign"):
                continue
            for match in pattern.finditer(line):
                group = 1 if match.re.groups else 0
                mutant = Mutant(file, number, match.start(group) + 1, operator, match[group], new,
                                lines[number - 1].strip())
                found.setdefault((number, mutant.column, new), mutant)
    return sorted(found.values(), key=lambda m: (m.line, m.column, m.operator))
