"""The networks of the residual blocks of both models."""

from keras_flows import checks
from keras_flows.layers import ConditionedDense, LipschitzDenseLayer

# Of the first matrix of a fully connected block, in i-DenseNet.
_FC_WIDTH = 64


class Nets:
    """Gives the blocks of a flow their networks, lists of layers.

    Args:
        arguments: The arguments of the model.
        hidden: Arguments of the layers before the last: dtype, iterations, context_size,
            activation and coeff.
        last: Those of the last layer, without an activation.
    """

    def __init__(self, arguments, hidden, last):
        self.arguments, self.hidden, self.last = arguments, hidden, last

    def block(self, shape, first):
        """The network of a block on vectors or images; `first` for the first block of the flow."""
        raise NotImplementedError

    def fully_connected(self, features):
        """The network of a fully connected block behind the last scale of an image flow."""
        raise NotImplementedError


class DenseNets(Nets):
    """Dense Layers, and a matrix or 1×1 convolution back to the shape of the input."""

    def _dense_layers(self, growth, kernel_size=None):
        a = self.arguments
        checks.count(a.depth, "depth")
        return [
            LipschitzDenseLayer(
                growth,
                learnable=a.learnable_concatenation,
                start=a.concatenation_start,
                # Where the bound is the block's, the concatenations take all of theirs.
                lip_coeff=1.0 if a.block_bound else a.lip_coeff,
                kernel_size=kernel_size,
                **self.hidden,
            )
            for _ in range(a.depth)
        ]

    def _output(self, units, kernel_size=None):
        # The last matrix takes no context: it would only shift the block's output.
        last = {**self.last, "context_size": None}
        return ConditionedDense(units, **last, kernel_size=kernel_size)

    def block(self, shape, first):
        sizes = (3, 1) if len(shape) == 3 else (None, None)
        layers = self._dense_layers(self.arguments.growth, sizes[0])
        return [*layers, self._output(shape[-1], sizes[1])]

    def fully_connected(self, features):
        entrance = ConditionedDense(_FC_WIDTH, **{**self.hidden, "activation": None})
        layers = self._dense_layers(self.arguments.fully_connected.size)
        return [entrance, *layers, self._output(features)]


class PlainNets(Nets):
    """(activation, linear) for every width and once more for the output."""

    def _layers(self, shape, widths, first):
        activations = [self.hidden["activation"]] * (len(widths) + 1)
        sizes = [None] * (len(widths) + 1)
        if len(shape) == 3:
            sizes = [3, *[1] * (len(widths) - 1), 3]
            if first and not self.arguments.first_activation:
                activations[0] = None
        layers = [
            ConditionedDense(width, **{**self.hidden, "activation": activation}, kernel_size=size)
            for width, activation, size in zip(widths, activations, sizes, strict=False)
        ]
        last = ConditionedDense(shape[-1], activations[-1], **self.last, kernel_size=sizes[-1])
        return [*layers, last]

    def block(self, shape, first):
        checks.counts(self.arguments.widths, "widths")
        return self._layers(shape, self.arguments.widths, first)

    def fully_connected(self, features):
        return self._layers((features,), [self.arguments.fully_connected.size] * 2, False)
