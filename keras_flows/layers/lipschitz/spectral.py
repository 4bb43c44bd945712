"""Linear layers whose operator norm is kept below a coefficient (soft spectral normalisation)."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.lipschitz.layer import LipschitzLayer, Pullback, apart, times
from keras_flows.layers.upkeep import is_to_be_read
from keras_flows.numerics.tracing import traced_once

# Relative slack on a norm computed in float64, far above its rounding error: a certified bound is
# never below the norm.
_SLACK = 1e-10

# Of power iteration up to a tolerance: how much u and v may still change, as a root mean square,
# absolute and relative to their largest elements; and the most iterations.
_ATOL = _RTOL = 1e-3
_MOST = 200

_TINY = 1e-12

# Above this many rows and columns, the norm of a matrix is costly.
_LARGE = 128


def _normalize(x):
    return x / tf.maximum(tf.norm(x), tf.constant(1e-12, x.dtype))


def _moved(old, new):
    """Whether a vector has changed by more than the tolerance of power iteration."""
    change = tf.sqrt(tf.reduce_mean(tf.square(new - old)))
    return change > _ATOL + _RTOL * tf.reduce_max(tf.abs(new))


class SpectralLayer(LipschitzLayer):
    """Base of the spectrally normalised linear layers: `y = A(W) x + b`.

    `W` is divided by `max(1, sigma / coeff)`, sigma the l2 operator norm of the linear map A(W):
    *soft* normalisation, a map already below `coeff` is left alone. In training
    `sigma = <u, A(W) v>` with gradient through W only. The singular vectors u and v and the norm
    are weights: `after_update` runs power iterations (once per training step, after the optimizer
    update), `converge` brings them to convergence, and at inference the stored norm is a constant.

    A layer whose norm is costly starts with u zero and an upper bound in the place of the norm:
    its map is within the coefficient, but smaller than it needs to be, until either method ran.

    Source: Miyato et al. 2018; Behrmann et al. 2019, *Invertible Residual Networks* (section 2.1).

    Args:
        coeff: The norm that the map may have at most, in (0, 1].
        iterations: Power iterations per training step; or `"tolerance"` to go on until the change
            of u and of v, as a root mean square, is at most `1e-3 + 1e-3 * max`, max their largest
            element, at most 200 times.
    """

    def __init__(self, coeff: float = 0.9, iterations: int | str = 5, **kwargs: Any):
        super().__init__(**kwargs)
        checks.positive(coeff, "coeff", most=1.0)
        if iterations != "tolerance":
            checks.count(iterations, "iterations, where it is not 'tolerance',")
        self.coeff = coeff
        self.iterations = iterations

    def _build_norm(self, input_event_shape, output_event_shape):
        """Creates u, v and sigma for the initial kernel."""

        def vector(name, shape):
            # Fixed vectors, so that they take no part of the seed: training replaces them.
            start = np.random.default_rng(0).standard_normal(shape)
            return self.add_weight(
                name=name,
                shape=shape,
                initializer=lambda shape, dtype: tf.cast(start / np.linalg.norm(start), dtype),
                trainable=False,
            )

        self.u = vector("u", output_event_shape)
        self.v = vector("v", input_event_shape)
        self.sigma = self.add_weight(name="sigma", shape=(), initializer="ones", trainable=False)
        self._start()

    def _start(self):
        """The first norm, part of building the layer: converged where that takes no time."""
        if is_to_be_read():
            return
        if self._costly:
            bound = absolute_sum_norm(keras.ops.convert_to_numpy(self.kernel))
            self._store(tf.zeros_like(self.u), self.v, bound)
        else:
            self.converge()

    @property
    def _costly(self):
        """Whether bringing the norm to convergence takes more than milliseconds."""
        raise NotImplementedError

    @property
    def fresh(self) -> bool:
        """Whether the stored norm is the bound that the layer started with."""
        return not np.any(keras.ops.convert_to_numpy(self.u))

    def linear(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """The linear map on a batch: `(n, *event)` to `(n, *out)`."""
        raise NotImplementedError

    def flipped(self, kernel: tf.Tensor) -> tf.Tensor:
        """The kernel `(…, out, channels)` with which `linear` is the transposed map."""
        raise NotImplementedError

    def transpose(self, y: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """The transposed map on a batch: `(n, *out)` to `(n, *event)`."""
        return self.linear(y, self.flipped(kernel))

    def _norm_estimate(self, kernel, u, v):
        return tf.reduce_sum(u * self.linear(v[None], kernel))

    def normalized_kernel(self, training: bool = False) -> tf.Tensor:
        """The kernel divided by `max(1, sigma / coeff)`."""
        kernel = tf.convert_to_tensor(self.kernel)
        sigma = tf.convert_to_tensor(self.sigma)
        if training:
            u, v = tf.stop_gradient(self.u), tf.stop_gradient(self.v)
            estimate = self._norm_estimate(kernel, u, v)
            # Zero before the first iteration (and for a kernel of zeros).
            sigma = tf.where(estimate > 0.0, estimate, sigma)
        return kernel / tf.maximum(tf.ones_like(sigma), sigma / self.coeff)

    def derive(self, training: bool = False) -> Any:
        # The second for the transposed map, once for all terms of a power series.
        kernel = self.normalized_kernel(training)
        return kernel, self.flipped(kernel)

    def _scaled(self, scale, training, gain):
        """What `derived` gives, and the bias, for the layer between a scale and a gain."""
        kernel, flipped = self.derived(training)
        both = times(gain, scale)
        if both is not None:
            kernel, flipped = tf.expand_dims(both, 1) * kernel, both * flipped
        return kernel, flipped, times(gain, self.bias)

    def jvp(
        self, x: tf.Tensor, tangents: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        y, tangents = self.pair_jvp(tf.concat([x[None], tangents], axis=0), training)
        return y[0], tangents

    def pair_jvp(
        self,
        stacked: tf.Tensor,
        training: bool = False,
        scale: tf.Tensor | None = None,
        gain: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Value and Jacobian-vector products by one product for all of them.

        Args:
            stacked: x and its k tangents, `(1 + k, batch, *event)`.
            training: See `jvp`.
            scale: `(channels,)` or `(1,)`, what x and the tangents still have to be multiplied by.
            gain: `(1,)`, what the layer is multiplied by.

        Returns:
            `(y, tangents)`, `(1, batch, *out)` and `(k, batch, *out)`.
        """
        kernel, _, bias = self._scaled(scale, training, gain)
        y, tangents = apart(self._stacked(stacked, kernel))
        return y + bias, tangents

    def vjp(
        self,
        x: tf.Tensor,
        training: bool = False,
        scale: tf.Tensor | None = None,
        gain: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, Pullback]:
        """As for every layer; scale and gain as in `pair_jvp`."""
        kernel, flipped, bias = self._scaled(scale, training, gain)
        return (
            self.linear(x, kernel) + bias,
            lambda cotangents: self._stacked(cotangents, flipped),
        )

    def _stacked(self, x, kernel):
        """The linear map on `(k, batch, ...)`, as one batch of k * batch."""
        # Sizes that are known are constants: a graph that computes them for every layer is twice
        # as large.
        number = tf.shape(x)[0] if x.shape[0] is None else x.shape[0]
        y = self.linear(tf.reshape(x, (-1, *x.shape[2:])), kernel)
        return tf.reshape(y, (number, -1, *y.shape[1:]))

    def power_iteration(
        self, kernel: tf.Tensor, u: tf.Tensor, v: tf.Tensor, iterations: int | str
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`u <- normalize(A v)`, `v <- normalize(A^T u)`; iterations as in the constructor."""
        flipped = self.flipped(kernel)
        to_tolerance = iterations == "tolerance"
        most = _MOST if to_tolerance else iterations

        def step(i, u, v, unfinished):
            new_u = _normalize(self.linear(v[None], kernel)[0])
            new_v = _normalize(self.linear(new_u[None], flipped)[0])
            if to_tolerance:
                unfinished = tf.logical_or(_moved(u, new_u), _moved(v, new_v))
            return i + 1, new_u, new_v, unfinished

        _, u, v, _ = tf.while_loop(
            lambda i, u, v, unfinished: tf.logical_and(i < most, unfinished),
            step,
            (tf.constant(0), u, v, tf.constant(True)),
        )
        return u, v

    def after_update(self) -> None:
        """Power iterations on the updated kernel; part of the compiled training step."""

        def updated(kernel, u, v):
            u, v = self.power_iteration(kernel, u, v, self.iterations)
            return u, v, self._norm_estimate(kernel, u, v)

        weights = [tf.convert_to_tensor(weight) for weight in (self.kernel, self.u, self.v)]
        self._store(*traced_once(updated, (type(self), self.iterations), *weights))

    def _store(self, u, v, sigma):
        self.u.assign(u)
        self.v.assign(v)
        self.sigma.assign(sigma)

    def staleness(self) -> float:
        """How far the stored norm is from `<u, A(W) v>`, with the stored singular vectors."""
        kernel = tf.convert_to_tensor(self.kernel)
        sigma = float(keras.ops.convert_to_numpy(self.sigma))
        if self.fresh:  # the norm is a bound from above, and may be larger
            least = absolute_sum_norm(keras.ops.convert_to_numpy(self.kernel))
            return max(0.0, least - sigma) / max(sigma, _TINY)
        u, v = tf.convert_to_tensor(self.u), tf.convert_to_tensor(self.v)
        return abs(float(self._norm_estimate(kernel, u, v)) - sigma) / max(sigma, _TINY)

    def converge(self) -> None:
        """Brings u, v and sigma to convergence for the present kernel."""
        raise NotImplementedError

    def get_config(self) -> dict:
        return {**super().get_config(), "coeff": self.coeff, "iterations": self.iterations}


def absolute_sum_norm(kernel: np.ndarray) -> float:
    """An upper bound on the norm of a matrix, or of a convolution on images of any size.

    `sqrt(|A|_1 |A|_inf)`, from the absolute sums over what leaves an input and over what enters
    an output (Schur's test). It takes next to no time, and is far above the norm where the signs
    are mixed.

    Args:
        kernel: Array `(…, in, out)`.

    Returns:
        The bound, a Python float.
    """
    absolute = np.abs(kernel.astype("float64")).reshape(-1, *kernel.shape[-2:]).sum(axis=0)
    return float(np.sqrt(absolute.sum(axis=1).max() * absolute.sum(axis=0).max()))


def _top_singular_triple(matrix):
    """The largest singular value of a float64 matrix and its vectors: `(left, sigma, right)`.

    From the eigenvalues of the smaller Gram matrix: for the largest value that is as accurate as
    a singular value decomposition, and many times faster.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    gram = matrix @ matrix.T if wide else matrix.T @ matrix
    values, vectors = np.linalg.eigh(gram)
    vector, sigma = vectors[:, -1], float(np.sqrt(max(values[-1], 0.0)))
    other = (matrix.T if wide else matrix) @ vector / max(sigma, 1e-300)
    return (vector, sigma, other) if wide else (other, sigma, vector)


@keras.saving.register_keras_serializable("keras_flows")
class SpectralDense(SpectralLayer):
    """A dense layer with a bounded operator norm, `y = x W / max(1, sigma(W) / coeff) + b`.

    Input `(batch, features)`, output `(batch, units)`.

    Args:
        units: Size of the output.
        coeff: See `SpectralLayer`.
        iterations: See `SpectralLayer`.
    """

    def __init__(self, units: int, coeff: float = 0.9, iterations: int | str = 5, **kwargs: Any):
        super().__init__(coeff=coeff, iterations=iterations, **kwargs)
        checks.count(units, "units")
        self.units = units

    def build(self, input_shape: tuple) -> None:
        features = input_shape[-1]
        # Uniform in +-1/sqrt(features), kernel and bias: the initialisation of the papers.
        limit = features**-0.5
        uniform = keras.initializers.RandomUniform(-limit, limit)
        self.kernel = self.add_weight(
            name="kernel", shape=(features, self.units), initializer=uniform
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(self.units,),
            initializer=keras.initializers.RandomUniform(-limit, limit),
        )
        self._build_norm((features,), (self.units,))
        self.built = True

    @property
    def _costly(self):
        return min(self.kernel.shape) > _LARGE

    def linear(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.matmul(x, kernel)

    def flipped(self, kernel: tf.Tensor) -> tf.Tensor:
        return tf.transpose(kernel)

    def converge(self) -> None:
        kernel = keras.ops.convert_to_numpy(self.kernel).astype("float64")
        v, sigma, u = _top_singular_triple(kernel)
        self._store(u, v, sigma)

    def lipschitz_bound(self) -> float:
        kernel = keras.ops.convert_to_numpy(self.normalized_kernel()).astype("float64")
        return _top_singular_triple(kernel)[1] * (1.0 + _SLACK)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}
