#!/usr/bin/env python3
"""JAX as a contender of bench/run: --chunk steps as one jitted lax.scan, its state donated.

Pixels and order are resident on the device as integers and gathered inside the scan; both heads are one
product. On the CPU, XLA uses as many threads as the process may use CPUs: restrict that, not --threads.
"""
import math
import sys

import peer


def as_nhwc(network):
    """Layers' weights for pictures in NHWC: convolutions as HWIO, flattened pixels in the order H, W, C."""
    def permuted(array, axis, planes):  # C*H*W along `axis` to H*W*C
        before, after = array.shape[:axis], array.shape[axis + 1:]
        return numpy.moveaxis(array.reshape(*before, *planes, *after), axis, axis + 2).reshape(array.shape)

    chain, weights = network.chain, [dict(entry) for entry in network.weights]
    for i, (layer, entry) in enumerate(zip(chain, weights)):
        if layer["kind"] == "conv":
            entry["weight"] = entry["weight"].transpose(2, 3, 1, 0)
        elif layer["kind"] == "conv_transpose":
            entry["weight"] = entry["weight"].transpose(2, 3, 0, 1)[::-1, ::-1]
        elif "flatten" in layer:
            entry["weight"] = permuted(entry["weight"], 1, layer["flatten"])
        if "unflatten" in layer:
            below = weights[i - 1]
            below["weight"] = permuted(below["weight"], 0, layer["unflatten"])
            below["bias"] = permuted(below["bias"], 0, layer["unflatten"])
    return weights


def convolve(layer, weight, x):
    numbers = ("NHWC", "HWIO", "NHWC")
    if layer["kind"] == "conv":
        return jax.lax.conv_general_dilated(
            x, weight, layer["stride"], [(p, p) for p in layer["padding"]],
            rhs_dilation=layer["dilation"], dimension_numbers=numbers)
    edges = [d * (k - 1) - p for d, k, p in zip(layer["dilation"], layer["kernel"], layer["padding"])]
    padding = [(edge, edge + more) for edge, more in zip(edges, layer["output_padding"])]
    return jax.lax.conv_general_dilated(x, weight, (1, 1), padding, lhs_dilation=layer["stride"],
                                        rhs_dilation=layer["dilation"], dimension_numbers=numbers)


def batch_norm(x, scale, shift):
    """Normalised by the batch; returns its statistics too, for the running ones."""
    axes = tuple(range(x.ndim - 1))
    mean, variance = x.mean(axes), x.var(axes)
    return (x - mean) * jax.lax.rsqrt(variance + peer.BATCH_NORM_EPSILON) * scale + shift, (mean, variance)


