"""Certificates of invertibility."""

import keras
import numpy as np
import pytest

from keras_flows import Flow, LipschitzError
from keras_flows.layers import ConditionedDense, LipschitzSequential
from keras_flows.measure.certificate import certify
from keras_flows.models import IDenseNet, ResidualFlow
from keras_flows.transforms import Affine, Chain, ResidualBlock
from tests.registry import MODELS, move_weights, residual_block


def kernel_of(flow, block=0, layer=0):
    return flow.blocks[block].net.layers[layer].linear.dense.kernel


@pytest.fixture
def flow():
    return IDenseNet((2,), blocks=2, depth=2, growth=4)


@pytest.mark.parametrize("name", MODELS)
def test_models_are_certified(name):
    flow = MODELS[name].flow()
    certificate = flow.certify()
    assert len(certificate.bounds) == len(flow.blocks)
    assert len(flow.blocks) == (2 if isinstance(flow, (IDenseNet, ResidualFlow)) else 0)
    assert all(0.0 < bound < 1.0 for bound in certificate.bounds.values())
    assert certificate.largest == max(certificate.bounds.values(), default=0.0)


def test_bounds_are_those_of_the_networks(flow):
    assert flow.certify().bounds == {
        "0/ResidualBlock": flow.blocks[0].net.lipschitz_bound(),
        "1/ResidualBlock": flow.blocks[1].net.lipschitz_bound(),
    }
    # The margins of the published configuration: 0.98 per Dense Layer, 0.9 for the last matrix.
    move_weights(flow)
    assert flow.certify().largest <= 0.98**2 * 0.9 * (1.0 + 1e-6)


def test_paths_lead_to_the_blocks():
    inner = Chain([Affine(), residual_block(None)])
    nested = Flow(Chain([residual_block(None), inner]), (2,))
    assert list(nested.certify().bounds) == ["0/ResidualBlock", "1/1/ResidualBlock"]


def test_a_flow_without_blocks_has_nothing_to_certify():
    certificate = Flow(Affine(), (2,)).certify()
    assert certificate.bounds == {}
    assert certificate.largest == 0.0


def test_a_kernel_changed_by_hand_is_found(flow):
    flow.certify()
    kernel_of(flow, block=1).assign(20.0 * kernel_of(flow, block=1))
    with pytest.raises(LipschitzError) as error:
        flow.certify()
    bound = flow.blocks[1].net.lipschitz_bound()
    assert bound > 1.0
    message = str(error.value)
    assert "1 of 2 residual blocks cannot be certified invertible" in message
    assert f"'1/ResidualBlock', has the Lipschitz bound {bound:.6f}" in message
    # The norms brought up to date, it is normalised again.
    flow.converge()
    assert flow.certify().largest < 1.0


def test_saving_brings_the_norms_up_to_date(flow, tmp_path):
    kernel_of(flow).assign(20.0 * kernel_of(flow))
    flow.save(tmp_path / "flow.keras")
    assert certify(keras.models.load_model(tmp_path / "flow.keras")).largest < 1.0


def test_saving_refuses_what_may_not_be_invertible(tmp_path):
    # A coefficient of one leaves no margin below one.
    net = LipschitzSequential([ConditionedDense(2, coeff=1.0)])
    flow = Flow(ResidualBlock(net), (2,))
    flow.transform.net.layers[0].dense.kernel.assign(-3.0 * np.eye(2))
    with pytest.raises(LipschitzError, match=r"has the Lipschitz bound 1\.000000"):
        flow.save(tmp_path / "flow.keras")
    assert not (tmp_path / "flow.keras").exists()


def test_saving_refuses_nan(flow, tmp_path):
    kernel_of(flow).assign(np.full((2, 4), np.nan))
    with pytest.raises(LipschitzError, match="has the Lipschitz bound nan"):
        flow.save(tmp_path / "flow.keras")
    assert not (tmp_path / "flow.keras").exists()


@pytest.mark.parametrize("model", [IDenseNet, ResidualFlow])
def test_bounds_hold_empirically(model):
    size = {"depth": 2, "growth": 4} if model is IDenseNet else {"widths": (8, 8)}
    flow = model((2,), blocks=1, block_bound=0.99, dtype="float64", **size)
    move_weights(flow)
    rng = np.random.default_rng(0)
    x = rng.normal(scale=3.0, size=(2000, 2))
    y = x + rng.normal(scale=1e-3, size=x.shape)
    net = flow.blocks[0].net
    ratios = np.linalg.norm(net(x) - net(y), axis=1) / np.linalg.norm(x - y, axis=1)
    assert 0.0 < ratios.max() <= flow.certify().largest
