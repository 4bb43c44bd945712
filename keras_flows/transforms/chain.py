"""Transforms one after the other."""

import keras

from keras_flows import checks
from keras_flows.transforms.base import LIKELIHOODS, Transform, zeros_per_example


@keras.saving.register_keras_serializable("keras_flows")
class Chain(Transform):
    """Composition: encodes through the steps in order, decodes in reverse order.

    `z = f_n(… f_1(x))`, `log_det = sum_k log_det_k`.

    Args:
        steps: The transforms, in the order of encoding.
    """

    def __init__(self, steps, **kwargs):
        super().__init__(**kwargs)
        self.steps = list(steps)

    def build(self, input_shape):
        for step in self.steps:
            checks.build_once(step, input_shape)
            input_shape = step.compute_output_shape(input_shape)
        self.built = True

    @property
    def likelihood(self):
        return max((step.likelihood for step in self.steps), key=LIKELIHOODS.index, default="exact")

    @property
    def dequantizes(self):
        return any(step.dequantizes for step in self.steps)

    @property
    def bijective(self):
        return all(step.bijective for step in self.steps)

    def encoded_shape(self, event_shape):
        for step in self.steps:
            event_shape = step.encoded_shape(event_shape)
        return event_shape

    def noise_size(self, direction):
        return sum(step.noise_size(direction) for step in self.steps)

    def innermost(self):
        for step in self.steps:
            yield from step.innermost()

    def lipschitz_bounds(self):
        return {
            f"{i}/{path}": bound
            for i, step in enumerate(self.steps)
            for path, bound in step.lipschitz_bounds().items()
        }

    def encode(self, x, context=None, noise=None, training=False):
        total = zeros_per_example(x)
        for step in self.steps:
            x, log_det = step.encode(x, context, noise, training)
            total += log_det
        return x, total

    def decode(self, z, context=None, noise=None):
        for step in reversed(self.steps):
            z = step.decode(z, context, noise)
        return z

    def encode_steps(self, x, context=None, noise=None, training=False):
        for i, step in enumerate(self.steps):
            for path, z, log_det in step.encode_steps(x, context, noise, training):
                yield f"{i}/{path}", z, log_det
                x = z

    def decode_steps(self, z, context=None, noise=None):
        for i, step in reversed(list(enumerate(self.steps))):
            for path, x in step.decode_steps(z, context, noise):
                yield f"{i}/{path}", x
                z = x

    def get_config(self):
        steps = [keras.saving.serialize_keras_object(step) for step in self.steps]
        return {**super().get_config(), "steps": steps}

    @classmethod
    def from_config(cls, config):
        steps = [keras.saving.deserialize_keras_object(step) for step in config["steps"]]
        return cls(**{**config, "steps": steps})
