"""TarFlow: causal transformers over the patches of an image."""

from typing import Any

import keras

from keras_flows import checks
from keras_flows.models.arguments import ModelFlow, recorded
from keras_flows.models.images import divisible_shape
from keras_flows.models.tarflow.network import TokenNetwork
from keras_flows.transforms import Affine, Autoregressive, Chain, Patches, UniformDequantization
from keras_flows.transforms.maps import NormalMap


@keras.saving.register_keras_serializable("keras_flows")
class TarFlow(ModelFlow):
    """TarFlow on images of integers from 0 to `2^bits - 1`.

    Uniform dequantization → numbers from -1 to 1 → patches → `blocks` autoregressive steps, every
    second one from the last patch to the first: `z_i = (x_i - mean_i) exp(-s_i)`, mean and s of a
    patch made by a transformer (`keras_flows.models.tarflow.TokenNetwork`) from the patches before
    it. The latent is standard normal. log_prob is a lower bound by the dequantization and takes one
    pass; a sample takes a pass of every block for each patch, in loops. The flow starts as the
    identity. Neither the noise that is added to the data for samples, nor guidance, which are no
    part of the density, are here. The defaults are those on ImageNet64.

    Source: Zhai et al. 2024, *Normalizing Flows are Capable Generative Models*.

    >>> flow = kf.models.TarFlow((28, 28, 1), patch=4, width=64, blocks=2, layers=2, heads=4)

    Args:
        event_shape: `(height, width, channels)`, the sides divisible by that of the patches.
        patch: Side of the patches.
        width: Channels of the transformers, divisible by the heads.
        blocks: Number of autoregressive steps.
        layers: Layers of each transformer.
        heads: Of the attention.
        bits: Number of bits of an integer.
        context_shape: See `Flow`; the context vector is added to all tokens, by a matrix.
        context_embedding: See `Flow`.
        dtype: `"float32"` or `"float64"`.
        **kwargs: `seed` and `name`; see `Flow`.

    Raises:
        ValueError: If an argument is out of its range, or the patches do not fit the image.
    """

    @recorded
    def __init__(
        self,
        event_shape: tuple[int, ...],
        patch: int = 2,
        width: int = 768,
        blocks: int = 8,
        layers: int = 8,
        heads: int = 12,
        bits: int = 8,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        policy = keras.dtype_policies.get(dtype)
        checks.count(patch, "patch")
        checks.count(blocks, "blocks")
        event_shape = divisible_shape(event_shape, patch, f"A TarFlow of {patch}×{patch} patches")
        size = checks.context_size(context_shape, context_embedding)
        patches, map = Patches(patch, dtype=policy), NormalMap()
        tokens = patches.encoded_shape(event_shape)
        networks = [
            TokenNetwork(
                tokens,
                map.parameters,
                width,
                layers,
                heads,
                i % 2 == 1,
                context_size=size,
                dtype=policy,
            )
            for i in range(blocks)
        ]
        steps = [
            UniformDequantization(bits, dtype=policy),
            Affine(0.5, 0.5, dtype=policy),
            patches,
            *(Autoregressive(network, map, dtype=policy) for network in networks),
        ]
        super().__init__(
            Chain(steps, dtype=policy),
            event_shape,
            context_shape=context_shape,
            context_embedding=context_embedding,
            dtype=policy,
            **kwargs,
        )
