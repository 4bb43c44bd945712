"""The networks inside residual blocks, on vectors and on images: a dense net and a plain one.

Every layer here is called as `layer(x, context)`. The context, a vector, enters as columns of the
weight matrix that are not normalised, as if it were concatenated to the input of that layer (to
every pixel of an image): the Lipschitz bound concerns x only.
"""

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.lipschitz.activations import activation as activation_layer
from keras_flows.layers.lipschitz.concatenation import LipschitzConcatenation
from keras_flows.layers.lipschitz.layer import LipschitzLayer
from keras_flows.layers.lipschitz.spectral import SpectralDense
from keras_flows.layers.lipschitz.spectral_conv import SpectralConv2D
from keras_flows.numerics.events import reshape_events


class _ActivationConfig:
    """Serialisation shared by the layers that take an activation."""

    def get_config(self):
        config = super().get_config()
        if isinstance(self.activation, keras.layers.Layer):
            return {**config, "activation": keras.saving.serialize_keras_object(self.activation)}
        return {**config, "activation": self.activation}

    @classmethod
    def from_config(cls, config):
        if isinstance(config["activation"], dict):
            layer = keras.saving.deserialize_keras_object(config["activation"])
            config = {**config, "activation": layer}
        return cls(**config)


def _times(scale, x):
    return x if scale is None else scale * x


class _ScaledLayer(LipschitzLayer):
    """A layer between two scales, factors of the channels that are not multiplied yet.

    The coefficients of a concatenation multiply all that a network has computed so far, at every
    example, and again at the next concatenation. The layer that follows can as well multiply the
    rows of its matrix, `(scale x) W = x (scale W)`, which are few.
    """

    def scaled_jvp(self, x, tangents, scale, context, training):
        """`jvp` at `scale * x`, the scale `(channels,)` or None.

        Returns:
            `(y, tangents, scale)`: the result is `scale * y`, and so are its tangents.
        """
        raise NotImplementedError

    def scaled_vjp(self, x, scale, context, training):
        """`vjp` at `scale * x`, the scale `(channels,)` or None.

        Returns:
            `(y, pullback, scale)`: the result is `scale * y`; the pullback is that of y by x.
        """
        raise NotImplementedError

    def jvp(self, x, tangents, context=None, training=False):
        y, tangents, scale = self.scaled_jvp(x, tangents, None, context, training)
        return _times(scale, y), _times(scale, tangents)

    def vjp(self, x, context=None, training=False):
        y, pullback, scale = self.scaled_vjp(x, None, context, training)
        return _times(scale, y), lambda cotangents: pullback(_times(scale, cotangents))


@keras.saving.register_keras_serializable("keras_flows")
class ConditionedDense(_ActivationConfig, _ScaledLayer):
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
        units,
        activation=None,
        coeff=0.9,
        iterations=5,
        context_size=None,
        kernel_size=None,
        **kwargs,
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

    def build(self, input_shape):
        if self.activation is not None:
            self.activation.build(input_shape)
            input_shape = self.activation.compute_output_shape(input_shape)
        self.dense.build(input_shape)
        if self.context_dense is not None:
            self.context_dense.build((None, self.context_size))
        self.built = True

    def _shifted(self, y, context):
        if self.context_dense is None:
            return y
        shift = self.context_dense(context)
        if self.kernel_size is not None:
            shift = reshape_events(shift, (1, 1, self.units))
        return y + shift

    def scaled_jvp(self, x, tangents, scale, context, training):
        if self.activation is not None:
            x, tangents = self.activation.jvp(_times(scale, x), _times(scale, tangents))
            scale = None
        y, tangents = self.dense.jvp(x, tangents, training, scale)
        return self._shifted(y, context), tangents, None

    def scaled_vjp(self, x, scale, context, training):
        if self.activation is None:
            y, pullback = self.dense.vjp(x, training, scale)
            return self._shifted(y, context), pullback, None
        x, activation_pullback = self.activation.vjp(_times(scale, x))
        y, dense_pullback = self.dense.vjp(x, training)

        def pullback(cotangents):
            return _times(scale, activation_pullback(dense_pullback(cotangents)))

        return self._shifted(y, context), pullback, None

    def lipschitz_bound(self):
        factor = 1.0 if self.activation is None else self.activation.lipschitz_bound()
        return factor * self.dense.lipschitz_bound()

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "coeff": self.coeff,
            "iterations": self.iterations,
            "context_size": self.context_size,
            "kernel_size": self.kernel_size,
        }


@keras.saving.register_keras_serializable("keras_flows")
class LipschitzDenseLayer(_ActivationConfig, _ScaledLayer):
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
        growth,
        activation="lipswish",
        coeff=0.9,
        iterations=5,
        learnable=True,
        start=0,
        lip_coeff=0.98,
        context_size=None,
        kernel_size=None,
        **kwargs,
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

    def build(self, input_shape):
        self.linear.build(input_shape)
        self.activation.build(self.linear.compute_output_shape(input_shape))
        self.concatenation.build()
        self.built = True

    def scaled_jvp(self, x, tangents, scale, context, training):
        branch = self.linear.scaled_jvp(x, tangents, scale, context, training)[:2]
        branch, branch_tangents = self.activation.jvp(*branch)
        return (
            tf.concat([x, branch], axis=-1),
            tf.concat([tangents, branch_tangents], axis=-1),
            self.concatenation.scale(x.shape[-1], self.growth, scale),
        )

    def scaled_vjp(self, x, scale, context, training):
        branch, linear_pullback, _ = self.linear.scaled_vjp(x, scale, context, training)
        branch, activation_pullback = self.activation.vjp(branch)
        width = x.shape[-1]

        def pullback(cotangents):
            direct, through = cotangents[..., :width], cotangents[..., width:]
            return direct + linear_pullback(activation_pullback(through))

        scale = self.concatenation.scale(width, self.growth, scale)
        return tf.concat([x, branch], axis=-1), pullback, scale

    def lipschitz_bound(self):
        return self.concatenation.lipschitz_bound(
            self.activation.lipschitz_bound() * self.linear.lipschitz_bound()
        )

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + self.growth)

    def get_config(self):
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
class LipschitzSequential(_ScaledLayer):
    """Lipschitz layers one after the other: the network g of a residual block.

    Args:
        layers: `LipschitzDenseLayer`, `ConditionedDense` and `LipschitzSequential`.
    """

    def __init__(self, layers, **kwargs):
        super().__init__(**kwargs)
        self.layers = list(layers)
        for layer in self.layers:
            checks.instance(layer, _ScaledLayer, "Every layer of a LipschitzSequential")

    def build(self, input_shape):
        for layer in self.layers:
            checks.build_once(layer, input_shape)
            input_shape = layer.compute_output_shape(input_shape)
        self.built = True

    def scaled_jvp(self, x, tangents, scale, context, training):
        for layer in self.layers:
            x, tangents, scale = layer.scaled_jvp(x, tangents, scale, context, training)
        return x, tangents, scale

    def scaled_vjp(self, x, scale, context, training):
        pullbacks = []
        for layer in self.layers:
            x, pullback, scale = layer.scaled_vjp(x, scale, context, training)
            pullbacks.append(pullback)

        def chained(cotangents):
            for pullback in reversed(pullbacks):
                cotangents = pullback(cotangents)
            return cotangents

        return x, chained, scale

    def lipschitz_bound(self):
        return float(np.prod([layer.lipschitz_bound() for layer in self.layers]))

    def compute_output_shape(self, input_shape):
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def get_config(self):
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers}

    @classmethod
    def from_config(cls, config):
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})
