"""i-DenseNet and Residual Flow: chains of Lipschitz residual blocks, on vectors and on images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers import LipschitzDenseLayer, LipschitzLayer
from keras_flows.layers import activation as activation_layer
from keras_flows.models.arguments import ByEvent, ModelFlow, OnImages, defaults, recorded, settle
from keras_flows.models.residual.nets import DenseNets, PlainNets
from keras_flows.models.residual.steps import Steps
from keras_flows.numerics import log_det as log_dets
from keras_flows.numerics.configured import Configured
from keras_flows.numerics.log_det import Estimator, Unbiased
from keras_flows.transforms import Chain, Transform

_FLAGS_OF_IMAGES = ("squeeze_first", "first_actnorm", "first_activation", "factor_out")


@keras.saving.register_keras_serializable("keras_flows")
@dataclass(frozen=True)
class FullyConnected(Configured):
    """The fully connected blocks behind the last scale of a flow on images.

    With them, the latent is a vector.

    Attributes:
        blocks: Their number, 0 or more.
        size: The features that a Dense Layer of theirs adds (i-DenseNet), or the size of their two
            hidden layers (Residual Flow).
    """

    blocks: int = 4
    size: int = 32

    def __post_init__(self):
        if self.blocks != 0:
            checks.count(self.blocks, "The number of fully connected blocks, where it is not 0,")
        checks.count(self.size, "The size of fully connected blocks")

    def get_config(self):
        """The attributes."""
        return asdict(self)


class _ResidualModel(ModelFlow):
    """Shared by both models: their arguments, and the chain of steps around their networks.

    Args:
        event_shape: `(features,)` or `(height, width, channels)`.
        nets: The class of `Nets` that gives the blocks their networks.
        context_shape: See `Flow`.
        context_embedding: See `Flow`.
        dtype: See `Flow`.
        **kwargs: See `Flow`.
    """

    def __init__(self, event_shape, nets, context_shape, context_embedding, dtype, **kwargs):
        event_shape = checks.event_shape(event_shape)
        on_images = len(event_shape) == 3
        arguments = self._settled(event_shape, on_images)
        policy = keras.dtype_policies.get(dtype)
        common = {
            "dtype": policy,
            "iterations": arguments.power_iterations,
            "context_size": checks.context_size(context_shape, context_embedding),
        }
        # A bound on the block is spent where it counts once, in the last matrix.
        bound, coeff = arguments.block_bound, arguments.coeff
        hidden = {**common, "activation": arguments.activation, "coeff": 1.0 if bound else coeff}
        make = Steps(
            nets(arguments, hidden, {**common, "coeff": bound or coeff}), arguments, policy
        )
        steps = make.on_images(event_shape) if on_images else make.on_vectors(event_shape)
        super().__init__(
            Chain(steps, dtype=policy),
            event_shape,
            context_shape=context_shape,
            context_embedding=context_embedding,
            dtype=policy,
            **kwargs,
        )

    def _settled(self, event_shape, on_images):
        """The arguments, checked, with the defaults for such events."""
        a = self.arguments
        if len(event_shape) not in (1, 3):
            raise ValueError(
                f"{type(self).__name__} takes vectors, an event_shape such as (2,), or images "
                f"(height, width, channels); got {event_shape}."
            )
        settle(self, event_shape)
        if isinstance(a.activation, dict):
            a.activation = activation_layer(a.activation)
        a.log_det = log_dets.estimator(a.log_det)
        if a.block_bound is not None:
            checks.number(
                a.block_bound, "block_bound", checks.TINY, 1.0 - checks.EPSILON, "in (0, 1)"
            )
        for name, value in vars(a).items():
            if name in ("actnorm", *_FLAGS_OF_IMAGES):
                checks.flag(value, name)
        if on_images:
            if a.bits is None and a.dequantization != "uniform":
                raise ValueError(
                    "bits=None is for images of numbers, which are not dequantized: leave "
                    "dequantization out, or say of how many bits the integers are."
                )
            a.fully_connected = self._fully_connected(a.fully_connected)
            checks.counts(a.blocks, "blocks, the residual blocks at every scale of an image,")
        else:
            checks.count(a.blocks, "blocks")
        return a

    @classmethod
    def _fully_connected(cls, value):
        """The `FullyConnected` from what people give for one."""
        standard = asdict(defaults(cls)["fully_connected"].images)
        if value is None:
            value = {"blocks": 0}
        if isinstance(value, dict):
            checks.known_names(value, standard, "fully_connected")
            value = FullyConnected(**{**standard, **value})
        checks.instance(value, FullyConnected, "fully_connected")
        return value

    @classmethod
    def upgrade(cls, config: dict) -> dict:
        # Until version 0.1, with numbers by a prefix.
        names = {"fc_blocks": "blocks", "fc_growth": "size", "fc_width": "size"}
        old = {new: config.pop(name) for name, new in names.items() if name in config}
        if old:
            config["fully_connected"] = old
        # And, for flows on vectors, with the defaults of images.
        if len(config.get("event_shape", ())) == 1:
            for name, standard in defaults(cls).items():
                if isinstance(standard, OnImages) and _equal(config.get(name), standard.images):
                    del config[name]
        return config


def _equal(value, standard):
    """Whether an argument, as a configuration has it, is some value."""
    if isinstance(value, dict) and isinstance(standard, FullyConnected):
        standard = asdict(standard)
        value = {**standard, **value.get("config", value)}
    return value == standard


@keras.saving.register_keras_serializable("keras_flows")
class IDenseNet(_ResidualModel):
    """i-DenseNet: residual blocks `x + g(x)` whose g is a 1-Lipschitz dense net.

    On vectors g is made of matrices; on images (integers from 0 to `2^bits - 1`) of 3×3
    convolutions and a last one of 1×1, at several scales. The defaults are the published
    configurations: the toy flow (504,180 trainable parameters on 2-D data), and that for CIFAR-10
    (24,894,586). Others are in `keras_flows.models.from_name`.

    Sources: Perugachi-Diaz et al. 2020, *Invertible DenseNets*; 2021, *Invertible DenseNets with
    Concatenated LipSwish* (arXiv 2102.02694).

    >>> flow = kf.models.IDenseNet((2,), blocks=4, growth=32, block_bound=0.99)
    >>> conditional = kf.models.IDenseNet((2,), context_shape=(3,))
    >>> by_label = kf.models.IDenseNet(
    ...     (2,), context_shape=(), context_embedding=keras.layers.Embedding(10, 16))
    >>> images = kf.models.IDenseNet((32, 32, 3), blocks=(4, 4, 4), growth=178)

    Args:
        event_shape: `(features,)`, or `(height, width, channels)` for images, the height and
            width divisible by two for every squeeze.
        blocks: Number of residual blocks (10); on images at every scale ((16, 16, 16)).
        depth: Dense Layers per block (4; 3 on images).
        growth: Channels that a Dense Layer adds (90; 172 on images).
        activation: See `keras_flows.layers.activation` (`"lipswish"`; `"clipswish"` on images).
        learnable_concatenation: Whether the concatenations are trained ("LC").
        concatenation_start: Training steps during which they are held at their start.
        coeff: Bound on the norm of every matrix and convolution (0.9; 0.98 on images).
        lip_coeff: Bound of every concatenation.
        block_bound: One bound for the whole of g instead: the layers before the last get 1, the
            last matrix gets this. Spends the budget that the bounds by layer leave unused.
        power_iterations: Per training step, or `"tolerance"`; see
            `keras_flows.layers.SpectralLayer` (5; `"tolerance"` on images).
        actnorm: Whether an ActNorm stands first and after every block (no; yes on images).
        log_det: `"exact"`, `"power_series"`, `"unbiased"`, or an estimator object (exact; on
            images unbiased with a Poisson number of terms).
        bits: Of the integers of an image; None for images of numbers from 0 to 1, which are not
            dequantized.
        dequantization: `"uniform"` or `"variational"`, whose bound is tighter; one with arguments
            as in `DenseFlow`.
        alpha: Of the `Logit` of images.
        squeeze_first: Whether an image is squeezed before the first scale too.
        fully_connected: The `FullyConnected` blocks behind the last scale: a matrix to 64 features,
            `depth` Dense Layers, a matrix back.
        factor_out: Whether half the channels leave at the end of every scale but the last.
        first_actnorm: With `actnorm`, whether one stands before the first block of an image too.
        tolerance: Of the inverse of a block; see `keras_flows.transforms.ResidualBlock`. What its
            last step leaves is multiplied by `1 / (1 - L)`, L the block's Lipschitz constant.
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
        blocks: int | Sequence[int] | ByEvent | None = ByEvent(10, images=(16, 16, 16)),
        depth: int | ByEvent | None = ByEvent(4, images=3),
        growth: int | ByEvent | None = ByEvent(90, images=172),
        activation: str | dict | LipschitzLayer | ByEvent | None = ByEvent(
            "lipswish", images="clipswish"
        ),
        learnable_concatenation: bool = True,
        concatenation_start: int = 0,
        coeff: float | ByEvent | None = ByEvent(0.9, images=0.98),
        lip_coeff: float = 0.98,
        block_bound: float | None = None,
        power_iterations: int | str | ByEvent | None = ByEvent(5, images="tolerance"),
        actnorm: bool | ByEvent | None = ByEvent(False, images=True),
        log_det: str | Estimator | ByEvent | None = ByEvent("exact", images=Unbiased("poisson")),
        bits: int | OnImages | None = OnImages(8),
        dequantization: str | dict | Transform | OnImages = OnImages("uniform"),
        alpha: float | OnImages = OnImages(0.05),
        squeeze_first: bool | OnImages = OnImages(False),
        fully_connected: FullyConnected | dict | OnImages | None = OnImages(FullyConnected(4, 32)),
        factor_out: bool | OnImages = OnImages(False),
        first_actnorm: bool | OnImages = OnImages(True),
        tolerance: float | None = None,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        checks.flag(learnable_concatenation, "learnable_concatenation")
        checks.count(concatenation_start, "concatenation_start", least=0)
        checks.positive(lip_coeff, "lip_coeff", most=1.0)
        super().__init__(
            event_shape,
            DenseNets,
            context_shape,
            context_embedding,
            dtype,
            **kwargs,
        )

    def concatenation_coefficients(self) -> np.ndarray:
        """The pairs (eta1, eta2) of every Dense Layer, an array `(blocks, depth, 2)`.

        eta1 weighs the input of the layer, eta2 its new channels. The fully connected blocks of
        an image flow come last.
        """
        return tf.stack(
            [
                tf.stack(
                    [
                        layer.concatenation.coefficients()
                        for layer in block.net.layers
                        if isinstance(layer, LipschitzDenseLayer)
                    ]
                )
                for block in self.blocks
            ]
        ).numpy()


