"""Rational-quadratic spline maps: with linear tails, on a circle, and between intervals."""

import math

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.numerics import rational_quadratic
from keras_flows.numerics.rational_quadratic import Knots
from keras_flows.transforms.maps.base import ElementwiseMap

# The least share of the interval that a bin has, and the least slope at a knot.
_MINIMUM = 1e-3


class _RationalQuadratic(ElementwiseMap):
    """What the three kinds of splines share: the parameters of `bins` bins, and their knots.

    The parameters of a number are the logits of the widths of its bins, those of their heights, and
    the slopes at the knots before their softplus. Where all are zero, the slopes are 1.
    """

    def __init__(self, bins: int):
        checks.count(bins, "bins")
        if bins * _MINIMUM >= 1.0:
            raise ValueError(
                f"Every bin has at least {_MINIMUM:g} of the interval: there can be fewer than "
                f"{round(1 / _MINIMUM)} bins; got {bins}."
            )
        self.bins = int(bins)

    def _slopes(self, free: tf.Tensor, one: tf.Tensor) -> tf.Tensor:
        """The slopes at all knots, from those that are free; `one` is a slope of 1."""
        raise NotImplementedError

    def _knots(self, parameters, x_ends, y_ends):
        sizes, free = parameters[..., : 2 * self.bins], parameters[..., 2 * self.bins :]
        pairs = tf.concat([tf.shape(sizes)[:-1], [2, self.bins]], axis=0)
        # So that zero parameters make slopes of 1.
        shift = math.log(math.expm1(1.0 - _MINIMUM))
        return Knots(
            rational_quadratic.places(tf.reshape(sizes, pairs), (x_ends, y_ends), _MINIMUM),
            self._slopes(_MINIMUM + tf.nn.softplus(free + shift), tf.ones_like(sizes[..., :1])),
        )


@keras.saving.register_keras_serializable("keras_flows")
class SplineMap(_RationalQuadratic):
    """A monotone rational-quadratic spline on `[-bound, bound]`, and the identity outside.

    `z` and `ln dz/dx` are those of `keras_flows.numerics.rational_quadratic` between the knots; the
    slopes at both ends are 1, so that the density has no jump there. A number takes `3 bins - 1`
    parameters; where all are zero, the map is the identity. Data should be standardised: what lies
    beyond the bound keeps the tails of the base density.

    Source: Durkan et al. 2019, *Neural Spline Flows*.

    Args:
        bins: Number of bins.
        bound: Where the tails begin, positive.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, bins: int = 8, bound: float = 5.0):
        super().__init__(bins)
        checks.positive(bound, "bound")
        self.bound, self.parameters = float(bound), 3 * self.bins - 1

    def _slopes(self, free: tf.Tensor, one: tf.Tensor) -> tf.Tensor:
        return tf.concat([one, free, one], axis=-1)

    def _inside(self, value, parameters):
        """Which numbers are between the tails, all numbers brought there, and the knots."""
        ends = (-self.bound, self.bound)
        # Clipped first: of the branch that `where` drops, a gradient would be NaN.
        inner = tf.clip_by_value(value, *ends)
        return tf.abs(value) <= self.bound, inner, self._knots(parameters, ends, ends)

    def encode(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inside, inner, knots = self._inside(x, parameters)
        z, log_derivative = rational_quadratic.encode(inner, knots)
        return tf.where(inside, z, x), tf.where(inside, log_derivative, 0.0)

    def decode(self, z: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        inside, inner, knots = self._inside(z, parameters)
        return tf.where(inside, rational_quadratic.decode(inner, knots), z)

    def get_config(self) -> dict:
        return {"bins": self.bins, "bound": self.bound}


@keras.saving.register_keras_serializable("keras_flows")
class PeriodicSplineMap(_RationalQuadratic):
    """A monotone rational-quadratic spline on a circle of circumference `2 bound`.

    On `[-bound, bound]` it is a spline that keeps both ends and has the same slope there, and
    `f(x + 2 bound) = f(x) + 2 bound`: a bijection of the circle, and of the line. A number takes
    `3 bins` parameters; where all are zero, the map is the identity.

    Source: Rezende et al. 2020, *Normalizing Flows on Tori and Spheres*, section 2.1.1.

    Args:
        bins: Number of bins.
        bound: Half the circumference, positive.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, bins: int = 8, bound: float = math.pi):
        super().__init__(bins)
        checks.positive(bound, "bound")
        self.bound, self.parameters = float(bound), 3 * self.bins

    def _slopes(self, free: tf.Tensor, one: tf.Tensor) -> tf.Tensor:
        return tf.concat([free, free[..., :1]], axis=-1)

    def _wound(self, value, parameters):
        """How far from the first turn, the numbers brought there, and the knots."""
        ends = (-self.bound, self.bound)
        size = 2.0 * self.bound
        turns = size * tf.floor((value + self.bound) / size)
        return turns, tf.clip_by_value(value - turns, *ends), self._knots(parameters, ends, ends)

    def encode(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        turns, inner, knots = self._wound(x, parameters)
        z, log_derivative = rational_quadratic.encode(inner, knots)
        return z + turns, log_derivative

    def decode(self, z: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        turns, inner, knots = self._wound(z, parameters)
        return rational_quadratic.decode(inner, knots) + turns

    def get_config(self) -> dict:
        return {"bins": self.bins, "bound": self.bound}


@keras.saving.register_keras_serializable("keras_flows")
class BoundedSplineMap(_RationalQuadratic):
    """A monotone rational-quadratic spline from one interval to another.

    A number takes `3 bins + 1` parameters; the slopes at both ends are free. An x outside of the
    domain has no image: its `ln dz/dx` is -inf, and z the nearest end. A z outside of the image
    decodes to NaN.

    Source: Durkan et al. 2019, *Neural Spline Flows*.

    Args:
        bins: Number of bins.
        domain: The ends of the interval of x, rising.
        image: Those of the interval of z.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        bins: int = 8,
        domain: tuple[float, float] = (0.0, 1.0),
        image: tuple[float, float] = (0.0, 1.0),
    ):
        super().__init__(bins)
        self.domain, self.image = _interval(domain, "domain"), _interval(image, "image")
        self.parameters = 3 * self.bins + 1

    def _slopes(self, free: tf.Tensor, one: tf.Tensor) -> tf.Tensor:
        return free

    def encode(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        left, right = self.domain
        inside = (x >= left) & (x <= right)
        knots = self._knots(parameters, self.domain, self.image)
        z, log_derivative = rational_quadratic.encode(tf.clip_by_value(x, left, right), knots)
        return z, tf.where(inside, log_derivative, tf.constant(-math.inf, x.dtype))

    def decode(self, z: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        bottom, top = self.image
        inside = (z >= bottom) & (z <= top)
        knots = self._knots(parameters, self.domain, self.image)
        x = rational_quadratic.decode(tf.clip_by_value(z, bottom, top), knots)
        return tf.where(inside, x, tf.constant(math.nan, z.dtype))

    def get_config(self) -> dict:
        return {"bins": self.bins, "domain": list(self.domain), "image": list(self.image)}


def _interval(ends, name):
    """The ends of an interval, checked."""
    if not isinstance(ends, (tuple, list)) or len(ends) != 2:
        raise ValueError(f"{name} must be a pair of numbers (low, high); got {ends!r}.")
    for end in ends:
        checks.number(end, f"Each end of {name}", -checks.LARGE, checks.LARGE, "a finite number")
    if not ends[0] < ends[1]:
        raise ValueError(f"{name} must rise from low to high; got {ends!r}.")
    return float(ends[0]), float(ends[1])
