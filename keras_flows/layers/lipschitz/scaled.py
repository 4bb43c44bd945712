"""What the layers of the networks inside residual blocks share: scales, and activations."""

from typing import Any, Self

import keras
import tensorflow as tf

from keras_flows.layers.lipschitz.layer import LipschitzLayer, Pullback, times


class ActivationConfig:
    """Serialisation shared by the layers that take an activation."""

    activation: Any

    def get_config(self) -> dict:
        config = super().get_config()  # type: ignore[misc]  # of the layer
        if isinstance(self.activation, keras.layers.Layer):
            return {**config, "activation": keras.saving.serialize_keras_object(self.activation)}
        return {**config, "activation": self.activation}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        if isinstance(config["activation"], dict):
            layer = keras.saving.deserialize_keras_object(config["activation"])
            config = {**config, "activation": layer}
        return cls(**config)


class ScaledLayer(LipschitzLayer):
    """A layer between two scales, factors of the channels that are not multiplied yet.

    The coefficients of a concatenation multiply all that a network has computed so far, at every
    example, and again at the next concatenation. The layer that follows can as well multiply the
    rows of its matrix, `(scale x) W = x (scale W)`, which are few.
    """

    def scaled_jvp(
        self,
        stacked: tf.Tensor,
        scale: tf.Tensor | None,
        context: tf.Tensor | None,
        training: bool,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """`jvp` at `scale * x`, the scale `(channels,)` or None.

        Args:
            stacked: x and its k tangents, `(1 + k, batch, *event)`: one product of a matrix serves
                all of them, and one concatenation.
            scale: Of x and of the tangents.
            context: See `jvp`.
            training: See `jvp`.

        Returns:
            `(stacked, scale)`: the result is `scale * stacked[0]`, and its tangents are
            `scale * stacked[1:]`.
        """
        raise NotImplementedError

    def scaled_vjp(
        self, x: tf.Tensor, scale: tf.Tensor | None, context: tf.Tensor | None, training: bool
    ) -> tuple[tf.Tensor, Pullback, tf.Tensor | None]:
        """`vjp` at `scale * x`, the scale `(channels,)` or None.

        Returns:
            `(y, pullback, scale)`: the result is `scale * y`; the pullback is that of y by x.
        """
        raise NotImplementedError

    def jvp(
        self,
        x: tf.Tensor,
        tangents: tf.Tensor,
        context: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        stacked = tf.concat([x[None], tangents], axis=0)
        stacked = times(*self.scaled_jvp(stacked, None, context, training)[::-1])
        return stacked[0], stacked[1:]

    def vjp(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tuple[tf.Tensor, Pullback]:
        y, pullback, scale = self.scaled_vjp(x, None, context, training)
        return times(scale, y), lambda cotangents: pullback(times(scale, cotangents))
