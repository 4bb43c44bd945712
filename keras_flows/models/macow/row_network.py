"""A network that goes through an image row by row, or column by column."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.padded_convolution import WeightNormConv
from keras_flows.layers.coupling.raster_network import RasterNetwork
from keras_flows.numerics.events import event_size

# From where the rows or columns come that a pixel sees.
DIRECTIONS = ("top", "bottom", "left", "right")


@keras.saving.register_keras_serializable("keras_flows")
class RowNetwork(RasterNetwork):
    """A convolution over the two rows before a pixel and three columns, ELU, and one of 1×1.

    Both are weight-normalised; the gains of the last start at zero. No pixel sees its own row, so
    that all of a row are decoded at once. See `keras_flows.layers.AutoregressiveNetwork`.

    Source: Ma et al. 2019, *MaCow: Masked Convolutional Generative Flow*, section 3.1.

    Args:
        event_shape: `(height, width, channels)`.
        parameters: Outputs of each number.
        width: Channels between the convolutions.
        direction: Where the rows are that a pixel sees: `"top"` or `"bottom"`; or, of columns,
            `"left"` or `"right"`.
        context_size: Size of the context; None for a network without context.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        parameters: int,
        width: int,
        direction: str = "top",
        context_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(event_shape, parameters, context_size, **kwargs)
        checks.count(width, "width")
        self.width = width
        self.direction = checks.known(direction, dict.fromkeys(DIRECTIONS, direction), "direction")
        height, columns, channels = self.event_shape
        self.across = direction in ("left", "right")
        self.far = direction in ("bottom", "right")
        self.together = channels * (height if self.across else columns)
        outputs = channels * parameters
        self.first = WeightNormConv(width, (2, 3), ((2, 0), (1, 1)), dtype=self.dtype_policy)
        self.last = WeightNormConv(outputs, (1, 1), dtype=self.dtype_policy)

    @property
    def order(self) -> list[int]:
        """Row by row or column by column, from the side that is seen."""
        numbers = np.arange(event_size(self.event_shape)).reshape(self.event_shape)
        numbers = numbers.transpose(1, 0, 2) if self.across else numbers
        return (numbers[::-1] if self.far else numbers).ravel().tolist()

    def build(self, input_shape: tuple) -> None:
        self.first.build(input_shape)
        self.last.build((*input_shape[:-1], self.width))
        self.last.gain.assign(tf.zeros(self.last.filters))
        self.context_layer = self._context_layer(self.width)
        self.built = True

    def call(
        self, x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        # Turned, what a pixel sees is above it.
        x = tf.transpose(x, (0, 2, 1, 3)) if self.across else x
        x = tf.reverse(x, axis=[1]) if self.far else x
        h = self._shifted(self.first(x)[:, :-1], self.context_layer, context)
        made = self.last(tf.nn.elu(h))
        made = tf.reverse(made, axis=[1]) if self.far else made
        return tf.transpose(made, (0, 2, 1, 3)) if self.across else made

    def get_config(self) -> dict:
        return {**super().get_config(), "width": self.width, "direction": self.direction}
