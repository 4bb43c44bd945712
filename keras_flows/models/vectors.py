"""What the flows on vectors share: columns, standardisation, context, conditional terms."""

from collections.abc import Iterable

import keras

from keras_flows import checks
from keras_flows.bases import NormalWithCircles
from keras_flows.models.arguments import ModelFlow
from keras_flows.transforms import Chain, Standardize, Transform


class VectorModel(ModelFlow):
    """A flow on vectors: a `Standardize`, then the steps that a subclass makes.

    The `Standardize` is the identity until `keras_flows.training.adapt`; it leaves features that
    are angles, and the base is uniform over these.

    Args:
        event_shape: `(features,)`.
        steps: From a dtype policy to the steps behind the `Standardize`, transforms.
        context_shape: See `Flow`.
        context_embedding: See `Flow`.
        dtype: See `Flow`.
        circles: The indices of the features that are angles.
        **kwargs: See `Flow`.

    Raises:
        ValueError: If an argument does not fit.
    """

    def __init__(
        self, event_shape, steps, context_shape, context_embedding, dtype, circles=(), **kwargs
    ):
        event_shape = checks.event_shape(event_shape)
        if len(event_shape) != 1:
            raise ValueError(
                f"{type(self).__name__} takes vectors, an event_shape such as (5,); got "
                f"{event_shape}."
            )
        policy = keras.dtype_policies.get(dtype)
        made: Iterable[Transform] = [Standardize(keep=circles, dtype=policy), *steps(policy)]
        if circles:
            kwargs["base"] = NormalWithCircles(circles, dtype=policy)
        super().__init__(
            Chain(made, dtype=policy),
            event_shape,
            context_shape=context_shape,
            context_embedding=context_embedding,
            dtype=policy,
            **kwargs,
        )


def changed_features(features, layers):
    """Which features every coupling of a flow transforms: lists of indices, one for each layer.

    Layers come in pairs: the first transforms the features of which a binary digit is 1, the second
    all others. The digit goes from the last (a checkerboard) to the first and begins anew, so that
    after `2 ceil(log2(features))` layers each feature was transformed by every other one.

    Args:
        features: Their number, at least 2.
        layers: The number of layers.

    Raises:
        ValueError: If there is one feature only.
    """
    if features < 2:
        raise ValueError(
            f"A coupling needs at least two features, one to see and one to transform; got "
            f"{features}. For a single one take a flow that is autoregressive."
        )
    digits = (features - 1).bit_length()
    return [
        [i for i in range(features) if (i >> (layer // 2 % digits)) % 2 != layer % 2]
        for layer in range(layers)
    ]
