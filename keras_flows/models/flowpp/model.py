"""Flow++: couplings by mixtures of logistics, whose networks have attention."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_flows import checks
from keras_flows.models.arguments import ModelFlow, recorded
from keras_flows.models.flowpp.couplings import mixture_couplings
from keras_flows.models.flowpp.dequantization import DEQUANTIZATIONS
from keras_flows.models.images import dequantization_of, divisible_shape, positions_first
from keras_flows.transforms import (
    Chain,
    Logit,
    Permutation,
    Squeeze,
    Transform,
)
from keras_flows.transforms.masks import AlternateColumns, ChannelHalves


@keras.saving.register_keras_serializable("keras_flows")
class FlowPlusPlus(ModelFlow):
    """Flow++ on images of integers from 0 to `2^bits - 1`.

    Dequantization → logit of `0.05 + 0.9 x` → couplings of alternate columns → squeeze → couplings
    of channel halves → couplings of alternate columns → z. Every coupling is by an
    `AffineLogisticMixtureMap`, its network a `keras_flows.models.flowpp.FlowPlusPlusNetwork`;
    before it stand an affine map of each number and a matrix for each half. Nothing leaves on the
    way.
    log_prob is a lower bound by the dequantization. The defaults are the published flow on
    CIFAR-10, without its dropout.

    Source: Ho et al. 2019, *Flow++: Improving Flow-Based Generative Models with Variational
    Dequantization and Architecture Design*.

    >>> flow = kf.models.FlowPlusPlus((28, 28, 1), (2, 2, 2), width=16, blocks=1, components=4)

    Args:
        event_shape: `(height, width, channels)`, the height divisible by 2, the width by 4.
        couplings: Their numbers in the three parts.
        width: Channels inside their networks, divisible by the heads.
        blocks: Blocks of these.
        components: Of the mixtures.
        heads: Of the attention.
        dequantization: `"variational"` or `"uniform"`; one with arguments, such as
            `{"class_name": "variational", "config": {"couplings": 2, "width": 16}}`; or an object.
        bits: Number of bits of an integer; that of the dequantization where that is an object, 8
            by default.
        context_shape: See `Flow`; the networks of the couplings see the context vector.
        context_embedding: See `Flow`.
        dtype: `"float32"` or `"float64"`.
        **kwargs: `seed` and `name`; see `Flow`.

    Raises:
        ValueError: If an argument is out of its range, or the sizes do not fit the image.
    """

    @recorded
    def __init__(
        self,
        event_shape: tuple[int, ...],
        couplings: Sequence[int] = (4, 2, 3),
        width: int = 96,
        blocks: int = 10,
        components: int = 32,
        heads: int = 4,
        dequantization: str | dict | Transform = "variational",
        bits: int | None = None,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        policy = keras.dtype_policies.get(dtype)
        checks.counts(couplings, "couplings, their numbers in the three parts,")
        if len(couplings) != 3:
            raise ValueError(f"couplings has a number for each of three parts; got {couplings}.")
        # Alternate columns come after the squeeze.
        height, width_of_image, channels = divisible_shape(event_shape, (2, 4), "A Flow++")
        squeezed = (height // 2, width_of_image // 2, 4 * channels)
        sizes: dict[str, Any] = {
            "width": width,
            "blocks": blocks,
            "components": components,
            "heads": heads,
        }
        sizes["context_size"] = checks.context_size(context_shape, context_embedding)
        first, second, third = ([i % 2 == 1 for i in range(n)] for n in couplings)
        columns = [AlternateColumns(reverse) for reverse in first]
        halves = [ChannelHalves(reverse) for reverse in second]
        columns_after = [AlternateColumns(reverse) for reverse in third]
        steps = [
            dequantization_of(dequantization, DEQUANTIZATIONS, bits, policy),
            Logit(0.05, dtype=policy),
            *mixture_couplings((height, width_of_image, channels), columns, sizes, policy),
            Squeeze(2, dtype=policy),
            Permutation(positions_first(channels), dtype=policy),
            *mixture_couplings(squeezed, [*halves, *columns_after], sizes, policy),
        ]
        super().__init__(
            Chain(steps, dtype=policy),
            event_shape,
            context_shape=context_shape,
            context_embedding=context_embedding,
            dtype=policy,
            **kwargs,
        )
        self.arguments.bits = self.bits
