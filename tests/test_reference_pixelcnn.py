"""PixelCNN and PixelCNN++ against published numbers, in float64, to 1e-9."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, log_expit, log_softmax, logsumexp

from keras_flows.layers import MaskedConvNetwork, StreamNetwork
from keras_flows.layers.coupling.stream_network import GatedResidual, tied
from keras_flows.transforms import Affine, Autoregressive, Chain
from keras_flows.transforms.maps import (
    CensoredLogisticMixtureMap,
    DiscretizedMixtureMap,
    LogisticMixtureMap,
)
from tests.test_reference_mixture import raw

pytestmark = pytest.mark.reference

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def last(x):
    """Channels behind height and width."""
    return np.moveaxis(x, 1, -1)


# The flow on dequantized pixels -------------------------------------------------------------------


def set_masked(conv, arrays, name, outputs=None):
    """A PyTorch masked convolution: the upper half of its kernel; its mask must be that here."""
    weight, mask, bias = (arrays[f"{name}.{part}"] for part in ("weight", "mask", "bias"))
    if outputs is not None:
        weight, mask, bias = weight[outputs], mask[outputs], bias[outputs]
    rows = conv.size[0]
    assert not mask[:, :, rows:].any()
    kernel, mask = (part[:, :, :rows].transpose(2, 3, 1, 0) for part in (weight, mask))
    conv.kernel.assign(kernel)
    np.testing.assert_array_equal(conv.mask, mask)
    conv.bias.assign(bias)


def pixel_flow(arrays, config, map):
    height, width, colours = config["image"]
    k = config["num_mixtures"]
    net = MaskedConvNetwork(
        (height, width, colours),
        map.parameters,
        config["filters"],
        config["num_blocks"],
        config["output_filters"],
        config["kernel_in"],
        config["kernel"],
        dtype="float64",
    )
    step = Autoregressive(net, map, dtype="float64")
    flow = Chain([Affine(0.5, 0.5, dtype="float64"), step], dtype="float64")
    flow.build((None, height, width, colours))
    name = "state/autoregressive_net"
    set_masked(net.first, arrays, f"{name}.1")
    for i, block in enumerate(net.blocks):
        for j, conv in enumerate(block):
            set_masked(conv, arrays, f"{name}.{i + 2}.conv{j + 1}")
    after = config["num_blocks"] + 2
    set_masked(net.last[0], arrays, f"{name}.{after + 1}")
    # There the parameter is slowest, here the colour.
    outputs = np.arange(3 * k * colours).reshape(3 * k, colours).T.ravel()
    set_masked(net.last[1], arrays, f"{name}.{after + 3}", outputs)
    x = tf.constant(last(arrays["in/x"]))
    made = tf.reshape(net(2.0 * x - 1.0), (len(x), height, width, colours, 3 * k))
    np.testing.assert_allclose(made, np.moveaxis(arrays["out/net"], 1, 3), **CLOSE)
    # Means begin on a grid.
    grid = np.concatenate([np.zeros(k), np.linspace(-1.0, 1.0, k), np.zeros(k)])
    net.last[1].bias.assign_sub(np.tile(grid, colours))
    return flow, x


class OnUnitInterval(LogisticMixtureMap):
    """There the network sees numbers from -1 to 1, and the mixture is one of those from 0 to 1."""

    def encode(self, x, parameters):
        z, log_slope = super().encode((x + 1.0) / 2.0, parameters)
        return z, log_slope - np.log(2.0)

    def decode(self, z, parameters):
        return 2.0 * super().decode(z, parameters) - 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "map"),
    [
        ("pixelcnn_mol_flow", OnUnitInterval(2)),
        ("pixelcnn_censored_mol_flow", CensoredLogisticMixtureMap(2, 8)),
    ],
)
def test_the_flow_on_dequantized_pixels(reference, name, map):
    arrays, config = reference(f"families/{name}")
    flow, x = pixel_flow(arrays, config, map)
    z, log_det = flow.encode(x)
    np.testing.assert_allclose(expit(z), last(arrays["out/z"]), **CLOSE)
    # There z is the distribution function, here its logit.
    log_prob = log_det + tf.reduce_sum(log_expit(z) + log_expit(-z.numpy()), axis=(1, 2, 3))
    np.testing.assert_allclose(log_prob, arrays["out/log_det"], **CLOSE)
    np.testing.assert_allclose(flow.decode(z), x, **CLOSE)


def test_the_censored_mixture(reference):
    arrays, _ = reference("families/mol_elementwise")
    parameters = raw(*(arrays[f"in/{name}"] for name in ("logits", "means", "log_scales")))
    x, map = arrays["in/x"], CensoredLogisticMixtureMap(3)
    z, log_slope = (part.numpy() for part in map.encode(tf.constant(2.0 * x - 1.0), parameters))
    # At the ends, 0 and 1, and at 1 / 256, an edge, the source is taken a little aside.
    inside = (x > 0.0) & (x < 1.0)
    assert inside.sum() == 18
    np.testing.assert_allclose(expit(z)[inside], arrays["out/censored/z"][inside], **CLOSE)
    log_density = np.log(2.0) + log_slope + log_expit(z) + log_expit(-z)
    np.testing.assert_allclose(log_density[inside], arrays["out/censored/log_det"][inside], **CLOSE)
    np.testing.assert_allclose(log_density, arrays["out/censored/log_det"], atol=1e-5)
    back = map.decode(tf.constant(z), parameters)
    np.testing.assert_allclose(back, np.clip(2.0 * x - 1.0, -1.0, 1.0), atol=1e-7)


# PixelCNN++ ---------------------------------------------------------------------------------------


def kernel_of(arrays, name):
    """A weight-normalised kernel of PyTorch, `(height, width, in, out)`."""
    v, g = arrays[f"{name}.weight_v"], arrays[f"{name}.weight_g"]
    v = v.reshape(*v.shape, *[1] * (4 - v.ndim))
    norm = np.sqrt(np.sum(v**2, axis=(1, 2, 3), keepdims=True))
    return (g.reshape(norm.shape) * v / norm).transpose(2, 3, 1, 0)


def set_conv(conv, arrays, name):
    conv.set_kernel(kernel_of(arrays, name))
    conv.bias.assign(arrays[f"{name}.bias"])


def set_block(block, arrays, name):
    set_conv(block.first, arrays, f"{name}.conv_input.conv")
    set_conv(block.last, arrays, f"{name}.conv_out.conv")
    if block.mix is not None:
        set_conv(block.mix, arrays, f"{name}.nin_skip.lin_a")


@pytest.mark.parametrize(("name", "size"), [("down", (2, 3)), ("down_right", (2, 2))])
def test_gated_block(reference, name, size):
    arrays, config = reference("families/pixelcnnpp_gated_block")
    block = GatedResidual(size, config["filters"], dtype="float64")
    x, side = (tf.constant(last(arrays[f"in/{part}"])) for part in "xa")
    block.build(x.shape)
    prefixed = {key.removeprefix(f"state/{name}/"): value for key, value in arrays.items()}
    set_block(block, {f".{key}": value for key, value in prefixed.items()}, "")
    np.testing.assert_allclose(block(x, side), last(arrays[f"out/{name}/y"]), **CLOSE)


def set_streams(net, arrays):
    set_conv(net.first_up, arrays, "state/u_init.conv")
    set_conv(net.first_row, arrays, "state/ul_init.0.conv")
    set_conv(net.first_column, arrays, "state/ul_init.1.conv")
    for i in range(net.scales):
        for j, pair in enumerate(net.down[i]):
            for block, stream in zip(pair, ("u", "ul"), strict=True):
                set_block(block, arrays, f"state/up_layers.{i}.{stream}_stream.{j}")
        # The way up is counted from the lowest resolution.
        for j, pair in enumerate(net.up[net.scales - 1 - i]):
            for block, stream in zip(pair, ("u", "ul"), strict=True):
                set_block(block, arrays, f"state/down_layers.{i}.{stream}_stream.{j}")
    for i in range(net.scales - 1):
        for conv, stream in zip(net.halving[i], ("u", "ul"), strict=True):
            set_conv(conv, arrays, f"state/downsize_{stream}_stream.{i}.conv")
        for conv, stream in zip(net.doubling[net.scales - 2 - i], ("u", "ul"), strict=True):
            # Transposed, PyTorch has the inputs first, and normalises each of them.
            name = f"state/upsize_{stream}_stream.{i}.deconv"
            conv.set_kernel(kernel_of(arrays, name).transpose(0, 1, 3, 2))
            conv.bias.assign(arrays[f"{name}.bias"])
    set_conv(net.last, arrays, "state/nin_out.lin_a")


def made_of(params, k):
    """Channels of the source, as `tied` takes them."""
    params = last(params)
    logits, rest = params[..., :k], params[..., k:].reshape(*params.shape[:-1], 3, 3 * k)
    means, log_scales, raw = (rest[..., i * k : (i + 1) * k] for i in range(3))
    means = means - np.linspace(-1.0, 1.0, k)
    colours = [
        *np.moveaxis(means, -2, 0),
        *np.moveaxis(log_scales, -2, 0),
        *np.moveaxis(raw, -2, 0),
    ]
    return tf.constant(np.concatenate([logits, *colours], axis=-1))


def log_probs(x, v, params, k):
    """The logarithms of the probabilities of the colours of every pixel, and the mixtures."""
    parameters = tf.reshape(tied(x, made_of(params, k), k, 8), (*x.shape, 3 * k))
    map = DiscretizedMixtureMap(k)
    return map.log_parts(v, parameters)[0].numpy()


def test_the_network_and_its_likelihood(reference):
    arrays, config = reference("families/pixelcnnpp_net")
    k = config["nr_logistic_mix"]
    net = StreamNetwork(
        tuple(config["image"]), 3 * k, config["nr_filters"], config["nr_resnet"], dtype="float64"
    )
    x = tf.constant(last(arrays["in/x"]))
    net.build(x.shape)
    published = sum(value.size for name, value in arrays.items() if name.startswith("state/"))
    # Transposed convolutions have a gain for each output here, for each input there: four of each.
    assert sum(int(np.prod(w.shape)) for w in net.trainable_weights) == published
    set_streams(net, arrays)
    raw = net.raw(x)
    expected = last(arrays["out/params"])
    # Raw parameters of the source: of every colour means, log-scales and coefficients.
    np.testing.assert_allclose(raw, expected, **CLOSE)
    total = log_probs(x, tf.constant(last(arrays["in/pixels"])), arrays["out/params"], k)
    np.testing.assert_allclose(total.sum(axis=(1, 2, 3)), arrays["out/log_prob"], rtol=1e-5)


def test_one_mixture_of_all_colours(reference):
    arrays, config = reference("families/discretized_mixture")
    k = config["K"]
    x, v = (tf.constant(last(arrays[f"in/{name}"])) for name in ("x", "pixels"))
    total = log_probs(x, v, arrays["in/params"], k).sum(axis=-1)
    expected = arrays["out/log_prob_per_pixel"]
    # Where a difference of the source is below 1e-5, it takes the density.
    np.testing.assert_allclose(total[0], expected, rtol=1e-3)
    assert (np.abs(total[0] - expected) < 1e-9).sum() >= 3


@pytest.mark.parametrize("name", ["", "_narrow"])
def test_all_values_of_a_grey_pixel(reference, name):
    arrays, _ = reference("families/discretized_mixture")
    params = arrays[f"in/1d/params{name}"].ravel()
    k = len(params) // 3
    expected = arrays["out/1d/log_prob" + (name or "_of_0_to_255")]
    parameters = np.tile(raw(params[:k], params[k : 2 * k], params[2 * k :]), (256, 1))
    v = tf.range(256.0, dtype=tf.float64)
    got = DiscretizedMixtureMap(k).log_parts(v, tf.constant(parameters))[0].numpy()
    assert logsumexp(got) == pytest.approx(0.0, abs=1e-12)
    # The density in place of a difference below 1e-5, of a component too, is another number.
    exact = np.exp(got) > 3e-5
    assert exact.sum() > 5
    np.testing.assert_allclose(got[exact], expected[exact], rtol=1e-7)
    weights = np.exp(log_softmax(params[:k]))
    assert weights.sum() == pytest.approx(1.0)
