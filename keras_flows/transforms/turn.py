"""Turns of circles."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise
from keras_flows.numerics.angles import wrapped
from keras_flows.transforms.triangular import Triangular


@keras.saving.register_keras_serializable("keras_flows")
class Turn(Triangular):
    """`z_j = (x_j + angle) mod 2 pi`, in `[-pi, pi]`, for the features that are on a circle.

    The others pass; `log_det = 0`. Between splines on a circle, each of which keeps its ends, a
    turn lets the next one move what the last one could not. Decoding turns back: of an x, its angle
    in `[-pi, pi]` comes back. Input and output `(batch, features)`, angles in radians.

    Source: Rezende et al. 2020, *Normalizing Flows on Tori and Spheres*, section 2.1.

    Args:
        circles: The indices of the features that are angles, each once.
        angle: How far they are turned.

    Raises:
        ValueError: If these are no such indices, the angle is not finite, or, when built, the data
            have no such features.
    """

    def __init__(self, circles: Iterable[int], angle: float = math.pi, **kwargs: Any):
        super().__init__(**kwargs)
        self.circles = checks.indices(circles, "circles")
        checks.number(angle, "angle", -checks.LARGE, checks.LARGE, "a finite number")
        self.angle = float(angle)

    def build(self, input_shape: tuple) -> None:
        if len(input_shape) != 2:
            raise ValueError(
                f"Turn is for vectors; got an event of shape {tuple(input_shape[1:])}."
            )
        checks.indices(self.circles, "circles", input_shape[-1])
        super().build(input_shape)

    def _turned(self, x, angle):
        on_circle = tf.constant([j in self.circles for j in range(x.shape[-1])])
        return tf.where(on_circle, wrapped(x + angle), x)

    def encode_terms(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return self._turned(x, self.angle), tf.zeros_like(x)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return self._turned(z, -self.angle)

    def get_config(self) -> dict:
        return {**super().get_config(), "circles": self.circles, "angle": self.angle}
