#!/usr/bin/env python3
"""PyTorch as a contender of bench/run: a VAE trained as a careful user would.

All variants: pixels and order resident on the device as integers, gather inside the step, one product for
both heads, fused Adam, pictures and convolutions in channels-last memory, no synchronisation within a run
of steps.

eager    op by op
compile  torch.compile of gather, forward and loss, with the backward pass it derives
graph    CUDA: the compiled step with its optimiser, --chunk of them captured as one CUDA graph
"""
import math
import sys

import peer


class Vae:
    """Parameters and the loss of a batch."""

    def __init__(self, network, device):
        def parameter(array):
            tensor = torch.from_numpy(array).to(device)
            if tensor.dim() == 4:
                tensor = tensor.contiguous(memory_format=torch.channels_last)
            return tensor.requires_grad_()

        self.network = network
        self.weights = [{name: parameter(array) for name, array in entry.items()}
                        for entry in network.weights]
        self.running = [[torch.zeros(len(entry["scale"]), device=device),
                         torch.ones(len(entry["scale"]), device=device)] if "scale" in entry else None
                        for entry in network.weights]
        self.activations = {"identity": lambda x: x, "relu": torch.relu, "tanh": torch.tanh,
                            "leaky_relu": lambda x: functional.leaky_relu(x, 0.01)}

    def parameters(self):
        return [parameter for entry in self.weights for parameter in entry.values()]

    def apply(self, i, h):
        layer, weights = self.network.chain[i], self.weights[i]
        if layer["kind"] == "linear":
            h = functional.linear(h.flatten(1), weights["weight"], weights["bias"])
        else:
            if "unflatten" in layer:
                h = h.unflatten(1, layer["unflatten"]).contiguous(memory_format=torch.channels_last)
            window = {name: layer[name] for name in ("stride", "padding", "dilation")}
            if layer["kind"] == "conv":
                h = functional.conv2d(h, weights["weight"], weights["bias"], **window)
            else:
                h = functional.conv_transpose2d(h, weights["weight"], weights["bias"],
                                                output_padding=layer["output_padding"], **window)
        if "batch_norm" in layer:
            mean, variance = self.running[i]
            h = functional.batch_norm(h, mean, variance, weights["scale"], weights["shift"],
                                      training=True, momentum=0.1, eps=peer.BATCH_NORM_EPSILON)
        return self.activations[layer["activation"]](h)

    def nll(self, output, x):
        if self.network.likelihood == "bernoulli":
            return functional.binary_cross_entropy_with_logits(output, x, reduction="sum")
        squares = functional.mse_loss(output, x, reduction="sum")
        constant = self.network.log_variance + math.log(2 * math.pi)
        return 0.5 * (squares * math.exp(-self.network.log_variance) + x.numel() * constant)

    def loss(self, images, samples):
        x = images.index_select(0, samples).to(torch.float32) * (1 / 255)
        x = x.permute(0, 3, 1, 2)  # N, C, H, W in the memory order N, H, W, C
        h = x
        for i in range(len(self.weights)):
            h = self.apply(i, h)
            if i == self.network.heads:
                mu, log_variance = h.split(self.network.latent, dim=1)
                h = mu + torch.randn_like(mu) * torch.exp(0.5 * log_variance)
        kl = -0.5 * torch.sum(1 + log_variance - mu * mu - torch.exp(log_variance))
        return (self.nll(h, x.flatten(1) if h.dim() == 2 else x) + kl) / len(samples)


class TorchPeer:
    def __init__(self, args):
        if args.device == "cuda" and not torch.cuda.is_available():
            raise peer.Unavailable("this PyTorch finds no CUDA device")
        if args.variant == "graph" and args.device != "cuda":
            raise ValueError("variant graph needs device cuda")
        torch.set_num_threads(args.threads)
        torch.set_float32_matmul_precision({"fp32": "highest", "tf32": "high"}[args.precision])
        torch.manual_seed(args.seed)
        self.version = f"PyTorch {torch.__version__}"
        self.on_cuda = args.device == "cuda"
        self.device = torch.cuda.get_device_name() if self.on_cuda else \
            f"CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
        self.batch = args.batch
        network = peer.Network(args.network, args.weights, numpy)
        images = peer.load_images(args.images, network, numpy)
        order = peer.load_order(args.order, images, args.batch, numpy)
        self.images = torch.from_numpy(images).to(args.device)
        self.order = torch.from_numpy(order).to(args.device)
        self.vae = Vae(network, args.device)
        # "capturable" keeps the count of steps on the device, which only a graph needs.
        self.optimizer = torch.optim.Adam(
            self.vae.parameters(), lr=peer.LEARNING_RATE, betas=(peer.BETA1, peer.BETA2),
            eps=peer.EPSILON, fused=True, capturable=args.variant == "graph")
        self.loss = self.vae.loss
        if args.variant != "eager":
            mode = {"graph": "max-autotune-no-cudagraphs", "compile": "max-autotune"}[args.variant]
            self.loss = torch.compile(self.vae.loss, fullgraph=True, dynamic=False,
                                      mode=mode if self.on_cuda else "default")
        self.position = 0

    def step(self, samples):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.images, samples)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def next_samples(self):
        begin, self.position = self.position, (self.position + self.batch) % len(self.order)
        return self.order[begin:begin + self.batch]

    def steps(self, count):
        for _ in range(count):
            self.step(self.next_samples())
        self.synchronize()

    def losses(self, count):
        # clone(): a compiled step may write its next loss to the same place.
        return torch.stack([self.step(self.next_samples()).clone() for _ in range(count)]).tolist()

    def synchronize(self):
        if self.on_cuda:
            torch.cuda.synchronize()


class GraphPeer(TorchPeer):
    """Replays --chunk steps at a time; what changes from step to step lies in device memory."""

    def __init__(self, args):
        super().__init__(args)
        self.chunk = args.chunk
        self.rows = torch.arange(args.batch, device=args.device)
        self.device_position = torch.zeros((), dtype=torch.int64, device=args.device)
        self.chunk_losses = torch.zeros(args.chunk, device=args.device)
        self.capture()

    def device_step(self):
        loss = self.step(self.order[self.device_position + self.rows])
        self.device_position.add_(self.batch).remainder_(len(self.order))
        return loss

    def capture(self):
        """Compiles and captures; then puts weights, moments and position back to where they began."""
        weights = [parameter.detach().clone() for parameter in self.vae.parameters()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.device_step()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            for i in range(self.chunk):
                self.chunk_losses[i] = self.device_step()
        with torch.no_grad():
            for parameter, weight in zip(self.vae.parameters(), weights):
                parameter.copy_(weight)
            for state in self.optimizer.state.values():
                for tensor in state.values():
                    tensor.zero_()
            self.device_position.zero_()

    def replays(self, count):
        if count % self.chunk:
            raise ValueError(f"{count} steps are no multiple of --chunk {self.chunk}")
        for _ in range(count // self.chunk):
            self.graph.replay()
            yield

    def steps(self, count):
        for _ in self.replays(count):
            pass
        self.synchronize()

    def losses(self, count):
        return [loss for _ in self.replays(count) for loss in self.chunk_losses.tolist()]


def make_peer():
    global numpy, torch, functional
    args = peer.arguments(__doc__.split("\n", maxsplit=1)[0], ["eager", "compile", "graph"])
    import torch  # first, so that a message about what is missing names it
    import numpy
    from torch.nn import functional
    return GraphPeer(args) if args.variant == "graph" else TorchPeer(args)


if __name__ == "__main__":
    sys.exit(peer.serve(make_peer, "torch_peer"))
