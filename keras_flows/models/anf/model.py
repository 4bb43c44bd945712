"""Augmented normalizing flows on vectors."""

from typing import Any

import keras

from keras_flows import checks
from keras_flows.layers import ResidualNetwork
from keras_flows.models.arguments import recorded
from keras_flows.models.vectors import VectorModel
from keras_flows.transforms import AppendNoise, Coupling
from keras_flows.transforms.maps import AffineMap
from keras_flows.transforms.masks import FeatureMask


@keras.saving.register_keras_serializable("keras_flows")
class AugmentedNormalizingFlow(VectorModel):
    """Augmented normalizing flow (ANF) on vectors: encoders and decoders in turn.

    Noise e is appended to x; then `layers` times an encoder maps e by x, and a decoder x by what
    has become of e: `e <- m(x) + exp(s(x)) e`, `x <- m(e) + exp(s(e)) x`, with m and s of residual
    networks and `|s|` at most 3. One layer is a variational autoencoder with normal distributions.
    log_prob is a lower bound, which `num_importance_samples` tightens; decoding drops e. The first
    step is a `Standardize`, set by `keras_flows.training.adapt`.

    Source: Huang et al. 2020, *Augmented Normalizing Flows: Bridging the Gap Between Generative
    Flows and Latent Variable Models*.

    Args:
        event_shape: `(features,)`.
        extra: Size of the noise; by default as many numbers as features.
        layers: Number of pairs of encoder and decoder.
        width: Size of the hidden layers of the networks.
        blocks: Residual blocks of every network.
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
        extra: int | None = None,
        layers: int = 4,
        width: int = 64,
        blocks: int = 2,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        (features, *_) = checks.event_shape(event_shape)
        extra = features if extra is None else extra
        checks.count(extra, "extra")
        checks.count(layers, "layers")
        self.arguments.extra = extra
        affine = AffineMap(3.0)
        size = checks.context_size(context_shape, context_embedding)
        common = {"width": width, "blocks": blocks, "context_size": size}
        data, noise = range(features), range(features, features + extra)

        def steps(policy):
            changed = [part for _ in range(layers) for part in (noise, data)]
            return [
                AppendNoise(extra, dtype=policy),
                *(
                    Coupling(
                        FeatureMask(part),
                        ResidualNetwork(len(part) * affine.parameters, **common, dtype=policy),
                        affine,
                        dtype=policy,
                    )
                    for part in changed
                ),
            ]

        super().__init__(event_shape, steps, context_shape, context_embedding, dtype, **kwargs)
