"""A flow of one affine map per number."""

import keras

from keras_flows.models.arguments import ModelFlow, recorded
from keras_flows.transforms import ActNorm, Chain, Reverse


@keras.saving.register_keras_serializable("keras_flows")
class LinearFlow(ModelFlow):
    """`z = exp(s) (x + b)`, in reverse order where asked.

    Args:
        event_shape: `(features,)`.
        reverse: Whether the order is reversed.
        dtype: See `Flow`.
        **kwargs: See `Flow`.
    """

    @recorded
    def __init__(self, event_shape, reverse=False, dtype=None, **kwargs):
        steps = [ActNorm(dtype=dtype), *([Reverse(dtype=dtype)] if reverse else [])]
        super().__init__(Chain(steps, dtype=dtype), event_shape, dtype=dtype, **kwargs)
