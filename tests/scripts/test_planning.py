"""Counted operations against those counted by hand, and the page that is made of them."""

import json
import math

import pytest
import tensorflow as tf


def graph_of(function, *shapes):
    specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    return tf.function(function, autograph=False).get_concrete_function(*specs).graph


def test_products_are_counted_as_by_hand(script):
    count = script("flops").count
    assert count(graph_of(tf.matmul, (3, 5), (5, 7))) == 2 * 3 * 5 * 7
    transposed = graph_of(lambda a, b: tf.matmul(a, b, transpose_a=True), (2, 5, 3), (2, 5, 7))
    assert count(transposed) == 2 * 2 * 3 * 5 * 7
    einsum = graph_of(lambda a, b: tf.einsum("bij,bjk->ik", a, b), (2, 3, 5), (2, 5, 7))
    assert count(einsum) == 2 * 2 * 3 * 5 * 7
    conv = graph_of(lambda x, w: tf.nn.conv2d(x, w, 2, "SAME"), (2, 8, 6, 3), (3, 3, 3, 5))
    assert count(conv) == 2 * (2 * 4 * 3 * 5) * 27


def test_a_gradient_costs_two_more_of_the_same(script):
    def gradients(x, w):
        with tf.GradientTape() as tape:
            tape.watch((x, w))
            y = tf.nn.conv2d(x, w, 1, "SAME")
        return tape.gradient(y, (x, w), output_gradients=y)

    once = 2 * (2 * 6 * 6 * 5) * 27
    assert script("flops").count(graph_of(gradients, (2, 6, 6, 3), (3, 3, 3, 5))) == 3 * once


def test_functions_and_loops_are_counted_inside(script):
    inner = tf.function(lambda x: tf.matmul(x, x), autograph=False)

    def loop(x):
        x = inner(x)
        return tf.while_loop(lambda i, x: i < 4, lambda i, x: (i + 1, tf.matmul(x, x)), (0, x))[1]

    assert script("flops").count(graph_of(loop, (3, 3)), trips=4) == 5 * 2 * 27


def test_an_unknown_size_is_an_error(script):
    with pytest.raises(ValueError, match="known shapes only"):
        script("flops").count(graph_of(tf.matmul, (None, 5), (5, 7)))


def test_the_count_of_plain_layers_is_that_of_tensorflows_profiler(script):
    def net(x, v, w):
        return tf.matmul(tf.reshape(tf.nn.conv2d(x, v, 1, "SAME"), (2, -1)), w)

    graph = graph_of(net, (2, 4, 4, 3), (3, 3, 3, 5), (80, 7))
    profile = tf.compat.v1.profiler
    options = profile.ProfileOptionBuilder(profile.ProfileOptionBuilder.float_operation())
    total = profile.profile(graph, options=options.with_empty_output().build())
    assert script("flops").count(graph) == total.total_float_ops


def test_the_page_is_that_of_the_counts(script):
    plan, marked = script("plan_scale"), script("marked")
    results = json.loads(plan.RESULTS.read_text(encoding="utf-8"))
    assert results["configurations"].keys() == plan.PLANNED.keys()
    text = plan.PAGE.read_text(encoding="utf-8")
    assert marked.updated(text, plan.SCRIPT, plan.page(results)) == text


def test_the_ring_and_its_break_even(script):
    plan = script("plan_scale")
    assert plan.exchange(1e9, 1) == 0.0
    expected = 2 * 7 / 8 * 1e9 / 300e9 + 14 * 5e-6
    assert math.isclose(plan.exchange(1e9, 8), expected)
    assert plan.exchange(1e9, 64) > plan.exchange(1e9, 8)
    assert math.isclose(plan.short_exchange(1e3, 8), 6 * (5e-6 + 1e3 / 300e9))
    counted = {"train": 1e10, "parameters": 10**8, "norms": 0, "norm_bytes": 0}
    even = plan.break_even(counted, 8, 1e12)
    for batch, pays in ((even, True), (even - 1, False)):
        computing, exchanging = plan.step_seconds(counted, batch, 8, 1e12)
        assert (computing >= exchanging) == pays


@pytest.mark.slow
def test_a_training_step_takes_three_times_what_a_log_prob_takes(script):
    few = {"units": (1,), "modules": (1,), "dequantization": "uniform", "event_shape": (8, 8, 3)}
    counted = script("plan_scale").counts("denseflow_cifar10", differentiate=True, **few)
    assert counted["train"] == 3.0 * counted["score"]


@pytest.mark.slow
def test_the_counts_are_those_of_the_graphs(script):
    plan = script("plan_scale")
    results = json.loads(plan.RESULTS.read_text(encoding="utf-8"))
    kept = results["configurations"]["glow_cifar10"]
    assert {**plan.counts("glow_cifar10"), **plan.schedule("glow_cifar10")} == kept
