"""Phase day-one: the measurements that decide what is worth building."""
from gpu_check import process
from gpu_check.phase import Phase, Step, outcome
from gpu_check.phase_benches import read_json, scratch, trouble
from gpu_check.state import FAILED, OK


class DayOne(Phase):
    name = "day-one"
    answers = "what does a node of a graph cost, each product of cuBLASLt, and each convolution by cuDNN and by us?"

    def steps(self, context):
        def step(name, program, *options):
            return Step(name, lambda context, budget_s: self.measure(context, name, program, options, budget_s))
        return [step("nodes", "node_bench"), step("products", "product_bench"),
                step("convolutions-cold", "conv_device_bench", "--cache", "cold"),
                step("convolutions-warm", "conv_device_bench", "--cache", "warm")]

    def measure(self, context, name, program, options, budget_s):
        out = scratch(context, self.name, name)
        small = ["--samples", "2", "--quick"] if context.quick else []
        one = process.run(context.job(program, "--json", out, *options, *small, log=(self.name, name)), budget_s)
        figures = read_json(out) or {"rows": []}
        text = f"{len(figures['rows'])} rows of {name}"
        return trouble(one, figures) or outcome(OK if figures["rows"] else FAILED, text, **figures)
