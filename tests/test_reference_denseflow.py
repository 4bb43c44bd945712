"""The same functions as the published PyTorch implementation of DenseFlow, number by number.

Longer than other files: all numbers of one publication.

Differences are measured against the largest element of an array. Images are channels-first in the
files.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows import layers, transforms
from keras_flows.bases import ChannelNormal
from keras_flows.layers.coupling.nystrom_attention import pseudo_inverse
from keras_flows.models import denseflow
from keras_flows.models.denseflow import checkpoint as tables
from keras_flows.models.denseflow.model import module
from keras_flows.noise import ReplayedNoise

pytestmark = pytest.mark.reference

FLOAT64 = 1e-9
MODELS = ["A1_3x8x8", "A1b_3x16x16", "A2_1x16x16"]


def channels_last(x):
    return np.moveaxis(x, 1, -1)


def assert_close(actual, expected, relative=FLOAT64, absolute=0.0):
    actual, expected = np.asarray(actual, "float64"), np.asarray(expected, "float64")
    if expected.ndim == 4:
        expected = channels_last(expected)
    assert actual.shape == expected.shape
    tolerance = relative * np.abs(expected).max() + absolute
    np.testing.assert_allclose(actual, expected, rtol=0.0, atol=tolerance)


def recorded(arrays, kind):
    """The recorded noise, channels-last, in the order of consumption."""
    return [channels_last(arrays[name]) for name in sorted(arrays) if name.startswith(f"{kind}/")]


# Whole models -------------------------------------------------------------------------------------


class Model:
    """An imported model in one dtype, the arrays, and the tolerances of their comparison."""

    def __init__(self, flow, arrays, config):
        self.flow, self.arrays, self.config = flow, arrays, config
        self.single = flow.compute_dtype == "float32"
        self.suffix = "" if self.single else "64"
        self.x = channels_last(arrays["in/x"])

    def out(self, name, kind="out"):
        return self.arrays[f"{kind}{self.suffix}/{name}"]

    def close(self, actual, name, kind="out", distance="z_max_abs"):
        """Agreement within twice the distance of the reference's own runs, or 1e-8 relative."""
        if self.single:
            # The distance is that of the largest number, which float32 may round elsewhere.
            allowed = 2.0 * self.config["float32_vs_float64"][distance]
            assert_close(actual, self.out(name, kind), 1e-7, allowed)
        else:
            # The constant ln 256 is float32 in the published models: 2e-9 of a log-density.
            assert_close(actual, self.out(name, kind), 1e-8)


@pytest.fixture(scope="module")
def imported(reference, tmp_path_factory):
    @functools.cache
    def load(name, dtype):
        arrays, config = reference(name)
        path = tmp_path_factory.mktemp("reference") / f"{name}.npz"
        np.savez(path, **{key: value for key, value in arrays.items() if key.startswith("state/")})
        return Model(kf.zoo.import_checkpoint(path, config, dtype=dtype), arrays, config)

    return load


@pytest.fixture(
    params=[
        pytest.param((name, dtype), marks=[] if dtype == "float64" else [pytest.mark.slow])
        for name in MODELS
        for dtype in ("float32", "float64")
    ]
)
def model(request, imported):
    return imported(*request.param)


def test_every_parameter_is_there(model):
    count = sum(int(np.prod(v.shape)) for v in model.flow.trainable_variables)
    assert count == model.config["n_params"]


def test_every_top_level_step(model):
    noise = ReplayedNoise(recorded(model.arrays, "noise"))
    z = tf.constant(model.x, model.flow.compute_dtype)
    steps = model.flow.transform.steps
    assert len(steps) == len(model.config["top_level_transforms"])
    for i, step in enumerate(steps):
        z, log_det = step.encode(z, noise=noise)
        model.close(z, f"t{i:02d}/z")
        model.close(log_det, f"t{i:02d}/ldj", distance="log_prob_max_abs")
    noise.finish()
    model.close(z, "z")


