"""Autoregressive steps: every number is mapped by those that stand before it."""

from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.coupling.autoregressive_network import AutoregressiveNetwork
from keras_flows.noise import Noise
from keras_flows.numerics.events import event_size, reshape_events
from keras_flows.transforms.maps import ElementwiseMap
from keras_flows.transforms.parts import deserialized, serialized
from keras_flows.transforms.triangular import Triangular


@keras.saving.register_keras_serializable("keras_flows")
class Autoregressive(Triangular):
    """`z_j = map(x_j; network(x_before_j, context))` for every number j of a vector or an image.

    The network sees what is before a number, so that one pass makes the parameters of all; the
    Jacobian is triangular, and `log_det = sum_j ln dz_j/dx_j` of the map. Input and output have the
    event shape of the network. Decoding goes from number to number in a loop, each a pass of the
    network, or through as many at once as do not depend on each other. With a map of integers, of
    which no pass can make what overflows, all numbers are decoded in every pass, until none changes
    any more: the same result, most often long before.

    With a `keras_flows.transforms.maps.DiscreteMap` the step is one of integers: it is no
    bijection, and log_prob is exact.

    Sources: Papamakarios et al. 2017, *Masked Autoregressive Flow for Density Estimation*; Durkan
    et al. 2019, *Neural Spline Flows*; Nielsen & Winther 2020, *Closing the Dequantization Gap:
    PixelCNN as a Single-Layer Flow*; the second decoding is that of Song et al. 2021, *Accelerating
    Feedforward Computation via Parallel Nonlinear Equation Solving*.

    >>> map = SplineMap()
    >>> step = kf.transforms.Autoregressive(kf.layers.MADE(5, map.parameters), map)

    Args:
        network: A `keras_flows.layers.AutoregressiveNetwork` with the parameters that the map
            takes.
        map: A `keras_flows.transforms.maps.ElementwiseMap`.

    Raises:
        ValueError: If an argument is none of these or they do not fit together, or, when built, if
            the data have another shape.
    """

    def __init__(self, network: AutoregressiveNetwork, map: ElementwiseMap, **kwargs: Any):
        super().__init__(**kwargs)
        checks.instance(network, AutoregressiveNetwork, "network")
        checks.instance(map, ElementwiseMap, "map")
        if network.parameters != map.parameters:
            raise ValueError(
                f"The network makes {network.parameters} parameters of each number; this map "
                f"takes {map.parameters}."
            )
        self.network, self.map = network, map
        self.order = network.order
        self.bits = map.bits

    @property
    def dequantizes(self) -> bool:
        """Whether the map is one of integers."""
        return self.bits is not None

    @property
    def bijective(self) -> bool:
        """Whether the map is one of real numbers."""
        return self.bits is None

    def build(self, input_shape: tuple) -> None:
        event_shape = tuple(input_shape[1:])
        if event_shape != self.network.event_shape:
            raise ValueError(
                f"This step is for events of shape {self.network.event_shape}, those of its "
                f"network; got {event_shape}."
            )
        checks.build_once(self.network, input_shape)
        super().build(input_shape)

    def _parameters(self, x, context, training=False):
        made = self.network(self.map.seen(x), context=context, training=training)
        return reshape_events(
            tf.cast(made, x.dtype), (*self.network.event_shape, self.map.parameters)
        )

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
        size = event_size(self.network.event_shape)
        if self.bits is not None:
            return self._decode_until_settled(z, context, size)
        together = self.network.together
        passes = size // together
        flat = reshape_events(z, (size,))
        # Of every number, in which pass it is decoded, and at which place among those of it.
        order = np.array(self.network.order, "int32")
        when, where = (part.tolist() for part in np.divmod(np.argsort(order), together))
        groups = tf.constant(order.reshape(passes, together))

        def one_more(i, x):
            made = self._parameters(reshape_events(x, self.network.event_shape), context)
            # Those of this pass only: what is behind them is no data yet.
            if self.map.by_feature:
                decoded = reshape_events(self.map.decode(z, made), (size,))
            else:
                made = reshape_events(made, (size, self.map.parameters))
                some = (tf.gather(part, groups[i], axis=1) for part in (flat, made))
                decoded = tf.gather(self.map.decode(*some), where, axis=1)
            return i + 1, tf.where(tf.constant(when) == i, decoded, x)

        _, x = tf.while_loop(
            lambda i, x: i < passes,
            one_more,
            (tf.constant(0), tf.zeros_like(flat)),
            shape_invariants=(tf.TensorShape([]), flat.shape),
            maximum_iterations=passes,
        )
        return reshape_events(x, self.network.event_shape)

    def _decode_until_settled(self, z, context, size):
        """Passes over all numbers until they stay; the k-th pass settles the k-th number."""

        def once_more(i, x, changed):
            new = self.map.decode(z, self._parameters(x, context))
            return i + 1, new, tf.reduce_any(new != x)

        _, x, _ = tf.while_loop(
            lambda i, x, changed: (i < size) & changed,
            once_more,
            (tf.constant(0), tf.zeros_like(z), tf.constant(True)),
            shape_invariants=(tf.TensorShape([]), z.shape, tf.TensorShape([])),
            maximum_iterations=size,
        )
        return x

    def get_config(self) -> dict:
        return {**super().get_config(), **serialized(network=self.network, map=self.map)}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        return cls(**deserialized(config, "network", "map"))
