"""Real NVP on images."""

from typing import Any

import keras

from keras_flows import checks
from keras_flows.models.arguments import ModelFlow, recorded
from keras_flows.models.images import divisible_shape, positions_first
from keras_flows.models.realnvp.network import RealNVPNetwork
from keras_flows.transforms import (
    Chain,
    Coupling,
    FactorOut,
    Flatten,
    Logit,
    Permutation,
    Squeeze,
    Transform,
    UniformDequantization,
)
from keras_flows.transforms.maps import NormalMap
from keras_flows.transforms.masks import ChannelHalves, Checkerboard

# The places of a square, the two on its diagonal before the others.
_DIAGONAL_FIRST = (0, 3, 1, 2)


@keras.saving.register_keras_serializable("keras_flows")
class ImageRealNVP(ModelFlow):
    """Real NVP on images of integers from 0 to `2^bits - 1`.

    Uniform dequantization → logit of `0.05 + 0.9 x` → scales. A scale is three couplings of the
    pixels of a checkerboard, a squeeze, and three of the halves of the channels, `NormalMap`s all;
    then the second and third of every four pixels leave, standard normal, and those on the diagonal
    go on with twice the width. The last scale is four couplings of a checkerboard. The latent is a
    vector. log_prob is a lower bound by the dequantization. The defaults are the published flow on
    CIFAR-10.

    Source: Dinh et al. 2017, *Density Estimation using Real NVP*, without the batch normalisation
    of the outputs of couplings.

    >>> flow = kf.models.ImageRealNVP((28, 28, 1), width=16, blocks=2)

    Args:
        event_shape: `(height, width, channels)`, the sides divisible by 2 to the number of scales,
            the height of the last one excepted.
        scales: Number of scales.
        width: Channels inside the networks of the first couplings.
        blocks: Their residual blocks.
        bits: Number of bits of an integer.
        context_shape: See `Flow`; the networks of the couplings see the context vector.
        context_embedding: See `Flow`.
        dtype: `"float32"` or `"float64"`.
        **kwargs: `seed` and `name`; see `Flow`.

    Raises:
        ValueError: If an argument is out of its range, or the scales do not fit the image.
    """

    @recorded
    def __init__(
        self,
        event_shape: tuple[int, ...],
        scales: int = 2,
        width: int = 64,
        blocks: int = 8,
        bits: int = 8,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        policy = keras.dtype_policies.get(dtype)
        checks.count(scales, "scales")
        event_shape = divisible_shape(event_shape, 2**scales, f"A Real NVP of {scales} scales")
        size = checks.context_size(context_shape, context_embedding)
        net = {"blocks": blocks, "context_size": size, "dtype": policy}
        # From the last scale, which is inside all others.
        channels, width = event_shape[-1] * 2 ** (scales - 1), width * 2 ** (scales - 1)
        rest = [_checkerboard(channels, i % 2 == 1, width, net) for i in range(4)]
        rest.append(Flatten(dtype=policy))
        for _ in range(scales - 1):
            channels, width = channels // 2, width // 2
            rest = _scale(channels, width, net, rest)
        first = [UniformDequantization(bits, dtype=policy), Logit(0.05, dtype=policy)]
        super().__init__(
            Chain([*first, *rest], dtype=policy),
            event_shape,
            context_shape=context_shape,
            context_embedding=context_embedding,
            dtype=policy,
            **kwargs,
        )


def _checkerboard(channels, reverse, width, net):
    """A coupling of every second pixel."""
    network = RealNVPNetwork(2 * channels, width, masked=True, **net)
    return Coupling(Checkerboard(reverse), network, NormalMap(), dtype=net["dtype"])


def _halves(channels, reverse, width, net):
    """A coupling of the halves of so many channels, the first one of which changes."""
    network = RealNVPNetwork(channels, width, **net)
    return Coupling(ChannelHalves(not reverse), network, NormalMap(), dtype=net["dtype"])


def _scale(channels, width, net, rest):
    """A scale and all that is behind it, a list of transforms; `rest` is that."""
    reverses, dtype = (False, True, False), {"dtype": net["dtype"]}
    squeezed = 4 * channels
    order = positions_first(channels, _DIAGONAL_FIRST)
    steps: list[Transform] = [_checkerboard(channels, r, width, net) for r in reverses]
    steps.append(Squeeze(2, **dtype))
    steps += [_halves(squeezed, r, 2 * width, net) for r in reverses]
    return [*steps, Permutation(order, **dtype), FactorOut(Chain(rest, **dtype), **dtype)]
