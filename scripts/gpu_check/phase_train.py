"""Phase train: ten epochs on the GPU and the audit of what came out."""
import json
import os
import re
import shutil
import statistics

from gpu_check import process
from gpu_check.phase import Phase, Step, outcome
from gpu_check.state import FAILED, OK, TIMEOUT

EPOCHS = 10
# What right implementations of pytorch/examples' protocol end in; docs/benchmarks.md.
MNIST_BAND = (105.0, 106.3)
TRAINING_IMAGES = re.compile(r"data: (\d+) training")


class Train(Phase):
    name = "train"
    answers = "does training on the GPU reach the loss it must, and how long is an epoch?"

    def steps(self, context):
        precisions = ("fp32",) if context.quick else ("fp32", "tf32", "bf16")
        def step(precision):
            return Step(precision, lambda context, budget_s: self.train(context, precision, budget_s))
        return [step(precision) for precision in precisions]

    @staticmethod
    def arguments(context, precision, run):
        preset = "mlp-mnist" if context.mnist else "sprites"
        given = ["--data", context.mnist] if context.mnist else []
        short = ["--max-steps", "4", "--set", "data.train_samples=512", "--set", "data.test_samples=64"] \
            if context.quick else []
        # No pictures: what is timed is training.
        return ["train", "--preset", preset, *given, "--device", "cuda", "--precision", precision, "--seed", "1",
                "--epochs", EPOCHS, "--sample-interval", "0", "--set", "graph_steps=16", "--out", run,
                "--overwrite", *short]

    def train(self, context, precision, budget_s):
        run = os.path.join(context.work, "runs", precision)
        shutil.rmtree(run, ignore_errors=True)
        trained = process.run(context.job("elbo", *self.arguments(context, precision, run),
                                          log=("train", f"{precision}.train")), budget_s)
        if trained.timed_out:
            return outcome(TIMEOUT, "training was cut short")
        if trained.status != 0:
            return outcome(FAILED, f"elbo train ended with {trained.how()}: {trained.last_line()}")
        images = ["--images", "64"] if context.quick else []
        audited = process.run(context.job("elbo", "evaluate", "--run", run, "--json", *images,
                                          log=("train", f"{precision}.evaluate")), budget_s - trained.seconds)
        if audited.timed_out:
            return outcome(TIMEOUT, "the audit was cut short")
        if audited.status != 0:
            return outcome(FAILED, f"elbo evaluate ended with {audited.how()}: {audited.last_line()}")
        return self.judge(context, json.loads(audited.text()), speed(run, trained))

    @staticmethod
    def judge(context, audit, figures):
        figures = figures | {"audit": audit, "data": "mnist" if context.mnist else "sprites"}
        neg_elbo = audit["neg_elbo_nats"]
        epoch = f", {figures['epoch_s']:.3f} s per epoch" if figures["epoch_s"] else ""
        remark = (f"-ELBO {neg_elbo:.2f}, {audit['active_units']} of {audit['latent_dim']} units active, "
                  f"{figures['data']}{epoch}")
        low, high = MNIST_BAND
        if context.mnist and not context.quick and not low <= neg_elbo <= high:
            return outcome(FAILED, f"{remark}: outside of [{low}, {high}]", **figures)
        return outcome(OK, remark, **figures)


def speed(run, trained):
    """Seconds of the whole program and of an epoch; the latter from the median rate of the metrics."""
    with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as file:
        rates = [json.loads(line).get("img_per_s") for line in file]
    rates = [rate for rate in rates if rate]
    images = TRAINING_IMAGES.search(trained.text())
    epoch_s = int(images[1]) / statistics.median(rates) if rates and images else None
    return {"train_s": round(trained.seconds, 2), "img_per_s": statistics.median(rates) if rates else None,
            "epoch_s": epoch_s}
