"""Activations that are at most 1-Lipschitz, with their derivatives."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.lipschitz.layer import LipschitzLayer, Pullback, times

# The least slope inside a swish, where it is linear to all digits.
_LEAST = 1e-15


class ElementwiseActivation(LipschitzLayer):
    """Base of the activations that act on each number by itself.

    An activation is `factor * core(gain * x)`; both numbers are 1 for most. Layers around it
    multiply their weights by them, which are few, and not every number that passes.

    A subclass gives `value_and_slope`; the Jacobian is then diagonal.
    """

    def build(self, input_shape: tuple) -> None:
        self.built = True

    def around(self) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """`(gain, factor)`, tensors `(1,)`, or None for 1."""
        return None, None

    def value_and_slope(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The core and its derivative at `x`, both of the shape of `x`."""
        raise NotImplementedError

    def core_jvp(self, x: tf.Tensor, tangents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`jvp` of the core."""
        value, slope = self.value_and_slope(x)
        return value, slope * tangents

    def core_vjp(self, x: tf.Tensor) -> tuple[tf.Tensor, Pullback]:
        """`vjp` of the core."""
        value, slope = self.value_and_slope(x)
        return value, lambda cotangents: slope * cotangents

    def jvp(
        self, x: tf.Tensor, tangents: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        gain, factor = self.around()
        value, tangents = self.core_jvp(times(gain, x), times(gain, tangents))
        return times(factor, value), times(factor, tangents)

    def vjp(self, x: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, Pullback]:
        gain, factor = self.around()
        value, pullback = self.core_vjp(times(gain, x))
        return times(factor, value), lambda w: times(gain, pullback(times(factor, w)))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def lipschitz_bound(self) -> float:
        return 1.0


def _swish(x):
    """`x sigmoid(x)` and its derivative."""
    gate = tf.sigmoid(x)
    value = x * gate
    return value, gate * (1.0 + (x - value))


class _LearnedSwish(ElementwiseActivation):
    """Shared by the activations built on `x sigmoid(softplus(beta) x)`."""

    _norm = 1.1

    def __init__(self, beta: float = 0.5, **kwargs: Any):
        super().__init__(**kwargs)
        checks.number(beta, "beta", -checks.LARGE, checks.LARGE, "a finite number")
        self._start = float(beta)

    def build(self, input_shape: tuple) -> None:
        self.beta = self.add_weight(
            name="beta", shape=(1,), initializer=keras.initializers.Constant(self._start)
        )
        self.built = True

    def get_config(self) -> dict:
        return {**super().get_config(), "beta": self._start}

    def derive(self, training: bool = False) -> Any:
        beta = tf.maximum(tf.nn.softplus(self.beta), _LEAST)
        return beta, 1.0 / (self._norm * beta)

    def around(self) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        return self.derived()[:2]


@keras.saving.register_keras_serializable("keras_flows")
class LipSwish(_LearnedSwish):
    """LipSwish, `x sigmoid(softplus(beta) x) / 1.1` with a trainable beta.

    At most 1-Lipschitz for every beta. Unlike ReLU and ELU it does not saturate the gradient of
    a log-det, which uses the second derivative.

    Source: Chen et al. 2019, *Residual Flows for Invertible Generative Modeling*.

    Args:
        beta: Where beta starts. The larger, the sharper the bend at 0, and the sharper the edges
            that a density can have.
    """

    def value_and_slope(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _swish(x)


@keras.saving.register_keras_serializable("keras_flows")
class LeakyLipSwish(_LearnedSwish):
    """A convex mix of the identity and LipSwish.

    `a x + (1 - a) LipSwish(x)` with `a = sigmoid(alpha)`; alpha is trainable, -3 at the start.

    Source: Chen et al. 2019, *Residual Flows for Invertible Generative Modeling*.

    Args:
        beta: See `LipSwish`.
    """

    def build(self, input_shape: tuple) -> None:
        self.alpha = self.add_weight(
            name="alpha", shape=(1,), initializer=keras.initializers.Constant(-3.0)
        )
        super().build(input_shape)

    def derive(self, training: bool = False) -> Any:
        # x = (1.1 beta x) factor: the identity, too, has the factor of the swish.
        mix = tf.sigmoid(self.alpha)
        return *super().derive(training), self._norm * mix, 1.0 - mix

    def value_and_slope(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        identity, share = self.derived()[2:]
        swish, slope = _swish(x)
        return identity * x + share * swish, identity + share * slope


@keras.saving.register_keras_serializable("keras_flows")
class CLipSwish(_LearnedSwish):
    """Concatenated LipSwish, `LipSwish(concat(x, -x)) / 1.004`.

    Doubles the number of channels. Both halves see the same input, so the Lipschitz constant is
    the largest `sqrt(LipSwish'(x)^2 + LipSwish'(-x)^2)`, at most 1.004 for every beta.

    Source: Perugachi-Diaz et al. 2021, *Invertible DenseNets with Concatenated LipSwish*.

    Args:
        beta: See `LipSwish`.
    """

    _norm = 1.1 * 1.004

    def value_and_slope(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        (up, up_slope), (down, down_slope) = _swish(x), _swish(-x)
        return tf.concat([up, down], axis=-1), tf.concat([up_slope, -down_slope], axis=-1)

    def core_jvp(self, x: tf.Tensor, tangents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        value, slope = self.value_and_slope(x)
        return value, slope * tf.concat([tangents, tangents], axis=-1)

    def core_vjp(self, x: tf.Tensor) -> tuple[tf.Tensor, Pullback]:
        value, slope = self.value_and_slope(x)

        def pullback(cotangents):
            up, down = tf.split(slope * cotangents, 2, axis=-1)
            return up + down

        return value, pullback

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], 2 * input_shape[-1])


@keras.saving.register_keras_serializable("keras_flows")
class ReLU(ElementwiseActivation):
    """`max(x, 0)`. Its second derivative vanishes, which starves the gradient of a log-det."""

    def value_and_slope(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.nn.relu(x), tf.cast(x > 0, x.dtype)


@keras.saving.register_keras_serializable("keras_flows")
class ELU(ElementwiseActivation):
    """`x` where positive, `exp(x) - 1` elsewhere."""

    def value_and_slope(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        slope = tf.exp(tf.minimum(x, 0.0))
        return tf.where(x > 0, x, slope - 1.0), slope


@keras.saving.register_keras_serializable("keras_flows")
class Tanh(ElementwiseActivation):
    """`tanh(x)`."""

    def value_and_slope(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        value = tf.tanh(x)
        return value, 1.0 - tf.square(value)


@keras.saving.register_keras_serializable("keras_flows")
class Softplus(ElementwiseActivation):
    """`log(1 + exp(x))`."""

    def value_and_slope(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.nn.softplus(x), tf.sigmoid(x)


@keras.saving.register_keras_serializable("keras_flows")
class VouchedActivation(ElementwiseActivation):
    """Any elementwise Keras activation that the user vouches for as 1-Lipschitz.

    Its derivative is taken automatically, so a flow that uses it may not export to ONNX, and to
    train it TensorFlow must know the second derivative too (it does not for `softsign`).

    Args:
        activation: A name known to `keras.activations.get`, or a serialisable callable. Mind
            that several common ones are not 1-Lipschitz: `gelu` reaches 1.13, `silu` 1.10.
    """

    def __init__(self, activation: str | Callable, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        # A graph of its own, where gradients need no tape: the inverse stops all tapes.
        self._graph = tf.function(self._value_and_slope, autograph=False)

    def _value_and_slope(self, x):
        value = self.activation(x)
        return value, tf.gradients(value, x)[0]

    def value_and_slope(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._graph(x)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
        }


_KNOWN = {
    "lipswish": LipSwish,
    "clipswish": CLipSwish,
    "leaky_lipswish": LeakyLipSwish,
    "relu": ReLU,
    "elu": ELU,
    "tanh": Tanh,
    "softplus": Softplus,
}


def activation(
    identifier: str | dict | LipschitzLayer, dtype: str | keras.DTypePolicy | None = None
) -> LipschitzLayer:
    """A fresh activation layer.

    Args:
        identifier: A name (`lipswish`, `clipswish`, `leaky_lipswish`, `relu`, `elu`, `tanh`,
            `softplus`); a name with arguments, `{"class_name": "lipswish", "config":
            {"beta": 40.0}}`; or an activation layer of this module, which is copied.
        dtype: The dtype policy of the layer.

    Returns:
        A new `LipschitzLayer`.

    Raises:
        ValueError: If the name is not known.
    """
    if isinstance(identifier, LipschitzLayer):
        return type(identifier).from_config({**identifier.get_config(), "dtype": dtype})
    name, arguments = identifier, {}
    if isinstance(identifier, dict) and identifier.keys() == {"class_name", "config"}:
        name, arguments = identifier["class_name"], identifier["config"]
    if isinstance(name, str) and name in _KNOWN:
        return _KNOWN[name](**arguments, dtype=dtype)
    raise ValueError(
        f"Unknown activation {name!r}.{checks.suggestion(name, _KNOWN)} Known names: "
        f"{', '.join(_KNOWN)}. For another 1-Lipschitz Keras activation, pass "
        "`VouchedActivation(name)`."
    )
