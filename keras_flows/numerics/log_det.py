"""Estimators of `ln |det(I + J)|`, J the Jacobian of a contraction g.

`ln |det(I + J)| = sum_k (-1)^(k+1) / k tr(J^k)`. Each estimator is called as
`estimator(net, x, context, noise, training)` and returns `(g(x), log_det)` of shapes
`(batch, *event)` and `(batch,)`; each says of itself whether it is exact, unbiased or biased.

Sources: Behrmann et al. 2019, *Invertible Residual Networks*; Chen et al. 2019, *Residual Flows
for Invertible Generative Modeling*.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise, require
from keras_flows.numerics.configured import Configured
from keras_flows.numerics.elimination import log_det_identity_plus
from keras_flows.numerics.events import sum_event

if TYPE_CHECKING:
    from keras_flows.layers.lipschitz.scaled import ScaledLayer

# Half the spacing of the uniform number behind a draw: what is less likely is never drawn.
_RESOLUTION = 2.0**-53


def jacobian(
    net: "ScaledLayer", x: tf.Tensor, context: tf.Tensor | None = None, training: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Value and Jacobian of a network on vectors, by stacked tangents.

    Args:
        net: A `LipschitzLayer` called as `net(x, context)`, from d to d numbers.
        x: Tensor `(batch, *event)`, the event of d numbers in all.
        context: Passed on to the network.
        training: Whether the network runs in training mode.

    Returns:
        `(g, J)` of shapes `(batch, *event)` and `(batch, d, d)`, `J[n, i, j] = dg_i / dx_j`.
    """
    shape = tf.shape(x)
    size = math.prod(x.shape[1:])
    basis = tf.reshape(tf.eye(size, dtype=x.dtype), (size, 1, *x.shape[1:]))
    tangents = tf.broadcast_to(basis, tf.concat([[size], shape], axis=0))
    g, tangents = net.jvp(x, tangents, context=context, training=training)
    # tangents[j, n] = J e_j, a column.
    return g, tf.transpose(tf.reshape(tangents, (size, -1, size)), (1, 2, 0))


