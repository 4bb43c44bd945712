"""The spectrally normalised convolution, against its map written out as a matrix.

Longer than other files: norms from five sides, which share their convolutions.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows import layers
from keras_flows.layers.lipschitz import spectral_conv
from keras_flows.layers.lipschitz.spectral import absolute_sum_norm
from keras_flows.layers.lipschitz.spectral_conv import circular_norm, confirmed_norm, gram_matrix

# (kernel size, height, width, in, out): images narrower than the kernel too, and one large
# enough for the Lanczos method.
SIZES = [
    (3, 5, 4, 2, 3),
    (3, 1, 1, 2, 2),
    (3, 1, 6, 3, 2),
    (5, 2, 3, 1, 2),
    (5, 1, 1, 1, 1),
    (1, 4, 3, 3, 5),
    (3, 6, 7, 3, 2),
]


def matrix(kernel, height, width):
    """The zero-padded convolution as a matrix (outputs, inputs), tap by tap."""
    size, _, channels, filters = kernel.shape
    radius = size // 2
    full = np.zeros((height, width, filters, height, width, channels))
    for y, x, a, b in np.ndindex(height, width, size, size):
        from_y, from_x = y + a - radius, x + b - radius
        if 0 <= from_y < height and 0 <= from_x < width:
            full[y, x, :, from_y, from_x, :] = kernel[a, b].T
    return full.reshape(height * width * filters, -1)


def norm(kernel, height, width):
    return np.linalg.norm(matrix(kernel, height, width), 2)


def random_kernel(size, channels, filters, seed=0):
    return np.random.default_rng(seed).normal(size=(size, size, channels, filters))


def layer_with(kernel, height, width, coeff=0.9, dtype="float64"):
    layer = layers.SpectralConv2D(kernel.shape[3], kernel.shape[0], coeff, dtype=dtype)
    layer.build((None, height, width, kernel.shape[2]))
    layer.kernel.assign(kernel)
    layer.converge()
    return layer


@pytest.fixture
def layer():
    return layer_with(random_kernel(3, 2, 3), 5, 4)


def images(*shape, seed=1):
    return tf.constant(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize("case", SIZES, ids=str)
def test_the_map_is_the_zero_padded_convolution(case):
    size, height, width, channels, filters = case
    kernel = random_kernel(size, channels, filters)
    layer = layer_with(kernel, height, width)
    full = matrix(kernel / max(1.0, norm(kernel, height, width) / 0.9), height, width)
    layer.bias.assign(np.arange(filters))
    x, y = images(2, height, width, channels), images(2, height, width, filters)
    expected = np.reshape(np.reshape(x, (2, -1)) @ full.T, y.shape) + np.arange(filters)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-9, atol=1e-12)
    back = layer.transpose(y, layer.normalized_kernel())
    expected = np.reshape(np.reshape(y, (2, -1)) @ full, x.shape)
    np.testing.assert_allclose(back, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", SIZES, ids=str)
def test_the_stored_norm_and_vectors_are_those_of_the_matrix(case):
    size, height, width, channels, filters = case
    kernel = random_kernel(size, channels, filters)
    layer = layer_with(kernel, height, width)
    sigma = norm(kernel, height, width)
    np.testing.assert_allclose(layer.sigma, sigma, rtol=1e-10)
    # A v = sigma u and A^T u = sigma v.
    kernel = tf.constant(kernel)
    np.testing.assert_allclose(layer.linear(layer.v[None], kernel)[0], sigma * layer.u, atol=1e-6)
    transposed = layer.transpose(layer.u[None], kernel)[0]
    np.testing.assert_allclose(transposed, sigma * layer.v, atol=1e-6)
    np.testing.assert_allclose(norm(layer.normalized_kernel().numpy(), height, width), 0.9)


def test_float32_converges_too():
    kernel = random_kernel(3, 8, 6)
    layer = layer_with(kernel, 7, 9, dtype="float32")
    np.testing.assert_allclose(layer.sigma, norm(kernel, 7, 9), rtol=5e-6)


def test_a_kernel_below_the_coefficient_is_left_alone(layer):
    small = random_kernel(3, 2, 3) / 100
    layer.kernel.assign(small)
    layer.converge()
    assert layer.sigma < 0.9
    np.testing.assert_array_equal(layer.normalized_kernel(), small)


@pytest.mark.parametrize("seed", range(12))
def test_the_circular_symbol_bounds_the_norm_from_above(seed):
    random = np.random.default_rng(seed)
    size = int(random.choice([3, 5]))
    height, width, channels, filters = map(int, random.integers(1, 5, 4))
    kernel = random_kernel(size, channels, filters, seed)
    if seed % 3 == 0:
        kernel -= kernel.mean(axis=(0, 1))  # no response to constants
    bound = circular_norm(kernel, height, width)
    assert norm(kernel, height, width) <= bound * (1 + 1e-12)
    # Nor is it far off: the norm on a plane bounds it, which a large image attains nearly.
    assert bound <= norm(kernel, 8, 8) * 1.15


def test_the_torus_must_be_larger_than_the_image():
    # On a torus of the size of the image, the three taps would add up to zero.
    kernel = np.reshape([-0.5, 1.0, -0.5], (1, 3, 1, 1)) * np.reshape([0, 1, 0], (3, 1, 1, 1))
    assert norm(kernel, 1, 1) == 1.0
    assert circular_norm(kernel, 1, 1) >= 1.0


@pytest.mark.parametrize("case", SIZES, ids=str)
def test_gram_matrix(case):
    size, height, width, channels, filters = case
    kernel = random_kernel(size, channels, filters)
    full = matrix(kernel, height, width)
    np.testing.assert_allclose(gram_matrix(kernel, height, width), full @ full.T, atol=1e-12)


def test_a_confirmed_norm_is_close_above_and_a_wrong_guess_is_no_bound():
    kernel = random_kernel(3, 2, 3)
    true = norm(kernel, 4, 5)
    for guess in (true, true * (1.0 - 5e-5), true * (1.0 - 9e-3)):
        assert true < confirmed_norm(kernel, 4, 5, guess) < true * 1.0101
    for guess in (0.0, 0.5 * true, 0.98 * true):
        assert confirmed_norm(kernel, 4, 5, guess) == np.inf


@pytest.mark.parametrize("seed", range(24))
def test_the_bound_of_a_layer_is_above_its_norm_and_within_a_thousandth(seed):
    random = np.random.default_rng(seed)
    size = int(random.choice([1, 3, 5]))
    height, width, channels, filters = map(int, random.integers(1, 6, 4))
    if seed % 4 == 0:
        height = width = 1
    kernel = 2.0 * random_kernel(size, channels, filters, seed) + seed % 3
    layer = layer_with(kernel, height, width, dtype=("float32", "float64")[seed % 2])
    true = norm(layer.normalized_kernel().numpy().astype("float64"), height, width)
    assert true <= layer.lipschitz_bound() <= true * 1.001


def test_the_bound_without_the_gram_matrix(monkeypatch):
    # As on large images: the circular symbol, within a few per cent there.
    monkeypatch.setattr(spectral_conv, "_CONFIRMED", 0)
    for kernel in (random_kernel(3, 2, 2), random_kernel(3, 2, 2) + 1.0):
        layer = layer_with(kernel, 12, 12)
        true = norm(layer.normalized_kernel().numpy(), 12, 12)
        assert true <= layer.lipschitz_bound() <= true * 1.05


def test_the_bound_of_a_stale_or_broken_norm():
    layer = layer_with(random_kernel(3, 2, 3), 5, 4)
    layer.kernel.assign(random_kernel(3, 2, 3, seed=1) * 10.0)
    true = norm(layer.normalized_kernel().numpy(), 5, 4)
    assert 1.0 < true <= layer.lipschitz_bound()


@pytest.mark.parametrize("case", [(1, 4, 3), (3, 2, 3), (3, 5, 4)], ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_kernel_that_is_not_finite_has_no_bound(case, bad):
    size, height, width = case
    kernel = random_kernel(size, 2, 3)
    layer = layer_with(kernel, height, width)
    kernel[0, 0, 1, 1] = bad
    layer.kernel.assign(kernel)
    assert not layer.lipschitz_bound() < 1.0
    layer.converge()
    assert np.isnan(layer.sigma)
    assert not layer.lipschitz_bound() < 1.0


@pytest.mark.parametrize("case", SIZES, ids=str)
def test_the_sums_of_absolute_values_bound_the_norm(case):
    size, height, width, channels, filters = case
    kernel = random_kernel(size, channels, filters)
    assert norm(kernel, height, width) <= absolute_sum_norm(kernel)
    # Reached by a convolution of one sign, in the limit of a large image.
    same = np.ones((3, 3, 2, 2))
    assert norm(same, 12, 12) <= absolute_sum_norm(same) == pytest.approx(18.0)
    assert norm(same, 12, 12) > 0.9 * 18.0


def test_building_starts_from_a_bound():
    layer = layers.SpectralConv2D(6, 3, 0.9, dtype="float64")
    layer.build((None, 6, 7, 4))
    assert layer.fresh
    layer.kernel.assign(3.0 * layer.kernel)
    layer.sigma.assign(absolute_sum_norm(layer.kernel.numpy()))
    for training in (False, True):
        fresh = norm(layer.normalized_kernel(training).numpy(), 6, 7)
        assert 0.0 < fresh <= 0.9
    assert fresh <= layer.lipschitz_bound() <= 0.9
    # One training step: still a contraction, and the norm is followed from now on.
    layer.after_update()
    assert not layer.fresh
    assert layer.sigma <= norm(layer.kernel.numpy(), 6, 7) * (1.0 + 1e-12)
    layer.converge()
    np.testing.assert_allclose(layer.sigma, norm(layer.kernel.numpy(), 6, 7), rtol=1e-10)


def test_converging_twice_changes_nothing():
    layer = layer_with(random_kernel(3, 3, 2), 6, 7, dtype="float32")
    before = layer.get_weights()
    layer.converge()
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def rms(x):
    return np.sqrt(np.mean(np.square(x)))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_power_iteration_up_to_a_tolerance(jit_compile):
    kernel = random_kernel(3, 3, 2)
    layer = layers.SpectralConv2D(2, 3, iterations="tolerance", dtype="float64")
    layer.build((None, 6, 7, 3))
    layer.kernel.assign(kernel)
    v, full = layer.v.numpy().ravel(), matrix(kernel, 6, 7)
    tf.function(layer.after_update, jit_compile=jit_compile)()
    u, count, moved = np.zeros(full.shape[0]), 0, True
    while moved:
        old, count = (u, v), count + 1
        u = full @ v / np.linalg.norm(full @ v)
        v = full.T @ u / np.linalg.norm(full.T @ u)
        changes = zip(old, (u, v), strict=True)
        moved = any(rms(new - was) > 1e-3 + 1e-3 * np.abs(new).max() for was, new in changes)
    assert 3 < count < 200
    np.testing.assert_allclose(layer.u.numpy().ravel(), u, atol=1e-9)
    np.testing.assert_allclose(layer.v.numpy().ravel(), v, atol=1e-9)
    # A running start needs one iteration only.
    before = layer.v.numpy().ravel()
    layer.after_update()
    u = full @ before / np.linalg.norm(full @ before)
    np.testing.assert_allclose(layer.u.numpy().ravel(), u, atol=1e-9)


def test_a_1x1_convolution_is_a_dense_layer_on_pixels():
    layer = layer_with(random_kernel(1, 3, 5), 4, 6)
    dense = layers.SpectralDense(5, dtype="float64")
    dense.build((None, 3))
    dense.kernel.assign(layer.kernel[0, 0])
    dense.converge()
    assert layer.u.shape == (5,) and layer.v.shape == (3,)
    np.testing.assert_allclose(dense.sigma, np.linalg.norm(dense.kernel, 2), rtol=1e-13)
    np.testing.assert_allclose(layer.sigma, dense.sigma, rtol=1e-14)
    np.testing.assert_allclose(layer.lipschitz_bound(), dense.lipschitz_bound(), rtol=1e-12)
    layer.after_update()
    np.testing.assert_allclose(layer.sigma, dense.sigma, rtol=1e-12)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_derivatives_agree_with_automatic_differentiation(size, training):
    layer = layer_with(3 * random_kernel(size, 2, 3), 4, 3)
    x, tangent, cotangent = images(2, 4, 3, 2), images(2, 4, 3, 2, seed=2), images(2, 4, 3, 3)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
        expected = tape.gradient(y, x, output_gradients=cotangent)
        scalar = tf.reduce_sum(tf.square(expected))
    expected_gradient = outer.gradient(scalar, layer.kernel)
    with tf.GradientTape() as tape:
        value, pullback = layer.vjp(x, training=training)
        pulled = pullback(tf.stack([cotangent, 2 * cotangent]))
        scalar = tf.reduce_sum(tf.square(pulled[0]))
    np.testing.assert_allclose(value, y, rtol=1e-12)
    np.testing.assert_allclose(pulled, [expected, 2 * expected], rtol=1e-10, atol=1e-12)
    gradient = tape.gradient(scalar, layer.kernel)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-12)
    value, pushed = layer.jvp(x, tf.stack([tangent, -tangent]), training=training)
    np.testing.assert_allclose(value, y, rtol=1e-12)
    with tf.autodiff.ForwardAccumulator(x, tangent) as accumulator:
        y = layer(x, training=training)
    expected = accumulator.jvp(y)
    np.testing.assert_allclose(pushed, [expected, -expected], rtol=1e-10, atol=1e-12)


def test_the_norm_is_differentiated_in_training_only(layer):
    def gradient(training):
        with tf.GradientTape() as tape:
            norm = tf.norm(layer.normalized_kernel(training))
        return tape.gradient(norm, layer.kernel)

    # With the norm in the denominator the map does not change along the kernel.
    along = tf.reduce_sum(gradient(True) * layer.kernel)
    assert abs(along) < 1e-9 < tf.reduce_sum(gradient(False) * layer.kernel)


def test_power_iterations_follow_the_kernel_inside_a_graph(layer):
    # A kernel with a clear largest singular value: nothing to wait for.
    kernel = random_kernel(3, 2, 3, seed=5) / 10 + 1.0
    layer.kernel.assign(kernel)
    step = tf.function(layer.after_update)
    for _ in range(6):
        step()
    np.testing.assert_allclose(layer.sigma, norm(kernel, 5, 4), rtol=1e-8)


def test_converge_leaves_a_smaller_singular_value():
    kernel = random_kernel(3, 3, 2)
    layer = layer_with(kernel, 6, 7)
    left, values, right = np.linalg.svd(matrix(kernel, 6, 7))
    layer.u.assign(left[:, 3].reshape(layer.u.shape))
    layer.v.assign(right[3].reshape(layer.v.shape))
    layer.converge()
    np.testing.assert_allclose(layer.sigma, values[0], rtol=1e-10)


@pytest.mark.parametrize("case", [(3, 2, 2), (3, 6, 7), (1, 6, 7)], ids=str)
def test_a_kernel_of_zeros_is_finite(case):
    size, height, width = case
    layer = layer_with(np.zeros((size, size, 3, 2)), height, width)
    assert layer.sigma == 0.0 and layer.lipschitz_bound() == 0.0
    assert np.all(np.isfinite(layer.u)) and np.all(np.isfinite(layer.v))
    np.testing.assert_array_equal(layer.normalized_kernel(), layer.kernel)


def test_any_batch_size_in_one_graph(layer):
    @tf.function(input_signature=[tf.TensorSpec((None, 5, 4, 2), tf.float64)])
    def both(x):
        y, pullback = layer.vjp(x)
        return y, pullback(y[None])

    for n in (1, 3):
        x = images(n, 5, 4, 2)
        y, pulled = both(x)
        assert pulled.shape == (1, n, 5, 4, 2)
        np.testing.assert_allclose(y, layer(x), rtol=1e-12)


def test_saving_keeps_the_norm(layer, tmp_path):
    layer.u.assign(layer.u + 1.0)  # weights as they are, not converged again
    model = keras.Sequential([keras.Input((5, 4, 2), dtype="float64"), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for before, after in zip(layer.weights, loaded.layers[-1].weights, strict=True):
        np.testing.assert_array_equal(before, after)
    assert loaded.layers[-1].get_config() == layer.get_config()
    x = images(2, 5, 4, 2)
    np.testing.assert_array_equal(loaded(x), model(x))


def test_errors():
    with pytest.raises(ValueError, match=r"kernel_size must be odd.* got 4"):
        layers.SpectralConv2D(3, 4)
    with pytest.raises(ValueError, match=r"filters must be .*at least 1; got 0"):
        layers.SpectralConv2D(0, 3)
    with pytest.raises(ValueError, match=r"known size.*\(None, None, 4, 3\)"):
        layers.SpectralConv2D(3, 3).build((None, None, 4, 3))
    with pytest.raises(ValueError, match=r"images.*got the input shape \(None, 4\)"):
        layers.SpectralConv2D(3, 3).build((None, 4))
