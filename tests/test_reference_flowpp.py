"""Flow++ against numbers of the published code, in float64, to 1e-9."""

import numpy as np
import pytest
import tensorflow as tf

from keras_flows.models import FlowPlusPlus
from keras_flows.models.flowpp import FlowPlusPlusNetwork
from keras_flows.noise import ReplayedNoise
from keras_flows.transforms import Coupling
from keras_flows.transforms.maps import AffineLogisticMixtureMap
from keras_flows.transforms.masks import ChannelHalves

pytestmark = pytest.mark.reference

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def set_conv(conv, arrays, name):
    kernel = arrays[f"{name}/W"]
    conv.kernel.assign(kernel.reshape(*[1] * (4 - kernel.ndim), *kernel.shape))
    conv.bias.assign(arrays[f"{name}/b"])


def set_gated_conv(layer, arrays, name):
    set_conv(layer.first, arrays, f"{name}/c1")
    set_conv(layer.last, arrays, f"{name}/c2")
    if layer.mix is not None:
        set_conv(layer.mix, arrays, f"{name}/a_proj")


def set_network(net, arrays, name, components):
    set_conv(net.first, arrays, f"{name}/proj_in")
    for i, (conv, first_norm, attention, second_norm) in enumerate(net.blocks):
        set_gated_conv(conv, arrays, f"{name}/block{i}/conv")
        for norm, part in ((first_norm, "ln1"), (second_norm, "ln2")):
            norm.gamma.assign(arrays[f"{name}/block{i}/{part}/g"].ravel())
            norm.beta.assign(arrays[f"{name}/block{i}/{part}/b"].ravel())
        set_conv(attention.qkv, arrays, f"{name}/block{i}/attn/proj1")
        set_conv(attention.mix, arrays, f"{name}/block{i}/attn/proj2")
    net.places.assign(arrays[f"{name}/pos_emb"])
    set_conv(net.last, arrays, f"{name}/proj_out")
    # Means begin on a grid.
    grid = np.zeros(2 + 3 * components)
    grid[2 + components : 2 + 2 * components] = np.linspace(-1.0, 1.0, components)
    net.last.bias.assign_sub(np.tile(grid, net.filters // len(grid)))


@pytest.mark.parametrize("name", ["", "_context"])
def test_a_coupling(reference, name):
    arrays, config = reference(f"families/flowpp_official_coupling{name}")
    k, context = config["components"], arrays.get("in/context")
    map = AffineLogisticMixtureMap(k)
    net = FlowPlusPlusNetwork(
        2 * map.parameters,
        config["filters"],
        config["blocks"],
        config["heads"],
        None if context is None else 3,
        dtype="float64",
    )
    coupling = Coupling(ChannelHalves(), net, map, dtype="float64")
    x = tf.concat([arrays["in/conditioner"], arrays["in/x"]], axis=-1)
    coupling.build(x.shape)
    set_network(net, arrays, "state/MixLogisticAttnCoupling", k)
    context = None if context is None else tf.constant(context)
    z, log_det = coupling.encode(x, context)
    np.testing.assert_allclose(z[..., 2:], arrays["out/z"], **CLOSE)
    np.testing.assert_allclose(log_det, arrays["out/log_det"], **CLOSE)
    np.testing.assert_allclose(coupling.decode(z, context), x, **CLOSE)


def set_couplings(steps, arrays, first, components):
    """Triples of steps, of which the first has that number among the scopes of the source."""
    for i in range(len(steps) // 3):
        norm, convs, coupling = steps[3 * i : 3 * i + 3]
        suffix = f"_{first + i}" if first + i else ""
        mask = coupling.mask
        scale, shift = (
            mask.join(
                *(tf.constant(arrays[f"state/Norm{suffix}/norm{j}/{part}"][None]) for j in (0, 1))
            )
            for part in "gb"
        )
        # `x g + b` there.
        assert (scale.numpy() > 0.0).all()
        norm.norm.log_scale.assign(np.log(scale).ravel())
        norm.norm.bias.assign((shift / scale).numpy().ravel())
        for j, conv in enumerate(convs.convs):
            matrix = arrays[f"state/Pointwise{suffix}/W{j}"].T
            for name, value in conv.parts(matrix).items():
                getattr(conv, name).assign(value)
        set_network(coupling.network, arrays, f"state/MixLogisticAttnCoupling{suffix}", components)


def set_conditional_noise(flow, arrays, scope, names, first, components):
    """Couplings that see an image, and what they see of it."""
    set_conv(flow.context_first, arrays, f"state/{scope}/{names[0]}")
    for i, layer in enumerate(flow.context_blocks):
        set_gated_conv(layer, arrays, f"state/{scope}/{names[1]}{i}")
    set_couplings(flow.flow.steps, arrays, first, components)


@pytest.mark.slow
def test_the_flow_and_its_dequantization(reference):
    arrays, config = reference("families/flowpp_official_model")
    sizes = {
        "width": config["filters"],
        "components": config["components"],
        "heads": config["heads"],
    }
    flow = FlowPlusPlus(
        tuple(config["image"]),
        **sizes,
        blocks=config["blocks"],
        dequantization={
            "class_name": "variational",
            "config": {**sizes, "blocks": 2, "context": config["context_channels"]},
        },
        dtype="float64",
    )
    steps, k = flow.transform.steps, config["components"]
    dequantization = steps[0]
    set_conditional_noise(dequantization.flow, arrays, "context_proc", ("proj", "c"), 0, k)
    set_couplings(steps[2:14], arrays, 4, k)
    set_couplings(steps[16:], arrays, 8, k)
    noise = arrays["noise/000"]
    x = tf.cast(arrays["in/pixels"], "float64")
    dequantized, log_density = dequantization.encode(x, noise=ReplayedNoise([noise]))
    np.testing.assert_allclose(256.0 * dequantized, arrays["out/dequantized"], **CLOSE)
    expected = arrays["out/dequantization_log_density"] - 48 * np.log(256.0)
    np.testing.assert_allclose(log_density, expected, **CLOSE)
    log_prob = flow.log_prob(x, noise=[noise])
    np.testing.assert_allclose(log_prob, arrays["out/log_prob"], **CLOSE)
    z = flow.encode(x, noise=[noise])
    # An odd number of couplings leaves the columns there in each other's place.
    np.testing.assert_allclose(z[:, :, ::-1], arrays["out/z"], **CLOSE)
    np.testing.assert_array_equal(flow.decode(z), x)
