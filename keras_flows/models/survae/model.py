"""SurVAE flows: pooling on the way."""

from typing import Any

import keras

from keras_flows import checks
from keras_flows.bases import ChannelNormal
from keras_flows.layers import CouplingNetwork, ResidualDenseBlock
from keras_flows.models.arguments import ModelFlow, recorded
from keras_flows.models.images import DEQUANTIZATIONS, dequantization_of, divisible_shape
from keras_flows.transforms import (
    Affine,
    AffineCoupling,
    Chain,
    Conv1x1,
    Drop,
    MaxPool,
    Squeeze,
    Transform,
)


@keras.saving.register_keras_serializable("keras_flows")
class PoolFlow(ModelFlow):
    """The SurVAE flow with pooling, on images of integers from 0 to `2^bits - 1`.

    Dequantization → `x - 1/2` → squeeze → scales, with a pooling between two. A scale is `steps`
    times (1×1 convolution, affine coupling). The pooling is a `MaxPool`, or, for comparison, a
    squeeze of which a quarter of the channels is kept (`Drop`): either way three numbers of four
    leave. The base is a `ChannelNormal`. log_prob is a lower bound by the dequantization; the
    poolings are exact. The defaults are the published flow on CIFAR-10, but for its dequantization.

    Source: Nielsen et al. 2020, *SurVAE Flows: Surjections to Bridge the Gap between VAEs and
    Flows*, section 5.

    >>> flow = kf.models.PoolFlow((28, 28, 1), steps=4, width=16, depth=2, growth=8)

    Args:
        event_shape: `(height, width, channels)`, the sides divisible by 2 to the number of scales.
        scales: Number of scales.
        steps: Couplings of a scale.
        width: Channels inside their networks.
        depth: Layers of the dense blocks of these.
        growth: Channels that such a layer adds.
        pooling: `"max"`, or `"drop"`.
        dequantization: See `DenseFlow`.
        bits: See there.
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
        steps: int = 12,
        width: int = 64,
        depth: int = 10,
        growth: int = 64,
        pooling: str = "max",
        dequantization: str | dict | Transform = "variational",
        bits: int | None = None,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        policy = keras.dtype_policies.get(dtype)
        checks.count(scales, "scales")
        checks.count(steps, "steps")
        event_shape = divisible_shape(event_shape, 2**scales, f"A PoolFlow of {scales} scales")
        channels = 4 * event_shape[-1]
        pool = checks.known(
            pooling,
            {
                "max": lambda: [MaxPool(dtype=policy)],
                "drop": lambda: [Squeeze(2, dtype=policy), Drop(channels, dtype=policy)],
            },
            "pooling",
        )
        size = checks.context_size(context_shape, context_embedding)

        def step():
            block = ResidualDenseBlock(depth, growth, dtype=policy)
            net = CouplingNetwork(channels, width, [block], context_size=size, dtype=policy)
            return [Conv1x1(dtype=policy), AffineCoupling(net, dtype=policy)]

        made: list[Transform] = [
            dequantization_of(dequantization, DEQUANTIZATIONS, bits, policy),
            Affine(0.5, 1.0, dtype=policy),
            Squeeze(2, dtype=policy),
        ]
        for i in range(scales):
            made += pool() if i else []
            for _ in range(steps):
                made += step()
        super().__init__(
            Chain(made, dtype=policy),
            event_shape,
            context_shape=context_shape,
            context_embedding=context_embedding,
            base=ChannelNormal(dtype=policy),
            dtype=policy,
            **kwargs,
        )
        self.arguments.bits = self.bits
