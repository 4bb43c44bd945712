"""A map of its own for every feature."""

from collections.abc import Iterable
from typing import Self

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.transforms.groups import Groups
from keras_flows.transforms.maps.base import ElementwiseMap


@keras.saving.register_keras_serializable("keras_flows")
class FeatureMaps(ElementwiseMap):
    """Every feature by a map of its own, such as splines on a circle beside those on a line.

    Features are the last axis. A number takes as many parameters as the map that takes most of
    them; a map that takes fewer takes the first, and leaves the others.

    >>> map = FeatureMaps([PeriodicSplineMap(), SplineMap(), SplineMap()])

    Args:
        maps: A `keras_flows.transforms.maps.ElementwiseMap` for each feature.

    Raises:
        ValueError: If these are none, or, when called, if there is another number of features.
    """

    by_feature = True

    def __init__(self, maps: Iterable[ElementwiseMap]):
        self.maps = list(maps)
        for map in self.maps:
            checks.instance(map, ElementwiseMap, "Each of the maps of FeatureMaps")
        if not self.maps:
            raise ValueError("FeatureMaps needs a map for each feature; got none.")
        self._groups = Groups(self.maps)
        self.parameters = max(map.parameters for map in self.maps)

    def _parts(self, value, parameters):
        """Of every group the map, its features and their parameters."""
        if value.shape[-1] != len(self.maps):
            raise ValueError(
                f"FeatureMaps has {len(self.maps)} maps, one for each feature; the data have "
                f"{value.shape[-1]} features."
            )
        for map, features in self._groups:
            own = tf.gather(parameters, features, axis=-2)[..., : map.parameters]
            yield map, tf.gather(value, features, axis=-1), own

    def encode(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        made = [map.encode(part, own) for map, part, own in self._parts(x, parameters)]
        z, log_derivative = (self._groups.in_place(parts) for parts in zip(*made, strict=True))
        return z, log_derivative

    def decode(self, z: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        made = [map.decode(part, own) for map, part, own in self._parts(z, parameters)]
        return self._groups.in_place(made)

    def get_config(self) -> dict:
        return {"maps": [keras.saving.serialize_keras_object(map) for map in self.maps]}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        return cls([keras.saving.deserialize_keras_object(map) for map in config["maps"]])
