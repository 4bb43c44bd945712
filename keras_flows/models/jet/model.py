"""Jet: couplings of tokens by vision transformers."""

from typing import Any

import keras
import numpy as np

from keras_flows import checks
from keras_flows.models.arguments import ModelFlow, recorded
from keras_flows.models.images import divisible_shape
from keras_flows.models.jet.network import VisionTransformer
from keras_flows.transforms import (
    Affine,
    Chain,
    Coupling,
    Patches,
    Permutation,
    Transform,
    UniformDequantization,
)
from keras_flows.transforms.maps import SigmoidMap
from keras_flows.transforms.masks import FeatureMask, HalfTheTokens, Mask

# Which tokens of a grid pass, by row and column.
_PATTERNS = {
    "checkerboard": lambda i, j: (i + j) % 2 == 0,
    "columns": lambda i, j: (j % 2 == 0) & (i >= 0),
    "rows": lambda i, j: (i % 2 == 0) & (j >= 0),
}
# After so many couplings of channels one of tokens, each pattern and then its reverse.
_CHANNELS_BETWEEN = 4


@keras.saving.register_keras_serializable("keras_flows")
class Jet(ModelFlow):
    """Jet on images of integers from 0 to `2^bits - 1`.

    Uniform dequantization → numbers from -1 to 1 → patches → couplings `z2 = (x2 + shift) 2 σ(r)`
    whose networks are vision transformers (`keras_flows.models.jet.VisionTransformer`). Four
    couplings are of halves of the channels of every token, chosen at random, and each fifth one of
    half of the tokens: a checkerboard, columns and rows in turn, each followed by its reverse. The
    latent is standard normal; the flow starts as the identity. log_prob is a lower bound by the
    dequantization. The defaults are those on ImageNet64.

    Source: Kolesnikov et al. 2024, *Jet: A Modern Transformer-Based Normalizing Flow*.

    >>> flow = kf.models.Jet((28, 28, 1), width=64, couplings=10, layers=1, heads=4)

    Args:
        event_shape: `(height, width, channels)`, the sides divisible by twice that of the patches.
        patch: Side of the patches, even, or of an even number of channels.
        width: Channels of the transformers, divisible by the heads.
        couplings: Their number.
        layers: Layers of each transformer.
        heads: Of the attention.
        orders_seed: Seed of the choice of the channels.
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
        patch: int = 4,
        width: int = 512,
        couplings: int = 64,
        layers: int = 5,
        heads: int = 8,
        orders_seed: int = 0,
        bits: int = 8,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        policy = keras.dtype_policies.get(dtype)
        checks.count(patch, "patch")
        checks.count(couplings, "couplings")
        checks.count(orders_seed, "orders_seed", least=0)
        checks.bits(bits)
        event_shape = divisible_shape(event_shape, 2 * patch, f"A Jet of {patch}×{patch} patches")
        patches, map = Patches(patch, dtype=policy), SigmoidMap(0.0, 2.0)
        size = patches.encoded_shape(event_shape)[-1]
        if size % 2:
            raise ValueError(f"Halves of the channels need an even patch; got {patch}.")
        grid = (event_shape[0] // patch, event_shape[1] // patch)
        context_size = checks.context_size(context_shape, context_embedding)
        net = {"layers": layers, "heads": heads, "context_size": context_size, "dtype": policy}
        filters = size // 2 * map.parameters
        # From the lowest level to the highest they are the numbers from -1 to 1.
        half = (2.0**bits - 1.0) / 2.0 ** (bits + 1)
        order = [c * patch**2 + p for p in range(patch**2) for c in range(event_shape[-1])]
        steps: list[Transform] = [
            UniformDequantization(bits, dtype=policy),
            Affine(half, half, dtype=policy),
            patches,
            # The channel of the image fastest, as published: halves of tokens are then rows.
            Permutation(order, dtype=policy),
        ]
        for mask in masks(couplings, grid, size, orders_seed):
            network = VisionTransformer(filters, width, **net)
            steps.append(Coupling(mask, network, map, dtype=policy))
        super().__init__(
            Chain(steps, dtype=policy),
            event_shape,
            context_shape=context_shape,
            context_embedding=context_embedding,
            dtype=policy,
            **kwargs,
        )


def masks(number: int, grid: tuple[int, int], size: int, seed: int) -> list[Mask]:
    """The masks of so many couplings.

    Args:
        number: Of the couplings.
        grid: Rows and columns of tokens.
        size: Channels of a token.
        seed: Of the choice of channels.
    """
    rng, patterns = np.random.default_rng(seed), token_orders(*grid)
    made: list[Mask] = []
    spatial = 0
    for i in range(number):
        if i % (_CHANNELS_BETWEEN + 1) == _CHANNELS_BETWEEN:
            made.append(HalfTheTokens(patterns[spatial % len(patterns)]))
            spatial += 1
        else:
            made.append(FeatureMask(rng.permutation(size)[size // 2 :].tolist()))
    return made


def token_orders(rows: int, columns: int) -> list[list[int]]:
    """Of every pattern and its reverse the tokens that pass, and then the others."""
    i, j = np.divmod(np.arange(rows * columns), columns)
    orders = []
    for pattern in _PATTERNS.values():
        for reverse in (False, True):
            passes = pattern(i, j) != reverse
            orders.append([*np.flatnonzero(passes).tolist(), *np.flatnonzero(~passes).tolist()])
    return orders
