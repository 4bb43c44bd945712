"""Noise of images by couplings of Flow++ that see another image."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.padded_convolution import PaddedConv
from keras_flows.models.flowpp.couplings import mixture_couplings
from keras_flows.models.flowpp.network import GatedConv
from keras_flows.transforms.chain import Chain
from keras_flows.transforms.masks import AlternateColumns


class ConditionalNoise(keras.layers.Layer):
    """Couplings of alternate columns as in `keras_flows.models.FlowPlusPlus`, that see an image.

    They see a map of it: the even columns beside the odd ones, conv 3×3 to `context` channels and
    three gated convolutions.

    Source: Ho et al. 2019, *Flow++*, and its published code.

    Args:
        channels: Of the noise.
        couplings: Their number.
        sizes: `width`, `blocks`, `components` and `heads` of the couplings, a dictionary.
        context: Channels of the map.
    """

    def __init__(self, channels: int, couplings: int, sizes: dict, context: int, **kwargs: Any):
        super().__init__(**kwargs)
        checks.count(couplings, "couplings")
        checks.count(context, "context")
        self.channels, self.couplings, self.context = channels, couplings, context
        self.sizes, self.columns = sizes, AlternateColumns()

    def build(self, input_shape: tuple) -> None:
        policy, shape = self.dtype_policy, tuple(input_shape[1:])
        height, half, channels = self.columns.seen_shape(shape)
        of_noise = (*shape[:-1], self.channels)
        masks = [AlternateColumns(i % 2 == 1) for i in range(self.couplings)]
        sizes = {**self.sizes, "context_size": self.context}
        self.flow = Chain(mixture_couplings(of_noise, masks, sizes, policy), dtype=policy)
        self.flow.build((None, *of_noise))
        self.context_first = PaddedConv(self.context, (3, 3), dtype=policy)
        self.context_first.build((None, height, half, 2 * channels))
        self.context_blocks = [GatedConv(3, dtype=policy) for _ in range(3)]
        for layer in self.context_blocks:
            layer.build((None, height, half, self.context))
        self.built = True

    def see(self, x: tf.Tensor) -> tf.Tensor:
        """The map of an image that the couplings see."""
        y = self.context_first(tf.concat(self.columns.split(x), axis=-1))
        for layer in self.context_blocks:
            y = layer(y)
        return y

    def call(
        self, e: tf.Tensor, seen: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return self.flow.encode(e, seen, training=training)
