"""The inversion error, against flows whose error is known."""

import keras
import numpy as np
import pytest

import keras_flows as kf
from keras_flows import transforms
from keras_flows.measure.inversion import round_trip
from keras_flows.models import IDenseNet
from keras_flows.numerics.events import zeros_per_example
from tests.registry import dense_flow, move_weights


@keras.saving.register_keras_serializable("tests")
class Shifted(transforms.Transform):
    """Encodes to what it is given, and decodes to that and a shift."""

    shift = 0.0

    def encode(self, x, context=None, noise=None, training=False):
        return x, zeros_per_example(x)

    def decode(self, z, context=None, noise=None):
        return z + self.shift


def images(n=5, bits=3):
    return np.random.default_rng(0).integers(2**bits, size=(n, 4, 4, 1))


@pytest.fixture
def flow():
    keras.utils.set_random_seed(0)
    flow = IDenseNet(
        (4, 4, 1), (2,), depth=1, growth=4, fully_connected={"blocks": 1, "size": 4}, bits=3
    )
    move_weights(flow)
    return flow


def shifted(shift):
    step = Shifted()
    step.shift = shift
    return kf.Flow(transforms.Chain([transforms.UniformDequantization(3), step]), (4, 4, 1))


@pytest.mark.slow
def test_an_image_flow_decodes_what_it_encoded(flow):
    x, seen = images(), []
    result = round_trip(flow, x, batch_size=2, progress=seen.append)
    assert seen == [2, 2, 1]
    assert result.errors.shape == (5,) and result.refused == 0.0
    assert 0.0 < result.mean < result.worst == result.errors.max() < 1e-5
    assert result.other_levels == 0.0
    # Those of decoding block by block.
    z, expected = flow.encode(x[:2], seed=(0, 0)), {}
    for path, decoded in flow.transform.decode_steps(z):
        if "ResidualBlock" in path:
            block = flow.blocks[-1 - len(expected)]
            expected[path] = block.invert(z).iterations.numpy()
        z = decoded
    assert list(result.iterations) == list(expected) and len(expected) == 3
    for path, iterations in expected.items():
        assert result.iterations[path].shape == (5,)
        np.testing.assert_array_equal(result.iterations[path][:2], iterations)


def test_errors_are_of_the_range_of_levels_before_the_floor():
    # 0.07 of a level: most integers are decoded right, and the error is seen all the same.
    result = round_trip(shifted(0.07 / 8), images())
    np.testing.assert_allclose(result.errors, 0.07 / 7, rtol=1e-4)
    assert result.mean == pytest.approx(0.07 / 7, rel=1e-4)
    assert 0.0 < result.other_levels < 0.3
    # More than a level: what the user gets is wrong, but for the highest one, which has none above.
    x = images()
    result = round_trip(shifted(1.5 / 8), x)
    assert result.worst == pytest.approx(1.5 / 7, rel=1e-4)
    assert result.other_levels == pytest.approx(np.mean(x < 7))


def test_flows_on_fractions_have_the_unit_of_the_data():
    step = Shifted()
    step.shift = 0.25
    x = np.random.default_rng(0).uniform(size=(3, 4, 4, 1))
    result = round_trip(kf.Flow(step, (4, 4, 1)), x)
    np.testing.assert_allclose(result.errors, 0.25, rtol=1e-5)
    assert result.other_levels is None and result.iterations == {}


@pytest.mark.slow  # half a minute
def test_an_inverse_that_does_not_converge_is_refused_and_no_wrong_picture(flow):
    x, last = images(40), flow.blocks[-1]
    # Eight of them after it has converged.
    steps = next(iter(round_trip(flow, x).iterations.values())) - 8
    assert len(set(steps)) > 1
    last.max_iterations = cap = int(steps.max()) - 1
    result = round_trip(flow, x)
    np.testing.assert_array_equal(np.isnan(result.errors), steps > cap)
    assert result.refused == np.mean(steps > cap)
    assert 0.0 < result.worst < 1e-5 and result.other_levels == 0.0
    with pytest.raises(kf.ConvergenceError):
        flow.decode(flow.encode(x, seed=(0, 0)))
    last.max_iterations = 1
    result = round_trip(flow, x)
    assert result.refused == 1.0 and result.other_levels is None
    assert np.isnan(result.worst) and np.isnan(result.mean)


def test_what_cannot_be_measured(flow):
    with pytest.raises(ValueError, match="draws what encoding this flow does not keep"):
        round_trip(dense_flow()("float32"), images())
    with pytest.raises(ValueError, match="x must have shape"):
        round_trip(flow, images()[:, :2])
    with pytest.raises(ValueError, match="batch_size must be"):
        round_trip(flow, images(), batch_size=0)
