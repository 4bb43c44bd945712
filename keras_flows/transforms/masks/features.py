"""Any choice of the features of a vector, or of the channels of an image."""

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.transforms.masks.base import Mask


@keras.saving.register_keras_serializable("keras_flows")
class FeatureMask(Mask):
    """The features that are named are transformed, and the others pass.

    Features are the last axis of an event `(…, features)`: those of a vector, or the channels of an
    image, the same at all positions.

    >>> every_other = FeatureMask(range(0, 6, 2))

    Source: Dinh et al. 2017, *Density Estimation using Real NVP*, section 3.4.

    Args:
        changed: The indices of the features that are transformed, each once.

    Raises:
        ValueError: If they are no such indices.
    """

    def __init__(self, changed: Iterable[int]):
        self.changed = checks.indices(changed, "changed")
        if not self.changed:
            raise ValueError("changed must be indices of features, at least one; got none.")

    def _passing(self, features):
        return [i for i in range(features) if i not in self.changed]

    def seen_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        *positions, features = event_shape
        passing = self._passing(features)
        if self.changed[-1] >= features or not passing:
            raise ValueError(
                f"The features {self.changed} cannot be transformed of {features}, 0 to "
                f"{features - 1}, of which at least one has to pass."
            )
        return (*positions, len(passing))

    def changed_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*event_shape[:-1], len(self.changed))

    def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        passing = self._passing(x.shape[-1])
        return tf.gather(x, passing, axis=-1), tf.gather(x, self.changed, axis=-1)

    def join(self, seen: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        order = [*self._passing(seen.shape[-1] + changed.shape[-1]), *self.changed]
        parts = tf.concat([seen, changed], axis=-1)
        return tf.gather(parts, np.argsort(order).tolist(), axis=-1)

    def get_config(self) -> dict:
        return {"changed": self.changed}
