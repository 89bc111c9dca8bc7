#!/usr/bin/env python3
"""JAX as a contender of bench/run: --chunk steps as one jitted lax.scan, its state donated.

Pixels and order are resident on the device as integers and gathered inside the scan; both heads are one
product. On the CPU, XLA uses as many threads as the process may use CPUs: restrict that, not --threads.
"""
import sys

import peer


def make_loss(heads, latent, activation):
    """loss(layers, pixels, key), mean over the batch of cross-entropy and KL."""
    activate = {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation]

    def loss(layers, x, key):
        h = x
        for i, (weight, bias) in enumerate(layers):
            h = h @ weight.T + bias
            if i == heads:
                mu, log_variance = h[:, :latent], h[:, latent:]
                h = mu + jax.random.normal(key, mu.shape) * jnp.exp(0.5 * log_variance)
            elif i + 1 < len(layers):
                h = activate(h)
        nll = jnp.sum(jnp.maximum(h, 0) - h * x + jnp.log1p(jnp.exp(-jnp.abs(h))))
        kl = -0.5 * jnp.sum(1 + log_variance - mu * mu - jnp.exp(log_variance))
        return (nll + kl) / len(x)

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
    value_and_grad = jax.value_and_grad(loss)

    def one_step(state, images, batches):
        layers, moment1, moment2, step, key = state
        key, noise = jax.random.split(key)
        samples = batches[step % len(batches)]
        x = images[samples].astype(jnp.float32) * (1 / 255)
        value, gradients = value_and_grad(layers, x, noise)
        step += 1
        flat, tree = jax.tree.flatten(layers)
        updated = [adam(*leaves, step.astype(jnp.float32)) for leaves in
                   zip(flat, *map(jax.tree.leaves, (gradients, moment1, moment2)))]
        layers, moment1, moment2 = (jax.tree.unflatten(tree, part) for part in zip(*updated))
        return (layers, moment1, moment2, step, key), value

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
        images = peer.load_images(args.images, numpy)
        order = peer.load_order(args.order, images, args.batch, numpy)
        layers = peer.load_layers(args.weights, args.workload, numpy)
        with jax.default_device(device):
            self.images = jax.device_put(images, device)
            self.batches = jax.device_put(order.astype(numpy.int32).reshape(-1, args.batch), device)
            layers = jax.device_put(layers, device)
            zeros = [jax.tree.map(jnp.zeros_like, layers) for _ in range(2)]
            self.state = (layers, *zeros, jnp.int32(0), jax.random.key(args.seed))
        _, latent, activation = peer.WORKLOADS[args.workload]
        heads = len(peer.layer_names(args.workload)[0])
        self.chunk = args.chunk
        self.train = make_chunk(make_loss(heads, latent, activation), args.chunk)

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
