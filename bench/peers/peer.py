"""What peers have in common: command line, the inputs of a run, and the protocol of bench/step_worker.cpp.

A peer is a class with `version`, `device`, steps(n) and losses(n). steps(n) trains n steps and returns
when the device is done; losses(n) does the same and returns the n losses.
"""
import argparse
import json
import math
import struct
import sys
import time

UNAVAILABLE = 3  # exit status: a library or device is missing, which is nobody's mistake

BATCH_NORM_EPSILON = 1e-5
LEARNING_RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8


class Unavailable(Exception):
    """A library or device that this machine lacks."""


def arguments(description, variants):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("workload", help="a name; --network says what it is")
    parser.add_argument("batch", type=int)
    parser.add_argument("device", choices=["cpu", "cuda"])
    parser.add_argument("--variant", choices=variants, default=variants[0])
    parser.add_argument("--precision", choices=["fp32", "tf32"], default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=50, help="steps in one graph or scan")
    parser.add_argument("--network", required=True, help="JSON, from step_worker")
    parser.add_argument("--weights", required=True, help="safetensors, from step_worker")
    parser.add_argument("--images", required=True, help="raw pixels, N x H x W x C bytes")
    parser.add_argument("--order", required=True, help="order of samples, u32")
    parser.add_argument("--seed", type=int, default=1, help="of the latent noise")
    return parser.parse_args()


def load_safetensors(path):
    """{name: (shape, bytes)} of the F32 tensors of a file."""
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
            continue  # batch normalisation's count of batches
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["shape"], data[begin:end])
    return tensors


class Network:
    """The network of bench/network_description.h with its initial weights as numpy arrays.

    chain is one list of layers from pixels to pixels; layer number `heads` makes [mean | log-variance]. The
    two heads are stacked, as a tuned program has them: one product instead of two, the same numbers.
    """

    def __init__(self, network_path, weights_path, numpy):
        with open(network_path, encoding="utf-8") as file:
            network = json.load(file)
        self.image = tuple(network["image"])
        self.latent = network["latent"]
        self.likelihood = network["likelihood"]
        self.log_variance = network["log_variance"]
        self.chain = [*network["encoder"], network["heads"], *network["decoder"]]
        self.heads = len(network["encoder"])
        tensors = load_safetensors(weights_path)

        def array(name):
            if name not in tensors:
                raise ValueError(f"{weights_path}: tensor {name} is missing; is this another model's file?")
            shape, data = tensors[name]
            return numpy.frombuffer(data, numpy.float32).reshape(shape).copy()

        def arrays(names):
            return {part: numpy.concatenate([array(f"{name}.{part}") for name in names])
                    for part in ("weight", "bias")}

        self.weights = []
        for layer in self.chain:
            entry = arrays(layer["names"])
            if "batch_norm" in layer:
                entry |= {"scale": array(layer["batch_norm"] + ".weight"),
                          "shift": array(layer["batch_norm"] + ".bias")}
            self.weights.append(entry)


def load_images(path, network, numpy):
    """[N, H, W, C] bytes."""
    pixels = numpy.fromfile(path, numpy.uint8)
    if pixels.size == 0 or pixels.size % math.prod(network.image):
        raise ValueError(f"{path}: {pixels.size} bytes; expected N images of {network.image}")
    return pixels.reshape(-1, *network.image)


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
