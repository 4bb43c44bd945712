"""MaCow against published numbers, in float64, to 1e-9."""

import numpy as np
import pytest
import tensorflow as tf

from keras_flows.models import MaCow
from keras_flows.models.macow import RowNetwork
from keras_flows.models.macow.model import _Steps
from keras_flows.transforms import ActNorm, Autoregressive, Chain, Conv1x1, Coupling
from tests.derivatives import jacobians
from tests.test_reference_glow import last, set_conv1x1
from tests.test_reference_pixelcnn import kernel_of

pytestmark = pytest.mark.reference

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
NAMES = {"A": "top", "B": "bottom", "C": "left", "D": "right"}


def set_conv(conv, arrays, name, order=slice(None)):
    conv.set_kernel(kernel_of(arrays, f"{name}.conv")[..., order])
    conv.bias.assign(arrays[f"{name}.conv.bias"][order])


def halves_to_pairs(filters):
    """There the shifts of all channels come before the scales; here each beside its own."""
    return np.arange(filters).reshape(2, -1).T.ravel()


def set_rows(step, arrays, name):
    net, kernel = step.network, kernel_of(arrays, f"{name}.masked_conv.conv")
    # As seen from the side that the pixel sees: rows first, the nearest one last.
    if net.direction in ("left", "right"):
        kernel = kernel.transpose(1, 0, 2, 3)
    net.first.set_kernel(kernel[::-1] if net.direction in ("bottom", "right") else kernel)
    net.first.bias.assign(arrays[f"{name}.masked_conv.conv.bias"])
    set_conv(net.last, arrays, f"{name}.conv1x1", halves_to_pairs(net.last.filters))


def set_actnorm(norm, arrays, name):
    """`x exp(l) + b` there."""
    log_scale, bias = (arrays[f"{name}.{part}"].ravel() for part in ("log_scale", "bias"))
    norm.log_scale.assign(log_scale)
    norm.bias.assign(bias * np.exp(-log_scale))


def set_coupling(coupling, arrays, name):
    net = coupling.network
    set_conv(net.first, arrays, f"{name}.conv1")
    set_conv(net.second, arrays, f"{name}.conv2")
    set_conv(net.last, arrays, f"{name}.conv3", halves_to_pairs(net.filters))


def set_unit(steps, arrays, name):
    norms = [step for step in steps if isinstance(step, ActNorm)]
    rows = [step for step in steps if isinstance(step, Autoregressive)]
    for i, norm in enumerate(norms):
        set_actnorm(norm, arrays, f"{name}.actnorm{i + 1}")
    for i, step in enumerate(rows):
        set_rows(step, arrays, f"{name}.conv{i + 1}.net")


def set_glow(steps, arrays, name, net):
    norm, conv, coupling = steps
    assert isinstance(conv, Conv1x1) and isinstance(coupling, Coupling)
    set_actnorm(norm, arrays, f"{name}.actnorm")
    set_conv1x1(conv, arrays[f"{name}.conv1x1.weight"])
    set_coupling(coupling, arrays, f"{name}.{net}.net")


def set_step(steps, arrays, name):
    set_unit(steps[:6], arrays, f"{name}.units.0")
    set_unit(steps[6:12], arrays, f"{name}.units.1")
    set_glow(steps[12:], arrays, f"{name}.glow_step", "coupling")


def check(step, arrays, name="out"):
    x = last(arrays["in/x"])
    z, log_det = step.encode(x)
    np.testing.assert_allclose(z, last(arrays[f"{name}/z"]), **CLOSE)
    np.testing.assert_allclose(log_det, arrays[f"{name}/log_det"], **CLOSE)
    np.testing.assert_allclose(step.decode(z), x, **CLOSE)


@pytest.mark.parametrize("name", NAMES)
def test_row_by_row(reference, name):
    arrays, config = reference("families/macow_masked_conv")
    x, make = last(arrays["in/x"]), _Steps(None, "float64")
    step = make.rows(tuple(x.shape[1:]), NAMES[name], config["hidden"])
    assert isinstance(step.network, RowNetwork)
    step.build(x.shape)
    set_rows(step, arrays, f"state/{name}/net")
    check(step, arrays, f"out/{name}")
    # Which pixels a pixel depends on.
    (jacobian,) = jacobians(lambda x: step.encode(x)[0], x[:1])
    sees = np.abs(jacobian.reshape(20, 2, 20, 2)).max(axis=(1, 3)) > 1e-12
    np.testing.assert_array_equal(sees, arrays[f"out/{name}/dependence"].reshape(20, 20) > 0.0)


def test_a_unit_and_a_step(reference):
    arrays, _ = reference("families/macow_unit")
    unit = Chain(_Steps(None, "float64").unit((4, 4, 2)), dtype="float64")
    unit.build((None, 4, 4, 2))
    set_unit(unit.steps, {f"state/unit.{k[6:]}": v for k, v in arrays.items()}, "state/unit")
    check(unit, arrays)
    arrays, config = reference("families/macow_step")
    steps = _Steps(None, "float64").steps((4, 4, 4), 1, config["hidden_coupling"])
    step = Chain(steps, dtype="float64")
    step.build((None, 4, 4, 4))
    set_step(step.steps, {f"state/step.{k[6:]}": v for k, v in arrays.items()}, "state/step")
    check(step, arrays)


@pytest.mark.slow
def test_three_levels(reference):
    arrays, config = reference("families/macow_3levels")
    narrow = {2: 4, 6: 8, 8: 10, 16: 18}  # of the masked convolutions there, by channels
    original = _Steps.rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            _Steps, "rows", lambda self, shape, d, _: original(self, shape, d, narrow[shape[-1]])
        )
        flow = MaCow((8, 8, 2), config["num_steps"], config["hidden"], dtype="float64")
    steps = flow.transform.steps[2:]
    set_step(steps[:15], arrays, "state/blocks.0.steps.0")
    level = steps[17:]
    for i in range(2):
        set_step(level[:15], arrays, f"state/blocks.1.layers.{i}.0")
        set_glow(level[15:18], arrays, f"state/blocks.1.priors.{i}", "nice")
        level = level[18].inner.steps
    set_step(level[2:17], arrays, "state/blocks.2.steps.0")
    after = Chain(flow.transform.steps[2:], dtype="float64")
    x = last(arrays["in/x"])
    z, log_det = after.encode(x)
    np.testing.assert_allclose(log_det, arrays["out/log_det"], **CLOSE)
    log_prob = flow.base.log_prob(z) + log_det
    np.testing.assert_allclose(log_prob, arrays["out/log_prob"], **CLOSE)
    np.testing.assert_allclose(after.decode(z), x, **CLOSE)
    # First what leaves first; then the second quarter, and what stays.
    internal, top = last(arrays["out/internal/z"]), last(arrays["out/top/z"])
    parts = [tf.reshape(part, (2, -1)) for part in (internal[..., 6:], internal[..., 4:6], top)]
    np.testing.assert_allclose(z, tf.concat(parts, axis=1), **CLOSE)
