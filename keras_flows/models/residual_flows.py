"""i-DenseNet and Residual Flow: chains of Lipschitz residual blocks."""

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows import log_det as log_dets
from keras_flows.flow import Flow
from keras_flows.layers import (
    ConditionedDense,
    LipschitzDenseLayer,
    LipschitzSequential,
)
from keras_flows.transforms import ActNorm, Chain, ResidualBlock


class _LipschitzFlow(Flow):
    """Shared by both models: `[ActNorm]`, then blocks × (residual block, `[ActNorm]`).

    A subclass gives `_net`, the network of one block, from its own arguments.
    """

    def __init__(
        self,
        event_shape,
        blocks,
        activation,
        coeff,
        block_bound,
        power_iterations,
        actnorm,
        log_det,
        context_shape,
        context_embedding,
        dtype,
        own,
        **kwargs,
    ):
        event_shape = checks.event_shape(event_shape)
        if len(event_shape) != 1:
            raise ValueError(
                f"{type(self).__name__} takes vectors, an event_shape such as (2,); got "
                f"{event_shape}."
            )
        checks.count(blocks, "blocks")
        if block_bound is not None and not 0.0 < block_bound < 1.0:
            raise ValueError(f"block_bound must be in (0, 1); got {block_bound}.")
        policy = keras.dtype_policies.get(dtype)
        common = {
            "dtype": policy,
            "iterations": power_iterations,
            "context_size": _context_size(context_shape, context_embedding),
        }
        # A bound on the block is spent where it counts once, in the last matrix.
        hidden = {**common, "activation": activation, "coeff": 1.0 if block_bound else coeff}
        last = {**common, "coeff": block_bound or coeff}
        log_det = log_dets.estimator(log_det)
        steps = [ActNorm(dtype=policy)] if actnorm else []
        for _ in range(blocks):
            net = LipschitzSequential(self._net(event_shape[0], hidden, last, **own), dtype=policy)
            steps.append(ResidualBlock(net, log_det, dtype=policy))
            if actnorm:
                steps.append(ActNorm(dtype=policy))
        super().__init__(
            Chain(steps, dtype=policy),
            event_shape,
            context_shape=context_shape,
            context_embedding=context_embedding,
            dtype=policy,
            **kwargs,
        )
        self._arguments = {
            "blocks": blocks,
            "activation": activation,
            "coeff": coeff,
            "block_bound": block_bound,
            "power_iterations": power_iterations,
            "actnorm": actnorm,
            "log_det": log_det,
            **own,
        }

    @staticmethod
    def _net(features, hidden, last, **own):
        raise NotImplementedError

    def get_config(self):
        config = {**keras.Model.get_config(self), **self._arguments, **self._common_config()}
        for name in ("activation", "log_det"):
            if not isinstance(config[name], str):
                config[name] = keras.saving.serialize_keras_object(config[name])
        return config


def _context_size(context_shape, embedding):
    """The size of the context vector that the networks see, None without a context."""
    if context_shape is None:
        return None
    shape = (None, *context_shape)
    if embedding is not None:
        shape = embedding.compute_output_shape(shape)
    if len(shape) != 2:
        raise ValueError(
            f"The networks take a context vector per example; this context has the shape "
            f"{tuple(shape[1:])}. Flatten it, or give a context_embedding that makes a vector."
        )
    return int(shape[1])