def make_loss(network):
    """loss(layers, pixels, key): mean over the batch of nll and KL, and the batch's statistics."""
    activations = {"identity": lambda x: x, "relu": jax.nn.relu, "tanh": jnp.tanh,
                   "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.01)}

    def nll(output, x):
        if network.likelihood == "bernoulli":
            return jnp.sum(jnp.maximum(output, 0) - output * x + jnp.log1p(jnp.exp(-jnp.abs(output))))
        constant = network.log_variance + math.log(2 * math.pi)
        squares = jnp.sum((output - x) ** 2)
        return 0.5 * (squares * math.exp(-network.log_variance) + x.size * constant)

    def loss(layers, x, key):
        h, statistics = x, []
        for i, (layer, weights) in enumerate(zip(network.chain, layers)):
            if layer["kind"] == "linear":
                h = h.reshape(len(h), -1) @ weights["weight"].T + weights["bias"]
            else:
                if "unflatten" in layer:
                    channels, height, width = layer["unflatten"]
                    h = h.reshape(len(h), height, width, channels)
                h = convolve(layer, weights["weight"], h) + weights["bias"]
            if "batch_norm" in layer:
                h, moments = batch_norm(h, weights["scale"], weights["shift"])
                statistics.append(moments)
            h = activations[layer["activation"]](h)
            if i == network.heads:
                mu, log_variance = h[:, :network.latent], h[:, network.latent:]
                h = mu + jax.random.normal(key, mu.shape) * jnp.exp(0.5 * log_variance)
        kl = -0.5 * jnp.sum(1 + log_variance - mu * mu - jnp.exp(log_variance))
        return (nll(h, x.reshape(h.shape)) + kl) / len(x), statistics

    return loss


def adam(parameter, gradient, moment1, moment2, step):
    """Kingma & Ba's update as torch.optim.Adam does it."""
    moment1 = peer.BETA1 * moment1 + (1 - peer.BETA1) * gradient
    moment2 = peer.BETA2 * moment2 + (1 - peer.BETA2) * gradient * gradient
    correction1, correction2 = 1 - peer.BETA1 ** step, 1 - peer.BETA2 ** step
    denominator = jnp.sqrt(moment2) / jnp.sqrt(correction2) + peer.EPSILON
    return parameter - peer.LEARNING_RATE / correction1 * moment1 / denominator, moment1, moment2


def make_chunk(loss, chunk):
    """train(state, images, batches): `chunk` steps; returns the state and their losses."""
    value_and_grad = jax.value_and_grad(loss, has_aux=True)

    def one_step(state, images, batches):
        layers, moment1, moment2, running, step, key = state
        key, noise = jax.random.split(key)
        samples = batches[step % len(batches)]
        x = images[samples].astype(jnp.float32) * (1 / 255)
        (value, statistics), gradients = value_and_grad(layers, x, noise)
        running = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, running, statistics)
        step += 1
        flat, tree = jax.tree.flatten(layers)
        updated = [adam(*leaves, step.astype(jnp.float32)) for leaves in
                   zip(flat, *map(jax.tree.leaves, (gradients, moment1, moment2)))]
        layers, moment1, moment2 = (jax.tree.unflatten(tree, part) for part in zip(*updated))
        return (layers, moment1, moment2, running, step, key), value

    def train(state, images, batches):
        return jax.lax.scan(lambda carry, _: one_step(carry, images, batches), state, length=chunk)

    return jax.jit(train, donate_argnums=0)


class JaxPeer:
    def __init__(self, args):
        jax.config.update("jax_default_matmul_precision",
                          {"fp32": "float32", "tf32": "tensorfloat32"}[args.precision])
        device = self.find_device(args.device)
        self.version = f"JAX {jax.__version__}"
        self.device = str(device.device_kind)
        network = peer.Network(args.network, args.weights, numpy)
        images = peer.load_images(args.images, network, numpy)
        order = peer.load_order(args.order, images, args.batch, numpy)
        layers = as_nhwc(network)
        with jax.default_device(device):
            self.images = jax.device_put(images, device)
            self.batches = jax.device_put(order.astype(numpy.int32).reshape(-1, args.batch), device)
            layers = jax.device_put(layers, device)
            zeros = [jax.tree.map(jnp.zeros_like, layers) for _ in range(2)]
            running = [(jnp.zeros(len(entry["scale"])), jnp.ones(len(entry["scale"])))
                       for entry in layers if "scale" in entry]
            self.state = (layers, *zeros, running, jnp.int32(0), jax.random.key(args.seed))
        self.chunk = args.chunk
        self.train = make_chunk(make_loss(network), args.chunk)

    @staticmethod
    def find_device(name):
        try:
            return jax.devices(name)[0]
        except RuntimeError as error:
            raise peer.Unavailable(f"this JAX finds no {name} device") from error

    def chunks(self, count):
        if count % self.chunk:
            raise ValueError(f"{count} steps are no multiple of --chunk {self.chunk}")
        for _ in range(count // self.chunk):
            self.state, losses = self.train(self.state, self.images, self.batches)
            yield losses

    def steps(self, count):
        for _ in self.chunks(count):
            pass
        jax.block_until_ready(self.state)

    def losses(self, count):
        return [float(loss) for losses in self.chunks(count) for loss in numpy.asarray(losses)]


def make_peer():
    global numpy, jax, jnp
    args = peer.arguments(__doc__.split("\n", maxsplit=1)[0], ["scan"])
    import jax  # first, so that a message about what is missing names it
    import numpy
    from jax import numpy as jnp
    return JaxPeer(args)


if __name__ == "__main__":
    sys.exit(peer.serve(make_peer, "jax_peer"))
