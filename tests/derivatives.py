"""Hand-written derivatives against automatic ones."""

import numpy as np
import tensorflow as tf


def random(*shape, seed=0):
    """Standard normal numbers, a float64 tensor."""
    return tf.constant(np.random.default_rng(seed).standard_normal(shape))


def jacobians(function, x):
    """The automatic Jacobian of every example, `(batch, size of an output, size of x)`."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = function(x)
        y = tf.reshape(y, (len(x), -1))
        parts = tf.unstack(y, axis=1)
    rows = [tape.gradient(part, x, unconnected_gradients="zero") for part in parts]
    return np.stack([np.reshape(row, (len(x), -1)) for row in rows], axis=1)


def with_gradients(function, x, weights):
    """A scalar function of nothing and its gradients by x and all weights, in one vector.

    Of a weight that it does not depend on, zeros: whether a graph is without it, is not tested.
    """
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function()
    sources = [x, *weights]
    flat = [
        tf.reshape(tf.zeros_like(source) if gradient is None else gradient, [-1])
        for source, gradient in zip(sources, tape.gradient(value, sources), strict=True)
    ]
    return tf.concat([value[None], *flat], axis=0)


def check_products(layer, x, **arguments):
    """Compares jvp and vjp with the automatic Jacobian of the call."""
    value = layer(x, **arguments)
    jacobian = jacobians(lambda x: layer(x, **arguments), x)
    k, n = 3, len(x)
    tangents = random(k, *x.shape, seed=11)
    y, images = layer.jvp(x, tangents, **arguments)
    np.testing.assert_allclose(y, value, rtol=1e-12, atol=1e-12)
    expected = np.einsum("noi,kni->kno", jacobian, np.reshape(tangents, (k, n, -1)))
    np.testing.assert_allclose(np.reshape(images, (k, n, -1)), expected, rtol=1e-9, atol=1e-12)
    cotangents = random(k, *value.shape, seed=12)
    y, pullback = layer.vjp(x, **arguments)
    np.testing.assert_allclose(y, value, rtol=1e-12, atol=1e-12)
    expected = np.einsum("noi,kno->kni", jacobian, np.reshape(cotangents, (k, n, -1)))
    pulled = np.reshape(pullback(cotangents), (k, n, -1))
    np.testing.assert_allclose(pulled, expected, rtol=1e-9, atol=1e-12)


def check_second_order(layer, x, step=1e-5, **arguments):
    """Compares the gradient of a vjp, by x and by every weight, with differences of it."""
    probe = random(*x.shape, seed=13)
    cotangents = random(1, *layer(x, **arguments).shape, seed=14)

    def number():
        return tf.reduce_sum(layer.vjp(moving[0], **arguments)[1](cotangents)[0] * probe)

    moving = [x]
    weights = layer.trainable_variables
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = number()
    gradients = tape.gradient(total, [x, *weights])
    for i, (gradient, source) in enumerate(zip(gradients, [x, *weights], strict=True)):
        gradient = tf.zeros(source.shape, x.dtype) if gradient is None else gradient
        direction = random(*gradient.shape, seed=15 + i)
        ends = []
        for sign in (1.0, -1.0):
            if i == 0:
                moving[0] = x + sign * step * direction
                ends.append(number())
                moving[0] = x
            else:
                weights[i - 1].assign_add(sign * step * direction)
                ends.append(number())
                weights[i - 1].assign_sub(sign * step * direction)
        slope = (ends[0] - ends[1]) / (2.0 * step)
        expected = tf.reduce_sum(gradient * direction)
        np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-7)
