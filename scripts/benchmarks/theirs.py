"""The same models in normflows: the program of a worker in its environment, see serving.py.

Written over the public interface of normflows 1.7 and PyTorch. Architectures are those of ours.py:
sizes and numbers of layers, kinds of layers, batch and precision; where a part of a library cannot
be had in the other, the page says so.
"""

from importlib import metadata

import normflows as nf
import numpy as np
import serving
import torch


def residual(features, **arguments):
    """Ten residual blocks of four hidden layers."""
    widths = [features, 128, 128, 128, 128, features]
    blocks = [
        nf.flows.Residual(
            nf.nets.LipschitzMLP(widths, init_zeros=False, lipschitz_const=0.9), **arguments
        )
        for _ in range(10)
    ]
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(features, trainable=False), blocks)


def realnvp(features=16, layers=8):
    """Affine couplings by residual networks."""
    half, steps = features // 2, []
    for _ in range(layers):
        net = nf.nets.ResidualNet(half, features, hidden_features=64, num_blocks=2)
        steps += [nf.flows.AffineCouplingBlock(net), nf.flows.Permute(features, mode="swap")]
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(features, trainable=False), steps)


def spline(features=16, layers=6):
    """Couplings by rational-quadratic splines, of residual networks."""
    steps = [
        nf.flows.CoupledRationalQuadraticSpline(
            features, 2, 64, num_bins=8, tail_bound=5.0, reverse_mask=bool(i % 2)
        )
        for i in range(layers)
    ]
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(features, trainable=False), steps)


def maf(features=16, layers=5):
    """Affine autoregressive steps by masked networks of two hidden layers."""
    steps = []
    for _ in range(layers):
        steps += [
            nf.flows.MaskedAffineAutoregressive(
                features, 64, num_blocks=1, use_residual_blocks=False
            ),
            nf.flows.Permute(features, mode="swap"),
        ]
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(features, trainable=False), steps)


def glow(shape=(3, 16, 16), levels=2, steps=4, width=64):
    """Two levels of four steps."""
    channels, height, breadth = shape
    bases, merges, flows = [], [], []
    for level in range(levels):
        # From the deepest level, which its first step leads to.
        depth = levels - level
        inside = channels * 2 ** (depth + 1)
        flows.append(
            [
                *(nf.flows.GlowBlock(inside, width, net_actnorm=True) for _ in range(steps)),
                nf.flows.Squeeze(),
            ]
        )
        if level:
            merges.append(nf.flows.Merge())
        size = (inside if level == 0 else inside // 2, height // 2**depth, breadth // 2**depth)
        bases.append(nf.distributions.DiagGaussian(size, trainable=False))
    return nf.MultiscaleFlow(bases, flows, merges, class_cond=False)


MADE = {
    "residual": (lambda: residual(2, brute_force=True, reduce_memory=False), (2,)),
    "residual, unbiased": (lambda: residual(16), (16,)),
    "realnvp": (realnvp, (16,)),
    "spline": (spline, (16,)),
    "maf": (maf, (16,)),
    "glow": (glow, (3, 16, 16)),
}


def prepare(case, threads):
    """What a case offers; see `serving.serve`."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    make, shape = MADE[case["pair"]]
    model, batch = make(), case["batch"]
    rng = np.random.default_rng(0)
    values = rng.random((batch, *shape)) if len(shape) == 3 else rng.normal(size=(batch, *shape))
    x = torch.tensor(values, dtype=torch.float32)
    # A flow of several scales takes classes, too.
    others = (None,) if isinstance(model, nf.MultiscaleFlow) else ()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def update():
        optimizer.zero_grad()
        loss = -model.log_prob(x, *others).mean()
        loss.backward()
        optimizer.step()
        if case["pair"].startswith("residual"):
            nf.utils.update_lipschitz(model, 5)
        return loss.item()

    def log_prob():
        with torch.no_grad():
            return model.log_prob(x, *others).detach().numpy()

    def sample():
        with torch.no_grad():
            return model.sample(batch)[0].detach().numpy()

    def evaluated(function):
        def run(times):
            model.eval()
            try:
                return serving.repeated(function)(times)
            finally:
                model.train()

        return run

    first = serving.timed(update)[1]
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    functions = {
        "update": serving.repeated(update),
        "log_prob": evaluated(log_prob),
        "sample": evaluated(sample),
    }
    facts = {"first": first, "memory": serving.peak(), "parameters": count}
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("normflows", "torch"))
    facts["versions"] = versions
    return functions, facts


if __name__ == "__main__":
    serving.serve(prepare)
