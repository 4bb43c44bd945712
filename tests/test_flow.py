"""Flow: densities, latents, samples, and the errors of their arguments."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_flows import Flow, NonFiniteError
from keras_flows.models import IDenseNet
from keras_flows.noise import ReplayedNoise
from keras_flows.transforms import (
    ActNorm,
    Affine,
    Chain,
    Logit,
    Squeeze,
    Transform,
    UniformDequantization,
)
from tests.registry import CASES, move_weights, residual_block

SHIFT, SCALE = [0.5, -1.0], [2.0, 0.7]


def gaussian(**arguments):
    """A flow whose density is N(shift, diag(scale^2))."""
    return Flow(Affine(SHIFT, SCALE, dtype="float64"), (2,), dtype="float64", **arguments)


def dequantized(dtype="float32"):
    return Flow(Chain([UniformDequantization(3), Logit(), ActNorm()]), (2,), dtype=dtype)


@pytest.fixture(scope="module")
def flow():
    keras.utils.set_random_seed(0)
    flow = IDenseNet((2,), blocks=2, depth=2, growth=4)
    move_weights(flow)
    return flow


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(6, 2))


def test_log_prob_of_a_gaussian(x):
    expected = stats.norm(SHIFT, SCALE).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(gaussian().log_prob(x), expected, rtol=1e-12)


@pytest.mark.slow
def test_log_prob_is_that_of_the_latent_and_the_volume(flow, x):
    z = flow.encode(x)
    _, log_det = flow.transform.encode(tf.constant(x, tf.float32))
    expected = stats.norm.logpdf(z).sum(axis=1) + log_det
    np.testing.assert_allclose(flow.log_prob(x), expected, rtol=1e-5)


def test_encode_and_decode(flow, x):
    z = flow.encode(x)
    assert z.shape == (6, 2)
    assert np.abs(z - x).max() > 0.1
    np.testing.assert_allclose(flow.decode(z), x, atol=1e-5)


@pytest.mark.parametrize("make", [list, np.float32, np.float64, tf.constant, np.asfortranarray])
def test_arrays_of_any_kind(flow, x, make):
    given = x.tolist() if make is list else make(x)
    np.testing.assert_allclose(flow.log_prob(given), flow.log_prob(x), rtol=1e-6)


def test_integers_are_numbers(flow):
    x = np.array([[1, 2], [3, -4]])
    for dtype in ("int8", "int32", "int64", "float16"):
        np.testing.assert_array_equal(flow.log_prob(x.astype(dtype)), flow.log_prob(x))


def test_gradients_flow_to_data_and_weights(x):
    flow = gaussian()
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(flow.log_prob(x))
    expected = -(x - SHIFT) / np.square(SCALE)
    np.testing.assert_allclose(tape.gradient(total, x), expected, rtol=1e-12)


@pytest.mark.slow
def test_inside_a_function(flow, x):
    x = tf.constant(x, tf.float32)
    for jit_compile in (False, True):
        graph = tf.function(flow.log_prob, jit_compile=jit_compile)
        np.testing.assert_allclose(graph(x), flow.log_prob(x), rtol=1e-5)
    unknown = tf.function(flow.log_prob, input_signature=[tf.TensorSpec(None, tf.float32)])
    np.testing.assert_allclose(unknown(x), flow.log_prob(x), rtol=1e-5)


def test_a_new_batch_size_compiles_nothing_anew(x):
    flow = IDenseNet((2,), blocks=1, depth=1, growth=2)
    traces = []
    encode = flow.transform.encode_steps
    flow.transform.encode_steps = lambda *arguments: (traces.append(1), encode(*arguments))[1]
    for n in range(1, 6):
        flow.log_prob(x[:n])
    assert len(traces) == 1


def test_the_latest_weights_count(x):
    flow = IDenseNet((2,), blocks=1, depth=1, growth=2)
    before = flow.log_prob(x)
    move_weights(flow)
    assert not np.allclose(before, flow.log_prob(x))


def test_calling_the_model_is_log_prob(flow, x):
    np.testing.assert_allclose(flow(x.astype("float32")), flow.log_prob(x), rtol=1e-6)


# Samples ------------------------------------------------------------------------------------


def test_samples_follow_the_density():
    x = gaussian().sample(4000, seed=0).numpy()
    for i in range(2):
        assert stats.kstest(x[:, i], stats.norm(SHIFT[i], SCALE[i]).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(x.T)[0, 1]) < 0.05


def test_samples_are_decoded_latents(flow):
    x = flow.sample(500, seed=3)
    assert x.shape == (500, 2)
    z = flow.encode(x).numpy()
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3


def test_seeds_repeat(flow):
    one = flow.sample(5, seed=7)
    np.testing.assert_array_equal(one, flow.sample(5, seed=7))
    np.testing.assert_array_equal(one, flow.sample(5, seed=(0, 7)))
    assert not np.array_equal(one, flow.sample(5, seed=8))
    # Without a seed, every draw is fresh.
    assert not np.array_equal(flow.sample(5), flow.sample(5))


def test_temperature_scales_the_latent(flow):
    whole = flow.encode(flow.sample(50, seed=1))
    for temperature in (0.0, 0.5, 2):
        x = flow.sample(50, seed=1, temperature=temperature)
        np.testing.assert_allclose(flow.encode(x), temperature * whole, atol=1e-4)
    assert np.ptp(flow.sample(9, temperature=0.0), axis=0).max() < 1e-6


def test_samples_of_squeezed_images():
    flow = Flow(Chain([Squeeze(), Affine(1.0, 2.0)]), (4, 4, 3))
    assert flow.latent_shape == (2, 2, 12)
    x = flow.sample(3, seed=0)
    assert x.shape == (3, 4, 4, 3)
    assert flow.encode(x).shape == (3, 2, 2, 12)


def test_samples_of_integers_are_integers():
    x = dequantized().sample(50, seed=0).numpy()
    np.testing.assert_array_equal(x, np.round(x))
    assert x.min() >= 0
    assert x.max() <= 7


@pytest.mark.slow
def test_one_context_for_all_samples():
    case = CASES["idensenet_context"]
    flow, context = case.flow(), case.context(5)
    one = flow.sample(5, seed=0, context=context[0])
    np.testing.assert_array_equal(
        one, flow.sample(5, seed=0, context=np.repeat(context[:1], 5, axis=0))
    )
    apart = flow.sample(5, seed=0, context=context)
    np.testing.assert_allclose(apart[0], one[0])
    assert not np.allclose(apart[1], one[1])
    with pytest.raises(ValueError, match="There are 4 examples, but 5 contexts"):
        flow.sample(4, context=context)


@pytest.mark.parametrize("n", [0, -1, 2.0, "3", True, None])
def test_counts(flow, n):
    with pytest.raises(ValueError, match="n must be an integer, at least 1; got"):
        flow.sample(n)


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_temperatures(flow, temperature):
    with pytest.raises(ValueError, match="temperature must be a finite number, 0 or more; got"):
        flow.sample(3, temperature=temperature)


# Bits per dimension, likelihood -------------------------------------------------------------


def test_bits_per_dim_of_a_known_density():
    # Uniform integers in a flow whose base density is known: one dequantized step alone.
    flow = Flow(UniformDequantization(3), (2,))
    x = np.array([[0, 7], [3, 3]])
    u = np.random.default_rng(0).uniform(size=x.shape)
    nats = stats.norm.logpdf((x + u) / 8.0).sum(axis=1) - 2.0 * np.log(8.0)
    bits = flow.bits_per_dim(x, noise=[u])
    np.testing.assert_allclose(bits, -nats / (2.0 * np.log(2.0)), rtol=1e-5)
    np.testing.assert_allclose(flow.log_prob(x, noise=[u]), nats, rtol=1e-5)
    assert flow.likelihood == "lower_bound"


def test_bits_per_dim_is_for_integers_only(flow, x):
    with pytest.raises(ValueError, match="bits_per_dim is defined for dequantized integers"):
        flow.bits_per_dim(x)


@pytest.mark.parametrize("x", [[[0.0, 8.0]], [[-1.0, 0.0]], [[0.5, 0.0]]])
def test_what_is_no_integer_is_named(x):
    with pytest.raises(NonFiniteError, match="1 of 1 examples in step '0/UniformDequantization'"):
        dequantized().log_prob(x)


def test_bits_of_the_integers(flow):
    inner = Chain([UniformDequantization(3), Affine(1.0, 2.0)])
    assert Flow(Chain([inner, Affine(1.0, 2.0)]), (2,)).bits == 3
    assert flow.bits is None


@pytest.mark.slow
def test_the_weakest_part_decides_the_likelihood():
    kinds = {name: CASES[name].flow().likelihood for name in CASES}
    assert kinds["chain_nested"] == kinds["idensenet"] == kinds["logit"] == "exact"
    assert kinds["idensenet_unbiased"] == "unbiased"
    assert kinds["residual_power_series"] == "biased"
    assert kinds["dequantized_flow"] == "lower_bound"


def test_it_is_a_bijection_or_not():
    assert CASES["chain_nested"].flow().transform.bijective
    assert not CASES["dequantized_flow"].flow().transform.bijective


# NaN ----------------------------------------------------------------------------------------


def test_nan_names_the_step():
    flow = Flow(Chain([Affine(0.0, 0.5), Chain([Logit(alpha=0.0)])]), (2,))
    with pytest.raises(NonFiniteError) as error:
        flow.log_prob([[0.1, 0.2], [0.1, 0.7], [0.6, 0.1]])
    assert str(error.value) == (
        "Encoding makes NaN for 2 of 3 examples in step '1/0/Logit'. Is the data in the range that "
        "step needs?"
    )
    with pytest.raises(NonFiniteError, match=r"Encoding makes NaN for 1 of 1 .* step '1/0/Logit'"):
        flow.encode([[0.1, 0.7]])


def test_nan_is_explained_with_the_noise_it_came_from():
    # Only some draws leave the range of the last step.
    steps = [UniformDequantization(1), Affine(0.5, 1.0), Logit(alpha=0.0)]
    flow = Flow(Chain(steps), (1,))
    x = [[0.0], [1.0]]
    message = r"Encoding makes NaN for 1 of 2 examples in step '2/Logit'"
    bad = [np.array([[0.5], [0.5]])]
    for arguments in ({"noise": bad}, {"noise": ReplayedNoise(bad)}, {"seed": 0}, {}):
        with pytest.raises(NonFiniteError, match=message):
            flow.log_prob(x, **arguments)


class Broken(Transform):
    """Makes a NaN that no step before it has made."""

    def encode(self, x, context=None, noise=None, training=False):
        return x, tf.fill(tf.shape(x)[:1], float("nan"))

    def decode(self, z, context=None, noise=None):
        return z * float("nan")


def test_a_nan_log_det_is_named_too(x):
    flow = Flow(Chain([Affine(), Broken(), Affine()]), (2,))
    with pytest.raises(NonFiniteError, match="6 of 6 examples in step '1/Broken'"):
        flow.log_prob(x)
    with pytest.raises(NonFiniteError, match=r"Decoding makes NaN for 6 of 6 .* step '1/Broken'"):
        flow.decode(x)
    assert np.isnan(tf.function(flow.log_prob)(x)).all()


# Construction -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": (3,)}, r"must broadcast to the event shape \(3,\)"),
        ({"event_shape": 2}, r"event_shape must be a tuple of positive sizes, such as \(2,\)"),
        ({"event_shape": (-2,)}, "event_shape must be a tuple of positive sizes"),
        ({"seed": 2**31}, "seed must be from 0 to 2"),
        ({"context_embedding": keras.layers.Dense(3)}, "context_embedding needs a context_shape"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Flow(Affine(SHIFT, SCALE), **{"event_shape": (2,), **arguments})


def test_a_built_transform_keeps_its_weights_and_its_shape():
    transform = ActNorm()
    transform.build((None, 2))
    bias = transform.bias
    assert Flow(transform, (2,)).transform.bias is bias
    with pytest.raises(ValueError, match=r"was built for inputs of shape \(2,\).* given \(3,\)"):
        Flow(transform, (3,))
    with pytest.raises(ValueError, match=r"was built for inputs of shape \(2,\).* given \(3,\)"):
        Flow(Chain([Affine(), transform]), (3,))


def test_shared_steps_share_weights(x):
    step = ActNorm()
    flow = Flow(Chain([step, step]), (2,))
    move_weights(flow)
    assert len(flow.trainable_weights) == 2
    once, _ = step.encode(tf.constant(x, tf.float32))
    np.testing.assert_allclose(flow.encode(x), step.encode(once)[0], rtol=1e-6)


def test_blocks_are_found_in_the_order_of_encoding():
    a, b, c = (residual_block("float32") for _ in range(3))
    flow = Flow(Chain([a, Chain([Affine(1.0, 2.0), b]), c]), (2,))
    assert [block is step for block, step in zip(flow.blocks, (a, b, c), strict=True)] == [True] * 3
    assert Flow(b, (2,)).blocks == [b]
