"""Autoregressive steps: every feature of a vector is mapped by what stands before it."""

from typing import Any, Self

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.masked_network import MaskedNetwork
from keras_flows.noise import Noise
from keras_flows.numerics.events import reshape_events
from keras_flows.transforms.maps import ElementwiseMap
from keras_flows.transforms.parts import deserialized, serialized
from keras_flows.transforms.triangular import Triangular


@keras.saving.register_keras_serializable("keras_flows")
class Autoregressive(Triangular):
    """`z_j = map(x_j; network(x_before_j, context))` for every feature j of a vector.

    The network is masked, so that one pass makes the parameters of all features; the Jacobian is
    triangular, and `log_det = sum_j ln dz_j/dx_j` of the map. Decoding takes as many passes as
    there are features, one after the other in a loop. Input and output `(batch, features)`.

    Sources: Papamakarios et al. 2017, *Masked Autoregressive Flow for Density Estimation*; Durkan
    et al. 2019, *Neural Spline Flows*.

    >>> map = SplineMap()
    >>> step = kf.transforms.Autoregressive(kf.layers.MADE(5, map.parameters), map)

    Args:
        network: A `keras_flows.layers.MaskedNetwork` of as many features, with the parameters that
            the map takes.
        map: A `keras_flows.transforms.maps.ElementwiseMap`.

    Raises:
        ValueError: If an argument is none of these or they do not fit together, or, when built, if
            the data have another shape.
    """

    def __init__(self, network: MaskedNetwork, map: ElementwiseMap, **kwargs: Any):
        super().__init__(**kwargs)
        checks.instance(network, MaskedNetwork, "network")
        checks.instance(map, ElementwiseMap, "map")
        if network.parameters != map.parameters:
            raise ValueError(
                f"The network makes {network.parameters} parameters of each feature; this map "
                f"takes {map.parameters}."
            )
        self.network, self.map = network, map
        self.order = network.order

    def build(self, input_shape: tuple) -> None:
        event_shape = tuple(input_shape[1:])
        if event_shape != (self.network.features,):
            raise ValueError(
                f"This step is for vectors of {self.network.features} features, those of its "
                f"network; got an event of shape {event_shape}."
            )
        checks.build_once(self.network, input_shape)
        super().build(input_shape)

    def _parameters(self, x, context, training=False):
        made = tf.cast(self.network(x, context=context, training=training), x.dtype)
        return reshape_events(made, (self.network.features, self.map.parameters))

    def encode_terms(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return self.map.encode(x, self._parameters(x, context, training))

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        features, order = self.network.features, tf.constant(self.order)

        def one_more(i, x):
            decoded = self.map.decode(z, self._parameters(x, context))
            # One at a time: what is behind it is no data yet.
            here = tf.range(features) == order[i]
            return i + 1, tf.where(here, decoded, x)

        _, x = tf.while_loop(
            lambda i, x: i < features,
            one_more,
            (tf.constant(0), tf.zeros_like(z)),
            shape_invariants=(tf.TensorShape([]), z.shape),
            maximum_iterations=features,
        )
        return x

    def get_config(self) -> dict:
        return {**super().get_config(), **serialized(network=self.network, map=self.map)}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        return cls(**deserialized(config, "network", "map"))