def test_every_inner_step(model):
    """Of the blocks, against the numbers recorded after every inner module, which are float32."""
    noise = ReplayedNoise(recorded(model.arrays, "noise"))
    x = tf.constant(model.x, model.flow.compute_dtype)
    compared = 0
    for path, z, log_det in model.flow.transform.encode_steps(x, None, noise):
        step, *inner, _ = path.split("/")
        if len(inner) != 3:
            continue
        unit, module, part = map(int, inner)
        place = f"transforms.{step}.blocks.{unit // 2}.transforms.{module}.transforms.{part}"
        assert_close(z, model.arrays[f"mid/{place}/z"], 1e-5)
        assert_close(log_det, model.arrays[f"mid/{place}/ldj"], 1e-5, 1e-4)
        compared += 1
    units, modules = model.config["block_config"], model.config["layers_config"]
    assert compared == 4 * sum(u * m for u, m in zip(units, modules, strict=True))


def test_latent_log_prob_and_bits(model):
    noise = recorded(model.arrays, "noise")
    z = model.flow.encode(model.x, noise=noise)
    model.close(z, "z")
    model.close(model.flow.base.log_prob(z), "base_log_prob", distance="log_prob_max_abs")
    log_prob = model.flow.log_prob(model.x, noise=noise)
    model.close(log_prob, "log_prob", distance="log_prob_max_abs")
    bits = model.flow.bits_per_dim(model.x, noise=noise)
    relative = 1e-6 if model.single else 1e-8
    assert_close(bits, model.out("bpd_per_sample"), relative)
    assert_close(tf.reduce_mean(bits), model.out("elbo_bpd"), relative)
    assert model.flow.likelihood == "lower_bound"


def test_samples(model):
    flow, noise = model.flow, recorded(model.arrays, "sample_noise")
    shape = flow.latent_shape
    z = flow.base.sample(len(model.x), shape, ReplayedNoise(noise[:1]), 1.0, flow.compute_dtype)
    model.close(z, "base", "sample", "sample_continuous_max_abs")
    np.testing.assert_array_equal(
        flow.decode(z, noise=noise[1:]), channels_last(model.out("x", "sample"))
    )
    source = ReplayedNoise(noise[1:])
    for i in reversed(range(len(flow.transform.steps))):
        z = flow.transform.steps[i].decode(z, noise=source)
        model.close(z, f"inv_t{i:02d}/x", "sample", "sample_continuous_max_abs")
    source.finish()


def test_reconstruction(model):
    """Decoding the latent with the halves that were factored out gives the image back."""
    flow, dropped = model.flow, []
    z = tf.constant(model.x, flow.compute_dtype)
    noise = ReplayedNoise(recorded(model.arrays, "noise"))
    for step in flow.transform.steps:
        if isinstance(step, transforms.SqueezeAndDrop):
            dropped.insert(0, tf.split(step.squeeze.encode(z)[0], 2, axis=-1)[1])
        z, _ = step.encode(z, noise=noise)
    x = flow.decode(z, noise=dropped)
    np.testing.assert_array_equal(x, channels_last(model.arrays["out/recon"]))
    np.testing.assert_array_equal(x, model.x)


# Layers -------------------------------------------------------------------------------------------


def fill(weights, arrays):
    """Assigns the arrays of a table, and makes sure that none is left over."""
    used = set()
    for weight in weights:
        given = [arrays[f"state/{name.lstrip('.')}"] for name in weight.shapes]
        assert [array.shape for array in given] == list(weight.shapes.values())
        weight.variable.assign(weight.convert(*given))
        used.update(f"state/{name.lstrip('.')}" for name in weight.shapes)
    left = {name for name in arrays if name.startswith("state/")} - used
    assert all(name.endswith(tables.IGNORED) for name in left), left


def image(arrays, name):
    return tf.constant(channels_last(arrays[name]))


def built(layer, x, table, arrays, prefix=""):
    layer.build((None, *x.shape[1:]))
    fill(table(prefix, layer), arrays)
    return layer


def test_gated_convolution(reference):
    arrays, config = reference("unit_gated_conv2d")
    x = image(arrays, "in/x")
    layer = layers.GatedConv1x1(config["out_channels"], dtype="float64")
    layer.build(x.shape)
    fill(tables.convolution("conv", layer.conv), arrays)
    assert_close(layer(x), arrays["out/y"])