@keras.saving.register_keras_serializable("keras_flows")
class ResidualFlow(_ResidualModel):
    """Residual Flow: residual blocks `x + g(x)`, g a plain 1-Lipschitz network.

    g is (activation, linear) for every width and once more for the output. On vectors, linear is
    a matrix; on images the first and last are 3×3 convolutions, those between 1×1, and the first
    block starts without its activation unless told otherwise. Behind a hidden layer, `clipswish`
    makes twice its width. The defaults are the baselines of the i-DenseNet paper (501,830
    trainable parameters on 2-D data, 25,174,129 on CIFAR-10).

    Source: Chen et al. 2019, *Residual Flows for Invertible Generative Modeling*.

    Args:
        event_shape: See `IDenseNet`.
        blocks: See `IDenseNet`.
        widths: Sizes of the hidden layers of g ((128, 128, 128, 128); (512, 512) on images).
        activation: See `keras_flows.layers.activation`.
        coeff: See `IDenseNet`.
        block_bound: See `IDenseNet`.
        power_iterations: See `IDenseNet`.
        actnorm: See `IDenseNet`.
        log_det: See `IDenseNet`.
        bits: See `IDenseNet`.
        dequantization: See `IDenseNet`.
        alpha: See `IDenseNet`.
        squeeze_first: See `IDenseNet`.
        fully_connected: The `FullyConnected` blocks behind the last scale, of two hidden layers.
        factor_out: See `IDenseNet`.
        first_actnorm: See `IDenseNet`.
        first_activation: Whether the first block on an image starts with its activation too, as
            the others do.
        tolerance: See `IDenseNet`.
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
        blocks: int | Sequence[int] | ByEvent | None = ByEvent(10, images=(16, 16, 16)),
        widths: Sequence[int] | ByEvent | None = ByEvent((128,) * 4, images=(512, 512)),
        activation: str | dict | LipschitzLayer = "lipswish",
        coeff: float | ByEvent | None = ByEvent(0.9, images=0.98),
        block_bound: float | None = None,
        power_iterations: int | str | ByEvent | None = ByEvent(5, images="tolerance"),
        actnorm: bool | ByEvent | None = ByEvent(False, images=True),
        log_det: str | Estimator | ByEvent | None = ByEvent("exact", images=Unbiased("poisson")),
        bits: int | OnImages | None = OnImages(8),
        dequantization: str | dict | Transform | OnImages = OnImages("uniform"),
        alpha: float | OnImages = OnImages(0.05),
        squeeze_first: bool | OnImages = OnImages(False),
        fully_connected: FullyConnected | dict | OnImages | None = OnImages(FullyConnected(4, 128)),
        factor_out: bool | OnImages = OnImages(False),
        first_actnorm: bool | OnImages = OnImages(True),
        first_activation: bool | OnImages = OnImages(False),
        tolerance: float | None = None,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            event_shape,
            PlainNets,
            context_shape,
            context_embedding,
            dtype,
            **kwargs,
        )
