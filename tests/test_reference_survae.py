"""SurVAE flows against published numbers, in float64, to 1e-9."""

import numpy as np
import pytest
import tensorflow as tf

from keras_flows.models import PoolFlow
from keras_flows.noise import ReplayedNoise
from keras_flows.transforms import AffineCoupling, Conv1x1, Drop, MaxPool
from tests.test_reference_glow import last, of_torch, set_conv1x1

pytestmark = pytest.mark.reference

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def test_max_pooling(reference):
    arrays, _ = reference("families/survae_maxpool")
    x, pool = last(arrays["in/x"]), MaxPool(dtype="float64")
    pool.build(x.shape)
    z, log_det = pool.encode(x)
    np.testing.assert_array_equal(z, last(arrays["out/z"]))
    np.testing.assert_allclose(log_det, arrays["out/log_contribution"], **CLOSE)
    _, place, differences = pool.parts(x)
    np.testing.assert_array_equal(place, last(arrays["out/argmax"]))
    # Their index is 3 c + j.
    np.testing.assert_array_equal(
        tf.reshape(differences, (*differences.shape[:3], -1)), last(arrays["out/differences"])
    )
    shape = differences.shape
    place = (last(arrays["noise/000"]).numpy() + 0.5) / 4.0
    noise = ReplayedNoise([place, last(arrays["noise/001"]).numpy().reshape(shape)])
    np.testing.assert_allclose(pool.decode(z, noise=noise), last(arrays["sample/x"]), **CLOSE)


def test_dropped_channels(reference):
    arrays, _ = reference("families/survae_abs_slice")
    x, drop = last(arrays["in/x"]), Drop(1, dtype="float64")
    drop.build(x.shape)
    z, log_det = drop.encode(x)
    np.testing.assert_array_equal(z, last(arrays["out/slice/z"]))
    np.testing.assert_allclose(log_det, arrays["out/slice/log_contribution"], **CLOSE)


def set_conv(conv, arrays, name):
    conv.kernel.assign(of_torch(arrays[f"{name}.weight"]))
    conv.bias.assign(arrays[f"{name}.bias"])


def set_network(net, arrays, name):
    set_conv(net.first, arrays, f"{name}.0")
    dense, name_of_dense = net.blocks[0].dense, f"{name}.1.dense"
    for i, pair in enumerate(dense.pairs):
        for conv, place in zip(pair, (0, 2), strict=True):
            set_conv(conv, arrays, f"{name_of_dense}.{i}.nn.{place}")
    set_conv(dense.gate.conv, arrays, f"{name_of_dense}.{len(dense.pairs)}.conv")
    set_conv(net.last, arrays, f"{name}.2")


@pytest.mark.parametrize("pooling", ["max", "drop"])
def test_a_flow(reference, pooling):
    source = {"max": "max", "drop": "none"}[pooling]
    arrays, config = reference(f"families/survae_poolflow_{source}")
    sizes = config["densenet"]
    flow = PoolFlow(
        tuple(config["image"]),
        config["num_scales"],
        config["num_steps"],
        sizes["channels"],
        sizes["depth"],
        sizes["growth"],
        pooling,
        "uniform",
        dtype="float64",
    )
    for i, step in enumerate(flow.transform.steps):
        if isinstance(step, Conv1x1):
            set_conv1x1(step, arrays[f"state/transforms.{i}.weight"])
        if isinstance(step, AffineCoupling):
            set_network(step.network, arrays, f"state/transforms.{i}.coupling_net.0")
    flow.base.loc.assign(arrays["state/base_dist.loc"].ravel())
    flow.base.log_scale.assign(arrays["state/base_dist.log_scale"].ravel())
    x, u = last(arrays["in/x"]), np.moveaxis(arrays["noise/000"], 1, -1)
    for i, (_, z, log_det) in enumerate(
        flow.transform.encode_steps(tf.cast(x, "float64"), noise=ReplayedNoise([u]))
    ):
        np.testing.assert_allclose(z, last(arrays[f"out/t{i:02}/z"]), **CLOSE)
        np.testing.assert_allclose(log_det, arrays[f"out/t{i:02}/ldj"], **CLOSE)
    np.testing.assert_allclose(flow.log_prob(x, noise=[u]), arrays["out/log_prob"], **CLOSE)
