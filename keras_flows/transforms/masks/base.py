"""The contract of a mask."""

import tensorflow as tf

from keras_flows import checks
from keras_flows.numerics.configured import Configured
from keras_flows.numerics.events import reshape_events


class Mask(Configured):
    """Splits an event in what passes, which the network sees, and what is transformed.

    An object with a configuration, without weights. What the network sees may have any shape: a
    half of the channels, or the whole image with zeros in place of what is transformed.
    """

    def seen_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what the network sees.

        Raises:
            ValueError: If an event of that shape cannot be split.
        """
        raise NotImplementedError

    def changed_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what is transformed."""
        raise NotImplementedError

    def made_shape(self, event_shape: tuple[int, ...], parameters: int) -> tuple[int, ...]:
        """The shape that the network must make, for so many parameters of each number."""
        *positions, channels = self.changed_shape(event_shape)
        return (*positions, channels * parameters)

    def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`(seen, changed)`: tensors `(batch, *seen_shape)` and `(batch, *changed_shape)`."""
        raise NotImplementedError

    def join(self, seen: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        """The event of which these are the parts; `split` undone."""
        raise NotImplementedError

    def parameters(self, made: tf.Tensor, parameters: int) -> tf.Tensor:
        """What the network made, as `(batch, *changed_shape, parameters)`.

        Channel `parameters * j + k` that the network makes is parameter k of channel j.
        """
        *positions, channels = made.shape[1:]
        return reshape_events(made, (*positions, channels // parameters, parameters))


class ReversibleMask(Mask):
    """A mask of two parts, either of which may pass.

    Args:
        reverse: Whether the other one passes.

    Raises:
        ValueError: If reverse is neither True nor False.
    """

    def __init__(self, reverse: bool = False):
        checks.flag(reverse, "reverse")
        self.reverse = bool(reverse)

    def get_config(self) -> dict:
        return {"reverse": self.reverse}
