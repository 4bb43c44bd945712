"""Fixed and learnable concatenation."""

import keras
import numpy as np
import pytest

from keras_flows.layers import LipschitzConcatenation
from keras_flows.models import IDenseNet
from tests.derivatives import random


def made(**arguments):
    layer = LipschitzConcatenation(**arguments, dtype="float64")
    layer.build()
    return layer


@pytest.mark.parametrize("lip_coeff", [0.5, 0.98, 1.0])
def test_both_coefficients_are_equal_at_the_start(lip_coeff):
    for learnable in (True, False):
        layer = made(learnable=learnable, lip_coeff=lip_coeff)
        np.testing.assert_array_equal(layer.k, [1.0, 1.0])
        np.testing.assert_allclose(layer.coefficients(), lip_coeff / np.sqrt(2.0), rtol=1e-14)


def test_coefficients_in_numbers():
    layer = made()
    layer.k.assign([-3.0, 2.0])
    eta = np.log1p(np.exp([-3.0, 2.0])) + 0.1
    expected = 0.98 * eta / np.hypot(*eta)
    np.testing.assert_allclose(layer.coefficients(), expected, rtol=1e-14)


def test_norm_is_that_of_the_bound_for_every_k():
    layer = made(lip_coeff=0.9)
    for k in np.random.default_rng(0).normal(scale=30.0, size=(50, 2)):
        layer.k.assign(k)
        eta = layer.coefficients().numpy()
        assert (eta > 0).all()
        assert np.linalg.norm(eta) == pytest.approx(0.9, rel=1e-12)
        assert layer.lipschitz_bound() == pytest.approx(0.9, rel=1e-12)
        assert layer.lipschitz_bound(0.3) == pytest.approx(np.hypot(eta[0], 0.3 * eta[1]))


def test_value_and_scale():
    layer = made()
    layer.k.assign([-1.0, 2.0])
    one, other = layer.coefficients().numpy()
    x, branch = random(4, 3), random(4, 2, seed=1)
    expected = np.concatenate([one * x, other * branch], axis=1)
    np.testing.assert_allclose(layer(x, branch), expected)
    assert layer.compute_output_shape(x.shape, branch.shape) == (4, 5)
    np.testing.assert_allclose(layer.scale(3, 2), [one] * 3 + [other] * 2)
    # Factors that x has to be multiplied by before.
    before = random(3, seed=2)
    np.testing.assert_allclose(layer.scale(3, 2, before), [*(one * before), other, other])


def test_fixed_concatenation_is_not_trained():
    assert made(learnable=False).trainable_weights == []
    assert [weight.name for weight in made().trainable_weights] == ["k"]


def k_of(flow):
    layers = [layer for block in flow.blocks for layer in block.net.layers[:-1]]
    return np.stack([layer.concatenation.k.numpy() for layer in layers])


def step(flow, n=1):
    x = np.random.default_rng(0).standard_normal((16, 2)).astype("float32")
    flow.fit(x, batch_size=16, epochs=n, verbose=0)


@pytest.mark.slow
def test_delayed_start_holds_k_and_then_trains_it(tmp_path):
    flow = IDenseNet((2,), blocks=1, depth=2, growth=4, concatenation_start=3)
    flow.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    matrices = flow.blocks[0].net.layers[0].linear.dense.kernel
    before = matrices.numpy()
    step(flow, 2)
    np.testing.assert_array_equal(k_of(flow), np.ones((2, 2)))
    assert not np.array_equal(matrices, before)
    # The count of steps is saved: the file knows that one more step is to be waited for.
    flow.save(tmp_path / "flow.keras")
    for each in (flow, keras.models.load_model(tmp_path / "flow.keras")):
        step(each)
        np.testing.assert_array_equal(k_of(each), np.ones((2, 2)))
        step(each)
        assert (k_of(each) != 1.0).all()


@pytest.mark.slow
def test_no_delay_trains_at_once():
    flow = IDenseNet((2,), blocks=1, depth=2, growth=4)
    flow.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    step(flow)
    assert (k_of(flow) != 1.0).all()


def test_errors():
    for lip_coeff in (0.0, 1.1, -0.5):
        with pytest.raises(ValueError, match=r"lip_coeff must be in \(0, 1\]; got"):
            LipschitzConcatenation(lip_coeff=lip_coeff)
    with pytest.raises(
        ValueError,
        match=r"start, a number of .* at least 0; got -1",
    ):
        LipschitzConcatenation(start=-1)
