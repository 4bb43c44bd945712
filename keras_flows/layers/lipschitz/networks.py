"""The networks inside residual blocks, on vectors and on images: a dense net and a plain one.

Every layer here is called as `layer(x, context)`. The context, a vector, enters as columns of the
weight matrix that are not normalised, as if it were concatenated to the input of that layer (to
every pixel of an image): the Lipschitz bound concerns x only.
"""

from collections.abc import Iterable
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.lipschitz.activations import activation as activation_layer
from keras_flows.layers.lipschitz.concatenation import LipschitzConcatenation
from keras_flows.layers.lipschitz.layer import LipschitzLayer, Pullback, apart, times
from keras_flows.layers.lipschitz.scaled import ActivationConfig, ScaledLayer
from keras_flows.layers.lipschitz.spectral import SpectralDense
from keras_flows.layers.lipschitz.spectral_conv import SpectralConv2D
from keras_flows.numerics.events import reshape_events


@keras.saving.register_keras_serializable("keras_flows")
class ConditionedDense(ActivationConfig, ScaledLayer):
    """`W phi(x) + V c + b` with the norm of W bounded and V free; W a matrix or a convolution.

    Input `(batch, features)` and context `(batch, context_size)`, output `(batch, units)`; with a
    kernel size, input `(batch, height, width, channels)` and output
    `(batch, height, width, units)`.

    Args:
        units: Size of the output, or its channels.
        activation: phi, see `keras_flows.layers.activation`; None for none.
        coeff: See `SpectralLayer`.
        iterations: See `SpectralLayer`.
        context_size: Size of the context, None without one.
        kernel_size: For images, see `SpectralConv2D`; None for vectors.
    """

    def __init__(
        self,
        units: int,
        activation: str | dict | LipschitzLayer | None = None,
        coeff: float = 0.9,
        iterations: int | str = 5,
        context_size: int | None = None,
        kernel_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = units
        self.activation = None
        if activation is not None:
            self.activation = activation_layer(activation, dtype=self.dtype_policy)
        self.coeff = coeff
        self.iterations = iterations
        self.context_size = context_size
        self.kernel_size = kernel_size
        common = {"coeff": coeff, "iterations": iterations, "dtype": self.dtype_policy}
        if kernel_size is None:
            self.dense = SpectralDense(units, **common)
        else:
            self.dense = SpectralConv2D(units, kernel_size, **common)
        self.context_dense = None
        if context_size:
            self.context_dense = keras.layers.Dense(
                units, use_bias=False, dtype=self.dtype_policy, name="context_dense"
            )

    def build(self, input_shape: tuple) -> None:
        if self.activation is not None:
            self.activation.build(input_shape)
            input_shape = self.activation.compute_output_shape(input_shape)
        self.dense.build(input_shape)
        if self.context_dense is not None:
            self.context_dense.build((None, self.context_size))
        self.built = True

    def _shifted(self, y, context, gain=None):
        if self.context_dense is None:
            return y
        shift = times(gain, self.context_dense(context))
        if self.kernel_size is not None:
            shift = reshape_events(shift, (1, 1, self.units))
        return y + shift

    def pair_jvp(
        self,
        stacked: tf.Tensor,
        scale: tf.Tensor | None,
        context: tf.Tensor | None,
        training: bool,
        gain: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`scaled_jvp` of the layer multiplied by a gain, `(1,)` or None.

        Returns:
            `(y, tangents)`, `(1, batch, *out)` and `(k, batch, *out)`.
        """
        if self.activation is not None:
            inner, factor = self.activation.around()
            stacked = times(times(scale, inner), stacked)
            pair = self.activation.core_jvp(*apart(stacked))
            stacked, scale = tf.concat(pair, axis=0), factor
        y, tangents = self.dense.pair_jvp(stacked, training, scale, gain)
        return self._shifted(y, context, gain), tangents

    def scaled_jvp(
        self,
        stacked: tf.Tensor,
        scale: tf.Tensor | None,
        context: tf.Tensor | None,
        training: bool,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        return tf.concat(self.pair_jvp(stacked, scale, context, training), axis=0), None

    def scaled_vjp(
        self,
        x: tf.Tensor,
        scale: tf.Tensor | None,
        context: tf.Tensor | None,
        training: bool,
        gain: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, Pullback, tf.Tensor | None]:
        """As for every layer; with a gain `(1,)` or None, that of the layer multiplied by it."""
        if self.activation is None:
            y, pullback = self.dense.vjp(x, training, scale, gain)
            return self._shifted(y, context, gain), pullback, None
        inner, factor = self.activation.around()
        inner = times(scale, inner)
        x, activation_pullback = self.activation.core_vjp(times(inner, x))
        y, dense_pullback = self.dense.vjp(x, training, factor, gain)

        def through_both(cotangents):
            return times(inner, activation_pullback(dense_pullback(cotangents)))

        return self._shifted(y, context, gain), through_both, None

    def lipschitz_bound(self) -> float:
        factor = 1.0 if self.activation is None else self.activation.lipschitz_bound()
        return factor * self.dense.lipschitz_bound()

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "coeff": self.coeff,
            "iterations": self.iterations,
            "context_size": self.context_size,
            "kernel_size": self.kernel_size,
        }


@keras.saving.register_keras_serializable("keras_flows")
class LipschitzDenseLayer(ActivationConfig, ScaledLayer):
    """A *Dense Layer*: `concat(eta1 x, eta2 phi(W x + V c + b))`, W a matrix or a convolution.

    Input `(batch, features)` and context `(batch, context_size)`, output
    `(batch, features + growth)`; with a kernel size, input `(batch, height, width, channels)` and
    output `(batch, height, width, channels + growth)`.

    Source: Perugachi-Diaz et al. 2020, *Invertible DenseNets*, section 2.

    Args:
        growth: Number of channels that the layer adds.
        activation: phi, see `keras_flows.layers.activation`. With `clipswish`, which doubles its
            channels, W has `growth / 2` rows.
        coeff: See `SpectralLayer`.
        iterations: See `SpectralLayer`.
        learnable: See `LipschitzConcatenation`.
        start: See `LipschitzConcatenation`.
        lip_coeff: See `LipschitzConcatenation`.
        context_size: Size of the context, None without one.
        kernel_size: For images, see `SpectralConv2D`; None for vectors.
    """

    def __init__(
        self,
        growth: int,
        activation: str | dict | LipschitzLayer = "lipswish",
        coeff: float = 0.9,
        iterations: int | str = 5,
        learnable: bool = True,
        start: int = 0,
        lip_coeff: float = 0.98,
        context_size: int | None = None,
        kernel_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        checks.count(growth, "growth")
        self.growth = growth
        self.activation = activation_layer(activation, dtype=self.dtype_policy)
        # How many channels the activation makes of each one it is given.
        factor = self.activation.compute_output_shape((None, 1))[-1]
        if growth % factor:
            raise ValueError(
                f"growth must be, as {type(self.activation).__name__} multiplies its "
                f"channels by {factor}, divisible by {factor}; got {growth}."
            )
        self.linear = ConditionedDense(
            growth // factor,
            None,
            coeff,
            iterations,
            context_size,
            kernel_size,
            dtype=self.dtype_policy,
        )
        self.concatenation = LipschitzConcatenation(
            learnable, start, lip_coeff, dtype=self.dtype_policy
        )

    def build(self, input_shape: tuple) -> None:
        self.linear.build(input_shape)
        self.activation.build(self.linear.compute_output_shape(input_shape))
        self.concatenation.build()
        self.built = True

    def scaled_jvp(
        self,
        stacked: tf.Tensor,
        scale: tf.Tensor | None,
        context: tf.Tensor | None,
        training: bool,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        gain, factor = self.activation.around()
        pair = self.linear.pair_jvp(stacked, scale, context, training, gain)
        branch = tf.concat(self.activation.core_jvp(*pair), axis=0)
        scale = self.concatenation.scale(stacked.shape[-1], self.growth, scale, factor)
        return tf.concat([stacked, branch], axis=-1), scale

    def scaled_vjp(
        self, x: tf.Tensor, scale: tf.Tensor | None, context: tf.Tensor | None, training: bool
    ) -> tuple[tf.Tensor, Pullback, tf.Tensor | None]:
        gain, factor = self.activation.around()
        branch, linear_pullback, _ = self.linear.scaled_vjp(x, scale, context, training, gain)
        branch, activation_pullback = self.activation.core_vjp(branch)
        width = x.shape[-1]

        def pullback(cotangents):
            direct, through = tf.split(cotangents, [width, self.growth], axis=-1)
            return direct + linear_pullback(activation_pullback(through))

        scale = self.concatenation.scale(width, self.growth, scale, factor)
        return tf.concat([x, branch], axis=-1), pullback, scale

    def lipschitz_bound(self) -> float:
        return self.concatenation.lipschitz_bound(
            self.activation.lipschitz_bound() * self.linear.lipschitz_bound()
        )

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], input_shape[-1] + self.growth)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "growth": self.growth,
            "coeff": self.linear.coeff,
            "iterations": self.linear.iterations,
            "learnable": self.concatenation.learnable,
            "start": self.concatenation.start,
            "lip_coeff": self.concatenation.lip_coeff,
            "context_size": self.linear.context_size,
            "kernel_size": self.linear.kernel_size,
        }


@keras.saving.register_keras_serializable("keras_flows")
class LipschitzSequential(ScaledLayer):
    """Lipschitz layers one after the other: the network g of a residual block.

    Args:
        layers: `LipschitzDenseLayer`, `ConditionedDense` and `LipschitzSequential`.
    """

    def __init__(self, layers: Iterable[LipschitzLayer], **kwargs: Any):
        super().__init__(**kwargs)
        self.layers = list(layers)
        for layer in self.layers:
            checks.instance(layer, ScaledLayer, "Every layer of a LipschitzSequential")

    def build(self, input_shape: tuple) -> None:
        for layer in self.layers:
            checks.build_once(layer, input_shape)
            input_shape = layer.compute_output_shape(input_shape)
        self.built = True

    def scaled_jvp(
        self,
        stacked: tf.Tensor,
        scale: tf.Tensor | None,
        context: tf.Tensor | None,
        training: bool,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        for layer in self.layers:
            stacked, scale = layer.scaled_jvp(stacked, scale, context, training)
        return stacked, scale

    def scaled_vjp(
        self, x: tf.Tensor, scale: tf.Tensor | None, context: tf.Tensor | None, training: bool
    ) -> tuple[tf.Tensor, Pullback, tf.Tensor | None]:
        pullbacks = []
        for layer in self.layers:
            x, pullback, scale = layer.scaled_vjp(x, scale, context, training)
            pullbacks.append(pullback)

        def chained(cotangents):
            for pullback in reversed(pullbacks):
                cotangents = pullback(cotangents)
            return cotangents

        return x, chained, scale

    def lipschitz_bound(self) -> float:
        return float(np.prod([layer.lipschitz_bound() for layer in self.layers]))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def get_config(self) -> dict:
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})
