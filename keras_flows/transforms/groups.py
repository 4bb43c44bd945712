"""Features that have maps of their own, those of the same map together."""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np
import tensorflow as tf

from keras_flows.numerics.configured import Configured

Map = TypeVar("Map", bound=Configured)


class Groups(Generic[Map]):
    """The features of a vector in groups of equal maps.

    Iterating gives `(map, features)`: a map, and the indices of its features.

    Args:
        maps: A map for each feature; those of one class and configuration are equal.
    """

    def __init__(self, maps: Sequence[Map]):
        kinds: dict[str, tuple[Map, list[int]]] = {}
        for j, map in enumerate(maps):
            kinds.setdefault(f"{type(map)} {map.get_config()}", (map, []))[1].append(j)
        self._groups = list(kinds.values())
        order = [j for _, features in self._groups for j in features]
        self._places = np.argsort(order).tolist()

    def __iter__(self) -> Iterator[tuple[Map, list[int]]]:
        return iter(self._groups)

    def in_place(self, parts: Sequence[tf.Tensor]) -> tf.Tensor:
        """What was made of the groups, in their order, as the last axis of one tensor."""
        return tf.gather(tf.concat(parts, axis=-1), self._places, axis=-1)
