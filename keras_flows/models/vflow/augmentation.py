"""Noise beside an image, from a flow that sees the image."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows.models.flowpp.conditional_noise import ConditionalNoise
from keras_flows.transforms.append_noise import AppendNoise
from keras_flows.transforms.sigmoid import Sigmoid


@keras.saving.register_keras_serializable("keras_flows")
class Augmentation(AppendNoise):
    """`z = concat(x, u)` with `u ~ q(u | x)` in (0, 1): so many more channels of an image.

    `log_det = -ln q(u | x)`, and log_prob is a lower bound on that of x. q is a flow from standard
    normal noise by couplings of Flow++, which see x. Decoding drops u, so this is no bijection.
    Input `(batch, height, width, channels)`, output `(batch, height, width, channels + extra)`.

    Source: Chen et al. 2020, *VFlow: More Expressive Generative Flows with Variational Data
    Augmentation*.

    Args:
        extra: Number of channels.
        couplings: See `keras_flows.models.flowpp.FlowPlusPlusDequantization`.
        width: See there.
        blocks: See there.
        components: See there.
        heads: See there.
        context: See there.

    Raises:
        ValueError: If the width of the image is odd, or an argument is out of its range.
    """

    def __init__(
        self,
        extra: int = 3,
        couplings: int = 4,
        width: int = 96,
        blocks: int = 3,
        components: int = 32,
        heads: int = 4,
        context: int = 32,
        **kwargs: Any,
    ):
        super().__init__(extra, **kwargs)
        self.couplings, self.context = couplings, context
        self.sizes = {"width": width, "blocks": blocks, "components": components, "heads": heads}
        self.sigmoid = Sigmoid(dtype=self.dtype_policy)
        self.flow = ConditionalNoise(extra, couplings, self.sizes, context, dtype=self.dtype_policy)

    def build(self, input_shape: tuple) -> None:
        self.flow.build(input_shape)
        super().build(input_shape)

    def appended(self, x: tf.Tensor, e: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        v, log_det = self.flow(e, self.flow.see(x), training=training)
        u, sigmoid_log_det = self.sigmoid.encode(v)
        return u, self.base.log_prob(e) - log_det - sigmoid_log_det

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "couplings": self.couplings,
            **self.sizes,
            "context": self.context,
        }
