"""Blocks of one kind, traced once in graphs that TensorFlow runs."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from keras_flows import calls
from keras_flows.models import IDenseNet
from keras_flows.noise import SeededNoise
from keras_flows.numerics import log_det as log_dets
from keras_flows.numerics.gradients import without_gradients
from keras_flows.numerics.tracing import with_functions
from keras_flows.transforms import Permutation
from keras_flows.transforms.repeated import runs, with_loops
from tests.derivatives import random
from tests.registry import move_weights

THREE = {"blocks": 3, "depth": 1, "growth": 4, "power_iterations": 1, "dtype": "float64"}


def flow_of(log_det="exact", **arguments):
    flow = IDenseNet((2,), **THREE, log_det=log_det, **arguments)
    move_weights(flow)
    return flow


def scores_and_gradients(flow, context=None):
    with with_functions(), tf.GradientTape() as tape:
        noise = SeededNoise((1, 2))
        made = calls.density(flow, random(5, 2), context, noise, training=True).log_prob
    return made, tape.gradient(made, flow.trainable_variables)


@pytest.fixture
def traces(monkeypatch):
    """Grows by one whenever an exact log-det is built."""
    made, exact = [], log_dets.Exact.__call__

    def counted(self, net, *arguments):
        made.append(net)
        return exact(self, net, *arguments)

    monkeypatch.setattr(log_dets.Exact, "__call__", counted)
    return made


@pytest.mark.parametrize(
    ("log_det", "context"),
    [
        pytest.param("exact", False, marks=pytest.mark.slow),
        ("exact", True),
        (log_dets.Unbiased("poisson"), False),
        pytest.param(log_dets.PowerSeries(3), True, marks=pytest.mark.slow),
    ],
)
def test_graphs_give_the_numbers_of_eager_calls(log_det, context):
    flow = flow_of(log_det, **({"context_shape": (3,)} if context else {}))
    given = random(5, 3, seed=1) if context else None
    eager = scores_and_gradients(flow, given)
    graph = tf.function(lambda: scores_and_gradients(flow, given))()
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), graph, eager
    )


def test_blocks_of_one_kind_are_traced_once(traces):
    flow = flow_of()
    step = tf.function(lambda: scores_and_gradients(flow)[0])
    step()
    assert len(traces) == 1
    flow.blocks[1].trainable = False
    tf.function(lambda: scores_and_gradients(flow)[0])()
    assert len(traces) == 3  # a frozen block is of another kind


@pytest.mark.slow
@pytest.mark.parametrize(("jit_compile", "times"), [(False, 1), (True, 3)])
def test_a_step_that_xla_compiles_has_every_block_written_out(traces, jit_compile, times):
    flow = flow_of()
    flow.compile("adam", jit_compile=jit_compile)
    flow.optimizer.build(flow.trainable_variables)
    # What Keras compiles, without the compiler.
    tf.function(lambda: flow.train_step((random(5, 2),)))()
    assert len(traces) == times


def test_what_people_call_is_traced_once(traces, monkeypatch):
    flow, x = flow_of(), random(5, 2)
    expected = calls.log_prob(flow, x, None, None)
    traces.clear()
    np.testing.assert_allclose(flow.log_prob(x), expected, rtol=1e-12)
    assert len(traces) == 1
    inverses, invert = [], type(flow.blocks[0]).invert
    monkeypatch.setattr(
        type(flow.blocks[0]), "invert", lambda self, *a: inverses.append(self) or invert(self, *a)
    )
    z = flow.encode(x)
    np.testing.assert_allclose(flow.decode(z), x, atol=1e-9)
    assert len(inverses) == 1


@pytest.mark.slow
def test_gradients_pass_through_what_people_call():
    flow, x = flow_of(), tf.constant(random(5, 2))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        called, plain = flow.log_prob(x), calls.log_prob(flow, x, None, None)
        decoded, plainly = flow.decode(x), calls.decode(flow, x, None, None)
    for one, other in ((called, plain), (decoded, plainly)):
        np.testing.assert_allclose(tape.gradient(one, x), tape.gradient(other, x), rtol=1e-9)


def test_a_flow_that_was_trained_is_let_go():
    def block_of_a_traced_flow():
        flow = flow_of()
        tf.function(lambda: scores_and_gradients(flow)[0])()
        return weakref.ref(flow.blocks[0])

    block = block_of_a_traced_flow()
    gc.collect()
    assert block() is None


def test_in_graphs_of_others_every_block_is_written_out(traces):
    flow = flow_of()
    tf.function(lambda: calls.log_prob(flow, random(5, 2), None, None))()
    assert len(traces) == 3


def loops(function):
    """How many loops the graph of a function holds, and its nodes, those inside of loops too."""
    definition = function.get_concrete_function().graph.as_graph_def()
    nodes = list(definition.node)
    for inner in definition.library.function:
        nodes += inner.node_def
    return sum("While" in node.op for node in nodes), len(nodes)


@pytest.mark.parametrize("conditional", [False, True])
def test_equal_blocks_decode_in_a_loop(conditional):
    flow = flow_of(**({"context_shape": (3,)} if conditional else {}))
    context = tf.constant(random(5, 3, seed=1)) if conditional else None
    z = tf.constant(random(5, 2))

    def decode():
        with without_gradients():
            return calls.decode(flow, z, context, None)

    def in_a_loop():
        with with_loops():
            return decode()

    written_out, looped = tf.function(decode), tf.function(in_a_loop)
    np.testing.assert_allclose(looped(), written_out(), rtol=1e-12)
    np.testing.assert_allclose(flow.encode(looped(), context), z, atol=1e-9)
    (three, size), (two, smaller) = loops(written_out), loops(looped)
    assert (three, two) == (3, 2)  # that of each block; that over the blocks, and one inside
    assert smaller < 0.5 * size


def test_only_steps_of_one_kind_share_a_loop():
    one, two = flow_of().transform.steps, IDenseNet((2,), **{**THREE, "growth": 5}).transform.steps
    images = IDenseNet((4, 4, 1), blocks=[3], depth=1, growth=4, actnorm=False).transform.steps
    mixed = [*one, Permutation([1, 0]), one[0], *two]
    assert runs(mixed) == [(i, i + 1) for i in range(8)]
    with with_loops():
        assert runs(mixed) == [(0, 3), (3, 4), (4, 5), (5, 8)]
        # Of images it is the network that takes the time.
        assert runs(images) == [(i, i + 1) for i in range(len(images))]