@keras.saving.register_keras_serializable("keras_flows")
class IDenseNet(_LipschitzFlow):
    """i-DenseNet on vectors: residual blocks `x + g(x)` whose g is a 1-Lipschitz dense net.

    The defaults are the published toy configuration (504,180 trainable parameters on 2-D data).

    Sources: Perugachi-Diaz et al. 2020, *Invertible DenseNets*; 2021, *Invertible DenseNets with
    Concatenated LipSwish* (arXiv 2102.02694).

    >>> flow = kf.models.IDenseNet((2,), blocks=4, growth=32, block_bound=0.99)
    >>> conditional = kf.models.IDenseNet((2,), context_shape=(3,))
    >>> by_label = kf.models.IDenseNet(
    ...     (2,), context_shape=(), context_embedding=keras.layers.Embedding(10, 16))

    Args:
        event_shape: `(features,)`.
        blocks: Number of residual blocks.
        depth: Dense Layers per block.
        growth: Channels that a Dense Layer adds.
        activation: See `keras_flows.layers.activation`.
        learnable_concatenation: Whether the concatenations are trained ("LC").
        concatenation_start: Training steps during which they are held at their start.
        coeff: Bound on the norm of every matrix.
        lip_coeff: Bound of every concatenation.
        block_bound: One bound for the whole of g instead: the layers before the last get 1, the
            last matrix gets this. Spends the budget that the bounds by layer leave unused.
        power_iterations: Per training step.
        actnorm: Whether an ActNorm stands first and after every block.
        log_det: `"exact"`, `"power_series"`, `"unbiased"`, or an estimator object.
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
        blocks=10,
        depth=4,
        growth=90,
        activation="lipswish",
        learnable_concatenation=True,
        concatenation_start=0,
        coeff=0.9,
        lip_coeff=0.98,
        block_bound=None,
        power_iterations=5,
        actnorm=False,
        log_det="exact",
        context_shape=None,
        context_embedding=None,
        dtype=None,
        **kwargs,
    ):
        checks.count(depth, "depth")
        own = {
            "depth": depth,
            "growth": growth,
            "learnable_concatenation": learnable_concatenation,
            "concatenation_start": concatenation_start,
            "lip_coeff": lip_coeff,
        }
        super().__init__(
            event_shape,
            blocks,
            activation,
            coeff,
            block_bound,
            power_iterations,
            actnorm,
            log_det,
            context_shape,
            context_embedding,
            dtype,
            own,
            **kwargs,
        )

    @staticmethod
    def _net(
        features,
        hidden,
        last,
        depth,
        growth,
        learnable_concatenation,
        concatenation_start,
        lip_coeff,
    ):
        dense_layers = [
            LipschitzDenseLayer(
                growth,
                learnable=learnable_concatenation,
                start=concatenation_start,
                # Where the bound is the block's, the concatenations take all of theirs.
                lip_coeff=1.0 if hidden["coeff"] == 1.0 else lip_coeff,
                **hidden,
            )
            for _ in range(depth)
        ]
        # The last matrix takes no context: it would only shift the block's output.
        return [*dense_layers, ConditionedDense(features, **{**last, "context_size": None})]

    def concatenation_coefficients(self):
        """The pairs (eta1, eta2) of every Dense Layer, an array `(blocks, depth, 2)`.

        eta1 weighs the input of the layer, eta2 its new channels.
        """
        return tf.stack(
            [
                tf.stack([layer.concatenation.coefficients() for layer in block.net.layers[:-1]])
                for block in self.blocks
            ]
        ).numpy()


@keras.saving.register_keras_serializable("keras_flows")
class ResidualFlow(_LipschitzFlow):
    """Residual Flow on vectors: residual blocks `x + g(x)`, g a plain 1-Lipschitz network.

    g is (activation, linear) for every width and once more for the output; the defaults are the
    baseline of the i-DenseNet paper (501,830 trainable parameters on 2-D data).

    Source: Chen et al. 2019, *Residual Flows for Invertible Generative Modeling*.

    Args:
        event_shape: `(features,)`.
        blocks: Number of residual blocks.
        widths: Sizes of the hidden layers of g.
        activation: See `keras_flows.layers.activation`.
        coeff: See `IDenseNet`.
        block_bound: See `IDenseNet`.
        power_iterations: See `IDenseNet`.
        actnorm: See `IDenseNet`.
        log_det: See `IDenseNet`.
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
        blocks=10,
        widths=(128, 128, 128, 128),
        activation="lipswish",
        coeff=0.9,
        block_bound=None,
        power_iterations=5,
        actnorm=False,
        log_det="exact",
        context_shape=None,
        context_embedding=None,
        dtype=None,
        **kwargs,
    ):
        super().__init__(
            event_shape,
            blocks,
            activation,
            coeff,
            block_bound,
            power_iterations,
            actnorm,
            log_det,
            context_shape,
            context_embedding,
            dtype,
            {"widths": list(widths)},
            **kwargs,
        )

    @staticmethod
    def _net(features, hidden, last, widths):
        output = ConditionedDense(features, activation=hidden["activation"], **last)
        return [*(ConditionedDense(width, **hidden) for width in widths), output]
