"""VFlow: Flow++ on images with channels of noise beside them."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_flows import checks
from keras_flows.models.arguments import ModelFlow, recorded
from keras_flows.models.flowpp.couplings import mixture_couplings
from keras_flows.models.flowpp.dequantization import DEQUANTIZATIONS
from keras_flows.models.images import dequantization_of, divisible_shape, positions_first
from keras_flows.models.vflow.augmentation import Augmentation
from keras_flows.transforms import (
    Chain,
    Logit,
    Permutation,
    Squeeze,
    Transform,
)
from keras_flows.transforms.masks import AlternateColumns, ChannelHalves


@keras.saving.register_keras_serializable("keras_flows")
class VFlow(ModelFlow):
    """VFlow on images of integers from 0 to `2^bits - 1`.

    Dequantization → logit of `0.05 + 0.9 x` → `extra` channels of noise beside the image, drawn by
    a flow that sees it (`keras_flows.models.vflow.Augmentation`) → couplings of alternate columns
    and of channel halves → squeeze → couplings of both kinds again → z, all as in `FlowPlusPlus`.
    log_prob is a lower bound, which `num_importance_samples` tightens; decoding drops what became
    of the noise. The defaults are the published flow on CIFAR-10, without its dropout; its code
    takes the logit of `0.05 + 0.9 F` in the couplings, with which not every z can be decoded.

    Source: Chen et al. 2020, *VFlow: More Expressive Generative Flows with Variational Data
    Augmentation*.

    >>> flow = kf.models.VFlow((28, 28, 1), 1, (1, 1, 1, 1), width=16, blocks=1, components=4)

    Args:
        event_shape: `(height, width, channels)`, the height divisible by 2, the width by 4.
        extra: Channels of noise.
        couplings: Their numbers in the four parts.
        width: Channels inside their networks, divisible by the heads.
        blocks: Blocks of these.
        components: Of the mixtures.
        heads: Of the attention.
        augmentation: Arguments of the `Augmentation` that differ from its defaults, and from the
            width, components and heads of the flow; a dictionary.
        dequantization: See `FlowPlusPlus`.
        bits: See there.
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
        extra: int = 3,
        couplings: Sequence[int] = (2, 2, 2, 3),
        width: int = 96,
        blocks: int = 10,
        components: int = 32,
        heads: int = 4,
        augmentation: dict | None = None,
        dequantization: str | dict | Transform = "variational",
        bits: int | None = None,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        policy = keras.dtype_policies.get(dtype)
        checks.counts(couplings, "couplings, their numbers in the four parts,")
        if len(couplings) != 4:
            raise ValueError(f"couplings has a number for each of four parts; got {couplings}.")
        # Alternate columns come after the squeeze.
        height, columns, channels = divisible_shape(event_shape, (2, 4), "A VFlow")
        own = {"width": width, "components": components, "heads": heads}
        noise = Augmentation(extra, **{**own, **(augmentation or {})}, dtype=policy)
        size = checks.context_size(context_shape, context_embedding)
        sizes: dict[str, Any] = {**own, "blocks": blocks, "context_size": size}
        whole = channels + extra
        masks = [
            [kind(i % 2 == 1) for i in range(number)]
            for kind, number in zip(
                (AlternateColumns, ChannelHalves) * 2,
                couplings,
                strict=True,
            )
        ]
        squeezed = (height // 2, columns // 2, 4 * whole)
        steps = [
            dequantization_of(dequantization, DEQUANTIZATIONS, bits, policy),
            Logit(0.05, dtype=policy),
            noise,
            *mixture_couplings((height, columns, whole), masks[0] + masks[1], sizes, policy),
            Squeeze(2, dtype=policy),
            Permutation(positions_first(whole), dtype=policy),
            *mixture_couplings(squeezed, masks[2] + masks[3], sizes, policy),
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
