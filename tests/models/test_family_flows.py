"""Glow, Real NVP, Flow++, MaCow, TarFlow, Jet, VFlow and pooling flows: sizes that do not fit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows.models import (
    AugmentedNormalizingFlow,
    FlowPlusPlus,
    Glow,
    ImageRealNVP,
    InterlacedFlow,
    Jet,
    MaCow,
    PoolFlow,
    TarFlow,
    VFlow,
)
from keras_flows.models.macow import RowNetwork
from keras_flows.models.tarflow import TokenNetwork
from tests.derivatives import jacobians, random
from tests.registry import move_weights


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Glow((6, 4, 1), 2),
            "A Glow of 2 levels takes images.*divisible by 4 and .* by 4; got",
        ),
        (lambda: Glow((4,), 2), "A Glow of 2 levels takes images"),
        (lambda: Glow((4, 4, 1), 1, width=0), "width must be an integer, at least 1; got 0"),
        (lambda: ImageRealNVP((6, 4, 1)), "A Real NVP of 2 scales takes images.*divisible by 4"),
        (lambda: FlowPlusPlus((4, 6, 1)), "height is divisible by 2 and whose width by 4"),
        (lambda: FlowPlusPlus((4, 4, 1), (1, 1)), "a number for each of three parts"),
        (
            lambda: FlowPlusPlus((2, 4, 1), (1, 1, 1), 5, 1, 2, 2, "uniform"),
            "heads share the channels: 5 is not divisible by 2",
        ),
        (lambda: VFlow((4, 6, 1)), "height is divisible by 2 and whose width by 4"),
        (
            lambda: InterlacedFlow((6, 4, 1), (2, 2)),
            "An InterlacedFlow of 2 levels takes images.*divisible by 4",
        ),
        (lambda: InterlacedFlow((4, 4, 1), (2, 0)), "widths, the channels.*got"),
        (lambda: VFlow((4, 4, 1), couplings=(1, 1)), "a number for each of four parts"),
        (lambda: MaCow((4, 4, 1), (1, 1), (2, 2)), r"steps\[0\] has to be 0 for an image"),
        (lambda: MaCow((4, 4, 2), (1, 1), (2,)), "one entry for every level"),
        (lambda: MaCow((4, 4, 2), (1, 1, 1), (2, 2, 2)), "has a pair of steps"),
        (lambda: MaCow((6, 6, 2), (1, (1, 1), 1), (2, 2, 2)), "A MaCow of 3 levels.*by 4"),
        (lambda: PoolFlow((6, 4, 1)), "A PoolFlow of 2 scales takes images.*divisible by 4"),
        (lambda: PoolFlow((4, 4, 1), pooling="mean"), "'mean'.*'max'"),
        (lambda: TarFlow((6, 4, 1), 4), "A TarFlow of 4×4 patches takes images.*divisible by 4"),
        (
            lambda: TarFlow((4, 4, 1), width=10, heads=4),
            "share the width: 10 is not divisible by 4",
        ),
        (lambda: Jet((4, 4, 1), 4), "A Jet of 4×4 patches takes images.*divisible by 8"),
        (lambda: Jet((4, 4, 1), 1), "need an even patch; got 1"),
        (lambda: AugmentedNormalizingFlow((2, 2, 1)), "takes vectors"),
        (lambda: AugmentedNormalizingFlow((2,), 0), "extra must be an integer, at least 1; got 0"),
    ],
)
def test_what_does_not_fit_is_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("direction", ["top", "bottom", "left", "right"])
def test_rows_see_those_before_them(direction):
    keras.utils.set_random_seed(0)
    net, x = RowNetwork((3, 4, 2), 2, 3, direction, dtype="float64"), random(1, 3, 4, 2)
    net.build(x.shape)
    net.last.gain.assign(np.ones(4))
    check_order(net, x)


@pytest.mark.parametrize("reverse", [False, True])
def test_tokens_see_those_before_them(reverse):
    keras.utils.set_random_seed(0)
    net, x = TokenNetwork((4, 3), 2, 4, 2, 2, reverse, dtype="float64"), random(1, 4, 3)
    net.build(x.shape)
    net.last.kernel.assign(0.3 * random(4, 6))
    check_order(net, x)


def check_order(net, x):
    """The Jacobian is triangular in the order of the network, by groups of numbers."""
    (jacobian,) = jacobians(net, x)
    n = jacobian.shape[1]
    sees = np.abs(jacobian).reshape(n, net.parameters, n).max(axis=1) > 0.0
    sees = sees[np.ix_(net.order, net.order)]
    groups = np.arange(n) // net.together
    before = groups[:, None] > groups
    assert not (sees & ~before).any()
    assert (sees & before)[-net.together :].any()


def test_decoding_takes_a_pass_for_each_group():
    keras.utils.set_random_seed(0)
    flow = TarFlow((4, 4, 1), 2, 4, 1, 1, 2)
    move_weights(flow)
    step, passes = flow.transform.steps[-1], []
    inner = step._parameters
    step._parameters = lambda *arguments: passes.append(1) or inner(*arguments)
    z = tf.random.normal((2, 4, 4), seed=0)
    x = step.decode(z)
    assert len(passes) == 4
    np.testing.assert_allclose(step.encode(x)[0], z, atol=1e-4)


def test_fresh_flows_are_near_what_their_first_steps_make():
    # Networks that start at zero, so that deep flows are no chaos.
    x = np.random.default_rng(0).integers(256, size=(4, 8, 8, 1)).astype("float32")
    for flow in (TarFlow((8, 8, 1), 4, 8, 2, 1, 2), Jet((8, 8, 1), 4, 8, 5, 1, 2)):
        z = flow.encode(x, seed=0)
        assert abs(float(tf.math.reduce_std(z)) - 0.58) < 0.05
