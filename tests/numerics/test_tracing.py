"""Functions that a graph holds once."""

import tensorflow as tf

from keras_flows.numerics.gradients import custom_gradient, without_gradients
from keras_flows.numerics.tracing import traced_once, with_functions


def test_a_kind_is_traced_once_and_called_for_each_argument():
    traces = []

    def square(x):
        traces.append(x)
        return {"square": x * x}

    def both(x, y):
        with with_functions():
            return [traced_once(square, "square", each)["square"] for each in (x, y)]

    graph = tf.function(both)
    assert [float(each) for each in graph(tf.constant(2.0), tf.constant(3.0))] == [4.0, 9.0]
    assert len(traces) == 1
    # Another graph traces its own; eagerly, it is a plain call.
    tf.function(both)(tf.constant(2.0), tf.constant(3.0))
    assert len(traces) == 2
    assert [float(each) for each in both(tf.constant(2.0), tf.constant(3.0))] == [4.0, 9.0]
    assert len(traces) == 4

    def written_out(x, y):
        return [traced_once(square, "square", each)["square"] for each in (x, y)]

    assert float(tf.function(written_out)(tf.constant(2.0), tf.constant(3.0))[1]) == 9.0
    assert len(traces) == 6


def test_kinds_are_told_apart_and_gradients_pass():
    @tf.function
    def graph(x):
        with with_functions(), tf.GradientTape() as tape:
            tape.watch(x)
            y = traced_once(tf.sin, "sin", x) + 2 * traced_once(tf.cos, "cos", x)
        return y, tape.gradient(y, x)

    y, slope = graph(tf.constant(0.5, tf.float64))
    assert abs(float(y - tf.sin(tf.constant(0.5, tf.float64)) - 2 * tf.cos(y * 0 + 0.5))) < 1e-15
    assert abs(float(slope - tf.cos(y * 0 + 0.5) + 2 * tf.sin(y * 0 + 0.5))) < 1e-15


def test_a_gradient_by_hand_and_none_in_graphs_without():
    @custom_gradient
    def double(x):
        return 2 * x, lambda upstream: 7 * upstream

    def slope():
        x = tf.constant(1.0)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = double(x)
        return float(y), float(tape.gradient(y, x))

    assert slope() == (2.0, 7.0)
    with without_gradients():
        assert slope() == (2.0, 2.0)
    assert slope() == (2.0, 7.0)
