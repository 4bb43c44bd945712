"""The dequantization of Flow++."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows.bases import StandardNormal
from keras_flows.models.flowpp.conditional_noise import ConditionalNoise
from keras_flows.transforms.dequantization import UniformDequantization
from keras_flows.transforms.flow_dequantization import FlowDequantization


@keras.saving.register_keras_serializable("keras_flows")
class FlowPlusPlusDequantization(FlowDequantization):
    """A `FlowDequantization` by couplings of mixtures of logistics, from standard normal noise.

    They are couplings of alternate columns as in `keras_flows.models.FlowPlusPlus`, which see a map
    of `x / 2^bits - 1/2`: its even columns beside the odd ones, conv 3×3 to `context` channels and
    three gated convolutions.

    Source: Ho et al. 2019, *Flow++*, and its published code.

    Args:
        bits: Number of bits of an integer.
        couplings: Their number.
        width: Channels inside their networks, divisible by the heads.
        blocks: Blocks of these.
        components: Of the mixtures.
        heads: Of the attention.
        context: Channels of the map.

    Raises:
        ValueError: If the width is odd, or an argument is out of its range.
    """

    def __init__(
        self,
        bits: int = 8,
        couplings: int = 4,
        width: int = 96,
        blocks: int = 2,
        components: int = 32,
        heads: int = 4,
        context: int = 32,
        **kwargs: Any,
    ):
        super().__init__(bits, **kwargs)
        self.couplings, self.context = couplings, context
        self.sizes = {"width": width, "blocks": blocks, "components": components, "heads": heads}

    def build(self, input_shape: tuple) -> None:
        self.base = StandardNormal(dtype=self.dtype_policy)
        self.flow = ConditionalNoise(
            input_shape[-1], self.couplings, self.sizes, self.context, dtype=self.dtype_policy
        )
        self.flow.build(input_shape)
        super().build(input_shape)

    def see(self, x: tf.Tensor) -> tf.Tensor:
        return self.flow.see(x / 2.0**self.bits - 0.5)

    def from_noise(
        self, e: tf.Tensor, seen: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return self.flow(e, seen, training=training)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "couplings": self.couplings,
            **self.sizes,
            "context": self.context,
        }


# Those of Flow++ and VFlow, by name.
DEQUANTIZATIONS = {
    "uniform": UniformDequantization,
    "variational": FlowPlusPlusDequantization,
}
