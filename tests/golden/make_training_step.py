#!/usr/bin/env python3
"""Makes training_step_<preset>.json: one training step of a preset as PyTorch computes it in float64.

    build/cpu/tests/models_test --gtest_also_run_disabled_tests --gtest_filter='*PrintNoise*' > noise.txt
    tests/golden/make_training_step.py noise.txt tests/golden

Needs torch and numpy. Weights and images are not stored: both sides draw them from the same integer hash
(uniform() here, golden_uniform() in tests/models/golden_step.h), rounded to float32. The noise is the
engine's own, as the test above prints it. Of each gradient the file keeps its norm, four dot products
with vectors of the same hash, and eight elements; of running statistics the same.
"""

import json
import sys

import numpy as np
import torch
from torch import nn

BATCH = 3
PROBES = 4
BUFFER_STREAM = 200


def uniform(stream: int, count: int) -> np.ndarray:
    """splitmix64 of (stream, i) as numbers in [0, 1)."""
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) + (np.uint64(stream) << np.uint64(32))
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def as_float32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).astype(np.float64)


class Burgess64(nn.Module):
    image, latent, likelihood = (3, 64, 64), 10, "bernoulli"

    def __init__(self):
        super().__init__()
        relu, halve = nn.ReLU, {"kernel_size": 4, "stride": 2, "padding": 1}
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 32, **halve), relu(), nn.Conv2d(32, 32, **halve), relu(),
            nn.Conv2d(32, 64, **halve), relu(), nn.Conv2d(64, 64, **halve), relu(),
            nn.Flatten(), nn.Linear(1024, 256), relu())
        self.fc_mu, self.fc_logvar = nn.Linear(256, 10), nn.Linear(256, 10)
        self.decoder = nn.Sequential(
            nn.Linear(10, 256), relu(), nn.Linear(256, 1024), relu(), nn.Unflatten(1, (64, 4, 4)),
            nn.ConvTranspose2d(64, 64, **halve), relu(), nn.ConvTranspose2d(64, 32, **halve), relu(),
            nn.ConvTranspose2d(32, 32, **halve), relu(), nn.ConvTranspose2d(32, 3, **halve))


class Vanilla64(nn.Module):
    image, latent, likelihood = (3, 64, 64), 128, "gaussian"

    def __init__(self):
        super().__init__()
        halve = {"kernel_size": 3, "stride": 2, "padding": 1}

        def normalised(layer, channels):
            return [layer, nn.BatchNorm2d(channels), nn.LeakyReLU()]

        down = [3, 32, 64, 128, 256, 512]
        up = [512, 256, 128, 64, 32, 32]
        encoder = [normalised(nn.Conv2d(i, o, **halve), o) for i, o in zip(down, down[1:])]
        decoder = [normalised(nn.ConvTranspose2d(i, o, output_padding=1, **halve), o)
                   for i, o in zip(up, up[1:])]
        self.encoder = nn.Sequential(*sum(encoder, []))
        self.fc_mu, self.fc_logvar = nn.Linear(2048, 128), nn.Linear(2048, 128)
        self.decoder = nn.Sequential(nn.Linear(128, 2048), nn.Unflatten(1, (512, 2, 2)),
                                     *sum(decoder, []), nn.Conv2d(32, 3, kernel_size=3, padding=1))


MODELS = {"burgess64": Burgess64, "vanilla64": Vanilla64}


def initialise(model: nn.Module) -> None:
    """By the order of the names in PyTorch's state_dict; U(-b, b) with b = sqrt(3 / fan-in)."""
    for stream, (name, parameter) in enumerate(model.named_parameters()):
        if parameter.dim() == 1 and "weight" in name:  # of a normalisation: around 1
            values = 0.5 + uniform(stream, parameter.numel())
        else:
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 100
            values = (2 * uniform(stream, parameter.numel()) - 1) * np.sqrt(3.0 / fan_in)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(as_float32(values)).view(parameter.shape))


def summary(stream: int, gradient: torch.Tensor) -> dict:
    flat = gradient.detach().flatten().numpy()
    probes = [float(flat @ (2 * uniform(1000 + PROBES * stream + i, flat.size) - 1))
              for i in range(PROBES)]
    places = sorted({int(i) for i in uniform(500 + stream, 8) * flat.size})
    return {"norm": float(np.linalg.norm(flat)), "probes": probes,
            "elements": [[i, float(flat[i])] for i in places]}


def images(model: nn.Module, stream: int) -> torch.Tensor:
    channels, height, width = model.image
    pixels = as_float32(uniform(stream, BATCH * channels * height * width))
    return torch.from_numpy(pixels).view(BATCH, channels, height, width)


def forward(model: nn.Module, x: torch.Tensor, noise: np.ndarray):
    hidden = model.encoder(x).flatten(1)
    mu, logvar = model.fc_mu(hidden), model.fc_logvar(hidden)
    eps = torch.from_numpy(noise[: BATCH * model.latent]).view(BATCH, model.latent)
    return model.decoder(mu + torch.exp(0.5 * logvar) * eps), mu, logvar


def margin(model: nn.Module, x: torch.Tensor, noise: np.ndarray) -> float:
    """How near an input of a (leaky) ReLU comes to its kink, in standard deviations of its layer: there
    rounding to float32 changes gradients by far more than rounding."""
    nearest = []

    def look(_module, inputs):
        z = inputs[0]
        nearest.append((z.abs().min() / z.std()).item())

    hooks = [m.register_forward_pre_hook(look) for m in model.modules()
             if isinstance(m, (nn.ReLU, nn.LeakyReLU))]
    with torch.no_grad():
        forward(model, x, noise)
    for hook in hooks:
        hook.remove()
    return min(nearest)


def step(name: str, noise: np.ndarray) -> dict:
    def fresh():
        model = MODELS[name]().double()
        initialise(model)
        return model

    pixel_stream = max(range(10000, 10100),
                       key=lambda s: margin(fresh(), images(fresh(), s), noise))
    model = fresh()
    x = images(model, pixel_stream)
    output, mu, logvar = forward(model, x, noise)
    if model.likelihood == "bernoulli":
        nll = nn.functional.binary_cross_entropy_with_logits(output, x, reduction="none")
    else:
        nll = 0.5 * (output - x) ** 2 + 0.5 * np.log(2 * np.pi)
    nll = nll.flatten(1).sum(1)
    kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1)
    loss = (nll + kl).mean()
    loss.backward()
    result = {
        "preset": name, "made_by": f"tests/golden/make_training_step.py, torch {torch.__version__}",
        "image_chw": model.image, "batch": BATCH, "pixel_stream": pixel_stream,
        "parameters": sum(p.numel() for p in model.parameters()),
        "loss": loss.item(), "nll": nll.tolist(), "kl": kl.tolist(),
        "order": [n for n, _ in model.named_parameters()],
        "gradients": {n: summary(i, p.grad) for i, (n, p) in enumerate(model.named_parameters())}}
    running = [(n, b) for n, b in model.named_buffers() if "running" in n]
    result["buffers"] = {n: summary(BUFFER_STREAM + i, b) for i, (n, b) in enumerate(running)}
    result["buffer_order"] = [n for n, _ in running]
    return result


def main() -> None:
    for name, model in MODELS.items():
        with open(sys.argv[1]) as file:
            lines = [line.split() for line in file if line.startswith(f"noise{model.latent} ")]
        noise = np.array([float(line[1]) for line in lines])
        with open(f"{sys.argv[2]}/training_step_{name}.json", "w") as file:
            json.dump(step(name, noise), file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