class Estimator(Configured):
    """Base of the estimators: an object with a configuration."""

    likelihood = "exact"

    def __call__(
        self,
        net: "ScaledLayer",
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`(g(x), log_det)` for a network `net(x, context)` with `jvp` and `vjp`."""
        raise NotImplementedError

    def noise_size(self, event_size: int) -> int:
        """How many random numbers an example consumes."""
        return 0


@keras.saving.register_keras_serializable("keras_flows")
class Exact(Estimator):
    """The Jacobian, by stacked tangents, and its determinant; up to a few tens of dimensions."""

    def __call__(
        self,
        net: "ScaledLayer",
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        g, matrix = jacobian(net, x, context, training)
        return g, log_det_identity_plus(matrix)


class _Series(Estimator):
    """Shared by the estimators that sum the power series with random probes."""

    def __init__(self, probes: int = 1, probe: str = "normal"):
        checks.count(probes, "probes")
        if probe not in ("normal", "rademacher"):
            raise ValueError(f"probe must be 'normal' or 'rademacher'; got {probe!r}.")
        self.probes = probes
        self.probe = probe

    def _draw_probes(self, x, noise):
        draw = getattr(noise, self.probe)
        batch = tf.shape(x)[0]
        return tf.stack([draw(batch, x.shape[1:], x.dtype) for _ in range(self.probes)])

    def noise_size(self, event_size: int) -> int:
        return self.probes * event_size

    def get_config(self) -> dict:
        return {"probes": self.probes, "probe": self.probe}


def power_series(
    pullback: Callable[[tf.Tensor], tf.Tensor],
    probes: tf.Tensor,
    weights: tf.Tensor,
    terms: int | tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The power series of the log-det and the Neumann series of its gradient.

    Args:
        pullback: `w -> J^T w` on tensors `(k, batch, *event)`.
        probes: Tensor `(k, batch, *event)`, the probes e.
        weights: Tensor `(m,)`, the weight c_k of every term.
        terms: How many terms to sum, at most m; an integer or a scalar tensor.

    Returns:
        `(log_det, neumann)`: `sum_k (-1)^(k+1) / k c_k <(J^T)^k e, e>` averaged over the probes,
        `(batch,)`, and `e + sum_k (-1)^k c_k (J^T)^k e`, `(k, batch, *event)`.
    """
    limit = weights.shape[0]

    def step(k, w, log_det, neumann):
        w = pullback(w)
        sign = tf.cast(1 - 2 * (k % 2), w.dtype)
        weight = sign * weights[k - 1]
        log_det -= weight / tf.cast(k, w.dtype) * tf.reduce_mean(sum_event(w * probes, 2), axis=0)
        return k + 1, w, log_det, neumann + weight * w

    start = tf.zeros_like(sum_event(probes, 2)[0])
    _, _, log_det, neumann = tf.while_loop(
        lambda k, *_: k <= terms,
        step,
        (tf.constant(1), probes, start, probes),
        maximum_iterations=limit,
    )
    return log_det, neumann


@keras.saving.register_keras_serializable("keras_flows")
class PowerSeries(_Series):
    """A fixed number of terms of the power series, with Hutchinson's trace estimator; biased.

    Source: Behrmann et al. 2019.

    Args:
        terms: Number of terms.
        probes: Random probes to average over.
        probe: `"normal"` or `"rademacher"`.
    """

    likelihood = "biased"

    def __init__(self, terms: int = 20, probes: int = 1, probe: str = "normal"):
        super().__init__(probes, probe)
        checks.count(terms, "terms")
        self.terms = terms

    def __call__(
        self,
        net: "ScaledLayer",
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        noise = require(noise, self)
        probes = self._draw_probes(x, noise)
        g, pullback = net.vjp(x, context=context, training=training)
        weights = tf.ones((self.terms,), x.dtype)
        return g, power_series(pullback, probes, weights, self.terms)[0]

    def get_config(self) -> dict:
        return {**super().get_config(), "terms": self.terms}


@keras.saving.register_keras_serializable("keras_flows")
class Unbiased(_Series):
    """The power series cut at a random term (Russian roulette), reweighted to be unbiased.

    A few terms are always summed; N more are drawn once per batch, and term k beyond the exact
    ones is divided by `P(N >= k - exact_terms)`.

    The gradient is by default that of the Neumann series, unbiased too, in constant memory:
    `<w, J e>` with `w = e + sum_k (-1)^k c_k (J^T)^k e` held fixed. Its value is not the
    log-det: the value reported is that of the power series.

    Source: Chen et al. 2019.

    Args:
        distribution: Of N: `"geometric"` (N >= 1) or `"poisson"` (N >= 0).
        parameter: The geometric success probability or the Poisson rate; 0.5 or 2 by default.
        exact_terms: Terms always summed, as a pair: in training, in evaluation.
        gradient: `"neumann"`, or `"series"` to differentiate the power series itself.
        probes: Random probes to average over.
        probe: `"normal"` or `"rademacher"`.
    """

    likelihood = "unbiased"

    def __init__(
        self,
        distribution: str = "geometric",
        parameter: float | None = None,
        exact_terms: tuple[int, int] = (2, 20),
        gradient: str = "neumann",
        probes: int = 1,
        probe: str = "normal",
    ):
        super().__init__(probes, probe)
        if distribution not in ("geometric", "poisson"):
            raise ValueError(
                f"distribution must be 'geometric' or 'poisson'; got {distribution!r}."
            )
        if gradient not in ("neumann", "series"):
            raise ValueError(f"gradient must be 'neumann' or 'series'; got {gradient!r}.")
        if parameter is None:
            parameter = {"geometric": 0.5, "poisson": 2.0}[distribution]
        checks.number(parameter, "parameter", -checks.LARGE, checks.LARGE, "a number")
        if parameter <= 0 or (distribution == "geometric" and parameter >= 1):
            raise ValueError(
                "parameter must be in (0, 1) for a geometric and positive for a Poisson "
                f"distribution; got {parameter}."
            )
        self.distribution = distribution
        self.parameter = parameter
        if not isinstance(exact_terms, (tuple, list)) or len(exact_terms) != 2:
            raise ValueError(f"exact_terms is a pair, in training and in use; got {exact_terms!r}.")
        for terms in exact_terms:
            checks.count(terms, "A number of exact terms", least=0)
        self.exact_terms = tuple(exact_terms)
        self.gradient = gradient

    def tail_probabilities(self) -> np.ndarray:
        """`P(N >= j)` for every j = 0, 1, … that a draw can reach, as a float64 array."""
        if self.distribution == "geometric":
            last = 1 + math.ceil(math.log(_RESOLUTION) / math.log1p(-self.parameter))
            tails = np.r_[1.0, (1.0 - self.parameter) ** np.arange(last)]
        else:
            rate = self.parameter
            masses = [
                math.exp(i * math.log(rate) - rate - math.lgamma(i + 1))
                for i in range(64 + int(rate + 12.0 * math.sqrt(rate)))
            ]
            # Summed from the small end, so that the far tail keeps its digits.
            tails = np.cumsum(masses[::-1])[::-1]
        return tails[tails > _RESOLUTION]

    def weights(self, exact_terms: int) -> np.ndarray:
        """The weights of all terms that a draw can reach, as a float64 array."""
        return np.concatenate([np.ones(exact_terms), 1.0 / self.tail_probabilities()[1:]])

    def draw_terms(self, noise: Noise) -> tf.Tensor:
        """Draws N, the number of terms beyond the exact ones, a scalar int32 tensor."""
        # N >= j exactly when a uniform number falls below P(N >= j). In float64: the zeros of
        # float32 are frequent enough to sum terms whose weights are astronomical.
        u = noise.scalar(tf.float64)
        tails = tf.constant(self.tail_probabilities()[1:], tf.float64)
        return tf.reduce_sum(tf.cast(u < tails, tf.int32))

    def __call__(
        self,
        net: "ScaledLayer",
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        noise = require(noise, self)
        probes = self._draw_probes(x, noise)
        exact_terms = self.exact_terms[0 if training else 1]
        terms = exact_terms + self.draw_terms(noise)
        weights = tf.constant(self.weights(exact_terms), x.dtype)
        g, pullback = net.vjp(x, context=context, training=training)
        if self.gradient == "series":
            return g, power_series(pullback, probes, weights, terms)[0]
        log_det, neumann = power_series(pullback, probes, weights, terms)
        log_det, neumann = tf.stop_gradient(log_det), tf.stop_gradient(neumann)
        surrogate = tf.reduce_mean(sum_event(pullback(neumann) * probes, 2), axis=0)
        return g, log_det + surrogate - tf.stop_gradient(surrogate)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "distribution": self.distribution,
            "parameter": self.parameter,
            "exact_terms": self.exact_terms,
            "gradient": self.gradient,
        }


_KNOWN = {"exact": Exact, "power_series": PowerSeries, "unbiased": Unbiased}


def estimator(identifier: str | Estimator) -> Estimator:
    """An estimator from its name (`exact`, `power_series`, `unbiased`), or as it is.

    Raises:
        ValueError: If the name is not known.
    """
    if isinstance(identifier, Estimator):
        return identifier
    if identifier in _KNOWN:
        return _KNOWN[identifier]()
    raise ValueError(
        f"Unknown log-det estimator {identifier!r}. Known: {', '.join(_KNOWN)}, or an instance of "
        f"{', '.join(cls.__name__ for cls in _KNOWN.values())}."
    )
