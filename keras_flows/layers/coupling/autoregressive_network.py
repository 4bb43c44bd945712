"""The contract of the network of an autoregressive step."""

import keras


class AutoregressiveNetwork(keras.layers.Layer):
    """A network whose outputs for a number depend on the numbers before it only.

    Called as `network(x, context, training)`, it maps `(batch, *event_shape)` to
    `(batch, …, channels * parameters)`: outputs `parameters * j … parameters * (j + 1) - 1` of the
    last axis are those of channel j. They may depend on the whole context.

    Attributes:
        event_shape: Shape of an example.
        parameters: Outputs of each number.
        together: So many numbers of the order, one after the other, do not depend on each other
            either: they are decoded at once.
    """

    event_shape: tuple[int, ...]
    parameters: int
    together: int = 1

    @property
    def order(self) -> list[int]:
        """The numbers of the flattened event, from the one that depends on no other to the last."""
        raise NotImplementedError
