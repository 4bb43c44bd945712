"""i-DenseNet and Residual Flow on images: steps, sizes, published configurations, training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows import ConvergenceError, models
from keras_flows.calls import Caller
from keras_flows.layers import ConditionedDense, LipschitzDenseLayer, SpectralConv2D, SpectralLayer
from keras_flows.models import IDenseNet, ResidualFlow
from keras_flows.noise import SeededNoise
from keras_flows.numerics.log_det import PowerSeries, Unbiased
from keras_flows.transforms import (
    ActNorm,
    FactorOut,
    Flatten,
    Logit,
    ResidualBlock,
    Squeeze,
    UniformDequantization,
    VariationalDequantization,
)
from tests.registry import move_weights

TINY = {
    "blocks": (1, 1),
    "depth": 2,
    "growth": 4,
    "fully_connected": {"blocks": 1, "size": 4},
    "bits": 3,
}
PLAIN = {"blocks": (2, 1), "widths": (4, 4), "fully_connected": {"blocks": 1, "size": 6}, "bits": 3}


def parameters(flow):
    return sum(weight.shape.num_elements() for weight in flow.trainable_variables)


def digits(n, shape=(4, 4, 1), levels=8, seed=0):
    return np.random.default_rng(seed).integers(levels, size=(n, *shape))


SIZES = {"steps": 1, "width": 4, "depth": 1, "growth": 3, "context": 3}


@pytest.mark.slow
@pytest.mark.parametrize(("model", "tiny"), [(IDenseNet, TINY), (ResidualFlow, PLAIN)])
def test_a_dequantization_is_chosen(model, tiny):
    keras.utils.set_random_seed(0)
    chosen = {"class_name": "variational", "config": SIZES}
    flow = model((4, 4, 1), **tiny, dequantization=chosen)
    uniform = model((4, 4, 1), **tiny)
    first, *rest = flow.transform.steps
    assert isinstance(first, VariationalDequantization) and first.bits == 3
    assert kinds(rest) == kinds(uniform.transform.steps[1:])
    move_weights(flow, spread=0.1)
    x = digits(5)
    z = flow.encode(x, seed=0)
    np.testing.assert_array_equal(flow.decode(z), x)
    copied = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(flow))
    assert copied.arguments.dequantization == chosen
    copied.set_weights(flow.get_weights())
    np.testing.assert_allclose(copied.log_prob(x, seed=1), flow.log_prob(x, seed=1), rtol=1e-6)


def test_a_dequantization_that_does_not_fit():
    with pytest.raises(ValueError, match="not dequantized: leave dequantization out"):
        IDenseNet((4, 4, 1), **{**TINY, "bits": None}, dequantization="variational")
    with pytest.raises(ValueError, match="Unknown dequantization 'unifrom'"):
        IDenseNet((4, 4, 1), **TINY, dequantization="unifrom")
    assert IDenseNet((4, 4, 1), **TINY).arguments.dequantization == "uniform"


def kinds(steps):
    return [type(step) for step in steps]


# Published configurations, with the counts of the papers' implementation without its two scalars
# per block that no density uses.
PUBLISHED = {
    "idensenet_cifar10": 24_894_586,
    "idensenet_cifar10_small": 8_695_126,
    "idensenet_cifar10_small_lipswish": 8_761_342,
    "idensenet_imagenet32": 46_980_874,
    "idensenet_mnist": 5_023_970,
    "residual_flow_cifar10": 25_174_129,
    "residual_flow_cifar10_small": 8_730_409,
    "residual_flow_mnist": 5_059_885,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    flow = models.from_name(name)
    assert parameters(flow) == PUBLISHED[name]
    assert flow.event_shape == (32, 32, 1 if "mnist" in name else 3)
    assert flow.likelihood == "lower_bound"
    assert {block.log_det.distribution for block in flow.blocks} == {"poisson"}


def test_published_configurations_by_name():
    assert PUBLISHED.keys() <= models.CONFIGURATIONS.keys()
    model, arguments = models.CONFIGURATIONS["idensenet_mnist"]
    assert model is IDenseNet
    assert (arguments["coeff"], arguments["alpha"]) == (0.93, 1e-6)
    with pytest.raises(ValueError, match=r"Did you mean 'idensenet_mnist'\? Known: .*residual_f"):
        models.from_name("idensenet_minst")


def test_arguments_change_a_published_configuration():
    flow = models.from_name(
        "idensenet_mnist", blocks=(1,), depth=1, growth=4, fully_connected=None, seed=3
    )
    config = flow.get_config()
    assert (config["seed"], config["alpha"], config["blocks"]) == (3, 1e-6, [1])
    last = flow.blocks[0].net.layers[-1].dense
    assert (last.coeff, last.iterations) == (0.93, "tolerance")


@pytest.mark.parametrize("activation", ["lipswish", "clipswish"])
def test_size_by_formula(activation):
    flow = IDenseNet((4, 4, 2), **{**TINY, "activation": activation})

    def block(inputs, growth, kernels, last):
        filters = growth // 2 if activation == "clipswish" else growth
        size = sum(
            (kernels * (inputs + i * growth) + 1) * filters + 3 for i in range(TINY["depth"])
        )
        return size + (inputs + TINY["depth"] * growth + 1) * last

    images = sum(block(channels, 4, 9, channels) for channels in (2, 8))
    fully_connected = (32 + 1) * 64 + block(64, 4, 1, 32)
    actnorms = 2 * (2 + 2 + 8 + 32)
    assert parameters(flow) == images + fully_connected + actnorms


def test_order_of_the_steps():
    steps = IDenseNet((4, 4, 1), **TINY).transform.steps
    assert kinds(steps) == [
        UniformDequantization, Logit, ActNorm, ResidualBlock, ActNorm, Squeeze,
        ResidualBlock, ActNorm, Flatten, ResidualBlock, ActNorm,
    ]  # fmt: skip
    assert steps[0].bits == 3 and steps[1].alpha == 0.05
    shapes = [step.event_shape for step in steps if isinstance(step, ResidualBlock)]
    assert shapes == [(4, 4, 1), (2, 2, 4), (16,)]
    flow = IDenseNet((4, 4, 1), **{**TINY, "bits": None, "actnorm": False, "squeeze_first": True})
    assert kinds(flow.transform.steps) == [
        Logit, Squeeze, ResidualBlock, Squeeze, ResidualBlock, Flatten, ResidualBlock,
    ]  # fmt: skip
    assert flow.latent_shape == (16,)
    flow = ResidualFlow((4, 4, 1), **{**PLAIN, "first_actnorm": False, "first_activation": True})
    assert kinds(flow.transform.steps)[:4] == [UniformDequantization, Logit, ResidualBlock, ActNorm]
    assert all(layer.activation is not None for layer in flow.blocks[0].net.layers)
    flow = ResidualFlow((4, 4, 1), **{**PLAIN, "factor_out": True, "fully_connected": None})
    *outer, last = flow.transform.steps
    assert kinds(outer)[-2:] == [ActNorm, Squeeze] and isinstance(last, FactorOut)
    assert kinds(last.inner.steps) == [ResidualBlock, ActNorm]
    # Half of the four channels leave.
    assert last.inner.steps[0].event_shape == (2, 2, 2)
    assert len(flow.blocks) == 3 and flow.latent_shape == (16,)


def test_networks_of_an_idensenet():
    flow = IDenseNet((4, 4, 1), **TINY)
    *dense, last = flow.blocks[0].net.layers
    assert [type(layer) for layer in dense] == [LipschitzDenseLayer] * 2
    assert all(layer.linear.dense.kernel.shape[:2] == (3, 3) for layer in dense)
    assert last.dense.kernel.shape == (1, 1, 9, 1)
    entrance, *dense, last = flow.blocks[-1].net.layers
    assert isinstance(entrance, ConditionedDense) and entrance.activation is None
    assert entrance.dense.kernel.shape == (16, 64)
    assert [layer.linear.dense.kernel.shape for layer in dense] == [(64, 2), (68, 2)]
    assert last.dense.kernel.shape == (72, 16)
    assert flow.concatenation_coefficients().shape == (3, 2, 2)


def test_networks_of_a_residual_flow():
    flow = ResidualFlow((4, 4, 1), **PLAIN)
    first, second, third, fully_connected = (block.net.layers for block in flow.blocks)
    for layers, channels in ((first, 1), (second, 1), (third, 4)):
        shapes = [layer.dense.kernel.shape for layer in layers]
        assert shapes == [(3, 3, channels, 4), (1, 1, 4, 4), (3, 3, 4, channels)]
    # Pre-activation, but in the very first block.
    assert [layer.activation is None for layer in first] == [True, False, False]
    assert not any(layer.activation is None for layer in (*second, *third, *fully_connected))
    shapes = [layer.dense.kernel.shape for layer in fully_connected]
    assert shapes == [(16, 6), (6, 6), (6, 16)]


def test_defaults_on_images():
    flow = IDenseNet((2, 2, 1), blocks=(1,), growth=4, fully_connected=None)
    config = flow.get_config()
    assert (config["depth"], config["activation"], config["coeff"]) == (3, "clipswish", 0.98)
    estimator = flow.blocks[0].log_det
    assert isinstance(estimator, Unbiased) and estimator.distribution == "poisson"
    assert estimator.exact_terms == (2, 20)
    for layer in flow._flatten_layers():
        if isinstance(layer, SpectralConv2D):
            assert layer.iterations == "tolerance"


@pytest.mark.slow
@pytest.mark.parametrize(
    "flow",
    [
        lambda: IDenseNet((4, 4, 1), **TINY, seed=4, block_bound=0.9, power_iterations=3),
        lambda: ResidualFlow((4, 4, 1), **PLAIN, log_det=PowerSeries(3), alpha=1e-6),
    ],
)
def test_configuration_round_trip(flow):
    flow = flow()
    config = flow.get_config()
    copy = type(flow).from_config(config)
    assert copy.get_config() == config
    copy.set_weights(flow.get_weights())
    x = digits(3)
    np.testing.assert_array_equal(copy.log_prob(x, seed=1), flow.log_prob(x, seed=1))


@pytest.mark.slow  # half a minute
def test_a_fresh_flow_is_a_contraction_before_and_after_it_converges():
    keras.utils.set_random_seed(0)
    # Large enough that the norms of its convolutions start from a bound.
    flow = IDenseNet((8, 8, 2), **{**TINY, "blocks": (1,), "growth": 8}, block_bound=0.99)
    fresh = [layer for layer in flow._flatten_layers() if getattr(layer, "fresh", False)]
    assert fresh and all(isinstance(layer, SpectralConv2D) for layer in fresh)
    before = flow.certify()
    assert before.largest < 0.99
    for training in (False, True):
        assert np.isfinite(flow.log_prob(digits(2, (8, 8, 2)), seed=0, training=training)).all()
    flow.converge()
    assert not any(layer.fresh for layer in fresh)
    # The map of the convolutions has become larger, and is not too large.
    after = flow.certify()
    path = next(iter(before.bounds))
    assert before.bounds[path] < after.bounds[path] < after.largest * (1.0 + 1e-9) < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(("model", "size"), [(IDenseNet, TINY), (ResidualFlow, PLAIN)])
def test_training_lowers_the_bits(model, size, jit_compile):
    keras.utils.set_random_seed(0)
    flow = model((4, 4, 1), **size)
    # Rows that repeat, in levels 2 to 5 of 8: 3 bits of the uniform density can become 2 or less.
    x = np.repeat(2 + digits(256, (1, 4, 1), 4), 4, axis=1)
    flow.compile(keras.optimizers.Adam(3e-3), jit_compile=jit_compile)
    start = flow.evaluate(x, verbose=0, return_dict=True)["bits_per_dim"]
    history = flow.fit(x, batch_size=64, epochs=12, verbose=0).history
    assert "bits_per_dim" in history
    assert flow.evaluate(x, verbose=0, return_dict=True)["bits_per_dim"] < min(start, 2.6)
    assert flow.certify().largest < 1.0
    # The norms were followed: what is stored is what the kernels have.
    for layer in flow._flatten_layers():
        if isinstance(layer, SpectralConv2D):
            assert 0.0 < layer.lipschitz_bound() <= layer.coeff * 1.001


@pytest.mark.slow
def test_a_training_step_keeps_every_block_a_contraction():
    keras.utils.set_random_seed(0)
    flow = IDenseNet((4, 4, 1), **TINY)
    flow.compile(keras.optimizers.Adam(0.1), jit_compile=False)
    spectral = [layer for layer in flow._flatten_layers() if isinstance(layer, SpectralLayer)]
    assert any(layer.fresh for layer in spectral)

    def look(epoch, logs):
        # The first step has norms that are found, not bounded.
        assert not any(layer.fresh for layer in spectral)

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=look)
    flow.fit(digits(32), batch_size=8, callbacks=[callback], verbose=0)
    assert flow.certify().largest < 1.0
    assert all(norm.initialized == 1 for norm in flow.transform.steps if isinstance(norm, ActNorm))


# The inverse ------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["idensenet", "residual_flow", "factored"])
def stretched(request):
    """A flow of 8 bits whose blocks are near their bound."""
    keras.utils.set_random_seed(0)
    if request.param == "idensenet":
        flow = IDenseNet((4, 4, 1), **{**TINY, "bits": 8, "block_bound": 0.95})
    else:
        factored = {"factor_out": request.param == "factored"}
        flow = ResidualFlow((4, 4, 1), **{**PLAIN, "bits": 8, "block_bound": 0.95, **factored})
    for layer in flow._flatten_layers():
        if isinstance(layer, SpectralLayer):
            layer.kernel.assign(8.0 * layer.kernel)
    move_weights(flow)
    return flow


def pictures():
    """Data, noise and constant images, integers."""
    ramp = np.tile(np.arange(4) * 60, (2, 4, 1))[..., None]
    constants = np.stack([np.full((4, 4, 1), level) for level in (0, 127, 255)])
    return np.concatenate([ramp, digits(5, levels=256), constants])


@pytest.mark.slow  # half a minute
def test_round_trip_of_pictures(stretched):
    assert 0.5 < stretched.certify().largest < 0.96
    x = pictures()
    z = stretched.encode(x, seed=3)
    np.testing.assert_array_equal(stretched.decode(z), x)
    # Before rounding to integers: 1e-4 of a level, on a scale of 255.
    continuous = tf.constant((x + 0.5) / 256.0, tf.float32)
    rest, noise = stretched.transform.steps[1:], SeededNoise(5)
    z = continuous
    for step in rest:
        z, _ = step.encode(z, noise=noise)
    for step in reversed(rest):
        if isinstance(step, ResidualBlock):
            result = step.invert(z)
            assert result.converged.numpy().all()
            assert (result.iterations.numpy() > 1).all()
        z = step.decode(z)
    np.testing.assert_allclose(256.0 * z, 256.0 * continuous, rtol=0.0, atol=1e-4)


@pytest.mark.slow
def test_too_few_iterations_are_an_error_not_a_picture(stretched):
    z = stretched.encode(pictures(), seed=3)
    block = stretched.blocks[-2]  # on images; inside the FactorOut where there is one
    most, block.max_iterations = block.max_iterations, 2
    stretched.calls = Caller(stretched)
    try:
        with pytest.raises(ConvergenceError, match=r"did not converge within 2 iterations for \d+"):
            stretched.decode(z)
    finally:
        block.max_iterations = most
        stretched.calls = Caller(stretched)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": 4}, "blocks, .* must be a sequence of integers.* got 4"),
        ({"blocks": ()}, r"blocks, .* must be a sequence of integers.* got \(\)"),
        ({"blocks": (2, 0)}, "Every number in blocks, .* at least 1; got 0"),
        ({"event_shape": (5, 4, 1)}, r"height and width divisible by 2; got \(5, 4, 1\)"),
        ({"fully_connected": {"blocks": -1}}, "where it is not 0, must be an integer.* got -1"),
        ({"bits": 0}, "bits must be an integer from 1 to 16; got 0"),
        ({"alpha": 0.5}, r"alpha must be in \[0, 0.5\); got 0.5"),
        ({"growth": 3, "activation": "clipswish"}, "growth must .* divisible by 2; got 3"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        IDenseNet(**{"event_shape": (4, 4, 1), **TINY, **arguments})


@pytest.mark.slow
def test_integers_out_of_range_are_an_error():
    flow = IDenseNet((4, 4, 1), **TINY)
    for wrong in (8, -1, 0.5):
        x = digits(2).astype("float32")
        x[1, 2, 3, 0] = wrong
        with pytest.raises(Exception, match="1 of 2 examples in step '0/UniformDequantization'"):
            flow.log_prob(x, seed=0)
