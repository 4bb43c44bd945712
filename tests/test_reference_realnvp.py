"""Real NVP on images against published numbers, in float64, to 1e-9."""

import numpy as np
import pytest
import tensorflow as tf

from keras_flows.models import ImageRealNVP
from keras_flows.models.realnvp import RealNVPNetwork
from keras_flows.noise import ReplayedNoise
from keras_flows.transforms import Coupling, Permutation, Squeeze
from keras_flows.transforms.maps import NormalMap
from keras_flows.transforms.masks import ChannelHalves, Checkerboard
from tests.test_reference_glow import last
from tests.test_reference_pixelcnn import kernel_of

pytestmark = pytest.mark.reference

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def set_norm(norm, arrays, name):
    norm.gamma.assign(arrays[f"{name}.weight"])
    norm.beta.assign(arrays[f"{name}.bias"])
    norm.moving_mean.assign(arrays[f"{name}.running_mean"])
    norm.moving_variance.assign(arrays[f"{name}.running_var"])


def set_conv(conv, arrays, name, order=slice(None), sign=1.0):
    conv.set_kernel(kernel_of(arrays, f"{name}.conv")[..., order] * sign)
    if conv.has_bias:
        conv.bias.assign(arrays[f"{name}.conv.bias"][order] * sign)


def set_coupling(coupling, arrays, name):
    """The weights of a coupling there: `(x + t) exp(s)`, halves raw and t."""
    net, st = coupling.network, f"{name}st_net."
    set_norm(net.first_norm, arrays, f"{st}in_norm")
    set_conv(net.first, arrays, f"{st}in_conv")
    set_conv(net.skips[0], arrays, f"{st}in_skip")
    for i, (first_norm, first, second_norm, second) in enumerate(net.blocks):
        set_norm(first_norm, arrays, f"{st}blocks.{i}.in_norm")
        set_conv(first, arrays, f"{st}blocks.{i}.in_conv")
        set_norm(second_norm, arrays, f"{st}blocks.{i}.out_norm")
        set_conv(second, arrays, f"{st}blocks.{i}.out_conv")
        set_conv(net.skips[i + 1], arrays, f"{st}skips.{i}")
    set_norm(net.last_norm, arrays, f"{st}out_norm")
    # Here pairs of mean and log-scale, which are minus t and minus s.
    order = np.arange(net.filters).reshape(2, -1)[::-1].T.ravel()
    set_conv(net.last, arrays, f"{st}out_conv", order, -1.0)
    g, v = (arrays[f"{name}rescale.weight_{part}"].ravel() for part in "gv")
    net.gain.assign(g * np.sign(v))


def test_squeezes_and_masks(reference):
    arrays, _ = reference("families/realnvp_squeeze")
    x, squeeze = last(arrays["in/x"]), Squeeze()
    z, _ = squeeze.encode(x)
    np.testing.assert_array_equal(z, last(arrays["out/squeeze"]))
    flow = ImageRealNVP((4, 4, 2), 2, 2, 1)
    (permutation,) = (s for s in flow.transform.steps if isinstance(s, Permutation))
    permuted = permutation.encode(z)[0]
    np.testing.assert_array_equal(permuted, last(arrays["out/squeeze_alt"]))
    for reverse, name in ((False, "mask"), (True, "mask_reverse")):
        seen, _ = Checkerboard(reverse).split(tf.ones((1, 4, 4, 1)))
        np.testing.assert_array_equal(seen, last(arrays[f"out/{name}"]))


@pytest.mark.parametrize("kind", ["checkerboard", "channel"])
def test_a_coupling(reference, kind):
    arrays, config = reference(f"families/realnvp_coupling_{kind}")
    x, board = last(arrays["in/x"]), kind == "checkerboard"
    filters = 2 * x.shape[-1] if board else x.shape[-1]
    width, blocks = config["mid_channels"], config["num_blocks"]
    net = RealNVPNetwork(filters, width, blocks, board, dtype="float64")
    mask = Checkerboard() if board else ChannelHalves(reverse=True)
    coupling = Coupling(mask, net, NormalMap(), dtype="float64")
    coupling.build(x.shape)
    set_coupling(coupling, arrays, "state/")
    z, log_det = coupling.encode(x)
    np.testing.assert_allclose(z, last(arrays["out/z"]), **CLOSE)
    np.testing.assert_allclose(log_det, arrays["out/log_det"], **CLOSE)
    np.testing.assert_allclose(coupling.decode(z), x, **CLOSE)


@pytest.mark.slow
def test_two_scales(reference):
    arrays, config = reference("families/realnvp_2scales")
    flow = ImageRealNVP((8, 8, 1), 2, config["mid_channels"], config["num_blocks"], dtype="float64")
    steps = flow.transform.steps
    inner = steps[-1].inner.steps
    couplings = {
        "flows.in_couplings": steps[2:5],
        "flows.out_couplings": steps[6:9],
        "flows.next_block.in_couplings": inner[:4],
    }
    for name, some in couplings.items():
        for i, coupling in enumerate(some):
            set_coupling(coupling, arrays, f"state/{name}.{i}.")
    pixels, u = last(arrays["in/pixels"]), np.moveaxis(arrays["noise/000"], 1, -1)
    x = tf.cast(pixels, "float64")
    outs, made = {}, list(flow.transform.encode_steps(x, noise=ReplayedNoise([u])))
    for path, z, _ in made:
        outs[path.rpartition("/")[0]] = z
    np.testing.assert_allclose(outs["1"], last(arrays["out/logits"]), **CLOSE)
    for i in range(3):
        np.testing.assert_allclose(outs[f"{i + 2}"], last(arrays[f"out/scale0_in{i}/z"]), **CLOSE)
        np.testing.assert_allclose(outs[f"{i + 6}"], last(arrays[f"out/scale0_out{i}/z"]), **CLOSE)
    log_prob = flow.log_prob(x, noise=[u])
    np.testing.assert_allclose(log_prob, arrays["out/log_prob"], **CLOSE)
    z = flow.encode(x, noise=[u])
    kept = last(arrays["out/scale1_in3/z"])
    np.testing.assert_allclose(z[:, 32:], tf.reshape(kept, (2, -1)), **CLOSE)
    np.testing.assert_array_equal(flow.decode(z), x)
