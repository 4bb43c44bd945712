"""DenseFlow: couplings with attention, and units joined by conditioned noise."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_flows import checks
from keras_flows.bases import ChannelNormal
from keras_flows.layers import CouplingNetwork, DenseAttentionBlock
from keras_flows.models.arguments import ModelFlow, recorded
from keras_flows.models.denseflow.cross_unit_coupling import CrossUnitBlock
from keras_flows.models.images import DEQUANTIZATIONS, dequantization_of, divisible_shape
from keras_flows.transforms import (
    ActNorm,
    Affine,
    AffineCoupling,
    Chain,
    Conv1x1,
    Logit,
    Squeeze,
    SqueezeAndDrop,
    SwapHalves,
    Transform,
)


@keras.saving.register_keras_serializable("keras_flows")
class DenseFlow(ModelFlow):
    """DenseFlow on images of integers from 0 to `2^bits - 1`.

    Dequantization → `x - 1/2`, or a logit → squeeze → block → squeeze and drop → block → … → z. A
    block is units of (ActNorm, 1×1 convolution, affine coupling, swap) modules; before every unit
    but the first, `growth` channels of noise are appended, conditioned on what came before
    (`keras_flows.models.denseflow.CrossUnitBlock`). The base is a `ChannelNormal`. log_prob is a
    lower bound. The defaults are DenseFlow-74-10, which has 130,647,294 trainable parameters on
    images `(32, 32, 3)`; `keras_flows.models.from_name("denseflow_cifar10")` is the same.

    Source: Grcić et al. 2021, *Densely connected normalizing flows* (arXiv 2106.04627).

    >>> flow = kf.models.DenseFlow((28, 28, 1), units=(2, 2), modules=(2, 3), growth=2, width=16,
    ...                            coupling_depth=2, coupling_growth=8, landmarks=7)
    >>> by_label = kf.models.DenseFlow(
    ...     (32, 32, 3), context_shape=(), context_embedding=keras.layers.Embedding(10, 16))

    Args:
        event_shape: `(height, width, channels)`, the sides divisible by 2 to the number of blocks.
        units: Number of units of every block.
        modules: Number of modules in a unit, for every block.
        growth: Channels of noise before a unit; 0 for a flow without cross-unit coupling, whose
            blocks are one unit after the other.
        width: Channels inside the networks of the couplings: a number, or one for every block.
        coupling_depth: Layers of their dense blocks.
        coupling_growth: Channels that such a layer adds.
        dequantization: `"variational"` or `"uniform"`; one with arguments, such as
            `{"class_name": "variational", "config": {"steps": 2, "width": 16}}`; or a
            `VariationalDequantization` or `UniformDequantization`, of which the flow makes its own.
        bits: Number of bits of an integer; that of the dequantization where that is an object, 8 by
            default.
        alpha: Of a `Logit` of the dequantized images, such as 1e-6; None for the published shift.
            Where most pixels are black or white it learns from far fewer images: by a shift those
            levels are 1/256 of what it sees, and their density is high and has steep edges.
        attention: Layout of the attention, `"published"` or `"proper"`, or None for networks
            without attention; see `keras_flows.layers.NystromAttention`.
        landmarks: Of the attention; divides the number of positions of every block: a number, or
            one for every block.
        heads: Of the attention.
        recompute: Whether training saves memory at the cost of time; see
            `keras_flows.layers.DenseAttentionBlock`.
        network_dtype: Dtype policy of the networks of the couplings in the blocks, that of the
            flow by default; `"mixed_bfloat16"` computes them in half precision, and everything
            else, log-dets and weights included, in that of the flow.
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
        units: Sequence[int] = (6, 4, 1),
        modules: Sequence[int] = (5, 6, 20),
        growth: int = 10,
        width: int | Sequence[int] = 48,
        coupling_depth: int = 7,
        coupling_growth: int = 64,
        dequantization: str | dict | Transform = "variational",
        bits: int | None = None,
        alpha: float | None = None,
        attention: str | None = "published",
        landmarks: int | Sequence[int] = 4,
        heads: int = 1,
        recompute: bool = False,
        network_dtype: str | keras.DTypePolicy | None = None,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        policy = keras.dtype_policies.get(dtype)
        checks.counts(units, "units, the number of units of every block,")
        checks.counts(modules, "modules, the number of modules in a unit of every block,")
        checks.count(coupling_depth, "coupling_depth")
        checks.count(coupling_growth, "coupling_growth")
        checks.count(growth, "growth", least=0)
        checks.flag(recompute, "recompute")
        event_shape = divisible_shape(
            event_shape, 2 ** len(units), f"A DenseFlow of {len(units)} blocks"
        )
        units, modules = list(units), list(modules)
        widths, marks = (
            _per_block(value, name, len(units))
            for value, name in ((width, "width"), (landmarks, "landmarks"))
        )
        if len(modules) != len(units):
            raise ValueError(
                f"units and modules have one number for every block; got {units} and {modules}."
            )
        network_policy = keras.dtype_policies.get(network_dtype or policy)
        net = {"depth": coupling_depth, "growth": coupling_growth, "attention": attention}
        net |= {"heads": heads, "recompute": recompute, "dtype": network_policy}
        size = checks.context_size(context_shape, context_embedding)
        steps = [
            dequantization_of(dequantization, DEQUANTIZATIONS, bits, policy),
            Affine(0.5, 1.0, dtype=policy) if alpha is None else Logit(alpha, dtype=policy),
            Squeeze(2, dtype=policy),
        ]
        channels = 4 * event_shape[2]
        for i, count in enumerate(units):
            if i > 0:
                steps.append(SqueezeAndDrop(dtype=policy))
                channels *= 2
            made, block = [], {**net, "landmarks": marks[i]}
            for j in range(count):
                inside = channels + j * growth
                parts = [module(inside, widths[i], block, size, policy) for _ in range(modules[i])]
                made.append(Chain(parts, dtype=policy))
            if growth:
                steps.append(CrossUnitBlock(made, growth, channels, dtype=policy))
            else:
                steps.append(Chain(made, dtype=policy))
            channels = inside
        super().__init__(
            Chain(steps, dtype=policy),
            event_shape,
            context_shape=context_shape,
            context_embedding=context_embedding,
            base=ChannelNormal(dtype=policy),
            dtype=policy,
            **kwargs,
        )
        self.arguments.bits = self.bits
        self.arguments.network_dtype = network_dtype and network_policy.name

    @classmethod
    def upgrade(cls, config: dict) -> dict:
        # Until version 0.1, with numbers by a prefix; those of a uniform one had no effect.
        names = [name for name in config if name.startswith("dequantizer_")]
        sizes = {name.removeprefix("dequantizer_"): config.pop(name) for name in names}
        if sizes and config.get("dequantization", "variational") == "variational":
            config["dequantization"] = {"class_name": "variational", "config": sizes}
        return config


