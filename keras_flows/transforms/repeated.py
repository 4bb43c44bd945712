"""Steps of one kind are traced once."""

import contextlib
import contextvars
import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_flows.noise import Noise, SeededNoise
from keras_flows.numerics.tracing import traced_once
from keras_flows.transforms.base import Transform

_loops_wanted = contextvars.ContextVar("loops_wanted", default=False)
_weights: contextvars.ContextVar[list] = contextvars.ContextVar("weights")


def with_these_weights() -> Callable[[], contextlib.AbstractContextManager]:
    """Contexts in which a step has the weights that it has now.

    For gradients written by hand: they are built after the function that they are of, when the
    weights of its step are no longer the arguments of the function.
    """
    pairs = _weights.get(None)
    return contextlib.nullcontext if pairs is None else lambda: keras.StatelessScope(pairs)


def once(
    step: Transform,
    what: Hashable,
    function: Callable[..., Any],
    x: tf.Tensor,
    context: tf.Tensor | None,
    noise: Noise | None = None,
) -> Any:
    """`function(x, context, noise)`, in a graph traced once for all steps of one kind.

    For steps that leave their weights as they are: these become arguments of the function; see
    `keras_flows.numerics.tracing`. With noise that is not drawn from a seed it is the plain call.

    Args:
        step: The step.
        what: What tells apart the functions of a step: its direction, its mode.
        function: The same for all steps of the same configuration.
        x: See `Transform.encode`, like `context` and `noise`.
        context: See there.
        noise: See there; None where the step draws nothing.
    """
    if tf.executing_eagerly() or not (noise is None or type(noise) is SeededNoise):
        return function(x, context, noise)
    # Which draw is the next is data, like the weights: a step draws other numbers than the last.
    drawn_from = None if noise is None else (noise.seed, noise.next_draw, noise.rows)

    def pure(x, context, drawn_from, weights):
        own = None if drawn_from is None else SeededNoise(*drawn_from)
        pairs = list(zip(step.weights, weights, strict=True))
        token = _weights.set(pairs)
        try:
            with keras.StatelessScope(pairs):
                made = function(x, context, own)
        finally:
            _weights.reset(token)
        return made, None if own is None else own.next_draw

    # Tensors: the derivative of a function would read its first variables, whatever it is given.
    weights = [tf.convert_to_tensor(weight.value) for weight in step.weights]
    made, next_draw = traced_once(pure, (what, _kind(step)), x, context, drawn_from, weights)
    if noise is not None:
        noise.next_draw = next_draw
    return made


@contextlib.contextmanager
def with_loops() -> Iterator[None]:
    """Within it `runs` finds the steps of one kind that follow each other.

    For exported graphs: to convert and optimise the same large inverse for every block takes longer
    than all else, and a loop over the blocks holds it once.
    """
    token = _loops_wanted.set(True)
    try:
        yield
    finally:
        _loops_wanted.reset(token)


def runs(steps: Sequence[Transform]) -> list[tuple[int, int]]:
    """The places, `(start, end)`, of steps that decode alike, `with_loops`; else of each by itself.

    Args:
        steps: The steps of a chain.
    """
    parts: list[tuple[int, int]] = []
    last = None
    for i, step in enumerate(steps):
        kind = _kind(step) if _loops_wanted.get() and step.decodes_in_loops else None
        if kind is not None and kind == last:
            parts[-1] = parts[-1][0], i + 1
        else:
            parts.append((i, i + 1))
        last = kind
    return parts


def in_a_loop(
    steps: Sequence[Transform], function: Callable[..., tf.Tensor], x: tf.Tensor
) -> tf.Tensor:
    """`function(step, x)` of one step after the other, in a loop of the graph.

    Args:
        steps: Of one kind, which draw nothing and leave their weights as they are.
        function: From a step and a tensor to one of the same shape.
        x: The tensor that the first step is given.
    """
    stacked = [
        tf.stack([tf.convert_to_tensor(weight.value) for weight in same])
        for same in zip(*(step.weights for step in steps), strict=True)
    ]

    def body(i, x):
        pairs = [(w, values[i]) for w, values in zip(steps[0].weights, stacked, strict=True)]
        with keras.StatelessScope(pairs):
            return i + 1, function(steps[0], x)

    return tf.while_loop(lambda i, _: i < len(steps), body, (tf.constant(0), x))[1]


def _kind(step):
    """What steps that differ in their weights only have in common."""
    config = _without_names(keras.saving.serialize_keras_object(step))
    return json.dumps(config, sort_keys=True), tuple(w.trainable for w in step.weights)


def _without_names(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _without_names(value) for key, value in config.items() if key != "name"}
    if isinstance(config, (list, tuple)):
        return [_without_names(value) for value in config]
    return config
