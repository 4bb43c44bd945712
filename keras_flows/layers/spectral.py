"""Linear layers whose operator norm is kept below a coefficient (soft spectral normalisation)."""

import keras
import numpy as np
import tensorflow as tf

from keras_flows.layers.lipschitz_layer import LipschitzLayer

# Relative slack on a norm computed in float64, far above its rounding error: a certified bound is
# never below the norm.
_SLACK = 1e-10


def _normalize(x):
    return x / tf.maximum(tf.norm(x), tf.constant(1e-12, x.dtype))


class SpectralLayer(LipschitzLayer):
    """Base of the spectrally normalised linear layers: `y = A(W) x + b`.

    `W` is divided by `max(1, sigma / coeff)`, sigma the l2 operator norm of the linear map A(W):
    *soft* normalisation, a map already below `coeff` is left alone. In training
    `sigma = <u, A(W) v>` with gradient through W only. The singular vectors u and v and the norm
    are weights: `after_update` runs `iterations` power iterations (once per training step, after
    the optimizer update), `converge` brings them to convergence, and at inference the stored
    norm is a constant.

    Source: Miyato et al. 2018; Behrmann et al. 2019, *Invertible Residual Networks* (section 2.1).

    Args:
        coeff: The norm that the map may have at most, in (0, 1].
        iterations: Power iterations per training step.
    """

    def __init__(self, coeff=0.9, iterations=5, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 < coeff <= 1.0:
            raise ValueError(f"coeff must be in (0, 1]; got {coeff}.")
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1; got {iterations}.")
        self.coeff = coeff
        self.iterations = iterations

    def _build_norm(self, input_event_shape, output_event_shape):
        """Creates u, v and sigma, converged for the initial kernel."""

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
        self.converge()

    def linear(self, x, kernel):
        """The linear map on a batch: `(n, *event)` to `(n, *out)`."""
        raise NotImplementedError

    def transpose(self, y, kernel):
        """The transposed map on a batch: `(n, *out)` to `(n, *event)`."""
        raise NotImplementedError

    def _norm_estimate(self, kernel, u, v):
        return tf.reduce_sum(u * self.linear(v[None], kernel)[0])

    def normalized_kernel(self, training=False):
        """The kernel divided by `max(1, sigma / coeff)`."""
        kernel = tf.convert_to_tensor(self.kernel)
        sigma = tf.convert_to_tensor(self.sigma)
        if training:
            u, v = tf.stop_gradient(self.u), tf.stop_gradient(self.v)
            sigma = self._norm_estimate(kernel, u, v)
        return kernel / tf.maximum(tf.ones_like(sigma), sigma / self.coeff)

    def jvp(self, x, tangents, training=False):
        # One product for the value and all tangents.
        stacked = tf.concat([x[None], tangents], axis=0)
        stacked = self._stacked(self.linear, stacked, self.normalized_kernel(training))
        return stacked[0] + self.bias, stacked[1:]

    def vjp(self, x, training=False):
        kernel = self.normalized_kernel(training)
        return (
            self.linear(x, kernel) + self.bias,
            lambda cotangents: self._stacked(self.transpose, cotangents, kernel),
        )

    @staticmethod
    def _stacked(function, x, kernel):
        """Applies a map of batches to `(k, batch, ...)`, as one batch of k * batch."""
        shape = tf.shape(x)
        y = function(tf.reshape(x, tf.concat([[-1], shape[2:]], axis=0)), kernel)
        return tf.reshape(y, tf.concat([shape[:2], tf.shape(y)[1:]], axis=0))

    def power_iteration(self, kernel, u, v, iterations):
        """`u <- normalize(A v)`, `v <- normalize(A^T u)`, `iterations` times."""

        def step(i, u, v):
            u = _normalize(self.linear(v[None], kernel)[0])
            v = _normalize(self.transpose(u[None], kernel)[0])
            return i + 1, u, v

        _, u, v = tf.while_loop(lambda i, u, v: i < iterations, step, (0, u, v))
        return u, v

    def after_update(self):
        """Power iterations on the updated kernel; part of the compiled training step."""
        kernel = tf.convert_to_tensor(self.kernel)
        start = tf.convert_to_tensor(self.u), tf.convert_to_tensor(self.v)
        u, v = self.power_iteration(kernel, *start, self.iterations)
        self._store(u, v, self._norm_estimate(kernel, u, v))

    def _store(self, u, v, sigma):
        self.u.assign(u)
        self.v.assign(v)
        self.sigma.assign(sigma)

    def converge(self):
        """Brings u, v and sigma to convergence for the present kernel."""
        raise NotImplementedError

    def get_config(self):
        return {**super().get_config(), "coeff": self.coeff, "iterations": self.iterations}


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

    def __init__(self, units, coeff=0.9, iterations=5, **kwargs):
        super().__init__(coeff=coeff, iterations=iterations, **kwargs)
        self.units = units

    def build(self, input_shape):
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

    def linear(self, x, kernel):
        return tf.matmul(x, kernel)

    def transpose(self, y, kernel):
        return tf.matmul(y, kernel, transpose_b=True)

    def converge(self):
        kernel = keras.ops.convert_to_numpy(self.kernel).astype("float64")
        v, sigma, u = _top_singular_triple(kernel)
        self._store(u, v, sigma)

    def lipschitz_bound(self):
        kernel = keras.ops.convert_to_numpy(self.normalized_kernel()).astype("float64")
        return _top_singular_triple(kernel)[1] * (1.0 + _SLACK)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
