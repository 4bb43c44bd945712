"""Real NVP on vectors."""

from typing import Any

import keras

from keras_flows import checks
from keras_flows.layers import ResidualNetwork
from keras_flows.models.arguments import recorded
from keras_flows.models.vectors import VectorModel, changed_features
from keras_flows.transforms import Coupling
from keras_flows.transforms.maps import AffineMap
from keras_flows.transforms.masks import FeatureMask


@keras.saving.register_keras_serializable("keras_flows")
class RealNVP(VectorModel):
    """Real NVP on vectors: part of the features scales and shifts the others, in turn.

    `z_changed = shift + exp(s) x_changed` with s and shift made by a residual network from the
    features that pass; `|s|` is at most 2. The first step is a `Standardize`, set by
    `keras_flows.training.adapt`; the flow starts as that alone. Both directions take one pass.

    Source: Dinh et al. 2017, *Density Estimation using Real NVP*, without the batch normalisation
    between the layers.

    Args:
        event_shape: `(features,)`, at least two of them.
        layers: Number of couplings; by default twice the number of binary digits that tell the
            features apart, at least 6.
        width: Size of the hidden layers of the networks.
        blocks: Residual blocks of every network.
        context_shape: See `Flow`.
        context_embedding: See `Flow`.
        dtype: `"float32"` or `"float64"`.
        **kwargs: `seed` and `name`; see `Flow`.

    Raises:
        ValueError: If an argument is out of its range, or there is a single feature.
    """

    @recorded
    def __init__(
        self,
        event_shape: tuple[int, ...],
        layers: int | None = None,
        width: int = 64,
        blocks: int = 2,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        (features, *_) = checks.event_shape(event_shape)
        if layers is None:
            layers = max(6, 2 * (features - 1).bit_length())
        checks.count(layers, "layers")
        self.arguments.layers = layers
        affine = AffineMap()
        context_size = checks.context_size(context_shape, context_embedding)
        common = {"width": width, "blocks": blocks, "context_size": context_size}

        def steps(policy):
            return [
                Coupling(
                    FeatureMask(changed),
                    ResidualNetwork(len(changed) * affine.parameters, **common, dtype=policy),
                    affine,
                    dtype=policy,
                )
                for changed in changed_features(features, layers)
            ]

        super().__init__(event_shape, steps, context_shape, context_embedding, dtype, **kwargs)
