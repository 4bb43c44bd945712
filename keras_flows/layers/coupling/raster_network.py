"""What networks have in common that go through an image pixel by pixel."""

from typing import Any

import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.autoregressive_network import AutoregressiveNetwork
from keras_flows.layers.coupling.padded_convolution import PaddedConv
from keras_flows.layers.coupling.residual_network import given
from keras_flows.numerics.events import event_size


class RasterNetwork(AutoregressiveNetwork):
    """An `AutoregressiveNetwork` on images: row by row, of a pixel its channels one by one.

    A context, a vector, shifts the channels that the first layer makes, the same at all pixels.

    Args:
        event_shape: `(height, width, channels)`.
        parameters: Outputs of each number.
        context_size: Size of the context; None for a network without context.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        parameters: int,
        context_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.event_shape = checks.event_shape(event_shape)
        if len(self.event_shape) != 3:
            raise ValueError(
                f"This network takes images (height, width, channels); got {self.event_shape}."
            )
        checks.count(parameters, "parameters")
        self.parameters, self.context_size = parameters, context_size

    @property
    def order(self) -> list[int]:
        """Raster order: the channels of a pixel, then the next pixel of the row, then the rows."""
        return list(range(event_size(self.event_shape)))

    def _context_layer(self, filters: int) -> PaddedConv | None:
        """What makes the shift of the context, built; None without one."""
        if self.context_size is None:
            return None
        layer = PaddedConv(filters, (1, 1), bias=False, dtype=self.dtype_policy)
        layer.build((None, 1, 1, self.context_size))
        return layer

    def _shifted(
        self, y: tf.Tensor, layer: PaddedConv | None, context: tf.Tensor | None
    ) -> tf.Tensor:
        context = given(context, self.context_size)
        if layer is None or context is None:
            return y
        return y + layer(context[:, None, None])

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], input_shape[-1] * self.parameters)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "event_shape": list(self.event_shape),
            "parameters": self.parameters,
            "context_size": self.context_size,
        }
