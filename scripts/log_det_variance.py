"""Measures the spread of the unbiased log-det against the number of terms always summed.

On a random i-DenseNet block on images whose Lipschitz bound is spent, with exact log-dets beside.
Writes the table of docs/log_det.md: `python scripts/log_det_variance.py docs/log_det.md`.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_flows.layers import ConditionedDense, LipschitzDenseLayer, LipschitzSequential
from keras_flows.noise import SeededNoise
from keras_flows.numerics.log_det import Exact, Unbiased

IMAGE = (4, 4, 4)
DRAWS, IMAGES = 500, 4
TERMS = (0, 1, 2, 5, 10, 20)
DISTRIBUTIONS = ("geometric", "poisson")
PROBES = ("normal", "rademacher")

HEADER = """# Spread of the unbiased log-det

The standard deviation of one draw of the estimator `keras_flows.numerics.log_det.Unbiased`, in
nats, by the number of terms that are always summed. A block on {dims} numbers (i-DenseNet, depth 3,
growth 16, bound {bound:.2f}), {images} images, {draws} draws; the exact log-dets are {exact}.
On average two more terms are summed than always. Written by `scripts/log_det_variance.py`.

| always summed | {columns} |
| ---: | {rules} |
"""


def make_block():
    """A network whose slopes are near their bound, its norms converged."""
    keras.utils.set_random_seed(0)
    layers = [LipschitzDenseLayer(16, coeff=0.98, kernel_size=3) for _ in range(3)]
    net = LipschitzSequential([*layers, ConditionedDense(IMAGE[-1], coeff=0.98, kernel_size=1)])
    net.build((None, *IMAGE))
    for weight in net.trainable_weights:
        if weight.name == "kernel":
            weight.assign(6.0 * tf.abs(weight))  # of one sign: no slopes that cancel
        if weight.name == "bias":
            weight.assign(weight + 2.0)  # where the activations are steep
    for layer in net._flatten_layers():
        if hasattr(layer, "converge"):
            layer.converge()
    return net


def spread(estimator, net, x):
    """The deviation of a draw, a root mean square over the images."""
    draw = tf.function(lambda seed: estimator(net, x, noise=SeededNoise(seed))[1], autograph=False)
    draws = np.stack([draw(tf.constant([7, i])) for i in range(DRAWS)])
    return float(np.sqrt(draws.var(axis=0, ddof=1).mean()))


def main(path):
    net = make_block()
    x = tf.constant(np.random.default_rng(0).standard_normal((IMAGES, *IMAGE)), tf.float32)
    exact = Exact()(net, x)[1].numpy()
    kinds = [(distribution, probe) for distribution in DISTRIBUTIONS for probe in PROBES]
    text = HEADER.format(
        dims=int(np.prod(IMAGE)),
        bound=net.lipschitz_bound(),
        images=IMAGES,
        draws=DRAWS,
        exact=", ".join(f"{value:.2f}" for value in exact),
        columns=" | ".join(f"{distribution}, {probe}" for distribution, probe in kinds),
        rules=" | ".join("---:" for _ in kinds),
    )
    for terms in TERMS:
        row = [
            spread(Unbiased(distribution, probe=probe, exact_terms=(terms, terms)), net, x)
            for distribution, probe in kinds
        ]
        text += f"| {terms} | {' | '.join(f'{value:.3f}' for value in row)} |\n"
        print(text.splitlines()[-1], flush=True)
    Path(path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
