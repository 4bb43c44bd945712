"""The step that maps the columns of a table to the whole real line, or to circles."""

from collections.abc import Iterable
from typing import Any, Self

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise, require
from keras_flows.transforms.columns.base import ColumnMap
from keras_flows.transforms.groups import Groups
from keras_flows.transforms.triangular import Triangular


@keras.saving.register_keras_serializable("keras_flows")
class Columns(Triangular):
    """`z_j = map_j(x_j)`: every column of a table by its own map; `log_det = sum_j ln dz_j/dx_j`.

    Nothing is clipped: a row with a value that its column cannot have, such as one out of the
    bounds of an interval, has the log-det and so the log_prob -inf, and a finite latent. With
    integers among the columns, the log_prob is a lower bound. Input and output `(batch, columns)`.

    >>> columns = Columns([RealColumn(), PositiveColumn(), IntervalColumn(0, 100)])
    >>> flow = kf.Flow(Chain([columns, kf.models.SplineFlow((3,)).transform]), (3,))

    Args:
        maps: A `keras_flows.transforms.columns.ColumnMap` for each column.

    Raises:
        ValueError: If these are none, or, when built, if the data have another number of columns.
    """

    def __init__(self, maps: Iterable[ColumnMap], **kwargs: Any):
        super().__init__(**kwargs)
        self.maps = list(maps)
        for map in self.maps:
            checks.instance(map, ColumnMap, "Each of the maps of Columns")
        # Columns of the same map go through it together.
        self._groups = Groups(self.maps)
        self._draws = sum(map.draws for map in self.maps)

    @property
    def likelihood(self) -> str:
        """`"lower_bound"` with integers among the columns, else `"exact"`."""
        return "lower_bound" if self._draws else "exact"

    @property
    def bijective(self) -> bool:
        """Whether no column is of integers."""
        return not self._draws

    def noise_size(self, direction: str) -> int:
        return self._draws if direction == "encode" else 0

    def build(self, input_shape: tuple) -> None:
        event_shape = tuple(input_shape[1:])
        if event_shape != (len(self.maps),):
            raise ValueError(
                f"Columns has {len(self.maps)} maps, one for each column; the event has the shape "
                f"{event_shape}."
            )
        super().build(input_shape)

    def encode_terms(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        made = []
        for map, columns in self._groups:
            u = None
            if map.draws:
                u = require(noise, self).uniform(tf.shape(x)[0], (len(columns),), x.dtype)
            made.append(map.encode(tf.gather(x, columns, axis=-1), u))
        z, terms = (self._groups.in_place(parts) for parts in zip(*made, strict=True))
        return z, terms

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        return self._groups.in_place(
            [map.decode(tf.gather(z, columns, axis=-1)) for map, columns in self._groups]
        )

    def get_config(self) -> dict:
        maps = [keras.saving.serialize_keras_object(map) for map in self.maps]
        return {**super().get_config(), "maps": maps}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        maps = [keras.saving.deserialize_keras_object(map) for map in config["maps"]]
        return cls(**{**config, "maps": maps})
