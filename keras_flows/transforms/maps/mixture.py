"""Maps by the distribution function of a mixture of logistics."""

import math

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.numerics import logistic_mixture
from keras_flows.numerics.bisection import invert_rising
from keras_flows.numerics.logistic_mixture import Mixture
from keras_flows.transforms.maps.base import ElementwiseMap

# The largest number below 1 in single precision.
_END = 1.0 - 2.0**-24


def components_of(parameters: tf.Tensor, components: int) -> Mixture:
    """The mixture that the last `3 components` of the parameters of a number make."""
    logits, means, log_scales = tf.split(parameters[..., -3 * components :], 3, axis=-1)
    means += logistic_mixture.grid(components, means.dtype)
    return logistic_mixture.mixture(logits, means, log_scales)


@keras.saving.register_keras_serializable("keras_flows")
class LogisticMixtureMap(ElementwiseMap):
    """`z = logit F(x)` with `F(x) = sum_k π_k σ((x - μ_k) / s_k)`; `ln dz/dx` is exact.

    If x is of that mixture, z is logistic: with the base `keras_flows.bases.StandardLogistic`,
    log_prob is `ln f(x)`. A number takes `3 components` parameters: the logits of the weights, the
    means less a fixed grid from -1 to 1, and the log-scales, taken between -7 and 20. ln F and
    ln(1 - F) are computed each by itself, so that no x gives an infinite z. The inverse is found by
    iteration, number by number; its gradient is that of the implicit function theorem.

    Source: Ho et al. 2019, *Flow++*, section 3.2; the published code takes the logit of F itself,
    which is infinite where F rounds to 1.

    Args:
        components: Number of components.

    Raises:
        ValueError: If that is no positive integer.
    """

    def __init__(self, components: int = 8):
        checks.count(components, "components")
        self.components = int(components)
        self.parameters = 3 * self.components

    def encode(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mixture = components_of(parameters, self.components)
        return logistic_mixture.logit_and_log_slope(x, mixture)

    def decode(self, z: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        return logistic_mixture.quantile(z, components_of(parameters, self.components))

    def get_config(self) -> dict:
        return {"components": self.components}


@keras.saving.register_keras_serializable("keras_flows")
class AffineLogisticMixtureMap(LogisticMixtureMap):
    """`z = exp(a) logit F(x) + b` with `a = tanh(r)`; see `LogisticMixtureMap`.

    The parameters of a number are r and b, then those of F. The map of the couplings of Flow++.

    Source: Ho et al. 2019, *Flow++*, section 3.2.

    Args:
        components: Number of components.
    """

    def __init__(self, components: int = 8):
        super().__init__(components)
        self.parameters += 2

    def encode(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        a, b = tf.tanh(parameters[..., 0]), parameters[..., 1]
        logit, log_slope = super().encode(x, parameters)
        return tf.exp(a) * logit + b, log_slope + a

    def decode(self, z: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        a, b = tf.tanh(parameters[..., 0]), parameters[..., 1]
        return super().decode((z - b) * tf.exp(-a), parameters)


@keras.saving.register_keras_serializable("keras_flows")
class CensoredLogisticMixtureMap(LogisticMixtureMap):
    """A `LogisticMixtureMap` of dequantized integers, whose tails go to the first and last bin.

    For x from -1 to 1, `2 (v + u) / 2^bits - 1` of integers v with u uniform: with F the
    distribution function at `2^bits / (2^bits - 1) x`, the map is `logit G(x)`, where G is F but in
    the first and the last of the `2^bits` bins, where it also rises linearly by the mass of the
    tail, `F(-1 + 2 / 2^bits)` or `1 - F(1 - 2 / 2^bits)`, from 0 at -1 and to 1 at 1. At the very
    ends, where that is infinite, x is taken 2^-24 inside. A number takes the parameters of
    `LogisticMixtureMap`.

    Source: Nielsen & Winther 2020, *Closing the Dequantization Gap: PixelCNN as a Single-Layer
    Flow*, section 4.

    Args:
        components: Number of components.
        bits: Of the integers that were dequantized.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, components: int = 10, bits: int = 8):
        super().__init__(components)
        checks.bits(bits)
        # Of the integers that were dequantized; here they are no integers any more.
        self.of_bits, self._levels = bits, 2.0**bits

    def _logit_and_log_slope(self, x, components):
        levels = self._levels
        stretch = levels / (levels - 1.0)
        below, above = logistic_mixture.log_tails(stretch * x, components)
        log_slope = logistic_mixture.log_density(stretch * x, components) + math.log(stretch)
        logit = below - above, log_slope - below - above
        # By symmetry the last bin of x is the first one of -x, of the mixture turned round.
        mirrored = components._replace(means=-components.means)
        for sign, of_sign, tails in (
            (1.0, components, (below, above)),
            (-1.0, mirrored, (above, below)),
        ):
            end = tf.zeros_like(x) - stretch
            inner = tf.minimum(sign * x, -1.0 + 2.0 / levels)
            share = 0.5 * levels * (inner + 1.0)  # of the bin, from 0 at its end to 1
            tail = logistic_mixture.log_tails(end, of_sign)[0]
            ends = (tf.zeros_like(x, tf.bool),) * 2
            width = stretch * (inner + 1.0)
            masses = logistic_mixture.log_masses(end, width, ends, of_sign)
            mass = logistic_mixture.log_sum_exp(of_sign.log_weights + masses)
            small = logistic_mixture.log_add(mass, tail + tf.math.log(share))
            rest = tf.maximum(1.0 - share, 1e-30)
            large = logistic_mixture.log_add(tails[1], tail + tf.math.log(rest))
            slope = logistic_mixture.log_add(log_slope, tail + math.log(0.5 * levels))
            here = sign * x < -1.0 + 2.0 / levels
            logit = (
                tf.where(here, sign * (small - large), logit[0]),
                tf.where(here, slope - small - large, logit[1]),
            )
        return logit

    def _clipped(self, x):
        return tf.clip_by_value(x, -_END, _END)

    def encode(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mixture = components_of(parameters, self.components)
        return self._logit_and_log_slope(self._clipped(x), mixture)

    def decode(self, z: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        mixture = components_of(parameters, self.components)
        fixed = Mixture(*map(tf.stop_gradient, mixture))
        end = tf.zeros_like(z) + _END
        start = tf.where(tf.math.is_nan(z), z, tf.zeros_like(z))
        return invert_rising(
            lambda x: self._logit_and_log_slope(self._clipped(x), mixture),
            lambda x: self._logit_and_log_slope(self._clipped(x), fixed),
            z,
            -end,
            end,
            start,
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "bits": self.of_bits}
