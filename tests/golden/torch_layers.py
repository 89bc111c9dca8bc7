#!/usr/bin/env python3
"""Writes torch_layers.h: what PyTorch makes of a few tiny inputs, for rules that are easy to get wrong.

    python3 tests/golden/torch_layers.py > tests/golden/torch_layers.h

Needs PyTorch on the CPU. Inputs come from sines, so that they do not depend on a generator; they are
rounded to fp32, and everything is computed in double from there.
"""
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def numbers(*shape, seed, scale=1.0, offset=0.0):
    count = torch.Size(shape).numel()
    i = torch.arange(count) + 1
    values = offset + scale * torch.sin(i * (1.7 + 0.31 * seed) + seed)
    return values.float().double().reshape(shape)


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1).contiguous()


def show(name, values):
    flat = [f"{v:.9g}" for v in values.detach().flatten().tolist()]
    flat = [v if "." in v or "e" in v else v + ".0" for v in flat]
    print(f"inline constexpr double {name}[] = {{{', '.join(flat)}}};")


def namespace(name, note, **arrays):
    print(f"\n// {note}\nnamespace {name} {{")
    for key, values in arrays.items():
        show(key, values)
    print(f"}}  // namespace {name}")


def batch_norm():
    x = numbers(2, 1, 3, 2, seed=1, scale=3.0, offset=1.0).requires_grad_()
    dy = numbers(2, 1, 3, 2, seed=2)
    layer = torch.nn.BatchNorm2d(2)
    with torch.no_grad():
        layer.weight.copy_(numbers(2, seed=3))
        layer.bias.copy_(numbers(2, seed=4))
    y = nhwc(layer(nchw(x)))
    y.backward(dy)
    namespace("batch_norm", "nn.BatchNorm2d(2) in training, x [2, 1, 3, 2] NHWC, after one batch", x=x,
              dy=dy, gamma=layer.weight, beta=layer.bias, y=y, dx=x.grad, dgamma=layer.weight.grad,
              dbeta=layer.bias.grad, running_mean=layer.running_mean, running_var=layer.running_var)


def upsample():
    cases = {}
    for mode, out in (("nearest", (5, 3)), ("bilinear", (4, 7)), ("bilinear", (2, 1))):
        x = numbers(1, 3, 2, 1, seed=5).requires_grad_()
        extra = {"align_corners": False} if mode == "bilinear" else {}
        y = nhwc(F.interpolate(nchw(x), size=out, mode=mode, **extra))
        y.backward(numbers(*y.shape, seed=6))
        cases[f"{mode}_{out[0]}x{out[1]}"] = y
        cases[f"{mode}_{out[0]}x{out[1]}_dx"] = x.grad
    namespace("upsample", "F.interpolate of x [1, 3, 2, 1] NHWC; dy are numbers(..., seed=6)",
              x=numbers(1, 3, 2, 1, seed=5), dy=numbers(4 * 7, seed=6), **cases)


def avg_pool():
    cases = {}
    for k, s, p, include in ((3, 2, 1, True), (3, 2, 1, False), (2, 1, 0, True), (4, 3, 2, False)):
        x = numbers(1, 5, 4, 1, seed=7).requires_grad_()
        y = nhwc(F.avg_pool2d(nchw(x), k, s, p, count_include_pad=include))
        y.backward(numbers(*y.shape, seed=8))
        name = f"k{k}_s{s}_p{p}_{'padded' if include else 'inside'}"
        cases[name], cases[name + "_dx"] = y, x.grad
    namespace("avg_pool", "F.avg_pool2d of x [1, 5, 4, 1] NHWC; dy are numbers(..., seed=8)",
              x=numbers(1, 5, 4, 1, seed=7), dy=numbers(4 * 3, seed=8), **cases)


def main():
    print("// Made by torch_layers.py with PyTorch "
          f"{torch.__version__.split('+')[0]}, in double; do not edit.\n#pragma once\n"
          "\n// clang-format off\nnamespace elbo::golden {")
    batch_norm()
    upsample()
    avg_pool()
    print("\n}  // namespace elbo::golden\n// clang-format on")


if __name__ == "__main__":
    main()
