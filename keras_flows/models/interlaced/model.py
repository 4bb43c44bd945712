"""Interlaced flows: couplings that predict the finer pixels of an image from the coarser ones."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_flows import checks
from keras_flows.bases import StandardLogistic
from keras_flows.layers import CouplingNetwork, MaskedConvNetwork, ResidualConvolution
from keras_flows.models.arguments import ModelFlow, recorded
from keras_flows.models.images import divisible_shape, positions_first
from keras_flows.transforms import (
    Autoregressive,
    Chain,
    Coupling,
    FactorOut,
    Permutation,
    Squeeze,
    Transform,
)
from keras_flows.transforms.maps import CategoricalMap, DiscretizedMixtureMap, ElementwiseMap
from keras_flows.transforms.masks import FeatureMask

# The places of a square: what stays, its diagonal neighbour, then the two between them.
_ORDER = (0, 3, 1, 2)


@keras.saving.register_keras_serializable("keras_flows")
class InterlacedFlow(ModelFlow):
    """Couplings of integers in the order of an interlaced image, from coarse to fine pixels.

    Levels → the smallest image. At a level every square of four pixels goes to channels. One after
    the other, the last colour of the last pixel first, the numbers of three of the four are mapped
    by a distribution whose parameters a network makes of all those before them, and leave,
    logistic; the fourth pixels are the image of the next level, half as high and wide. Decoding
    goes from coarse to fine: of the diagonal neighbour of a known pixel first, then of those
    between. The smallest image is coded by an `Autoregressive` step, pixel by pixel.

    The map is one of integers, and log_prob is exact: `output` is `"categorical"`, the
    probabilities of the levels, or `"mixture"`, a discretized mixture of logistics. All that a
    network sees are data, none of it latents, with their Fourier features; and every number is
    mapped once: a network for each of a few groups of pixels does what many couplings do in turn in
    other flows. log_prob takes one pass, and so does decoding but for the smallest image, which
    takes a pass for each number of it at most.

    Sources: Reed et al. 2017, *Parallel Multiscale Autoregressive Density Estimation*, for the
    order; van den Oord et al. 2016, *Pixel Recurrent Neural Networks*, and Salimans et al. 2017,
    *PixelCNN++*, for the distributions; Kingma et al. 2021, *Variational Diffusion Models*, for the
    features.

    >>> flow = kf.models.InterlacedFlow((28, 28, 1), widths=(16, 32), blocks=2)

    Args:
        event_shape: `(height, width, channels)`, the sides divisible by 2 to the number of levels.
        widths: Of every level the channels inside its networks, from the finest.
        blocks: Residual blocks of these networks.
        output: See above.
        components: Of the mixtures, 10 by default.
        top_width: `width` of the `keras_flows.layers.MaskedConvNetwork` of the smallest image.
        top_blocks: Its blocks.
        bits: Number of bits of an integer.
        context_shape: See `Flow`; all networks see the context vector.
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
        widths: Sequence[int] = (32, 64),
        blocks: int = 3,
        output: str = "categorical",
        components: int | None = None,
        top_width: int = 32,
        top_blocks: int = 4,
        bits: int = 8,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        policy = keras.dtype_policies.get(dtype)
        checks.counts(widths, "widths, the channels inside the networks of every level,")
        checks.count(blocks, "blocks")
        levels = len(widths)
        height, width, channels = divisible_shape(
            event_shape, 2**levels, f"An InterlacedFlow of {levels} levels"
        )
        map = integer_map(output, components, bits)
        size = checks.context_size(context_shape, context_embedding)
        top = MaskedConvNetwork(
            (height // 2**levels, width // 2**levels, channels),
            map.parameters,
            top_width,
            top_blocks,
            head=2 * top_width,
            bound=1.01,  # beyond all levels: at its ends the gradient of a clip is not defined
            context_size=size,
            fourier_bits=bits,
            dtype=policy,
        )
        # From the smallest image, which is inside all others.
        rest: list[Transform] = [Autoregressive(top, map, dtype=policy)]
        for inside in reversed(list(widths)):
            for before in range(channels, 4 * channels):
                made = [ResidualConvolution(dtype=policy) for _ in range(blocks)]
                network = CouplingNetwork(
                    map.parameters, inside, made, size, fourier_bits=bits, dtype=policy
                )
                coupling = Coupling(FeatureMask([before]), network, map, dtype=policy)
                rest = [coupling, FactorOut(Chain(rest, dtype=policy), leaving=1, dtype=policy)]
            order = positions_first(channels, _ORDER)
            rest = [Squeeze(2, dtype=policy), Permutation(order, dtype=policy), *rest]
        super().__init__(
            Chain(rest, dtype=policy),
            event_shape,
            context_shape=context_shape,
            context_embedding=context_embedding,
            base=StandardLogistic(dtype=policy),
            dtype=policy,
            **kwargs,
        )


def integer_map(output: str, components: int | None, bits: int) -> ElementwiseMap:
    """The map of integers that an output stands for.

    Raises:
        ValueError: If there is no such output, or components are given for one without.
    """
    kind = checks.known(output, {name: name for name in ("categorical", "mixture")}, "output")
    if kind == "mixture":
        return DiscretizedMixtureMap(10 if components is None else components, bits)
    if components is not None:
        raise ValueError(
            "A categorical output has no components: leave them out, or take a mixture."
        )
    return CategoricalMap(bits)
