"""DenseFlow: what is published, how it is put together, and that its numbers are probabilities."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import binomtest

import keras_flows as kf
from keras_flows import layers, transforms
from keras_flows.models import CONFIGURATIONS, DenseFlow, denseflow, from_name
from keras_flows.noise import SeededNoise
from tests.registry import CASES, dense_flow, move_weights


def parameters(layer):
    return sum(int(np.prod(v.shape)) for v in layer.trainable_variables)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["denseflow_cifar10", "denseflow_imagenet64"])
def test_the_published_models_have_their_number_of_parameters(name):
    flow = from_name(name)
    assert parameters(flow) == 130_647_294
    assert parameters(flow.transform.steps[0]) == 2_395_784
    # 12 channels; + 5·10, × 2; + 3·10, × 2; one unit more.
    side = flow.event_shape[0] // 8
    assert flow.latent_shape == (side, side, ((12 + 50) * 2 + 30) * 2)


def test_published_configurations_are_on_their_images():
    shapes = {"cifar10": 32, "imagenet32": 32, "celeba": 64, "imagenet64": 64}
    for data, side in shapes.items():
        model, arguments = CONFIGURATIONS[f"denseflow_{data}"]
        assert (model, arguments["event_shape"]) == (DenseFlow, (side, side, 3))
    small = from_name(
        "denseflow_cifar10", units=(1, 1, 1), modules=(1, 1, 1), width=4, coupling_growth=2
    )
    assert (small.event_shape, small.get_config()["growth"]) == ((32, 32, 3), 10)


def test_the_steps_are_those_of_the_paper():
    flow = dense_flow()("float32")
    assert [type(step) for step in flow.transform.steps] == [
        transforms.VariationalDequantization,
        transforms.Affine,
        transforms.Squeeze,
        denseflow.CrossUnitBlock,
        transforms.SqueezeAndDrop,
        denseflow.CrossUnitBlock,
    ]
    module = flow.transform.steps[3].units[0].steps[0]
    assert [type(step) for step in module.steps] == [
        transforms.ActNorm,
        transforms.Conv1x1,
        transforms.AffineCoupling,
        transforms.SwapHalves,
    ]
    assert (module.steps[0].minimum_variance, module.steps[0].epsilon) == (0.0, 1e-6)
    # 4 channels and 1 of noise at 2 × 2; 10 at 1 × 1.
    assert flow.latent_shape == (1, 1, 10)
    assert flow.noise_shape("encode") == (16 + 4,)
    assert flow.noise_shape("decode") == (10,)
    assert flow.likelihood == "lower_bound"
    uniform = CASES["denseflow_uniform"].flow("float32")
    assert isinstance(uniform.transform.steps[0], transforms.UniformDequantization)
    assert isinstance(uniform.transform.steps[1], transforms.Logit)
    assert uniform.transform.steps[1].alpha == 0.05
    assert isinstance(uniform.transform.steps[3], transforms.Chain)
    assert uniform.latent_shape == (1, 1, 8)
    assert uniform.noise_shape("encode") == (16,)


@pytest.mark.slow
@pytest.mark.parametrize("growth", [0, 1])
def test_probabilities_of_all_images_are_the_frequencies_of_samples(growth):
    """All 16 images of four pixels of one bit: the whole likelihood against plain sampling."""
    keras.utils.set_random_seed(0)
    flow = dense_flow((2, 2, 1), units=(3,), modules=(2,), landmarks=1, bits=1, growth=growth)(
        "float32"
    )
    move_weights(flow, spread=0.1)
    flow.base.log_scale.assign(flow.base.log_scale - 1.5)
    images = np.array(list(np.ndindex(2, 2, 2, 2)), "float32").reshape(16, 2, 2, 1)
    draws = 100_000  # their weights have long tails
    weights = [np.exp(flow.log_prob(np.repeat(x[None], draws, 0), seed=7)) for x in images]
    probabilities = np.array([w.mean() for w in weights])
    errors = np.array([w.std() / np.sqrt(draws) for w in weights])
    assert probabilities.max() > 2.0 * probabilities.min()
    # Samples before they are brought into the range of the integers.
    n = 100_000
    noise = SeededNoise(3)
    z = flow.base.sample(n, flow.latent_shape, noise, 1.0, "float32")
    for step in reversed(flow.transform.steps[1:]):
        z = step.decode(z, noise=noise)
    cells = np.floor(2.0 * z.numpy()).reshape(n, 4)
    inside = np.all((cells >= 0) & (cells <= 1), axis=1)
    assert 0.1 < inside.mean() < 1.0
    counts = np.bincount((cells[inside] @ [8, 4, 2, 1]).astype(int), minlength=16)
    for count, probability, error in zip(counts, probabilities, errors, strict=True):
        low, high = binomtest(int(count), n).proportion_ci(0.9999)
        assert low - 4.0 * error < probability < high + 4.0 * error
    total, spread = probabilities.sum(), np.sqrt(np.sum(errors**2))
    assert total == pytest.approx(inside.mean(), abs=4.0 * (spread + 0.5 / np.sqrt(n)))


@pytest.mark.slow
def test_labels_matter_in_every_network():
    case = CASES["denseflow_labels"]
    flow, x = case.flow(), case.data(4)
    one, other = (flow.log_prob(x, np.full(4, label), seed=0).numpy() for label in (0, 1))
    assert np.abs(one - other).min() > 1e-6
    nets = [layer for layer in flow._flatten_layers() if isinstance(layer, layers.CouplingNetwork)]
    dequantizer = flow.transform.steps[0]
    inner = [layer for layer in nets if layer not in dequantizer._flatten_layers()]
    assert len(inner) == 4 and all(net.context_size == 4 for net in inner)
    with tf.GradientTape() as tape:
        log_prob = flow.log_prob(x, np.arange(4) % 3, seed=0, training=True)
    gradient = tape.gradient(log_prob, flow.context_embedding.embeddings.value)
    assert np.all(np.abs(tf.convert_to_tensor(gradient)).max(axis=1) > 0)
    samples = [flow.sample(50, seed=0, context=label).numpy() for label in (0, 0, 2)]
    np.testing.assert_array_equal(samples[0], samples[1])
    assert not np.array_equal(samples[0], samples[2])


def test_temperature_scales_all_that_is_drawn():
    flow = CASES["denseflow"].flow()
    cold = flow.sample(6, seed=0, temperature=0.0).numpy()
    np.testing.assert_array_equal(cold, np.repeat(cold[:1], 6, axis=0))
    drop = transforms.SqueezeAndDrop(dtype="float64")
    halves = kf.Flow(drop, (4, 4, 1), dtype="float64")
    one, same, half = (halves.sample(9, seed=3, temperature=t) for t in (1.0, 1, 0.5))
    np.testing.assert_array_equal(one, same)
    np.testing.assert_allclose(half, 0.5 * one, rtol=1e-12)


def gradients(flow, x, compiled):
    """Of the mean log_prob in training, with the moving averages after it."""

    def run(x):
        with tf.GradientTape() as tape:
            log_prob = flow.density(x, None, SeededNoise(0), training=True).log_prob
        return log_prob, tape.gradient(log_prob, flow.trainable_variables)

    if compiled:
        run = tf.function(run, jit_compile=True, autograph=False)
    log_prob, made = run(tf.constant(x, flow.compute_dtype))
    others = [v.numpy() for v in flow.non_trainable_variables if "moving" in v.path]
    return [log_prob, *map(tf.convert_to_tensor, made), *others]


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_recomputing_changes_no_number(compiled):
    x = CASES["denseflow_one_block"].data(6)
    arguments = {"units": (2,), "modules": (1,), "landmarks": 1}
    results = []
    for recompute in (False, True):
        keras.utils.set_random_seed(0)
        flow = dense_flow((2, 2, 1), **arguments, recompute=recompute)("float32")
        move_weights(flow, spread=0.1)
        results.append(gradients(flow, x, compiled))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * (np.abs(other).max() + 1))


def test_recomputing_runs_the_branches_twice():
    counts = []
    for recompute in (False, True):
        block = layers.DenseAttentionBlock(2, 3, "proper", 2, recompute=recompute)
        block.build((None, 2, 2, 4))

        @tf.function(autograph=False)
        def run(x, block=block):
            with tf.GradientTape() as tape:
                y = block(x, training=True)
            return tape.gradient(y, block.trainable_variables)

        graph = run.get_concrete_function(tf.TensorSpec((None, 2, 2, 4))).graph
        counts.append(sum(op.type == "Conv2D" for op in graph.get_operations()))
    # Two of attention, two for each layer of the dense block and one at its end; `mix` once.
    assert counts == [8, 8 + 7]


@pytest.mark.slow
def test_half_precision_networks_keep_the_bits():
    keras.utils.set_random_seed(0)
    single = dense_flow()("float32")
    move_weights(single, spread=0.1)
    mixed = dense_flow(network_dtype="mixed_bfloat16")("float32")
    assert {weight.dtype for weight in mixed.weights} <= {"float32", "int32", "uint32"}
    mixed.set_weights(single.get_weights())
    x = CASES["denseflow"].data(20)
    one, other = (flow.bits_per_dim(x, seed=0).numpy() for flow in (single, mixed))
    assert other.dtype == "float32"
    assert 0.0 < np.abs(one - other).max() < 0.02
    net = mixed.transform.steps[3].units[0].steps[0].steps[2].net
    assert net(tf.zeros((1, 2, 2, 2))).dtype == "bfloat16"
    for value in gradients(mixed, x, compiled=False):
        assert value.dtype == "float32" and np.isfinite(value).all()
    copy = DenseFlow.from_config(mixed.get_config())
    copy.set_weights(mixed.get_weights())
    np.testing.assert_array_equal(copy.log_prob(x, seed=0), mixed.log_prob(x, seed=0))


def images(n=64):
    rng = np.random.default_rng(0)
    level = rng.integers(1, 7, size=(n, 1, 1, 1))
    return np.clip(level + rng.integers(-1, 2, size=(n, 4, 4, 1)), 0, 7).astype("float32")


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_improves_the_bound_and_inverts_with_the_moving_averages(jit_compile):
    keras.utils.set_random_seed(0)
    flow, x = dense_flow(seed=1)("float32"), images()
    flow.compile(keras.optimizers.Adam(3e-3), jit_compile=jit_compile)
    history = flow.fit(x, epochs=30, batch_size=32, verbose=0).history
    assert history["bits_per_dim"][-1] < history["bits_per_dim"][0] - 0.5
    norms = [layer for layer in flow._flatten_layers() if isinstance(layer, layers.BatchNorm)]
    assert norms and all(np.any(norm.moving_mean != 0.0) for norm in norms)
    # Evaluation and inversion use the moving averages: rows do not depend on one another.
    whole = flow.log_prob(x, noise=draw(64))
    one = flow.log_prob(x[:1], noise=[e[:1] for e in draw(64)])
    np.testing.assert_allclose(one, whole[:1], rtol=1e-4)
    unit = flow.transform.steps[3].units[0]
    z = tf.random.stateless_normal((5, 2, 2, 4), (1, 2))
    np.testing.assert_allclose(unit.encode(unit.decode(z))[0], z, atol=1e-3)


def draw(n):
    """The arrays of encoding noise, the same for every call."""
    rng = np.random.default_rng(1)
    return [rng.standard_normal((n, 2, 2, 4)), rng.standard_normal((n, 2, 2, 1))]


@pytest.mark.slow
def test_the_view_of_tensorflow_probability():
    flow = CASES["denseflow"].flow("float32")
    distribution = flow.as_distribution()
    assert distribution.likelihood == "lower_bound"
    x = distribution.sample((2, 3), seed=1)
    assert x.shape == (2, 3, 4, 4, 1)
    log_prob = distribution.log_prob(x, seed=(1, 2))
    expected = flow.log_prob(tf.reshape(x, (6, 4, 4, 1)), seed=(1, 2))
    np.testing.assert_allclose(tf.reshape(log_prob, (6,)), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="biject"):
        flow.as_bijector()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": (6, 4, 1)}, r"of 2 blocks .* divisible by 4 and .* by 4; got \(6, 4, 1\)"),
        ({"event_shape": (16,)}, r"takes images .*; got \(16,\)"),
        ({"units": ()}, r"units, .* must be a sequence of integers.* got \(\)"),
        ({"units": 2}, "units, .* must be a sequence of integers.* got 2"),
        ({"units": (2, 0)}, "Every number in units, .* must be an integer, at least 1; got 0"),
        ({"modules": (1,)}, r"one number for every block; got \[2, 1\] and \[1\]"),
        ({"growth": -1}, "growth must be an integer, at least 0; got -1"),
        ({"width": (4, 4, 4)}, "width has 3 numbers for 2 blocks"),
        ({"width": 1}, "half of the channels.*two or more; got 1"),
        ({"landmarks": 3}, r"2×2 = 4 positions; got 3\. Possible are 1, 2, 4"),
        ({"dequantization": "none"}, "Unknown dequantization 'none'. Known: uniform, variational"),
        ({"attention": "full"}, "'published' or 'proper'; got 'full'"),
        ({"bits": 17}, "bits must be an integer from 1 to 16; got 17"),
    ],
)
def test_errors(arguments, message):
    event_shape = arguments.pop("event_shape", (4, 4, 1))
    with pytest.raises(ValueError, match=message):
        dense_flow(event_shape, **arguments)("float32")


@pytest.mark.slow
def test_the_data_are_integers():
    flow = CASES["denseflow"].flow("float32")
    with pytest.raises(kf.NonFiniteError, match="VariationalDequantization"):
        flow.log_prob(np.full((1, 4, 4, 1), 8.0), seed=0)
