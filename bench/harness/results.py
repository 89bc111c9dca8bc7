"""The JSON that bench/run writes: statistics over blocks, loading, and text for tables."""
import json
import statistics

FORMAT = 1
OURS = "elbo"
CLOCK_TOLERANCE = 0.02  # a GPU whose clock moved more was not the same machine throughout


class ResultsError(Exception):
    """One line about a file of results."""


def quantile(values, fraction):
    ordered = sorted(values)
    position = fraction * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


def steady_rounds(blocks):
    """Rounds in which every contender's GPU clock was near the median; all of them on a CPU."""
    rounds = range(min(len(series) for series in blocks.values()))
    clocks = [block["gpu"]["sm_mhz"] for series in blocks.values() for block in series
              if block.get("gpu")]
    if not clocks:
        return list(rounds)
    usual = statistics.median(clocks)

    def steady(block):
        return abs(block.get("gpu", {}).get("sm_mhz", usual) / usual - 1) <= CLOCK_TOLERANCE

    return [i for i in rounds if all(steady(series[i]) for series in blocks.values())]


def summarise(blocks, batch):
    """{contender: figures} from {contender: [{"steps", "wall_s", "cpu_s", ...} of each round]}. Ratios are
    the contender's time over ours in the same round."""
    rounds = steady_rounds(blocks)
    figures = {}
    if not rounds:
        raise ResultsError("the GPU's clock was steady in no round; nothing can be compared")

    def per_step(name, field):
        return [blocks[name][i][field] / blocks[name][i]["steps"] for i in rounds]

    for name in blocks:
        wall = per_step(name, "wall_s")
        figures[name] = {"us_per_step": 1e6 * statistics.median(wall),
                         "cpu_us_per_step": 1e6 * statistics.median(per_step(name, "cpu_s")),
                         "images_per_s": batch / statistics.median(wall)}
        if OURS in blocks:
            ratios = [theirs / ours for theirs, ours in zip(wall, per_step(OURS, "wall_s"))]
            figures[name]["ratio"] = {"median": statistics.median(ratios),
                                      "low": quantile(ratios, 0.1), "high": quantile(ratios, 0.9)}
    return figures


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            results = json.load(file)
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ResultsError(f"{path}: is not JSON: {error}") from error
    if not isinstance(results, dict) or results.get("format") != FORMAT:
        raise ResultsError(f"{path}: is not from bench/run, or from another version of it")
    return results


def conditions(results):
    """What must agree for two files to be comparable."""
    return tuple(results[key] for key in ("workload", "batch", "device", "precision", "threads"))


def threads_text(count):
    return f"{count} thread" + ("s" if count > 1 else "")


def title(results):
    return (f"{results['workload']}, batch {results['batch']}, {results['device']}, "
            f"{results['precision']}, {threads_text(results['threads'])}")


def significant(value):
    """Three digits, without an exponent."""
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def ratio_text(figures):
    ratio = figures.get("ratio")
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})" if ratio else "-"


def gate_text(gate):
    if gate is None:
        return "-"
    if gate.get("reference"):
        return "reference"
    if gate["window"] is None:
        return "not finite"
    return f"{100 * gate['window']:.1f} % / {100 * gate['mean']:+.1f} %"