def module(channels, width, block, context_size, dtype):
    """One module of a unit: ActNorm, 1×1 convolution, affine coupling, swap.

    Args:
        channels: Channels that it is given, and keeps.
        width: Channels inside the network of the coupling.
        block: Arguments of its `DenseAttentionBlock`, a dictionary; its `dtype` is that of the
            whole network.
        context_size: Size of the context, None without one.
        dtype: Dtype policy.

    Returns:
        A `keras_flows.transforms.Chain`.
    """
    net = CouplingNetwork(
        2 * (channels // 2),
        width,
        [DenseAttentionBlock(**block)],
        context_size=context_size,
        dtype=block["dtype"],
    )
    return Chain(
        [
            ActNorm(minimum_variance=0.0, epsilon=1e-6, dtype=dtype),
            Conv1x1(dtype=dtype),
            AffineCoupling(net, dtype=dtype),
            SwapHalves(dtype=dtype),
        ],
        dtype=dtype,
    )


def _per_block(value, name, blocks):
    """One value for every block, from one for all or a sequence."""
    values = list(value) if isinstance(value, (list, tuple)) else [value] * blocks
    if len(values) != blocks:
        raise ValueError(f"{name} has {len(values)} numbers for {blocks} blocks; got {value}.")
    for one in values:
        checks.count(one, name)
    return values
