"""Half of the tokens."""

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from keras_flows.numerics.events import reshape_events
from keras_flows.transforms.masks.base import Mask


@keras.saving.register_keras_serializable("keras_flows")
class HalfTheTokens(Mask):
    """Some tokens pass, the first half of an order, and the others are transformed.

    Either half is cut in two, so that the network sees as many tokens as there are, of half the
    size. For events `(tokens, channels)`, the channels even.

    Source: Kolesnikov et al. 2024, *Jet: A Modern Transformer-Based Normalizing Flow*.

    Args:
        order: The tokens, an even number of them; the first half passes.

    Raises:
        ValueError: If that is no permutation, or the events have other shapes.
    """

    def __init__(self, order: Iterable[int]):
        self.order = [int(i) for i in order]
        count = len(self.order)
        if sorted(self.order) != list(range(count)) or count % 2:
            raise ValueError(
                f"order must be a permutation of 0 … n-1, n even: the first half passes; got "
                f"{self.order}."
            )

    def seen_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(event_shape) != 2 or event_shape[0] != len(self.order) or event_shape[1] % 2:
            raise ValueError(
                f"This mask is for {len(self.order)} tokens of an even size; got an event "
                f"{event_shape}."
            )
        return len(self.order), event_shape[1] // 2

    def changed_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.seen_shape(event_shape)

    def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shape = self.seen_shape(tuple(x.shape[1:]))
        seen, changed = tf.split(tf.gather(x, self.order, axis=1), 2, axis=1)
        return reshape_events(seen, shape), reshape_events(changed, shape)

    def join(self, seen: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        tokens, half = seen.shape[1:]
        shape = (tokens // 2, 2 * half)
        parts = tf.concat([reshape_events(seen, shape), reshape_events(changed, shape)], axis=1)
        return tf.gather(parts, np.argsort(self.order).tolist(), axis=1)

    def get_config(self) -> dict:
        return {"order": self.order}
