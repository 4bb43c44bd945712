"""From integers to continuous numbers, by a trained conditional flow."""

from typing import Any

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.bases import ChannelNormal
from keras_flows.layers.coupling.convolution import convolution
from keras_flows.layers.coupling.gated_dense_block import GatedDenseBlock, ResidualDenseBlock
from keras_flows.layers.coupling.network import CouplingNetwork
from keras_flows.transforms.chain import Chain
from keras_flows.transforms.conv1x1 import Conv1x1
from keras_flows.transforms.coupling import AffineCoupling
from keras_flows.transforms.flow_dequantization import FlowDequantization
from keras_flows.transforms.squeeze import Squeeze

# Of the two dense blocks that make the context, as published.
_CONTEXT_DEPTH, _CONTEXT_GROWTH = 4, 16


@keras.saving.register_keras_serializable("keras_flows")
class VariationalDequantization(FlowDequantization):
    """`z = (x + u) / 2^bits` with `u ~ q(u | x)`, for integers x from 0 to `2^bits - 1`.

    `log_det = -ln q(u | x) - D bits ln 2`, and the log_prob is a lower bound on that of the
    integers. q is a flow in (0, 1): a `ChannelNormal` over squeezed images
    `(height / 2, width / 2, 4 channels)`, `steps` times (1×1 convolution, affine coupling), one
    more 1×1 convolution, depth to space, sigmoid. The couplings see a map of the image:
    `2 x / (2^bits - 1) - 1` → dense block → conv 2×2 with stride 2 → dense block. Decoding takes
    the floor, so this is no bijection. Shapes `(batch, height, width, channels)` are kept.

    Sources: Ho et al. 2019, *Flow++*; Grcić et al. 2021, *Densely connected normalizing flows*.

    Args:
        bits: Number of bits of an integer.
        steps: Number of couplings.
        width: Channels inside the networks of the couplings, and of the context's first half.
        depth: Number of layers of their dense blocks.
        growth: Channels that such a layer adds.
        context: Channels of the map that the couplings see.

    Raises:
        ValueError: If the height or width is odd, or an argument is out of its range.
    """

    def __init__(
        self,
        bits: int = 8,
        steps: int = 4,
        width: int = 64,
        depth: int = 4,
        growth: int = 64,
        context: int = 64,
        **kwargs: Any,
    ):
        super().__init__(bits, **kwargs)
        checks.count(steps, "steps")
        checks.count(context, "context")
        checks.count(width, "width")
        checks.count(depth, "depth")
        checks.count(growth, "growth")
        self.steps_count, self.context = steps, context
        self.width, self.depth, self.growth = width, depth, growth

    def build(self, input_shape: tuple) -> None:
        policy = self.dtype_policy
        self.squeeze = Squeeze(2, dtype=policy)
        height, width, channels = self.squeeze.encoded_shape(input_shape[1:])
        self.squeeze.build(input_shape)
        self.base = ChannelNormal(dtype=policy)
        self.base.build((None, height, width, channels))
        steps = []
        for _ in range(self.steps_count):
            block = ResidualDenseBlock(self.depth, self.growth, dtype=policy)
            net = CouplingNetwork(
                2 * (channels // 2), self.width, [block], context_size=self.context, dtype=policy
            )
            steps += [Conv1x1(dtype=policy), AffineCoupling(net, dtype=policy)]
        self.flow = Chain([*steps, Conv1x1(dtype=policy)], dtype=policy)
        self.flow.build((None, height, width, channels))
        small = {"depth": _CONTEXT_DEPTH, "growth": _CONTEXT_GROWTH, "dtype": policy}
        self.context_net = [
            GatedDenseBlock(self.width, **small),
            convolution(self.width, 2, policy, strides=2),
            GatedDenseBlock(self.context, **small),
        ]
        shape = input_shape
        for layer in self.context_net:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        super().build(input_shape)

    def noise_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.squeeze.encoded_shape(event_shape)

    def see(self, x: tf.Tensor) -> tf.Tensor:
        """The map of the image that the couplings see."""
        y = x * (2.0 / (2.0**self.bits - 1.0)) - 1.0
        for layer in self.context_net:
            y = layer(y)
        return y

    def from_noise(
        self, e: tf.Tensor, seen: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        v, log_det = self.flow.encode(e, seen, training=training)
        return self.squeeze.decode(v), log_det

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "steps": self.steps_count,
            "width": self.width,
            "depth": self.depth,
            "growth": self.growth,
            "context": self.context,
        }
