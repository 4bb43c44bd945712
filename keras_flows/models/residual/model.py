"""i-DenseNet and Residual Flow: chains of Lipschitz residual blocks, on vectors and on images."""

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.flow import Flow
from keras_flows.layers import (
    ConditionedDense,
    LipschitzDenseLayer,
    LipschitzSequential,
)
from keras_flows.layers import activation as activation_layer
from keras_flows.numerics import log_det as log_dets
from keras_flows.numerics.log_det import Unbiased
from keras_flows.transforms import (
    ActNorm,
    Chain,
    FactorOut,
    Flatten,
    Logit,
    ResidualBlock,
    Squeeze,
    UniformDequantization,
)

# Of the first matrix of a fully connected block, in i-DenseNet.
_FC_WIDTH = 64

_ON_VECTORS = {
    "blocks": 10,
    "activation": "lipswish",
    "coeff": 0.9,
    "power_iterations": 5,
    "actnorm": False,
    "log_det": "exact",
}
_ON_IMAGES = {
    "blocks": (16, 16, 16),
    "coeff": 0.98,
    "power_iterations": "tolerance",
    "actnorm": True,
    "log_det": Unbiased("poisson"),
}


class _LipschitzFlow(Flow):
    """Shared by both models: the chain of steps around the networks of the blocks.

    On vectors: `[ActNorm]`, then blocks × (residual block, `[ActNorm]`). On images: dequantization
    and logit; then scales, each of which is such a sequence (ActNorm first in the first), with a
    squeeze between them; then fully connected blocks on the flattened image.

    A subclass gives the networks, and what its arguments are where they are None.

    Args:
        event_shape: `(features,)` or `(height, width, channels)`.
        arguments: The arguments of both kinds.
        images: Those for images only, as pairs of their value and default.
    """

    def __init__(
        self, event_shape, arguments, images, context_shape, context_embedding, dtype, **kwargs
    ):
        event_shape = checks.event_shape(event_shape)
        if len(event_shape) not in (1, 3):
            raise ValueError(
                f"{type(self).__name__} takes vectors, an event_shape such as (2,), or images "
                f"(height, width, channels); got {event_shape}."
            )
        on_images = len(event_shape) == 3
        if on_images:
            arguments = {**arguments, **{name: value for name, (value, _) in images.items()}}
        for name, (value, default) in images.items():
            if not on_images and value != default:
                raise ValueError(
                    f"{name} is for images; this flow is on vectors, of shape {event_shape}."
                )
        defaults = self._defaults(on_images)
        arguments = {
            name: defaults.get(name) if value is None else value
            for name, value in arguments.items()
        }
        self._check(arguments, on_images)
        if isinstance(arguments["activation"], dict):
            arguments["activation"] = activation_layer(arguments["activation"])
        arguments["log_det"] = log_dets.estimator(arguments["log_det"])
        policy = keras.dtype_policies.get(dtype)
        block_bound, coeff = arguments["block_bound"], arguments["coeff"]
        common = {
            "dtype": policy,
            "iterations": arguments["power_iterations"],
            "context_size": checks.context_size(context_shape, context_embedding),
        }
        # A bound on the block is spent where it counts once, in the last matrix.
        hidden = {
            **common,
            "activation": arguments["activation"],
            "coeff": 1.0 if block_bound else coeff,
        }
        last = {**common, "coeff": block_bound or coeff}
        make = _Steps(self, hidden, last, arguments, policy)
        steps = (
            make.image_flow(event_shape)
            if on_images
            else make.blocks(event_shape, arguments["blocks"], first=True)
        )
        super().__init__(
            Chain(steps, dtype=policy),
            event_shape,
            context_shape=context_shape,
            context_embedding=context_embedding,
            dtype=policy,
            **kwargs,
        )
        self._arguments = arguments

    @staticmethod
    def _defaults(on_images):
        """The arguments that are None, by name."""
        raise NotImplementedError

    @staticmethod
    def _net(shape, hidden, last, arguments, first):
        """The layers of a block's network, on vectors or images; `first` of the first block."""
        raise NotImplementedError

    @staticmethod
    def _fully_connected(features, hidden, last, arguments):
        """The layers of the network of a fully connected block of an image flow."""
        raise NotImplementedError

    @staticmethod
    def _check(arguments, on_images):
        blocks, bound = arguments["blocks"], arguments["block_bound"]
        if bound is not None and not 0.0 < bound < 1.0:
            raise ValueError(f"block_bound must be in (0, 1); got {bound}.")
        if not on_images:
            checks.count(blocks, "blocks")
            return
        if not isinstance(blocks, (list, tuple)) or not blocks:
            raise ValueError(
                "On images, blocks is the number of residual blocks at every scale, such as "
                f"(16, 16, 16); got {blocks!r}."
            )
        arguments["blocks"] = list(blocks)
        for number in blocks:
            checks.count(number, "The number of blocks at every scale")
        if arguments["fc_blocks"] != 0:
            checks.count(arguments["fc_blocks"], "fc_blocks")

    def get_config(self):
        config = {**keras.Model.get_config(self), **self._arguments, **self._common_config()}
        for name in ("activation", "log_det"):
            if not isinstance(config[name], str):
                config[name] = keras.saving.serialize_keras_object(config[name])
        return config


