"""TarFlow against numbers of the published code, in float64, to 1e-9."""

import numpy as np
import pytest
import tensorflow as tf

from keras_flows.models import TarFlow
from keras_flows.models.tarflow import TokenNetwork
from keras_flows.noise import ReplayedNoise
from keras_flows.transforms import Autoregressive, Chain
from keras_flows.transforms.maps import NormalMap
from tests.derivatives import jacobians
from tests.test_reference_glow import last

pytestmark = pytest.mark.reference

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def set_linear(layer, arrays, name, order=slice(None)):
    layer.kernel.assign(arrays[f"{name}.weight"].T[:, order])
    layer.bias.assign(arrays[f"{name}.bias"][order])


def set_norm(norm, arrays, name):
    norm.gamma.assign(arrays[f"{name}.weight"])
    norm.beta.assign(arrays[f"{name}.bias"])


def set_network(net, arrays, name):
    set_linear(net.embedding.first, arrays, f"{name}proj_in")
    net.embedding.places.assign(arrays[f"{name}pos_embed"])
    for i, block in enumerate(net.blocks):
        attention, mlp = (f"{name}attn_blocks.{i}.{part}" for part in ("attention", "mlp"))
        set_norm(block.norms[0], arrays, f"{attention}.norm")
        set_linear(block.qkv, arrays, f"{attention}.qkv")
        set_linear(block.mix, arrays, f"{attention}.proj")
        set_norm(block.norms[1], arrays, f"{mlp}.norm")
        set_linear(block.wide, arrays, f"{mlp}.main.0")
        set_linear(block.narrow, arrays, f"{mlp}.main.2")
    # There log-scales of all come before the shifts; here a shift and a log-scale of each.
    order = np.arange(2 * net.together).reshape(2, -1)[::-1].T.ravel()
    set_linear(net.last, arrays, f"{name}proj_out", order)


def test_a_block(reference):
    arrays, config = reference("families/tarflow_block")
    shape = (config["tokens"], config["token_size"])
    heads = config["channels"] // config["head_dim"]
    x = tf.constant(arrays["in/x"])
    for name, context in (("class_known", "in/class_known"), ("uncond", None)):
        net = TokenNetwork(
            shape,
            2,
            config["channels"],
            config["num_layers"],
            heads,
            config["permutation"] == "flip",
            config["expansion"],
            None if context is None else config["channels"],
            dtype="float64",
        )
        step = Autoregressive(net, NormalMap(), dtype="float64")
        step.build(x.shape)
        set_network(net, arrays, "state/")
        classes = arrays["state/class_embed"][:, 0]
        # Without a class it is their mean.
        net.embedding.places.assign_add(
            np.zeros_like(classes[:1]) if context else classes.mean(axis=0)[None]
        )
        vector = None
        if context is not None:
            net.embedding.context_layer.kernel.assign(np.eye(config["channels"]))
            vector = tf.constant(classes[arrays[context].astype(int)])
        z, log_det = step.encode(x, vector)
        np.testing.assert_allclose(z, arrays[f"out/{name}/z"], **CLOSE)
        np.testing.assert_allclose(step.decode(z, vector), x, **CLOSE)
    np.testing.assert_allclose(log_det, arrays["out/uncond/log_det"], **CLOSE)
    (jacobian,) = jacobians(lambda x: step.encode(x)[0], x[:1])
    np.testing.assert_allclose(jacobian, arrays["out/uncond/jacobian0"], **CLOSE)


def test_two_blocks(reference):
    arrays, config = reference("families/tarflow_2blocks")
    heads = config["channels"] // config["head_dim"]
    sizes = (config["patch_size"], config["channels"], 2, config["layers_per_block"], heads)
    with pytest.MonkeyPatch.context() as patch:
        # There twice as wide inside, not four times.
        patch.setattr(
            TokenNetwork.__init__, "__defaults__", (8, 12, False, config["expansion"], None)
        )
        flow = TarFlow(tuple(config["image"]), *sizes, dtype="float64")
    for i, step in enumerate(flow.transform.steps[3:]):
        set_network(step.network, arrays, f"state/blocks.{i}.")
    x, u = last(arrays["in/pixels"]), np.moveaxis(arrays["noise/000"], 1, -1)
    made = list(flow.transform.encode_steps(tf.cast(x, "float64"), noise=ReplayedNoise([u])))
    np.testing.assert_allclose(made[1][1], last(arrays["in/x"]), **CLOSE)
    np.testing.assert_allclose(made[2][1], arrays["out/tokens"], **CLOSE)
    np.testing.assert_allclose(made[3][1], arrays["out/block0/z"], **CLOSE)
    np.testing.assert_allclose(made[4][1], arrays["out/z"], **CLOSE)
    log_prob = flow.log_prob(x, noise=[u])
    np.testing.assert_allclose(-log_prob / (192 * np.log(2.0)), arrays["out/bits_per_dim"], **CLOSE)
    after = Chain(flow.transform.steps[2:], dtype="float64")
    sample = after.decode(tf.constant(arrays["sample_noise/000"]))
    np.testing.assert_allclose(sample, last(arrays["sample/x"]), **CLOSE)
