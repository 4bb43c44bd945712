"""The chain of steps around the networks of the blocks."""

from keras_flows.layers import LipschitzSequential
from keras_flows.models.images import DEQUANTIZATIONS, dequantization_of
from keras_flows.transforms import (
    ActNorm,
    Chain,
    FactorOut,
    Flatten,
    Logit,
    ResidualBlock,
    Squeeze,
)


class Steps:
    """Makes the steps of a flow.

    On vectors: `[ActNorm]`, then blocks × (residual block, `[ActNorm]`). On images: dequantization
    and logit; then scales, each of which is such a sequence (an ActNorm in front in the first only,
    unless told otherwise), with a squeeze between them; then fully connected blocks on the
    flattened image.

    Args:
        nets: The `Nets` of the blocks.
        arguments: The arguments of the model.
        policy: Dtype policy.
    """

    def __init__(self, nets, arguments, policy):
        self.nets, self.arguments, self.policy = nets, arguments, policy

    def on_vectors(self, shape):
        """All steps of a flow on vectors."""
        return [*self._actnorm(), *self._blocks(shape, self.arguments.blocks, first=True)]

    def on_images(self, shape):
        """All steps of a flow on images."""
        steps, a = [], self.arguments
        if a.bits is not None:
            steps.append(dequantization_of(a.dequantization, DEQUANTIZATIONS, a.bits, self.policy))
        steps.append(Logit(a.alpha, dtype=self.policy))
        if a.squeeze_first:
            steps.append(Squeeze(dtype=self.policy))
            shape = steps[-1].encoded_shape(shape)
        if a.first_actnorm:
            steps += self._actnorm()
        return steps + self._scales(shape, a.blocks, first=True)

    def _block(self, layers):
        """A residual block, and the ActNorm behind it if there is one."""
        net = LipschitzSequential(layers, dtype=self.policy)
        a = self.arguments
        block = ResidualBlock(net, a.log_det, a.tolerance, dtype=self.policy)
        return [block, *self._actnorm()]

    def _actnorm(self):
        return [ActNorm(dtype=self.policy)] if self.arguments.actnorm else []

    def _blocks(self, shape, number, first):
        """`number` residual blocks; `first` for those that the flow begins with."""
        steps = []
        for i in range(number):
            steps += self._block(self.nets.block(shape, first and i == 0))
        return steps

    def _scales(self, shape, blocks, first=False):
        """The steps from one scale to the end."""
        steps = self._blocks(shape, blocks[0], first)
        if len(blocks) == 1:
            return steps + self._fully_connected(shape)
        squeeze = Squeeze(dtype=self.policy)
        height, width, channels = squeeze.encoded_shape(shape)
        if not self.arguments.factor_out:
            return [*steps, squeeze, *self._scales((height, width, channels), blocks[1:])]
        rest = self._scales((height, width, channels - channels // 2), blocks[1:])
        inner = Chain(rest, dtype=self.policy)
        return [*steps, squeeze, FactorOut(inner, dtype=self.policy)]

    def _fully_connected(self, shape):
        """The blocks behind the last scale."""
        number = self.arguments.fully_connected.blocks
        if not number:
            return []
        flatten = Flatten(dtype=self.policy)
        (features,) = flatten.encoded_shape(shape)
        steps = [flatten]
        for _ in range(number):
            steps += self._block(self.nets.fully_connected(features))
        return steps