class _Steps:
    """Makes the steps of a flow, from the networks of its class and its arguments."""

    def __init__(self, model, hidden, last, arguments, policy):
        self.model, self.arguments, self.policy = model, arguments, policy
        self.hidden, self.last = hidden, last

    def block(self, layers):
        """A residual block, and the ActNorm behind it if there is one."""
        net = LipschitzSequential(layers, dtype=self.policy)
        return [ResidualBlock(net, self.arguments["log_det"], dtype=self.policy), *self.actnorm()]

    def actnorm(self):
        return [ActNorm(dtype=self.policy)] if self.arguments["actnorm"] else []

    def blocks(self, shape, number, first):
        """`number` residual blocks, with an ActNorm in front of those that come first."""
        steps = self.actnorm() if first else []
        for i in range(number):
            layers = self.model._net(
                shape, self.hidden, self.last, self.arguments, first and i == 0
            )
            steps += self.block(layers)
        return steps

    def image_flow(self, shape):
        """All steps of a flow on images."""
        steps = []
        if self.arguments["bits"] is not None:
            steps.append(UniformDequantization(self.arguments["bits"], dtype=self.policy))
        steps.append(Logit(self.arguments["alpha"], dtype=self.policy))
        if self.arguments["squeeze_first"]:
            steps.append(Squeeze(dtype=self.policy))
            shape = steps[-1].encoded_shape(shape)
        return steps + self.scales(shape, self.arguments["blocks"], first=True)

    def scales(self, shape, blocks, first=False):
        """The steps from one scale to the end."""
        steps = self.blocks(shape, blocks[0], first)
        if len(blocks) == 1:
            return steps + self.fully_connected(shape)
        squeeze = Squeeze(dtype=self.policy)
        height, width, channels = squeeze.encoded_shape(shape)
        if not self.arguments["factor_out"]:
            return [*steps, squeeze, *self.scales((height, width, channels), blocks[1:])]
        rest = self.scales((height, width, channels - channels // 2), blocks[1:])
        inner = Chain(rest, dtype=self.policy)
        return [*steps, squeeze, FactorOut(inner, dtype=self.policy)]

    def fully_connected(self, shape):
        """The blocks behind the last scale."""
        number = self.arguments["fc_blocks"]
        if not number:
            return []
        flatten = Flatten(dtype=self.policy)
        (features,) = flatten.encoded_shape(shape)
        steps = [flatten]
        for _ in range(number):
            layers = self.model._fully_connected(features, self.hidden, self.last, self.arguments)
            steps += self.block(layers)
        return steps


@keras.saving.register_keras_serializable("keras_flows")
class IDenseNet(_LipschitzFlow):
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
        alpha: Of the `Logit` of images.
        squeeze_first: Whether an image is squeezed before the first scale too.
        fc_blocks: Fully connected blocks behind the last scale, 0 or more: a matrix to 64
            features, `depth` Dense Layers, a matrix back. The latent is then a vector.
        fc_growth: Features that a Dense Layer of theirs adds.
        factor_out: Whether half the channels leave at the end of every scale but the last.
        context_shape: See `Flow`.
        context_embedding: See `Flow`.
        dtype: `"float32"` or `"float64"`.
        **kwargs: `seed` and `name`; see `Flow`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        event_shape,
        blocks=None,
        depth=None,
        growth=None,
        activation=None,
        learnable_concatenation=True,
        concatenation_start=0,
        coeff=None,
        lip_coeff=0.98,
        block_bound=None,
        power_iterations=None,
        actnorm=None,
        log_det=None,
        bits=8,
        alpha=0.05,
        squeeze_first=False,
        fc_blocks=4,
        fc_growth=32,
        factor_out=False,
        context_shape=None,
        context_embedding=None,
        dtype=None,
        **kwargs,
    ):
        super().__init__(
            event_shape,
            {
                "blocks": blocks,
                "depth": depth,
                "growth": growth,
                "activation": activation,
                "learnable_concatenation": learnable_concatenation,
                "concatenation_start": concatenation_start,
                "coeff": coeff,
                "lip_coeff": lip_coeff,
                "block_bound": block_bound,
                "power_iterations": power_iterations,
                "actnorm": actnorm,
                "log_det": log_det,
            },
            {
                "bits": (bits, 8),
                "alpha": (alpha, 0.05),
                "squeeze_first": (squeeze_first, False),
                "fc_blocks": (fc_blocks, 4),
                "fc_growth": (fc_growth, 32),
                "factor_out": (factor_out, False),
            },
            context_shape,
            context_embedding,
            dtype,
            **kwargs,
        )

    @staticmethod
    def _defaults(on_images):
        if on_images:
            return {**_ON_IMAGES, "depth": 3, "growth": 172, "activation": "clipswish"}
        return {**_ON_VECTORS, "depth": 4, "growth": 90}

    @staticmethod
    def _dense_layers(growth, hidden, arguments, kernel_size=None):
        checks.count(arguments["depth"], "depth")
        # Where the bound is the block's, the concatenations take all of theirs.
        lip_coeff = 1.0 if arguments["block_bound"] else arguments["lip_coeff"]
        return [
            LipschitzDenseLayer(
                growth,
                learnable=arguments["learnable_concatenation"],
                start=arguments["concatenation_start"],
                lip_coeff=lip_coeff,
                kernel_size=kernel_size,
                **hidden,
            )
            for _ in range(arguments["depth"])
        ]

    @staticmethod
    def _net(shape, hidden, last, arguments, first):
        sizes = (3, 1) if len(shape) == 3 else (None, None)
        layers = IDenseNet._dense_layers(arguments["growth"], hidden, arguments, sizes[0])
        return [*layers, IDenseNet._output(shape[-1], last, sizes[1])]

    @staticmethod
    def _fully_connected(features, hidden, last, arguments):
        entrance = ConditionedDense(_FC_WIDTH, **{**hidden, "activation": None})
        layers = IDenseNet._dense_layers(arguments["fc_growth"], hidden, arguments)
        return [entrance, *layers, IDenseNet._output(features, last)]

    @staticmethod
    def _output(units, last, kernel_size=None):
        # The last matrix takes no context: it would only shift the block's output.
        return ConditionedDense(units, **{**last, "context_size": None}, kernel_size=kernel_size)

    def concatenation_coefficients(self):
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
class ResidualFlow(_LipschitzFlow):
    """Residual Flow: residual blocks `x + g(x)`, g a plain 1-Lipschitz network.

    g is (activation, linear) for every width and once more for the output. On vectors, linear is
    a matrix; on images the first and last are 3×3 convolutions, those between 1×1, and the first
    block starts without its activation. The defaults are the baselines of the i-DenseNet paper
    (501,830 trainable parameters on 2-D data, 25,174,129 on CIFAR-10).

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
        alpha: See `IDenseNet`.
        squeeze_first: See `IDenseNet`.
        fc_blocks: Fully connected blocks behind the last scale, 0 or more, of two hidden layers.
            The latent is then a vector.
        fc_width: The size of those hidden layers.
        factor_out: See `IDenseNet`.
        context_shape: See `Flow`.
        context_embedding: See `Flow`.
        dtype: `"float32"` or `"float64"`.
        **kwargs: `seed` and `name`; see `Flow`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        event_shape,
        blocks=None,
        widths=None,
        activation=None,
        coeff=None,
        block_bound=None,
        power_iterations=None,
        actnorm=None,
        log_det=None,
        bits=8,
        alpha=0.05,
        squeeze_first=False,
        fc_blocks=4,
        fc_width=128,
        factor_out=False,
        context_shape=None,
        context_embedding=None,
        dtype=None,
        **kwargs,
    ):
        super().__init__(
            event_shape,
            {
                "blocks": blocks,
                "widths": None if widths is None else list(widths),
                "activation": activation,
                "coeff": coeff,
                "block_bound": block_bound,
                "power_iterations": power_iterations,
                "actnorm": actnorm,
                "log_det": log_det,
            },
            {
                "bits": (bits, 8),
                "alpha": (alpha, 0.05),
                "squeeze_first": (squeeze_first, False),
                "fc_blocks": (fc_blocks, 4),
                "fc_width": (fc_width, 128),
                "factor_out": (factor_out, False),
            },
            context_shape,
            context_embedding,
            dtype,
            **kwargs,
        )

    @staticmethod
    def _defaults(on_images):
        if on_images:
            return {**_ON_IMAGES, "widths": [512, 512], "activation": "lipswish"}
        return {**_ON_VECTORS, "widths": [128] * 4}

    @staticmethod
    def _net(shape, hidden, last, arguments, first):
        widths = arguments["widths"]
        activations = [hidden["activation"]] * (len(widths) + 1)
        sizes = [None] * (len(widths) + 1)
        if len(shape) == 3:
            sizes = [3, *[1] * (len(widths) - 1), 3]
            activations[0] = None if first else activations[0]
        layers = [
            ConditionedDense(width, **{**hidden, "activation": activation}, kernel_size=size)
            for width, activation, size in zip(widths, activations, sizes, strict=False)
        ]
        output = ConditionedDense(shape[-1], activations[-1], **last, kernel_size=sizes[-1])
        return [*layers, output]

    @staticmethod
    def _fully_connected(features, hidden, last, arguments):
        widths = {"widths": [arguments["fc_width"]] * 2}
        return ResidualFlow._net((features,), hidden, last, widths, False)
