"""Masked autoregressive flow."""

from typing import Any

import keras

from keras_flows import checks
from keras_flows.layers import MADE
from keras_flows.models.arguments import recorded
from keras_flows.models.vectors import VectorModel
from keras_flows.transforms import Autoregressive, BatchNormalize, Transform
from keras_flows.transforms.maps import AffineMap


@keras.saving.register_keras_serializable("keras_flows")
class MaskedAutoregressiveFlow(VectorModel):
    """Masked autoregressive flow (MAF): features scaled and shifted by those before them.

    `z_j = shift_j + exp(s_j) x_j` with s_j and shift_j made by a MADE from the features before j,
    in the order of the columns in the first layer, in the reverse order in the second, and so on.
    `|s_j|` is at most 3. The first step is a `Standardize`, set by `keras_flows.training.adapt`;
    the flow starts as that alone. log_prob takes one pass, a sample as many as there are features.

    Source: Papamakarios et al. 2017, *Masked Autoregressive Flow for Density Estimation*.

    Args:
        event_shape: `(features,)`.
        layers: Number of autoregressive layers.
        width: Size of the hidden layers of every MADE.
        depth: Their number.
        one_order: See `SplineFlow`.
        batch_normalization: Whether a `BatchNormalize` follows every layer, as published. Training
            then goes by the statistics of batches, and evaluation and samples by moving averages.
        context_shape: See `Flow`.
        context_embedding: See `Flow`.
        dtype: `"float32"` or `"float64"`.
        **kwargs: `seed` and `name`; see `Flow`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    @recorded
    def __init__(
        self,
        event_shape: tuple[int, ...],
        layers: int = 5,
        width: int = 64,
        depth: int = 2,
        one_order: bool = False,
        batch_normalization: bool = False,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        checks.count(layers, "layers")
        checks.count(width, "width")
        checks.count(depth, "depth")
        checks.flag(one_order, "one_order")
        checks.flag(batch_normalization, "batch_normalization")
        (features, *_) = checks.event_shape(event_shape)
        affine = AffineMap(3.0)
        context_size = checks.context_size(context_shape, context_embedding)

        def steps(policy):
            reverses = [i % 2 == 1 and not one_order for i in range(layers)]
            common = {"context_size": context_size, "dtype": policy}
            nets = [
                MADE(features, affine.parameters, [width] * depth, reverse=r, **common)
                for r in reverses
            ]
            made: list[Transform] = []
            for net in nets:
                made.append(Autoregressive(net, affine, dtype=policy))
                if batch_normalization:
                    made.append(BatchNormalize(dtype=policy))
            return made

        super().__init__(event_shape, steps, context_shape, context_embedding, dtype, **kwargs)
