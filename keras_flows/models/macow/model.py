"""MaCow: masked convolutions from all four sides, between couplings."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_flows import checks
from keras_flows.models.arguments import ModelFlow, recorded
from keras_flows.models.images import (
    DEQUANTIZATIONS,
    dequantization_of,
    divisible_shape,
    positions_first,
)
from keras_flows.models.macow.networks import MaCowNetwork
from keras_flows.models.macow.row_network import DIRECTIONS, RowNetwork
from keras_flows.transforms import (
    ActNorm,
    Affine,
    Autoregressive,
    Chain,
    Conv1x1,
    Coupling,
    FactorOut,
    Flatten,
    Permutation,
    Squeeze,
    Transform,
)
from keras_flows.transforms.maps import SigmoidScaleMap
from keras_flows.transforms.masks import FeatureMask


@keras.saving.register_keras_serializable("keras_flows")
class MaCow(ModelFlow):
    """MaCow on images of integers from 0 to `2^bits - 1`.

    Dequantization → `x - 1/2` → levels. A step is two units, ActNorm, a 1×1 convolution and a
    coupling of the last half of the channels; a unit is ActNorm, an autoregressive step with a
    `keras_flows.models.macow.RowNetwork` from the top and one from the bottom, ActNorm, one from
    the left and one from the right. The first level has `steps[0]` of them, at full size; every one
    after it begins with a squeeze. After each of the parts of a level between, such as `(12, 12)`,
    a quarter of the channels that it began with leaves, after ActNorm, a 1×1 convolution and a
    coupling of that quarter. The latent is a vector. log_prob is a lower bound by the
    dequantization, and decoding takes as many passes of each masked convolution as the image has
    rows or columns. The defaults are the published flow on CIFAR-10, its dequantization excepted.

    Source: Ma et al. 2019, *MaCow: Masked Convolutional Generative Flow*.

    >>> flow = kf.models.MaCow((28, 28, 1), steps=(1, (1, 1), 1), widths=(8, 32, 32))

    Args:
        event_shape: `(height, width, channels)`, at least two channels, or the first number of
            steps 0; the sides divisible by 2 to the number of levels less one.
        steps: Of every level its steps, those of the levels between as a pair, one for each part.
        widths: Of every level the channels inside the networks of the couplings.
        dequantization: See `DenseFlow`; `"uniform"` by default.
        bits: See there.
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
        steps: Sequence[int | Sequence[int]] = (4, (12, 12), (12, 12), 12),
        widths: Sequence[int] = (24, 512, 512, 512),
        dequantization: str | dict | Transform = "uniform",
        bits: int | None = None,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        policy = keras.dtype_policies.get(dtype)
        steps, widths = _checked(steps, widths)
        levels = len(steps)
        event_shape = divisible_shape(event_shape, 2 ** (levels - 1), f"A MaCow of {levels} levels")
        make = _Steps(checks.context_size(context_shape, context_embedding), policy)
        channels = event_shape[-1]
        if channels < 2 and steps[0]:
            raise ValueError(
                "The first level is of the image as it is, and a coupling needs two channels: "
                f"steps[0] has to be 0 for an image {event_shape}."
            )
        # From the last level, which is inside all others: half of the channels leaves a level
        # between, and a squeeze makes four of each.
        height, columns, _ = event_shape
        shapes = [
            (height // 2**i, columns // 2**i, 2 ** (i + 1) * channels) for i in range(1, levels)
        ]
        rest = [*make.steps(shapes[-1], steps[-1], widths[-1]), Flatten(dtype=policy)]
        for i in reversed(range(1, levels - 1)):
            after = make.squeezed(shapes[i - 1][-1] // 2) + rest
            rest = make.level(shapes[i - 1], steps[i], widths[i], after)
        first = [
            dequantization_of(dequantization, DEQUANTIZATIONS, bits, policy),
            Affine(0.5, 1.0, dtype=policy),
            *make.steps(event_shape, steps[0], widths[0]),
            *make.squeezed(channels),
        ]
        super().__init__(
            Chain([*first, *rest], dtype=policy),
            event_shape,
            context_shape=context_shape,
            context_embedding=context_embedding,
            dtype=policy,
            **kwargs,
        )
        self.arguments.bits = self.bits


class _Steps:
    """Makes the transforms of a MaCow, lists of them.

    Args:
        context_size: Of all networks.
        dtype: Of all.
    """

    def __init__(self, context_size, dtype):
        self.context = {"context_size": context_size, "dtype": dtype}
        self.dtype = {"dtype": dtype}

    def squeezed(self, channels):
        """A squeeze, the place in a square slowest."""
        return [Squeeze(2, **self.dtype), Permutation(positions_first(channels), **self.dtype)]

    def norm(self):
        return ActNorm(0.0, 1e-6, **self.dtype)

    def coupling(self, channels, leaving, width):
        """ActNorm, 1×1 convolution and a coupling of the last channels, so many of them."""
        net = MaCowNetwork(2 * leaving, width, **self.context)
        mask = FeatureMask(range(channels - leaving, channels))
        coupling = Coupling(mask, net, SigmoidScaleMap(), **self.dtype)
        return [self.norm(), Conv1x1(**self.dtype), coupling]

    def rows(self, shape, direction, width):
        """The autoregressive step of one direction."""
        map = SigmoidScaleMap()
        net = RowNetwork(shape, map.parameters, width, direction, **self.context)
        return Autoregressive(net, map, **self.dtype)

    def unit(self, shape):
        """All four directions."""
        channels = shape[-1]
        width = 4 * channels if channels <= 96 else min(2 * channels, 512)
        rows = [self.rows(shape, direction, width) for direction in DIRECTIONS]
        return [self.norm(), *rows[:2], self.norm(), *rows[2:]]

    def steps(self, shape, number, width):
        """So many steps on images of a shape."""
        made: list[Transform] = []
        for _ in range(number):
            made += [*self.unit(shape), *self.unit(shape)]
            made += self.coupling(shape[-1], shape[-1] // 2, width)
        return made

    def level(self, shape, parts, width, after):
        """Two parts, a quarter of the channels leaving after each; `after` follows."""
        *sides, channels = shape
        quarter = channels // 4
        rest = after
        for left, number in ((channels - quarter, parts[1]), (channels, parts[0])):
            made = self.steps((*sides, left), number, width)
            made += self.coupling(left, quarter, width)
            rest = [*made, FactorOut(Chain(rest, **self.dtype), quarter, **self.dtype)]
        return rest


def _checked(steps, widths):
    """The steps and widths of every level as plain lists."""
    steps = [list(part) if isinstance(part, (list, tuple)) else part for part in steps]
    if len(steps) < 2 or len(steps) != len(widths):
        raise ValueError(
            "steps and widths have one entry for every level, of which there are at least two; got "
            f"{steps} and {list(widths)}."
        )
    checks.counts(list(widths), "widths, the channels inside networks at every level,")
    checks.count(steps[0], "The first number of steps", least=0)
    checks.count(steps[-1], "The last number of steps")
    for part in steps[1:-1]:
        if not isinstance(part, list) or len(part) != 2:
            raise ValueError(f"A level between has a pair of steps, one for each part; got {part}.")
        checks.counts(part, "steps, those of a level between,")
    return steps, list(widths)