@pytest.mark.parametrize("suffix", ["", "2"], ids=["8x8", "4x6"])
def test_nystrom_attention(reference, suffix):
    arrays, config = reference("unit_nystrom_attention")
    x = image(arrays, f"in/x{suffix}")
    layer = layers.NystromAttention(
        config["embed_dim"], config["num_landmarks"], "published", dtype="float64"
    )
    built(layer, x, tables.attention, arrays)
    assert_close(layer(x), arrays[f"out/y{suffix}"])
    q, k, v = (tf.constant(arrays[f"out/{name}{suffix}"])[:, None] for name in "qkv")
    assert_close(layer._attend(q, k, v)[:, 0], arrays[f"out/pre_out{suffix}"])
    for name, of in (("q", q), ("k", k)):
        means = layer._means(of)[:, 0] / np.sqrt(q.shape[2])
        assert_close(means, arrays[f"out/{name}_landmarks{suffix}"])
    inverse = pseudo_inverse(tf.constant(arrays[f"out/kernel2{suffix}"]))
    assert_close(inverse, arrays[f"out/kernel2_inv{suffix}"])


def test_dense_attention_block(reference):
    arrays, config = reference("unit_multihead_dense_block")
    x = image(arrays, "in/x")
    layer = layers.DenseAttentionBlock(
        config["depth"], config["growth"], "published", dtype="float64"
    )
    built(layer, x, tables.attention_block, arrays)
    assert_close(layer.attention(x), arrays["out/mha"])
    assert_close(layer.dense(x), arrays["out/dense"])
    assert_close(layer(x), arrays["out/y"])
    assert_close(layer(x, training=True), arrays["out/y_train"])
    assert_close(layer.norm.moving_mean, arrays["out/running_mean_after"])
    assert_close(layer.norm.moving_variance, arrays["out/running_var_after"])


@pytest.mark.parametrize("multihead", [False, True], ids=["residual", "attention"])
def test_coupling_network(reference, multihead):
    arrays, config = reference(f"unit_densenet{'_multihead' if multihead else ''}")
    x = image(arrays, "in/x")
    sizes = {"depth": config["depth"], "growth": config["growth"], "dtype": "float64"}

    def block():
        if multihead:
            return layers.DenseAttentionBlock(**sizes, attention="published")
        return layers.ResidualDenseBlock(**sizes)

    layer = layers.CouplingNetwork(
        config["out_channels"],
        config["mid_channels"],
        [block() for _ in range(config["num_blocks"])],
        dtype="float64",
    )
    built(layer, x, tables.network, arrays)
    assert_close(layer(x), arrays["out/y"])


# Transforms ---------------------------------------------------------------------------------------


def test_actnorm(reference):
    arrays, _ = reference("unit_actnorm")
    x = image(arrays, "in/x")

    def actnorm():
        return transforms.ActNorm(minimum_variance=0.0, epsilon=1e-6, dtype="float64")

    step = built(actnorm(), x, tables.actnorm, arrays)
    for training in (False, True):  # initialised: the same in both
        z, log_det = step.encode(x, training=training)
        assert_close(z, arrays["out/z"])
        assert_close(log_det, arrays["out/ldj"])
    assert_close(step.decode(z), arrays["out/x_inv"])
    x = image(arrays, "in/x_init")
    step = actnorm()
    step.build(x.shape)
    z, log_det = step.encode(x, training=True)
    assert_close(z, arrays["out/init_z"])
    assert_close(log_det, arrays["out/init_ldj"])
    assert_close(-step.bias.numpy(), arrays["out/init_shift"].ravel())
    assert_close(-step.log_scale.numpy(), arrays["out/init_log_scale"].ravel())
    assert step.initialized == 1


def test_conv1x1(reference):
    arrays, _ = reference("unit_conv1x1")
    x = image(arrays, "in/x")
    step = built(transforms.Conv1x1(dtype="float64"), x, tables.conv1x1, arrays)
    z, log_det = step.encode(x)
    assert_close(z, arrays["out/z"])
    assert_close(log_det, arrays["out/ldj"])
    assert_close(step.decode(z), arrays["out/x_inv"])
    assert_close(step.matrix(), arrays["state/weight"], 1e-14)
    assert_close(step.inverse_matrix(), arrays["out/weight_inv"])


