"""SplineFlow, MaskedAutoregressiveFlow and RealNVP: what they are made of, and what they learn."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import keras_flows as kf
from keras_flows.models import MaskedAutoregressiveFlow, RealNVP, SplineFlow
from keras_flows.models.vectors import changed_features
from keras_flows.transforms import Autoregressive, Coupling, Standardize
from keras_flows.transforms.masks import FeatureMask
from tests.registry import CASES, move_weights

KINDS = {
    "autoregressive": SplineFlow,
    "coupling": lambda *args, **kwargs: SplineFlow(*args, autoregressive=False, **kwargs),
    "masked": MaskedAutoregressiveFlow,
    "realnvp": RealNVP,
}
every = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.mark.parametrize("features", [2, 3, 5, 8, 20])
def test_every_feature_is_transformed_by_every_other(features):
    layers = 2 * (features - 1).bit_length()
    seen = np.zeros((features, features), bool)
    for changed in changed_features(features, layers):
        passing = [i for i in range(features) if i not in changed]
        assert changed and passing
        seen[np.ix_(changed, passing)] = True
    np.testing.assert_array_equal(seen, ~np.eye(features, dtype=bool))


def test_what_the_defaults_are():
    steps = SplineFlow((5,)).transform.steps
    assert [type(step) for step in steps] == [Standardize, *[Autoregressive] * 3]
    assert [step.network.reverse for step in steps[1:]] == [False, True, False]
    assert [step.map.get_config() for step in steps[1:]] == [{"bins": 8, "bound": 5.0}] * 3
    steps = SplineFlow((5,), autoregressive=False).transform.steps
    assert [type(step) for step in steps] == [Standardize, *[Coupling] * 6]
    assert len(SplineFlow((2,), autoregressive=False).transform.steps) == 5
    assert len(RealNVP((2,)).transform.steps) == 7
    assert len(MaskedAutoregressiveFlow((2,)).transform.steps) == 6
    one_order = SplineFlow((4,), one_order=True).transform.steps[1:]
    assert [step.network.reverse for step in one_order] == [False] * 3


@every
def test_a_fresh_flow_is_the_standardisation(kind):
    x = np.random.default_rng(0).normal([3.0, -70.0], [0.1, 20.0], (60, 2))
    flow = kind((2,), width=4, dtype="float64")
    kf.training.adapt(flow, x)
    expected = stats.norm(x.mean(axis=0), x.std(axis=0)).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(flow.log_prob(x), expected, rtol=1e-9)


@every
def test_a_million_standard_deviations_have_a_finite_log_prob(kind):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    train = rng.standard_cauchy((500, 3))
    flow = kind((3,), width=8)
    kf.training.adapt(flow, train)
    move_weights(flow, spread=0.2)
    rows = np.concatenate([np.eye(3), -np.eye(3), np.ones((1, 3))]) * 1e6
    x = tf.constant(rows, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_prob = flow.density(x).log_prob
    gradients = tape.gradient(log_prob, [x, *flow.trainable_variables])
    assert np.isfinite(log_prob).all() and (log_prob.numpy() < -1e5).all()
    assert all(np.isfinite(tf.convert_to_tensor(gradient)).all() for gradient in gradients)


@pytest.mark.slow
@every
def test_as_distribution_and_bijector(kind):
    keras.utils.set_random_seed(0)
    flow = kind((3,), width=6, context_shape=(2,), dtype="float64")
    move_weights(flow, spread=0.2)
    rng = np.random.default_rng(0)
    x, context = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    distribution = flow.as_distribution(context)
    assert (distribution.batch_shape, distribution.event_shape) == ((5,), (3,))
    np.testing.assert_allclose(distribution.log_prob(x), flow.log_prob(x, context), rtol=1e-9)
    assert distribution.sample(4, seed=(1, 2)).shape == (4, 5, 3)
    bijector = flow.as_bijector(context)
    z = bijector.inverse(x)
    np.testing.assert_allclose(bijector.forward(z), x, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        bijector.inverse_log_det_jacobian(x, 1), -bijector.forward_log_det_jacobian(z, 1), rtol=1e-9
    )
    normal = tfp.distributions.MultivariateNormalDiag(np.zeros(3), np.ones(3))
    transformed = tfp.distributions.TransformedDistribution(normal, bijector)
    np.testing.assert_allclose(transformed.log_prob(x), flow.log_prob(x, context), rtol=1e-9)


def test_integers_among_the_columns_make_no_bijector():
    flow = CASES["columns"].flow("float32")
    with pytest.raises(ValueError, match="This flow is no bijector: Columns does not invert"):
        flow.as_bijector()
    x = CASES["columns"].data(4)
    distribution = flow.as_distribution()
    assert distribution.likelihood == "lower_bound"
    np.testing.assert_allclose(
        distribution.log_prob(x, seed=3), flow.log_prob(x, seed=3), rtol=1e-5
    )


@every
def test_arguments_go_through_a_preset(kind, tmp_path):
    flow = kind((3,), width=6, layers=3, context_shape=(2,), seed=5, name="flow")
    move_weights(flow)
    flow.save_to_preset(tmp_path / "flow")
    loaded = kf.Flow.from_preset(tmp_path / "flow")
    assert type(loaded) is type(flow) and loaded.get_config() == flow.get_config()
    x, context = np.ones((4, 3)), np.ones((4, 2))
    np.testing.assert_array_equal(loaded.log_prob(x, context), flow.log_prob(x, context))


@pytest.mark.slow
@every
def test_they_learn_a_correlation(kind):
    keras.utils.set_random_seed(0)
    truth = stats.multivariate_normal([10.0, -3.0], [[4.0, 1.8], [1.8, 1.0]])
    x, held_out = truth.rvs(2000, random_state=0), truth.rvs(2000, random_state=1)
    flow = kind((2,), width=16, layers=2)
    kf.training.adapt(flow, x)
    flow.compile(keras.optimizers.Adam(5e-3), jit_compile=False)
    before = -np.mean(flow.log_prob(held_out))
    flow.fit(x, epochs=12, batch_size=100, verbose=0)
    after = -np.mean(flow.log_prob(held_out))
    entropy = -np.mean(truth.logpdf(held_out))
    assert before > entropy + 0.7 and after < entropy + 0.05


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError, match="A coupling needs at least two features"):
        SplineFlow((1,), autoregressive=False)
    with pytest.raises(ValueError, match="A coupling needs at least two features"):
        RealNVP((1,))
    with pytest.raises(ValueError, match="one_order is for autoregressive layers"):
        SplineFlow((2,), autoregressive=False, one_order=True)
    for kind, name in itertools.product(KINDS.values(), ("layers", "width")):
        with pytest.raises(ValueError, match=f"{name} must be an integer, at least 1; got 0"):
            kind((2,), **{name: 0})
        with pytest.raises(ValueError, match=r"takes vectors, an event_shape such as \(5,\)"):
            kind((2, 2, 1))
    with pytest.raises(ValueError, match="autoregressive must be True or False"):
        SplineFlow((2,), "coupling")


def test_masks_of_features():
    mask = FeatureMask([3, 0])
    x = tf.reshape(tf.range(10.0), (2, 5))
    seen, changed = mask.split(x)
    np.testing.assert_array_equal(seen, np.array(x)[:, [1, 2, 4]])
    np.testing.assert_array_equal(changed, np.array(x)[:, [0, 3]])
    np.testing.assert_array_equal(mask.join(seen, changed), x)
    # Of an image, channels.
    image = tf.reshape(tf.range(60.0), (2, 3, 2, 5))
    assert (mask.seen_shape((3, 2, 5)), mask.changed_shape((3, 2, 5))) == ((3, 2, 3), (3, 2, 2))
    seen, changed = mask.split(image)
    np.testing.assert_array_equal(changed, np.array(image)[..., [0, 3]])
    np.testing.assert_array_equal(mask.join(seen, changed), image)
    for bad, message in (([], "indices"), ([1, 1], "once"), ([-1], "indices"), ([0.5], "indices")):
        with pytest.raises(ValueError, match=message):
            FeatureMask(bad)
    with pytest.raises(ValueError, match="cannot be transformed of 3"):
        mask.seen_shape((3,))
    with pytest.raises(ValueError, match="at least one has to pass"):
        FeatureMask([0, 1]).seen_shape((2,))
