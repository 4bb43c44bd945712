"""The seam between people and pure functions: seeds, XLA, one trace for all batch sizes."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows import Flow, calls
from keras_flows.noise import SeededNoise, fresh_seed
from keras_flows.transforms import Affine, Chain, Logit, UniformDequantization

IN_A_PROCESS = """
import keras, numpy
from keras_flows import Flow
from keras_flows.transforms import Affine
flow = Flow(Affine(1.0, 2.0), (2,))
{before}
print(repr(flow.sample(3).numpy().tolist()))
"""


def dequantizing():
    return Flow(Chain([UniformDequantization(3), Logit(0.05)]), (2, 2, 1))


X = np.random.default_rng(0).integers(0, 8, (5, 2, 2, 1)).astype("float32")


def drawn_in_a_process(before=""):
    program = IN_A_PROCESS.format(before=before)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_draws_without_a_seed_are_fresh_in_every_process():
    assert drawn_in_a_process() != drawn_in_a_process()


@pytest.mark.slow  # two processes
def test_the_random_seed_of_keras_makes_processes_draw_alike():
    before = "keras.utils.set_random_seed(7)"
    assert drawn_in_a_process(before) == drawn_in_a_process(before)


def test_two_flows_draw_apart_and_each_call_anew():
    first, second = dequantizing(), dequantizing()
    drawn = [first.log_prob(X).numpy(), first.log_prob(X).numpy(), second.log_prob(X).numpy()]
    assert not any(np.array_equal(a, b) for a, b in zip(drawn, drawn[1:] + drawn[:1], strict=True))


def test_set_random_seed_repeats_eagerly_and_in_a_graph():
    flow = dequantizing()

    def both():
        keras.utils.set_random_seed(3)
        in_a_graph = tf.function(lambda: flow(tf.constant(X)))
        return flow.log_prob(X), flow.sample(2), flow.predict(X, verbose=0), in_a_graph()

    for one, other in zip(both(), both(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_graph_draws_anew_at_every_run():
    draw = tf.function(fresh_seed)
    assert not np.array_equal(draw(), draw())


@pytest.mark.parametrize("kind", ["normal", "uniform", "rademacher"])
def test_a_seed_gives_the_same_numbers_under_xla(kind):
    def draw():
        return getattr(SeededNoise((3, 4)), kind)(6, (2,), "float32")

    np.testing.assert_allclose(draw(), tf.function(draw, jit_compile=True)(), rtol=1e-6)


def test_a_flow_samples_the_same_under_xla():
    flow = dequantizing()
    compiled = tf.function(lambda: flow.sample(4, seed=9), jit_compile=True)
    np.testing.assert_array_equal(flow.sample(4, seed=9), compiled())
    compiled = tf.function(lambda x: flow.log_prob(x, seed=9), jit_compile=True)
    np.testing.assert_allclose(flow.log_prob(X, seed=9), compiled(X), rtol=1e-5)


def test_one_trace_serves_all_batch_sizes_without_a_warning(caplog):
    traced = []

    def counted(flow, x, context, noise, training):
        traced.append(x.shape)
        return calls.log_prob(flow, x, context, noise, training)

    flows = [dequantizing() for _ in range(8)]
    for flow in flows:
        for n in (1, 2, 5):
            flow.calls.run(counted, X[:n])
    assert len(traced) == len(flows)
    assert "retracing" not in caplog.text


def test_a_density_is_the_sum_of_its_parts():
    flow = dequantizing()
    made = flow.density(tf.constant(X), noise=SeededNoise(1))
    np.testing.assert_array_equal(made.log_prob, flow.base.log_prob(made.z) + made.log_det)
    np.testing.assert_array_equal(made.log_prob, flow.log_prob(X, seed=1))


@pytest.mark.slow
def test_a_density_reports_its_parts_in_order():
    parts = []
    dequantizing().density(
        tf.constant(X), noise=SeededNoise(1), observe=lambda name, *_: parts.append(name)
    )
    assert parts == ["the data", "step '0/UniformDequantization'", "step '1/Logit'"]


def test_what_does_not_fit_is_refused():
    flow = Flow(Affine(1.0, 2.0), (2,))
    with pytest.raises(ValueError, match=r"x must have shape \(batch, 2\)"):
        flow.calls.run(calls.log_prob, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="either noise or a seed"):
        flow.calls.run(calls.log_prob, np.zeros((3, 2)), noise=[], seed=1)
