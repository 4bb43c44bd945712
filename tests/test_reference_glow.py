"""Glow against published numbers, in float64, to 1e-9.

The networks here see the edge of the image. Those of sources without it have a kernel of zeros
there; padding with ones is the sum of the kernels of all channels there.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_flows.layers.coupling.padded_convolution import ZeroConv
from keras_flows.models import Glow
from keras_flows.models.glow import GlowNetwork
from keras_flows.models.glow.model import step
from keras_flows.transforms import ActNorm, Chain, Conv1x1, Coupling, FactorOut
from keras_flows.transforms.maps import SigmoidMap
from keras_flows.transforms.masks import ChannelHalves

pytestmark = pytest.mark.reference

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def last(x):
    """Channels behind height and width."""
    return tf.constant(np.moveaxis(x, 1, -1))


def of_torch(weight):
    return weight.transpose(2, 3, 1, 0)


def with_edge(kernel, ones=False):
    """A kernel with the channel of the edge: zeros, or what padding with ones comes to."""
    edge = kernel.sum(axis=2, keepdims=True)
    return np.concatenate([kernel, edge if ones else 0.0 * edge], axis=2)


def set_actnorm(norm, bias, log_scale):
    norm.bias.assign(np.ravel(bias))
    norm.log_scale.assign(np.ravel(log_scale))


def set_conv1x1(conv, matrix):
    for name, value in conv.parts(matrix).items():
        getattr(conv, name).assign(value)


def set_zero_conv(conv, kernel, bias, log_scale, order=slice(None)):
    conv.kernel.assign(kernel[..., order])
    conv.bias.assign(np.ravel(bias)[order])
    conv.log_scale.assign(np.ravel(log_scale)[order])


def plu(arrays, name, lower, log_scale, upper, permutation, sign):
    """`P (L + I) (U + diag(sign exp(s)))` of arrays by their names."""
    lower, s, upper, p, sign = (
        arrays[f"{name}{key}"] for key in (lower, log_scale, upper, permutation, sign)
    )
    size = len(s)
    lower = np.tril(lower, -1) + np.eye(size)
    return p @ lower @ (np.triu(upper, 1) + np.diag(sign * np.exp(s)))


def check(chain, arrays, log_det="out/log_det"):
    x = last(arrays["in/x"])
    z, got = chain.encode(x)
    np.testing.assert_allclose(z, last(arrays["out/z"]), **CLOSE)
    np.testing.assert_allclose(got, arrays[log_det], **CLOSE)
    np.testing.assert_allclose(chain.decode(z), x, **CLOSE)


def set_chaiyujin(steps, arrays, name, matrix):
    actnorm, conv, coupling = steps
    set_actnorm(actnorm, arrays[f"{name}actnorm.bias"], arrays[f"{name}actnorm.logs"])
    set_conv1x1(conv, matrix)
    net = coupling.network
    for conv, norm, i in zip((net.first, net.second), net.norms, (0, 2), strict=True):
        kernel = of_torch(arrays[f"{name}f.{i}.weight"])
        conv.kernel.assign(with_edge(kernel) if conv.edge else kernel)
        parts = (arrays[f"{name}f.{i}.actnorm.{part}"] for part in ("bias", "logs"))
        set_actnorm(norm, *parts)
    set_zero_conv(
        net.last,
        with_edge(of_torch(arrays[f"{name}f.4.weight"])),
        arrays[f"{name}f.4.bias"],
        arrays[f"{name}f.4.logs"],
    )


@pytest.mark.parametrize("name", ["glow_step", "glow_step_lu"])
def test_a_step(reference, name):
    arrays, config = reference(f"families/{name}")
    steps = step(config["channels"], config["hidden"], None, "float64")
    chain = Chain(steps, dtype="float64")
    chain.build((None, 4, 4, config["channels"]))
    if config["LU_decomposed"]:
        matrix = plu(arrays, "state/invconv.", "l", "log_s", "u", "p", "sign_s")
    else:
        matrix = arrays["state/invconv.weight"]
    np.testing.assert_allclose(matrix, arrays["out/conv1x1_matrix"], **CLOSE)
    set_chaiyujin(steps, arrays, "state/", matrix)
    check(chain, arrays)
    seen = last(arrays["out/after_conv1x1"])[..., : config["channels"] // 2]
    np.testing.assert_allclose(steps[2].network(seen), last(arrays["out/net"]), **CLOSE)


def test_a_step_of_openai(reference):
    arrays, config = reference("families/glow_openai_step")
    channels = config["channels"]
    steps = step(channels, config["width"], None, "float64")
    chain = Chain(steps, dtype="float64")
    chain.build((None, 4, 4, channels))
    name = "state/m/step/"
    actnorm, conv, coupling = steps
    # There a third of the log-scale is trained.
    bias, log_scale = arrays[f"{name}actnorm_center/b"], arrays[f"{name}actnorm_scale/logs"]
    set_actnorm(actnorm, bias, 3.0 * log_scale)
    set_conv1x1(conv, arrays[f"{name}invconv/W"].T)
    net = coupling.network
    for i, (conv, norm) in enumerate(zip((net.first, net.second), net.norms, strict=True)):
        layer = f"{name}f1/l_{i + 1}/"
        conv.kernel.assign(arrays[f"{layer}W"])
        bias, log_scale = (arrays[f"{layer}actnorm_{p}"] for p in ("center/b", "scale/logs"))
        set_actnorm(norm, bias, 3.0 * log_scale)
    set_zero_conv(net.last, *(arrays[f"{name}f1/l_last/{part}"] for part in ("W", "b", "logs")))
    x = tf.constant(arrays["in/x"])
    z, log_det = chain.encode(x)
    np.testing.assert_allclose(z, arrays["out/z"], **CLOSE)
    np.testing.assert_allclose(log_det, arrays["out/log_det"], **CLOSE)
    np.testing.assert_allclose(chain.decode(z), x, **CLOSE)


def test_a_split_of_openai(reference):
    arrays, _ = reference("families/glow_openai_step")
    # What a level does with its last latent, of the two levels of a Glow.
    flow = Glow((8, 8, 1), levels=2, steps=1, width=2, dtype="float64")
    prior = flow.transform.steps[-2]
    split = Coupling(
        prior.mask, type(prior.network)(6, dtype="float64"), prior.map, dtype="float64"
    )
    z = tf.constant(arrays["out/z"])
    split.build(z.shape)
    parts = (arrays[f"state/m/pool/conv/{part}"] for part in ("W", "b", "logs"))
    set_zero_conv(split.network.conv, *parts)
    e, log_det = split.encode(z)
    np.testing.assert_allclose(e[..., 3:], arrays["out/split/eps"], **CLOSE)
    log_normal = tf.reduce_sum(flow.base.log_prob(tf.reshape(e[..., 3:], (2, -1))[..., None]))
    total = tf.reduce_sum(log_det) + log_normal
    np.testing.assert_allclose(total, arrays["out/split/log_prior"].sum(), **CLOSE)


def test_a_zero_convolution_of_openai(reference):
    arrays, _ = reference("families/glow_openai_step")
    conv = ZeroConv(3, (3, 3), edge=True, dtype="float64")
    x = tf.constant(arrays["in/conv"])
    conv.build(x.shape)
    kernel = arrays["state/c/conv/W"]
    assert kernel.shape == conv.kernel.shape
    set_zero_conv(conv, kernel, arrays["state/c/conv/b"], arrays["state/c/conv/logs"])
    np.testing.assert_allclose(conv(x), arrays["out/conv"], **CLOSE)


def test_a_block_of_normflows(reference):
    arrays, config = reference("families/glow_block_normflows")
    channels = config["channels"]
    steps = step(channels, config["hidden"], None, "float64")
    chain = Chain(steps, dtype="float64")
    chain.build((None, 4, 4, channels))
    actnorm, conv, coupling = steps
    # `(x - t) exp(-s)`.
    set_actnorm(actnorm, -arrays["state/flows.2.t"], -arrays["state/flows.2.s"])
    matrix = plu(arrays, "state/flows.1.", "L", "log_S", "U", "P", "sign_S")
    set_conv1x1(conv, matrix)
    net, name = coupling.network, "state/flows.0.flows.1.param_map.net."
    for conv, norm, i in zip((net.first, net.second), net.norms, (0, 2), strict=True):
        kernel = of_torch(arrays[f"{name}{i}.weight"])
        conv.kernel.assign(with_edge(kernel) if conv.edge else kernel)
        set_actnorm(norm, arrays[f"{name}{i}.bias"], np.zeros(config["hidden"]))
    # There the shift is subtracted.
    sign = np.tile([-1.0, 1.0], channels // 2)
    kernel = with_edge(of_torch(arrays[f"{name}4.weight"])) * sign
    set_zero_conv(net.last, kernel, arrays[f"{name}4.bias"] * sign, np.zeros(channels))
    check(chain, arrays)


def test_actnorm_starts_by_the_unbiased_deviation(reference):
    arrays, _ = reference("families/glow_actnorm_init")
    norm, x = ActNorm(0.0, 1e-6, dtype="float64"), last(arrays["in/x"])
    norm.build(x.shape)
    z, _ = norm.encode(x, training=True)
    np.testing.assert_allclose(norm.bias, arrays["out/bias"].ravel(), **CLOSE)
    np.testing.assert_allclose(z, last(arrays["out/rosinality_z"]), **CLOSE)
    # OpenAI takes the biased one, of 45 numbers here.
    biased = arrays["out/logs"].ravel() - 0.5 * np.log(45 / 44)
    np.testing.assert_allclose(norm.log_scale, biased, rtol=1e-6, atol=1e-6)


def test_two_levels(reference):
    arrays, config = reference("families/glow_2level_openai_style")
    flow = Glow((8, 8, 1), config["L"], config["K"], config["hidden"], dtype="float64")
    steps = flow.transform.steps[3:]
    for first, rest in ((1, steps[:6]), (5, steps[-1].inner.steps[1:7])):
        for j in range(2):
            name = f"state/flow.layers.{first + j}."
            part = rest[3 * j : 3 * j + 3]
            set_chaiyujin(part, arrays, name, arrays[f"{name}invconv.weight"])
    prior = "state/flow.layers.3.conv."
    kernel = with_edge(of_torch(arrays[f"{prior}weight"]))
    set_zero_conv(steps[6].network.conv, kernel, arrays[f"{prior}bias"], arrays[f"{prior}logs"])
    top = steps[-1].inner.steps[-2].conv
    # There the halves are means and log-deviations.
    order = np.arange(16).reshape(2, 8).T.ravel()
    bias, logs = arrays["state/learn_top.bias"], arrays["state/learn_top.logs"]
    set_zero_conv(top, np.zeros((3, 3, 1, 16)), bias, logs, order)
    after = Chain(flow.transform.steps[2:], dtype="float64")
    x = last(arrays["in/x"])
    z, log_det = after.encode(x)
    np.testing.assert_allclose(flow.base.log_prob(z) + log_det, arrays["out/log_prob"], **CLOSE)
    np.testing.assert_allclose(after.decode(z), x, **CLOSE)


def test_two_levels_of_rosinality(reference):
    arrays, config = reference("families/glow_2level")
    flow = Glow(
        (8, 8, 2), config["n_block"], config["n_flow"], config["filter_size"], dtype="float64"
    )
    steps = flow.transform.steps[3:]
    levels = [steps[:6], steps[-1].inner.steps[1:7]]
    for i, level in enumerate(levels):
        channels = 8 * 2**i
        for j in range(2):
            name = f"state/blocks.{i}.flows.{j}."
            actnorm, conv, coupling = level[3 * j : 3 * j + 3]
            loc, scale = (
                arrays[f"{name}actnorm.loc"].ravel(),
                arrays[f"{name}actnorm.scale"].ravel(),
            )
            # A scale there may be negative: its sign is the matrix's here.
            set_actnorm(actnorm, loc, np.log(np.abs(scale)))
            matrix = plu(arrays, f"{name}invconv.", "w_l", "w_s", "w_u", "w_p", "s_sign")
            set_conv1x1(conv, matrix * np.sign(scale))
            net = coupling.network
            for conv, norm, k in zip((net.first, net.second), net.norms, (0, 2), strict=True):
                kernel = of_torch(arrays[f"{name}coupling.net.{k}.weight"])
                conv.kernel.assign(with_edge(kernel) if conv.edge else kernel)
                set_actnorm(norm, arrays[f"{name}coupling.net.{k}.bias"], np.zeros(net.width))
            # Halves, the raw scale before the shift; here pairs, the shift first.
            order = np.arange(channels).reshape(2, -1)[::-1].T.ravel()
            last_name = f"{name}coupling.net.4."
            set_zero_conv(
                net.last,
                with_edge(of_torch(arrays[f"{last_name}conv.weight"]), ones=True),
                arrays[f"{last_name}conv.bias"],
                arrays[f"{last_name}scale"],
                order,
            )
    prior = "state/blocks.0.prior."
    order = np.arange(8).reshape(2, -1).T.ravel()
    kernel = with_edge(of_torch(arrays[f"{prior}conv.weight"]), ones=True)
    parts = (arrays[f"{prior}conv.bias"], arrays[f"{prior}scale"], order)
    set_zero_conv(steps[6].network.conv, kernel, *parts)
    # Of zeros inside, ones outside.
    prior, top = "state/blocks.1.prior.", steps[-1].inner.steps[-2].conv
    order = np.arange(32).reshape(2, -1).T.ravel()
    kernel = of_torch(arrays[f"{prior}conv.weight"]).sum(axis=2, keepdims=True)
    set_zero_conv(top, kernel, arrays[f"{prior}conv.bias"], arrays[f"{prior}scale"], order)
    after = Chain(flow.transform.steps[2:], dtype="float64")
    x = last(arrays["in/x"])
    z, log_det = after.encode(x)
    np.testing.assert_allclose(flow.base.log_prob(z) + log_det, arrays["out/log_prob"], **CLOSE)
    np.testing.assert_allclose(after.decode(z), x, **CLOSE)
    noise = [np.reshape(np.moveaxis(arrays[f"sample_noise/00{i}"], 1, -1), (2, -1)) for i in (0, 1)]
    sample = after.decode(tf.constant(np.concatenate(noise, axis=1)))
    np.testing.assert_allclose(sample, last(arrays["sample/x"]), **CLOSE)


def test_what_the_parts_are():
    parts = [type(part) for part in Glow((4, 4, 1), 2, 1, 2).transform.steps[3:]]
    assert parts == [ActNorm, Conv1x1, Coupling, Coupling, FactorOut]
    coupling = Glow((4, 4, 1), 2, 1, 2).transform.steps[5]
    assert isinstance(coupling.mask, ChannelHalves) and isinstance(coupling.map, SigmoidMap)
    assert isinstance(coupling.network, GlowNetwork)
