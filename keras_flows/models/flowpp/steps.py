"""What stands before a coupling of Flow++: an affine map of every number, and matrices."""

from typing import Any, Self

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise
from keras_flows.numerics.events import event_size
from keras_flows.transforms.actnorm import ActNorm
from keras_flows.transforms.base import Transform
from keras_flows.transforms.conv1x1 import Conv1x1
from keras_flows.transforms.flatten import Flatten
from keras_flows.transforms.masks import Mask
from keras_flows.transforms.parts import deserialized, serialized


@keras.saving.register_keras_serializable("keras_flows")
class PixelNorm(Transform):
    """A trained affine map of every number: `z = (x + bias) exp(log_scale)`.

    An `ActNorm` of as many channels as the event has numbers: the first training batch sets each of
    them to zero mean and unit variance. Shapes are kept.

    Source: Ho et al. 2019, *Flow++*, and its published code.
    """

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        self.norm = ActNorm(0.0, 1e-6, dtype=self.dtype_policy)
        self.flatten = Flatten(dtype=self.dtype_policy)
        self.flatten.build(input_shape)
        self.norm.build((None, event_size(self.event_shape)))

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        z, log_det = self.norm.encode(self.flatten.encode(x)[0], training=training)
        return self.flatten.decode(z), log_det

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return self.flatten.decode(self.norm.decode(self.flatten.encode(z)[0]))


@keras.saving.register_keras_serializable("keras_flows")
class PartsConv1x1(Transform):
    """A `Conv1x1` of what a mask lets pass, and another one of the rest; both start near identity.

    Input and output `(batch, height, width, channels)`.

    Source: Ho et al. 2019, *Flow++*, and its published code.

    Args:
        mask: A `keras_flows.transforms.masks.Mask` of two images.
    """

    def __init__(self, mask: Mask, **kwargs: Any):
        super().__init__(**kwargs)
        checks.instance(mask, Mask, "mask")
        self.mask = mask
        self.convs = [Conv1x1("identity", dtype=self.dtype_policy) for _ in range(2)]

    def build(self, input_shape: tuple) -> None:
        event_shape = tuple(input_shape[1:])
        shapes = (self.mask.seen_shape(event_shape), self.mask.changed_shape(event_shape))
        for conv, shape in zip(self.convs, shapes, strict=True):
            conv.build((None, *shape))
        super().build(input_shape)

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        made = [
            conv.encode(part) for conv, part in zip(self.convs, self.mask.split(x), strict=True)
        ]
        (seen, seen_log_det), (changed, changed_log_det) = made
        return self.mask.join(seen, changed), seen_log_det + changed_log_det

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        parts = zip(self.convs, self.mask.split(z), strict=True)
        return self.mask.join(*(conv.decode(part) for conv, part in parts))

    def get_config(self) -> dict:
        return {**super().get_config(), **serialized(mask=self.mask)}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        return cls(**deserialized(config, "mask"))