@pytest.mark.parametrize("parity", ["even", "odd"])
def test_affine_coupling(reference, parity):
    arrays, config = reference(f"unit_affine_coupling_{parity}")
    x = image(arrays, "in/x")
    block = layers.DenseAttentionBlock(
        config["coupling_depth"], config["coupling_growth"], "published", dtype="float64"
    )
    channels = config["in_channels"]
    net = layers.CouplingNetwork(2 * (channels // 2), config["mid_chnls"], [block], dtype="float64")
    step = transforms.AffineCoupling(net, dtype="float64")
    built(step, x, tables.coupling, arrays)
    z, log_det = step.encode(x)
    assert_close(z, arrays["out/z"])
    assert_close(log_det, arrays["out/ldj"])
    assert_close(step.decode(z), arrays["out/x_inv"])
    raw = step.net(x[..., : channels - channels // 2])
    raw = np.reshape(raw, (*raw.shape[:3], -1, 2))
    expected = np.moveaxis(arrays["out/params"], 1, 3)
    np.testing.assert_allclose(raw, expected, rtol=1e-9, atol=1e-12)


def test_conditional_coupling(reference):
    arrays, config = reference("unit_conditional_coupling")
    x, context = image(arrays, "in/x"), image(arrays, "in/context")
    block = layers.ResidualDenseBlock(config["depth"], config["growth"], dtype="float64")
    net = layers.CouplingNetwork(
        config["in_channels"],
        config["mid_channels"],
        [block],
        context_size=config["num_context"],
        dtype="float64",
    )
    step = transforms.AffineCoupling(net, dtype="float64")
    built(step, x, tables.coupling, arrays)
    z, log_det = step.encode(x, context)
    assert_close(z, arrays["out/z"])
    assert_close(log_det, arrays["out/ldj"])
    assert_close(step.decode(z, context), arrays["out/x_inv"])


def test_cross_unit_block(reference):
    arrays, config = reference("unit_cross_unit_coupling")
    x, channels = image(arrays, "in/x"), config["in_channels"]
    growth = config["growth_rate"]
    block = {"depth": config["coupling_depth"], "growth": config["coupling_growth"]}
    block |= {"attention": "published", "dtype": "float64"}
    units = [
        transforms.Chain(
            [
                module(channels + i * growth, config["layer_mid_chnls"], block, None, "float64")
                for _ in range(config["num_layers"])
            ],
            dtype="float64",
        )
        for i in range(config["num_steps"])
    ]
    step = denseflow.CrossUnitBlock(units, growth, channels, dtype="float64")
    built(step, x, tables.block, arrays)
    noise = recorded(arrays, "noise")
    z, log_det = step.encode(x, noise=ReplayedNoise(noise[1:]))
    assert_close(z, arrays["out/block_z"])
    assert_close(log_det, arrays["out/block_ldj"])
    assert_close(step.decode(z), arrays["out/block_x_inv"])
    # A coupling by itself, in front of the third unit.
    coupling, given = step.couplings[1], image(arrays, "in/g")
    mean, log_scale = coupling.parameters(given)
    assert_close(mean, arrays["out/mu"])
    assert_close(log_scale, arrays["out/log_scale"])
    x = tf.zeros((2, 4, 4, 10), "float64")
    z, delta = coupling.encode(x, given, ReplayedNoise(noise[:1]))
    assert_close(z[..., 10:], arrays["out/eta_hat"])
    assert_close(delta, arrays["out/delta"])


def test_squeeze_and_drop(reference):
    arrays, _ = reference("unit_transition")
    x = image(arrays, "in/x")
    step = transforms.SqueezeAndDrop(dtype="float64")
    step.build(x.shape)
    z, log_det = step.encode(x)
    assert_close(z, arrays["out/z"])
    assert_close(log_det, arrays["out/ldj"])
    back = step.decode(z, noise=ReplayedNoise(recorded(arrays, "noise")))
    assert_close(back, arrays["out/x_inv_sampled"])


def test_squeeze(reference):
    arrays, _ = reference("unit_squeeze2d")
    x = image(arrays, "in/x")
    step = transforms.Squeeze(2, dtype="float64")
    step.build(x.shape)
    assert_close(step.encode(x)[0], arrays["out/z_false"])
    assert_close(step.decode(image(arrays, "in/y")), arrays["out/un_false"])


def test_swap_halves(reference):
    arrays, _ = reference("unit_switch_channels")
    step = transforms.SwapHalves(dtype="float64")
    for parity in ("even", "odd"):
        x = image(arrays, f"in/x_{parity}")
        z, _ = step.encode(x)
        assert_close(z, arrays[f"out/z_{parity}"])
        # The published inverse is wrong for odd numbers of channels.
        np.testing.assert_array_equal(step.decode(z), x)
    assert_close(step.decode(image(arrays, "out/z_even")), arrays["out/inv_even"])


def test_sigmoid(reference):
    arrays, _ = reference("unit_sigmoid_bijection")
    z, log_det = transforms.Sigmoid(dtype="float64").encode(tf.constant(arrays["in/x"]))
    assert_close(z, arrays["out/z"])
    assert_close(log_det, arrays["out/ldj"])


def test_channel_normal(reference):
    arrays, _ = reference("unit_conv_normal")
    x = image(arrays, "in/x")
    base = built(ChannelNormal(dtype="float64"), x, tables.normal, arrays)
    assert_close(base.log_prob(x), arrays["out/log_prob"])
    noise = ReplayedNoise(recorded(arrays, "noise"))
    assert_close(base.sample(3, x.shape[1:], noise, 1.0, "float64"), arrays["out/sample"])


def test_variational_dequantization(reference):
    arrays, config = reference("unit_variational_dequantization")
    x = tf.cast(image(arrays, "in/x"), "float64")
    step = transforms.VariationalDequantization(
        bits=config["num_bits"],
        steps=config["num_steps"],
        width=config["mid_channels"],
        depth=config["depth"],
        growth=config["growth"],
        context=config["num_context"],
        dtype="float64",
    )
    built(step, x, tables.dequantization, arrays)
    noise = recorded(arrays, "noise")
    context = step.see(x)
    assert_close(context, arrays["out/context"])
    start = step.base.sample(3, (3, 2, 12), ReplayedNoise(noise), 1.0, "float64")
    for i, (_, e, log_det) in enumerate(step.flow.encode_steps(start, context)):
        assert_close(e, arrays[f"out/steps/{i}/z"])
        assert_close(log_det, arrays[f"out/steps/{i}/ldj"])
    v = step.squeeze.decode(e)
    assert_close(v, arrays["out/steps/5/z"])
    u, log_det = transforms.Sigmoid(dtype="float64").encode(v)
    assert_close(u, arrays["out/steps/6/z"])
    assert_close(log_det, arrays["out/steps/6/ldj"])
    z, log_det = step.encode(x, noise=ReplayedNoise(noise))
    assert_close(z, arrays["out/z"])
    assert_close(256.0 * z - x, arrays["out/u"], 1e-9)
    # ln 256 is float32 there.
    assert_close(log_det, arrays["out/ldj"], 1e-8)
    size = 3 * 6 * 4
    assert_close(-log_det - size * np.log(256.0), arrays["out/qu"], 1e-8)
    assert_close(step.decode(z), arrays["out/x_inv"])


def test_scales_and_shifts_are_interleaved(reference):
    arrays, _ = reference("unit_elementwise_params")
    given = image(arrays, "in/x")

    class Given(keras.layers.Layer):
        def call(self, x, context=None, training=False):
            return given

        def compute_output_shape(self, input_shape):
            return tuple(given.shape)

    step = transforms.AffineCoupling(Given(dtype="float64"), dtype="float64")
    step.build((2, 2, 3, 6))
    log_scale, shift = step.map.scale_and_shift(step.mask.parameters(given, 2))
    pairs = np.moveaxis(arrays["out/sequential"], 1, 3)
    np.testing.assert_allclose(log_scale, 2.0 * np.tanh(pairs[..., 0] / 2.0))
    np.testing.assert_array_equal(shift, pairs[..., 1])
