"""Couplings: a part of the event passes, and says how the rest is mapped."""

from typing import Any, Self

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise
from keras_flows.numerics.events import sum_event
from keras_flows.transforms.base import Transform
from keras_flows.transforms.maps import AffineMap, ElementwiseMap
from keras_flows.transforms.masks import ChannelHalves, Mask
from keras_flows.transforms.parts import deserialized, serialized


@keras.saving.register_keras_serializable("keras_flows")
class Coupling(Transform):
    """`z_changed = map(x_changed; network(x_seen, context))`, and `z_seen = x_seen`.

    The mask says who passes, the network makes the parameters, the map is applied number by
    number; `log_det = sum ln dz/dx` of the map. The network makes
    `map.parameters` channels for each channel that is transformed. Input and output have the same
    shape, one that the mask can split.

    With a `keras_flows.transforms.maps.DiscreteMap` the step is one of integers, all of which are
    data: what passes stays an integer, what is transformed becomes the latent of one. It is no
    bijection, and log_prob is exact; the network sees the integers as numbers from -1 to 1.

    Sources: Dinh et al. 2015, *NICE*; 2017, *Density Estimation using Real NVP*.

    >>> coupling = kf.transforms.Coupling(ChannelHalves(), network, AffineMap())

    Args:
        mask: A `keras_flows.transforms.masks.Mask`.
        network: A layer called as `network(seen, context, training)`, such as
            `keras_flows.layers.CouplingNetwork`.
        map: A `keras_flows.transforms.maps.ElementwiseMap`.

    Raises:
        ValueError: If an argument is none of these, or, when built, if the network makes another
            shape than mask and map need.
    """

    def __init__(self, mask: Mask, network: keras.layers.Layer, map: ElementwiseMap, **kwargs: Any):
        super().__init__(**kwargs)
        for value, kind, name in (
            (mask, Mask, "mask"),
            (network, keras.layers.Layer, "network"),
            (map, ElementwiseMap, "map"),
        ):
            checks.instance(value, kind, name)
        self.mask, self.net, self.map = mask, network, map
        self.bits = map.bits

    @property
    def dequantizes(self) -> bool:
        """Whether the map is one of integers."""
        return self.bits is not None

    @property
    def bijective(self) -> bool:
        """Whether the map is one of real numbers."""
        return self.bits is None

    @property
    def network(self) -> keras.layers.Layer:
        """The network."""
        return self.net  # the name by which saved weights know it

    def build(self, input_shape: tuple) -> None:
        event_shape = tuple(input_shape[1:])
        seen = (input_shape[0], *self.mask.seen_shape(event_shape))
        checks.build_once(self.net, seen)
        made = tuple(self.net.compute_output_shape(seen))[1:]
        needed = self.mask.made_shape(event_shape, self.map.parameters)
        if made != needed:
            raise ValueError(
                f"The network of this coupling must make the shape {needed}: "
                f"{self.map.parameters} channels for each of the "
                f"{self.mask.changed_shape(event_shape)[-1]} that are transformed of "
                f"{event_shape}; it makes {made}."
            )
        super().build(input_shape)

    def _parameters(self, seen, context, training=False):
        # The network may compute in half precision; the log-det does not.
        made = self.net(self.map.seen(seen), context=context, training=training)
        made = tf.cast(made, seen.dtype)
        return self.mask.parameters(made, self.map.parameters)

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        seen, changed = self.mask.split(x)
        z, log_derivative = self.map.encode(changed, self._parameters(seen, context, training))
        return self.mask.join(seen, z), sum_event(log_derivative)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        seen, changed = self.mask.split(z)
        return self.mask.join(seen, self.map.decode(changed, self._parameters(seen, context)))

    def get_config(self) -> dict:
        parts = serialized(mask=self.mask, network=self.net, map=self.map)
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        return cls(**deserialized(config, "mask", "network", "map"))


@keras.saving.register_keras_serializable("keras_flows")
class AffineCoupling(Coupling):
    """The coupling of two halves of the channels by an affine map: `z2 = shift + exp(s) x2`.

    `Coupling(ChannelHalves(), network, AffineMap())`, under the name that its saved weights have.

    Args:
        net: The network; see `Coupling`.
    """

    def __init__(self, net: keras.layers.Layer, **kwargs: Any):
        super().__init__(ChannelHalves(), net, AffineMap(), **kwargs)

    def get_config(self) -> dict:
        return {**Transform.get_config(self), **serialized(net=self.net)}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        return cls(**deserialized(config, "net"))
