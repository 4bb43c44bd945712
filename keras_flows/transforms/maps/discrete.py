"""Maps of integers, whose log_prob is the logarithm of a probability."""

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.numerics.logistic_mixture import log_add, log_masses, log_sum_exp, log_tails
from keras_flows.transforms.dequantization import check_integers
from keras_flows.transforms.maps.base import ElementwiseMap
from keras_flows.transforms.maps.mixture import components_of


class DiscreteMap(ElementwiseMap):
    """A distribution of integers v from 0 to `2^bits - 1`, as a map to middles of intervals.

    With P the probabilities of the integers and F their sums, v has the interval from `F(v)` to
    `F(v) + P(v)` of (0, 1), all v before it below. `z = logit(F(v) + P(v) / 2)`, and the
    log-derivative is `ln P(v)` less the logistic log-density at z: with the base
    `keras_flows.bases.StandardLogistic`, log_prob is the sum of `ln P`, exact. Decoding gives the v
    in whose interval `σ(z)` lies: it inverts encoding, and z of the base become v of P. z is a
    constant for gradients. Anything but such an integer becomes NaN.

    A subclass says what P is.
    """

    bits: int

    def log_parts(self, v: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """`(ln P(v), ln F(v), ln(1 - F(v) - P(v)))`; the last two at the ends may be anything."""
        raise NotImplementedError

    def logit_below(self, v: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        """The logit of F(v), for v from 1."""
        raise NotImplementedError

    def encode(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        v = check_integers(x, self.bits)
        log_mass, below, above = self.log_parts(v, parameters)
        half = tf.stop_gradient(log_mass) - tf.math.log(tf.constant(2.0, x.dtype))
        # Logarithms of z's two tails; nothing is below the first integer, nothing above the last.
        lower = tf.where(v <= 0.0, half, log_add(tf.stop_gradient(below), half))
        last = 2.0**self.bits - 1.0
        upper = tf.where(v >= last, half, log_add(tf.stop_gradient(above), half))
        return lower - upper, log_mass - lower - upper

    def decode(self, z: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        # Bit by bit: whether z is above where the upper half begins.
        v = tf.zeros_like(z)
        for bit in reversed(range(self.bits)):
            middle = v + 2.0**bit
            v = tf.where(z >= self.logit_below(middle, parameters), middle, v)
        return tf.where(tf.math.is_nan(z), z, v)


@keras.saving.register_keras_serializable("keras_flows")
class DiscretizedMixtureMap(DiscreteMap):
    """Integers of a mixture of logistics, whose tails go to the first and the last of them.

    `P(v) = sum_k π_k (F_k(y + d) - F_k(y - d))` with `y = 2 v / (2^bits - 1) - 1`, half the spacing
    d, and `F_k(±∞)` at the ends; the parameters of a number are those of `LogisticMixtureMap`. The
    difference is computed without cancellation, so that the probabilities sum to one and none is
    zero. See `DiscreteMap`.

    Source: Salimans et al. 2017, *PixelCNN++*, section 2.1; the published code takes the density
    in place of differences below 1e-5.

    Args:
        components: Number of components.
        bits: Of an integer.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, components: int = 10, bits: int = 8):
        checks.count(components, "components")
        checks.bits(bits)
        self.components, self.bits = int(components), bits
        self.parameters = 3 * self.components

    @property
    def _spacing(self):
        return 2.0 / (2.0**self.bits - 1.0)

    def log_parts(self, v: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, ...]:
        mixture, low = components_of(parameters, self.components), self._low(v)
        ends = (v <= 0.0, v >= 2.0**self.bits - 1.0)
        masses = log_masses(low, self._spacing, ends, mixture)
        below = log_tails(low, mixture)[0]
        above = log_tails(low + self._spacing, mixture)[1]
        return log_sum_exp(mixture.log_weights + masses), below, above

    def logit_below(self, v: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        below, above = log_tails(self._low(v), components_of(parameters, self.components))
        return below - above

    def _low(self, v):
        return (v - 0.5) * self._spacing - 1.0

    def get_config(self) -> dict:
        return {"components": self.components, "bits": self.bits}


@keras.saving.register_keras_serializable("keras_flows")
class CategoricalMap(DiscreteMap):
    """Integers of any distribution: `P(v) = softmax(parameters)_v`, `2^bits` parameters a number.

    See `DiscreteMap`.

    Source: van den Oord et al. 2016, *Pixel Recurrent Neural Networks*, section 3.3.

    Args:
        bits: Of an integer, at most 8.

    Raises:
        ValueError: If bits is out of range.
    """

    def __init__(self, bits: int = 8):
        checks.bits(bits)
        if bits > 8:
            raise ValueError(f"A CategoricalMap is of at most 8 bits; got {bits}.")
        self.bits, self.parameters = bits, 2**bits

    def _logarithms(self, v, parameters):
        log_p = parameters - log_sum_exp(parameters)[..., None]
        levels = tf.range(self.parameters, dtype=v.dtype)
        return log_p, levels, v[..., None]

    def log_parts(self, v: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, ...]:
        log_p, levels, v = self._logarithms(v, parameters)
        here = tf.cast(levels == v, log_p.dtype)
        # Of no integer it is NaN, like v.
        log_mass = tf.reduce_sum(here * log_p, axis=-1) + 0.0 * v[..., 0]
        return log_mass, self._log_sum(levels < v, log_p), self._log_sum(levels > v, log_p)

    def logit_below(self, v: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        log_p, levels, v = self._logarithms(v, parameters)
        return self._log_sum(levels < v, log_p) - self._log_sum(levels >= v, log_p)

    def _log_sum(self, where, log_p):
        """`ln sum p` where; far below all numbers where there is none."""
        return log_sum_exp(tf.where(where, log_p, tf.constant(-1e30, log_p.dtype)))

    def get_config(self) -> dict:
        return {"bits": self.bits}
