"""Transforms one after the other."""

from collections.abc import Iterable, Iterator
from typing import Any, Self

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise
from keras_flows.numerics.events import zeros_per_example
from keras_flows.transforms.base import Steps, Transform
from keras_flows.transforms.composite import Composite, inside
from keras_flows.transforms.repeated import in_a_loop, runs


@keras.saving.register_keras_serializable("keras_flows")
class Chain(Composite):
    """Composition: encodes through the steps in order, decodes in reverse order.

    `z = f_n(… f_1(x))`, `log_det = sum_k log_det_k`.

    Args:
        steps: The transforms, in the order of encoding.
    """

    def __init__(self, steps: Iterable[Transform], **kwargs: Any):
        super().__init__(**kwargs)
        self.steps = list(steps)
        for step in self.steps:
            checks.instance(step, Transform, "Each of the steps of a Chain")

    def build(self, input_shape: tuple) -> None:
        for step in self.steps:
            checks.build_once(step, input_shape)
            input_shape = step.compute_output_shape(input_shape)
        self.built = True

    def encoded_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        for step in self.steps:
            event_shape = step.encoded_shape(event_shape)
        return event_shape

    def encode_steps(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> Steps:
        total = zeros_per_example(x)
        for i, step in enumerate(self.steps):
            x, log_det = yield from inside(i, step.encode_steps(x, context, noise, training))
            total += log_det
        return x, total

    def decode_steps(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> Steps:
        for start, end in reversed(runs(self.steps)):
            first, *others = self.steps[start:end][::-1]
            if others:
                z = in_a_loop([first, *others], lambda step, z: step.decode(z, context, noise), z)
                yield f"{start}/{type(first).__name__}", z
            else:
                z = yield from inside(start, first.decode_steps(z, context, noise))
        return z

    def get_config(self) -> dict:
        steps = [keras.saving.serialize_keras_object(step) for step in self.steps]
        return {**super().get_config(), "steps": steps}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        steps = [keras.saving.deserialize_keras_object(step) for step in config["steps"]]
        return cls(**{**config, "steps": steps})


def flattened(transform: Transform) -> Iterator[Transform]:
    """The steps of a chain, in the place of a chain among them its own, one after the other."""
    if isinstance(transform, Chain):
        for step in transform.steps:
            yield from flattened(step)
    else:
        yield transform
