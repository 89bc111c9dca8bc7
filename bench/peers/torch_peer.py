#!/usr/bin/env python3
"""PyTorch as a contender of bench/run: a VAE trained as a careful user would.

All variants: pixels and order resident on the device as integers, gather inside the step, one product for
both heads, fused Adam, no synchronisation within a run of steps.

eager    op by op
compile  torch.compile of gather, forward and loss, with the backward pass it derives
graph    CUDA: the compiled step with its optimiser, --chunk of them captured as one CUDA graph
"""
import sys

import peer


class Vae:
    """Parameters and the loss of a batch."""

    def __init__(self, layers, latent, activation, device):
        def parameter(array):
            return torch.from_numpy(array).to(device).requires_grad_()

        self.layers = [(parameter(weight), parameter(bias)) for weight, bias in layers]
        self.heads = (len(layers) - 1) // 2
        self.latent = latent
        self.activation = {"relu": torch.relu, "tanh": torch.tanh}[activation]

    def parameters(self):
        return [parameter for layer in self.layers for parameter in layer]

    def loss(self, images, samples):
        x = images.index_select(0, samples).to(torch.float32) * (1 / 255)
        h = x
        for i, (weight, bias) in enumerate(self.layers):
            h = functional.linear(h, weight, bias)
            if i == self.heads:
                mu, log_variance = h.split(self.latent, dim=1)
                h = mu + torch.randn_like(mu) * torch.exp(0.5 * log_variance)
            elif i + 1 < len(self.layers):
                h = self.activation(h)
        nll = functional.binary_cross_entropy_with_logits(h, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + log_variance - mu * mu - torch.exp(log_variance))
        return (nll + kl) / len(samples)


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
        images = peer.load_images(args.images, numpy)
        order = peer.load_order(args.order, images, args.batch, numpy)
        self.images = torch.from_numpy(images).to(args.device)
        self.order = torch.from_numpy(order).to(args.device)
        _, latent, activation = peer.WORKLOADS[args.workload]
        layers = peer.load_layers(args.weights, args.workload, numpy)
        self.vae = Vae(layers, latent, activation, args.device)
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
