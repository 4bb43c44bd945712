"""Units of a flow joined by conditioned noise."""

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.bases import StandardNormal
from keras_flows.layers.coupling.convolution import convolution
from keras_flows.noise import require
from keras_flows.numerics.events import event_size, sum_event, zeros_per_example
from keras_flows.transforms.base import Transform
from keras_flows.transforms.chain import Chain
from keras_flows.transforms.composite import inside


@keras.saving.register_keras_serializable("keras_flows")
class CrossUnitCoupling(Transform):
    """Appends channels of noise whose location and scale depend on the context.

    `z = concat(x, μ + exp(s) e)` with `e ~ N(0, I)` and `s = 2 tanh(r / 2)`; `(μ, r)` are made by
    conv 3×3 → ReLU → conv 1×1, which starts at zero, from a context that is an image of the same
    size. `log_det = sum s - ln N(e; 0, I)`, minus the log-density of what was appended: the
    log_prob is then a lower bound. Decoding takes the appended channels away. Input
    `(batch, height, width, channels)`, output `(batch, height, width, channels + growth)`.

    Source: Grcić et al. 2021, *Densely connected normalizing flows*, section 2.2.

    Args:
        growth: Channels to append.
        context_size: Channels of the context.
    """

    likelihood = "lower_bound"
    bijective = False

    def __init__(self, growth, context_size, **kwargs):
        super().__init__(**kwargs)
        checks.count(growth, "growth")
        checks.count(context_size, "context_size")
        self.growth, self.context_size = growth, context_size
        policy = self.dtype_policy
        self.first = convolution(4 * context_size, 3, policy)
        self.last = convolution(2 * growth, 1, policy, zeros=True)
        self.base = StandardNormal(dtype=policy)

    def encoded_shape(self, event_shape):
        *positions, channels = event_shape
        return (*positions, channels + self.growth)

    def build(self, input_shape):
        self.first.build((*input_shape[:-1], self.context_size))
        self.last.build((*input_shape[:-1], 4 * self.context_size))
        super().build(input_shape)

    def noise_size(self, direction):
        positions = event_size(self.event_shape[:-1])
        return positions * self.growth if direction == "encode" else 0

    def parameters(self, context):
        """μ and s, each `(batch, height, width, growth)`."""
        mean, raw = tf.split(self.last(tf.nn.relu(self.first(context))), 2, axis=-1)
        return mean, 2.0 * tf.tanh(0.5 * raw)

    def encode(self, x, context=None, noise=None, training=False):
        require(noise, self)
        mean, log_scale = self.parameters(context)
        e = noise.normal(tf.shape(x)[0], mean.shape[1:], x.dtype)
        z = tf.concat([x, mean + tf.exp(log_scale) * e], axis=-1)
        return z, sum_event(log_scale) - self.base.log_prob(e)

    def decode(self, z, context=None, noise=None):
        return z[..., : -self.growth]

    def get_config(self):
        return {
            **super().get_config(),
            "growth": self.growth,
            "context_size": self.context_size,
        }


@keras.saving.register_keras_serializable("keras_flows")
class CrossUnitBlock(Chain):
    """Units with a `CrossUnitCoupling` between each and the next.

    The context of a coupling is the concatenation of the block's input and the outputs of the
    units before it, without that of the unit just before it. Everything else is a `Chain`: the
    steps are unit, coupling, unit, coupling, …, unit.

    Source: Grcić et al. 2021, *Densely connected normalizing flows*, section 2.2, and its
    published models.

    Args:
        units: The units, transforms that keep the shape of what they are given.
        growth: Channels that a coupling appends.
        channels: Channels of the block's input.
    """

    def __init__(self, units, growth, channels, **kwargs):
        super().__init__([], **kwargs)
        self.growth, self.channels = growth, channels
        units, seen = list(units), channels
        self.steps = units[:1]
        for i, unit in enumerate(units[1:]):
            self.steps += [CrossUnitCoupling(growth, seen, dtype=self.dtype_policy), unit]
            seen += channels + i * growth  # the output of unit i

    @property
    def units(self):
        """The units, in the order of encoding."""
        return self.steps[::2]

    @property
    def couplings(self):
        """The couplings between them."""
        return self.steps[1::2]

    def build(self, input_shape):
        if input_shape[-1] != self.channels:
            raise ValueError(
                f"This block takes {self.channels} channels; the input has {input_shape[-1]}."
            )
        super().build(input_shape)

    def encode_steps(self, x, context=None, noise=None, training=False):
        seen, total = [x], zeros_per_example(x)
        for i, step in enumerate(self.steps):
            coupling = isinstance(step, CrossUnitCoupling)
            given, before = tf.concat(seen, axis=-1) if coupling else context, x
            x, log_det = yield from inside(i, step.encode_steps(x, given, noise, training))
            total += log_det
            if coupling:
                seen.append(before)
        return x, total

    def get_config(self):
        config = super().get_config()
        del config["steps"]
        units = [keras.saving.serialize_keras_object(unit) for unit in self.units]
        return {**config, "units": units, "growth": self.growth, "channels": self.channels}

    @classmethod
    def from_config(cls, config):
        units = [keras.saving.deserialize_keras_object(unit) for unit in config["units"]]
        return cls(**{**config, "units": units})
