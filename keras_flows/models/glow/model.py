"""Glow: couplings between 1×1 convolutions, at several levels."""

from typing import Any

import keras

from keras_flows import checks
from keras_flows.models.arguments import ModelFlow, recorded
from keras_flows.models.glow.network import GlowNetwork, SplitPrior
from keras_flows.models.glow.top_prior import TopPrior
from keras_flows.models.images import divisible_shape
from keras_flows.transforms import (
    ActNorm,
    Affine,
    Chain,
    Conv1x1,
    Coupling,
    FactorOut,
    Flatten,
    Squeeze,
    Transform,
    UniformDequantization,
)
from keras_flows.transforms.maps import NormalMap, SigmoidMap
from keras_flows.transforms.masks import ChannelHalves


@keras.saving.register_keras_serializable("keras_flows")
class Glow(ModelFlow):
    """Glow on images of integers from 0 to `2^bits - 1`.

    Uniform dequantization → `x - 1/2` → levels. A level is a squeeze and `steps` times (ActNorm,
    1×1 convolution, coupling `z2 = (x2 + shift) σ(r + 2)`); then the second half of the channels
    leaves, normal with a mean and a deviation that a convolution makes of the first half, which
    goes on. At the end a `keras_flows.models.glow.TopPrior`. The latent is a vector of standard
    normal numbers. log_prob is a lower bound by the dequantization. The defaults are the published
    flow on CIFAR-10.

    Source: Kingma & Dhariwal 2018, *Glow: Generative Flow with Invertible 1×1 Convolutions*. The
    code trains a third of the log-scales of ActNorm, and starts them by the biased variance.

    >>> flow = kf.models.Glow((28, 28, 1), levels=2, steps=8, width=64)

    Args:
        event_shape: `(height, width, channels)`, the sides divisible by 2 to the number of levels.
        levels: Number of levels.
        steps: Number of steps of a level.
        width: Channels inside the networks of the couplings.
        bits: Number of bits of an integer.
        context_shape: See `Flow`; the networks of the couplings see the context vector.
        context_embedding: See `Flow`.
        dtype: `"float32"` or `"float64"`.
        **kwargs: `seed` and `name`; see `Flow`.

    Raises:
        ValueError: If an argument is out of its range, or the levels do not fit the image.
    """

    @recorded
    def __init__(
        self,
        event_shape: tuple[int, ...],
        levels: int = 3,
        steps: int = 32,
        width: int = 512,
        bits: int = 8,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        policy = keras.dtype_policies.get(dtype)
        checks.count(levels, "levels")
        checks.count(steps, "steps")
        event_shape = divisible_shape(event_shape, 2**levels, f"A Glow of {levels} levels")
        size = checks.context_size(context_shape, context_embedding)
        # From the last level, which is inside all others.
        channels = event_shape[-1] * 2 ** (levels + 1)
        rest: list[Transform] | None = None
        for _ in range(levels):
            rest = _level(channels, steps, width, rest, size, policy)
            channels //= 2
        first = [UniformDequantization(bits, dtype=policy), Affine(0.5, 1.0, dtype=policy)]
        super().__init__(
            Chain([*first, *(rest or [])], dtype=policy),
            event_shape,
            context_shape=context_shape,
            context_embedding=context_embedding,
            dtype=policy,
            **kwargs,
        )


def step(channels, width, context_size, dtype):
    """The transforms of one step on so many channels, a list."""
    net = GlowNetwork(2 * (channels // 2), width, context_size, dtype=dtype)
    return [
        ActNorm(minimum_variance=0.0, epsilon=1e-6, dtype=dtype),
        Conv1x1(dtype=dtype),
        Coupling(ChannelHalves(), net, SigmoidMap(), dtype=dtype),
    ]


def _level(channels, steps, width, rest, context_size, dtype):
    """A level and all that is behind it, a list of transforms; None as `rest` for the last."""
    made: list[Transform] = [Squeeze(2, dtype=dtype)]
    for _ in range(steps):
        made += step(channels, width, context_size, dtype)
    if rest is None:
        return [*made, TopPrior(dtype=dtype), Flatten(dtype=dtype)]
    prior = Coupling(ChannelHalves(), SplitPrior(channels, dtype=dtype), NormalMap(), dtype=dtype)
    return [*made, prior, FactorOut(Chain(rest, dtype=dtype), dtype=dtype)]
