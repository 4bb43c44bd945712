"""Steps of one kind are traced once."""

import json
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_flows.noise import Noise, SeededNoise
from keras_flows.numerics.tracing import traced_once
from keras_flows.transforms.base import Transform


def encode_once(
    step: Transform,
    encode: Callable[[tf.Tensor, tf.Tensor | None, Noise | None], tuple[tf.Tensor, tf.Tensor]],
    x: tf.Tensor,
    context: tf.Tensor | None,
    noise: Noise | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """`encode(x, context, noise)`, in a graph traced once for all steps of one kind.

    For steps that leave their weights as they are: these become arguments of the function; see
    `keras_flows.numerics.tracing`. With noise that is not drawn from a seed it is the plain call.

    Args:
        step: The step.
        encode: What its `encode` does; the same for all steps of the same configuration.
        x: See `Transform.encode`, like `context` and `noise`.
        context: See there.
        noise: See there.
    """
    source = noise if step.noise_size("encode") else None
    if tf.executing_eagerly() or not (source is None or type(source) is SeededNoise):
        return encode(x, context, noise)
    # Which draw is the next is data, like the weights: a step draws other numbers than the last.
    drawn_from = None if source is None else (source.seed, source.next_draw)

    def function(x, context, drawn_from, weights):
        own = None if drawn_from is None else SeededNoise(*drawn_from)
        with keras.StatelessScope(zip(step.weights, weights, strict=True)):
            made = encode(x, context, own)
        return made, None if own is None else own.next_draw

    weights = [weight.value for weight in step.weights]
    made, next_draw = traced_once(function, _kind(step), x, context, drawn_from, weights)
    if source is not None:
        source.next_draw = next_draw
    return made


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
