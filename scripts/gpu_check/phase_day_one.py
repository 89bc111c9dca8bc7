"""Phase day-one: the measurements that decide what is worth building."""
from gpu_check import process
from gpu_check.phase import Phase, Step, outcome
from gpu_check.phase_benches import read_json, scratch, trouble
from gpu_check.state import FAILED, OK


class DayOne(Phase):
    name = "day-one"
    answers = "what does a node of a graph cost, and what does each product of cuBLASLt?"

    def steps(self, context):
        return [Step("nodes", lambda context, budget_s: self.measure(context, "node_bench", budget_s)),
                Step("products", lambda context, budget_s: self.measure(context, "product_bench", budget_s))]

    def measure(self, context, program, budget_s):
        out = scratch(context, self.name, program)
        small = ["--samples", "2", "--quick"] if context.quick else []
        one = process.run(context.job(program, "--json", out, *small, log=(self.name, program)), budget_s)
        figures = read_json(out) or {"rows": []}
        text = f"{len(figures['rows'])} rows of {program}"
        return trouble(one, figures) or outcome(OK if figures["rows"] else FAILED, text, **figures)
