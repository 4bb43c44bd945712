"""Jet against numbers of the published code, in float64, to 1e-9."""

import numpy as np
import pytest
import tensorflow as tf

from keras_flows.models import Jet
from keras_flows.models.jet import model
from keras_flows.models.jet.model import token_orders
from keras_flows.noise import ReplayedNoise
from keras_flows.transforms.masks import FeatureMask, HalfTheTokens

pytestmark = pytest.mark.reference

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def test_which_tokens_pass(reference):
    arrays, _ = reference("families/jet_model")
    orders = token_orders(4, 2)
    names = [
        f"{kind}{end}" for kind in ("checkerboard", "vstripes", "hstripes") for end in ("", "-inv")
    ]
    for name, order in zip(names, orders, strict=True):
        np.testing.assert_array_equal(arrays[f"out/mask/{name}"].argmax(axis=0), order)


def set_linear(layer, kernel, bias):
    layer.kernel.assign(kernel)
    layer.bias.assign(bias)


def set_network(net, arrays, i):
    """Those of coupling i; the couplings are the first axis of every array."""

    def part(name):
        return arrays[f"state/couplings/dnn/{name}"][i]

    set_linear(net.embedding.first, part("init_proj/kernel"), part("init_proj/bias"))
    net.embedding.places.assign(part("posemb")[0])
    for j, block in enumerate(net.blocks):
        name = f"vit/encoderblock_{j}"
        for norm, number in zip(block.norms, (0, 1), strict=True):
            norm.gamma.assign(part(f"{name}/LayerNorm_{number}/scale"))
            norm.beta.assign(part(f"{name}/LayerNorm_{number}/bias"))
        attention = f"{name}/MultiHeadDotProductAttention_0"
        parts = [
            (part(f"{attention}/{p}/kernel"), part(f"{attention}/{p}/bias"))
            for p in ("query", "key", "value")
        ]
        width = net.width
        kernel = np.concatenate([k.reshape(width, width) for k, _ in parts], axis=1)
        set_linear(block.qkv, kernel, np.concatenate([b.ravel() for _, b in parts]))
        out = part(f"{attention}/out/kernel").reshape(width, width)
        set_linear(block.mix, out, part(f"{attention}/out/bias"))
        for layer, number in ((block.wide, 0), (block.narrow, 1)):
            dense = f"{name}/MlpBlock_0/Dense_{number}"
            set_linear(layer, part(f"{dense}/kernel"), part(f"{dense}/bias"))
    net.norm.gamma.assign(part("vit/encoder_norm/scale"))
    net.norm.beta.assign(part("vit/encoder_norm/bias"))
    # There the shifts of all come before the scales.
    order = np.arange(net.filters).reshape(2, -1).T.ravel()
    set_linear(net.last, part("final_proj/kernel")[:, order], part("final_proj/bias")[order])


def test_four_couplings(reference, monkeypatch):
    arrays, config = reference("families/jet_model")
    spatial, channels = token_orders(4, 4), "state/channel_coupling_masks-FREEZE_ME"
    orders = [arrays[channels][i].argmax(axis=0).reshape(2, 6) for i in (0, 2)]
    masks = [
        FeatureMask(orders[0][1].tolist()),
        HalfTheTokens(spatial[0]),
        FeatureMask(orders[1][1].tolist()),
        HalfTheTokens(spatial[1]),
    ]
    monkeypatch.setattr(model, "masks", lambda *arguments: masks)
    sizes = ("patch_size", "emb_dim", "depth", "block_depth", "num_heads")
    flow = Jet(tuple(config["image"]), *(config[name] for name in sizes), dtype="float64")
    couplings = flow.transform.steps[4:]
    for i, coupling in enumerate(couplings):
        set_network(coupling.network, arrays, i)
        if i % 2 == 0:  # here the channels of both halves rise
            passing, changed = (np.argsort(half) for half in orders[i // 2])
            net = coupling.network
            net.embedding.first.kernel.assign(net.embedding.first.kernel.numpy()[passing])
            outputs = np.arange(12).reshape(6, 2)[changed].ravel()
            set_linear(
                net.last, net.last.kernel.numpy()[:, outputs], net.last.bias.numpy()[outputs]
            )
    x, u = tf.cast(arrays["in/pixels"], "float64"), arrays["noise/000"]
    made = list(flow.transform.encode_steps(x, noise=ReplayedNoise([u])))
    np.testing.assert_allclose(made[1][1], arrays["in/x"], **CLOSE)
    np.testing.assert_allclose(made[3][1], arrays["out/tokens"], **CLOSE)
    for i, (_, z, log_det) in enumerate(made[4:]):
        np.testing.assert_allclose(z, arrays[f"out/coupling{i}/z"], **CLOSE)
        np.testing.assert_allclose(log_det, arrays[f"out/coupling{i}/log_det"], **CLOSE)
    log_prob = flow.log_prob(x, noise=[u])
    # There of numbers between -1 and 1 of 255 levels.
    np.testing.assert_allclose(log_prob, arrays["out/log_prob"], **CLOSE)
    np.testing.assert_array_equal(flow.decode(flow.encode(x, noise=[u])), x)
