"""What peers have in common: command line, the inputs of a run, and the protocol of bench/step_worker.cpp.

A peer is a class with `version`, `device`, steps(n) and losses(n). steps(n) trains n steps and returns
when the device is done; losses(n) does the same and returns the n losses.
"""
import argparse
import json
import struct
import sys
import time

UNAVAILABLE = 3  # exit status: a library or device is missing, which is nobody's mistake

WORKLOADS = {  # widths from pixels to latent, and the activation
    "mlp-mnist": ([784, 400], 20, "relu"),
    "burda": ([784, 200, 200], 50, "tanh"),
}
LEARNING_RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8


class Unavailable(Exception):
    """A library or device that this machine lacks."""


def arguments(description, variants):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("workload", choices=sorted(WORKLOADS))
    parser.add_argument("batch", type=int)
    parser.add_argument("device", choices=["cpu", "cuda"])
    parser.add_argument("--variant", choices=variants, default=variants[0])
    parser.add_argument("--precision", choices=["fp32", "tf32"], default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=50, help="steps in one graph or scan")
    parser.add_argument("--weights", required=True, help="safetensors, from step_worker")
    parser.add_argument("--images", required=True, help="raw pixels, N x 784 bytes")
    parser.add_argument("--order", required=True, help="order of samples, u32")
    parser.add_argument("--seed", type=int, default=1, help="of the latent noise")
    return parser.parse_args()


def load_safetensors(path):
    """{name: (shape, bytes)} of a file that holds F32 only."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        (length,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8:8 + length])
    except (struct.error, ValueError) as error:
        raise ValueError(f"{path}: is not safetensors: {error}") from error
    data = content[8 + length:]
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise ValueError(f"{path}: tensor {name} is {entry['dtype']}; expected F32")
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["shape"], data[begin:end])
    return tensors


def layer_names(workload):
    """Names of (encoder layers, [mu, logvar], decoder layers) in models/autoencoder.cpp's scheme."""
    widths, _, _ = WORKLOADS[workload]
    depth = len(widths) - 1
    if depth == 1:
        return ["fc1"], ["fc21", "fc22"], ["fc3", "fc4"]
    return ([f"encoder.{2 * i}" for i in range(depth)], ["fc_mu", "fc_logvar"],
            [f"decoder.{2 * i}" for i in range(depth + 1)])


def load_layers(path, workload, numpy):
    """[(weight, bias), ...] from pixels to pixels as numpy arrays. The two heads are stacked into one layer,
    as a tuned program has them: one product instead of two, the same numbers."""
    tensors = load_safetensors(path)
    encoder, heads, decoder = layer_names(workload)

    def array(name, rank):
        if name not in tensors:
            raise ValueError(f"{path}: tensor {name} is missing; is this another model's file?")
        shape, data = tensors[name]
        if len(shape) != rank:
            raise ValueError(f"{path}: tensor {name} has shape {shape}; expected rank {rank}")
        return numpy.frombuffer(data, numpy.float32).reshape(shape).copy()

    def layer(names):
        return tuple(numpy.concatenate([array(f"{name}.{part}", rank) for name in names])
                     for part, rank in (("weight", 2), ("bias", 1)))

    layers = [layer(names) for names in [*([n] for n in encoder), heads, *([n] for n in decoder)]]
    widths, latent, _ = WORKLOADS[workload]
    found = [weight.shape[::-1] for weight, _ in layers]
    back = [latent, *reversed(widths)]
    expected = [*zip(widths, widths[1:]), (widths[-1], 2 * latent), *zip(back, back[1:])]
    if found != expected:
        raise ValueError(f"{path}: layers are {found}; {workload} has {expected}")
    return layers


def load_images(path, numpy):
    pixels = numpy.fromfile(path, numpy.uint8)
    if pixels.size == 0 or pixels.size % 784:
        raise ValueError(f"{path}: {pixels.size} bytes; expected N x 784")
    return pixels.reshape(-1, 784)


def load_order(path, images, batch, numpy):
    """The order of whole batches; what does not fill one is left out."""
    order = numpy.fromfile(path, numpy.uint32).astype(numpy.int64)
    if len(order) != len(images) or order.max() >= len(images):
        raise ValueError(f"{path}: an order of {len(order)} samples; there are {len(images)} images")
    if batch < 1 or batch > len(order):
        raise ValueError(f"batch {batch} does not fit {len(order)} images")
    return order[:len(order) // batch * batch]


def answer(peer, request):
    verb, count = request[0], int(request[1])
    if verb == "losses":
        return peer.losses(count)
    if verb != "steps":
        raise ValueError(f"request {request} is unknown; expected steps N, losses N or quit")
    wall, cpu = time.perf_counter(), time.process_time()
    peer.steps(count)
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def serve(make_peer, name):
    """Runs the protocol; whatever libraries print goes to stderr. Returns the exit status."""
    out, sys.stdout = sys.stdout, sys.stderr
    try:
        peer = make_peer()
        print(json.dumps({"version": peer.version, "device": peer.device}), file=out, flush=True)
        for line in sys.stdin:
            request = line.split()
            if request == ["quit"]:
                break
            print(json.dumps(answer(peer, request)), file=out, flush=True)
    except (ImportError, Unavailable) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return UNAVAILABLE
    except Exception as error:  # one line for whoever asked; the kind of error is part of it
        text = " ".join(str(error).split())
        print(f"{name}: {type(error).__name__}: {text[:500]}", file=sys.stderr)
        return 1
    return 0
