"""What an exported flow can compute: pure functions of named tensors.

All that exports need to know about the inside of a flow is here.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_flows import calls
from keras_flows.export import score
from keras_flows.noise import InputNoise, SeededNoise
from keras_flows.numerics.gradients import without_gradients
from keras_flows.numerics.log_det import Unbiased
from keras_flows.transforms.chain import flattened
from keras_flows.transforms.composite import finish
from keras_flows.transforms.repeated import with_loops


class Function(NamedTuple):
    """A pure function of a flow that graphs are made of.

    Attributes:
        name: What it does, in a word.
        run: From `Endpoints` and its inputs, by name, to a dictionary of tensors.
        inputs: The names of its inputs in their order; a flow without context, or without noise in
            this direction, has no such input. See `_specs`.
        outputs: The names of its outputs.
        direction: `"encode"` or `"decode"`, the one whose noise it consumes.
    """

    name: str
    run: Callable
    inputs: tuple
    outputs: tuple
    direction: str


def _encode(made, x, context=None, noise=None):
    source = None if noise is None else FixedTermsNoise(noise)
    density = made.flow.density(x, _for_each(x, context), source)
    return {"log_prob": density.log_prob, "z": density.z, "log_det": density.log_det}


def _decode(made, z, context=None, noise=None):
    source = None if noise is None else FixedTermsNoise(noise)
    return {"x": calls.decode(made.flow, z, _for_each(z, context), source)}


def _for_each(x, context):
    """The context, tied to the number of examples: another number of contexts is an error."""
    if context is None:
        return None
    number = tf.shape(x)[:1]
    # For TensorFlow, which leaves a reshape out where it thinks that it changes nothing; ONNX has
    # no assertions.
    message = "Cannot reshape the contexts: there must be one for each example."
    with tf.control_dependencies(
        [tf.debugging.assert_equal(number, tf.shape(context)[:1], message)]
    ):
        # A reshape that is left out takes its dependency along, an identity hands it on.
        context = tf.identity(context)
        return tf.reshape(context, tf.concat([number, tf.shape(context)[1:]], axis=0))


def _score(made, x, context=None):
    return score.score(made.flow, x, _for_each(x, context), made.alpha)


def _steps(made, x, context=None):
    flow, states = made.flow, []
    context = flow.embed(_for_each(x, context))
    steps = flow.transform.encode_steps(x, context)
    z, log_det = finish(steps, lambda path, state, log_det: states.append(state))
    log_prob = flow.base.log_prob(z) + log_det
    return {"log_prob": log_prob, "z": z, "log_det": log_det, "states": tf.stack(states, axis=1)}


def _contractions(made, points, context=None):
    context = made.flow.embed(_for_each(points, context))
    g = []
    for block, x in zip(made.flow.blocks, tf.unstack(points, axis=1), strict=True):
        with block.net.bound():
            g.append(block.net.call(x, context=context))
    return {"g": tf.stack(g, axis=1)}


def _sample(made, count, seed, context=None):
    flow, decoder, source = made.flow, made[DECODE], SeededNoise(seed)
    dtype = flow.compute_dtype
    inputs = {"z": flow.base.sample(count, flow.latent_shape, source, 1.0, dtype)}
    if context is not None:
        shape = tf.concat([[count], tf.shape(context)[1:]], axis=0)
        inputs["context"] = tf.broadcast_to(context, shape)
    if "noise" in decoder.inputs:
        inputs["noise"] = source.normal(count, flow.noise_shape("decode"), dtype)
    return decoder.function(*(inputs[name] for name in decoder.inputs))


ENCODE = Function(
    "encode", _encode, ("x", "context", "noise"), ("log_prob", "z", "log_det"), "encode"
)
DECODE = Function("decode", _decode, ("z", "context", "noise"), ("x",), "decode")
SCORE = Function("score", _score, ("x", "context"), ("log_prob", "p_value", "flag"), "encode")
# The data, the latent, and what they are after every step between them; see `has_steps`.
STEPS = Function(
    "steps", _steps, ("x", "context"), ("log_prob", "z", "log_det", "states"), "encode"
)
# Of every residual block `x + g(x)` its g, at a point for each: what a fixed-point inverse repeats.
CONTRACTIONS = Function("contractions", _contractions, ("points", "context"), ("g",), "encode")
# Draws what `flow.sample` draws, as long as decoding draws nothing; one context may serve for all.
SAMPLE = Function("sample", _sample, ("count", "seed", "context"), ("x",), "decode")


class Endpoint(NamedTuple):
    """A function of one flow.

    Attributes:
        function: A `tf.function` from its inputs, in their order, to a dictionary of tensors.
        inputs: Dictionary from the name of every input to its `tf.TensorSpec`.
        outputs: The same of the outputs.
        free: Where the noise is a constant inside, the endpoint that has it as an input.
        noise: That constant, `(1, n)`.
    """

    function: Callable
    inputs: dict
    outputs: dict
    free: "Endpoint | None" = None
    noise: np.ndarray | None = None

    def only(self, names):
        """A `tf.function` like the endpoint's that returns the outputs with these names."""

        def run(*inputs):
            made = self.function(*inputs)
            return {name: made[name] for name in names}

        return tf.function(run, list(self.inputs.values()), autograph=False)

    def with_noise(self, values, outputs):
        """The endpoint without the input `noise`, which is the same for every example and call.

        Args:
            values: See `fixed_noise`; None for an endpoint that takes no noise.
            outputs: The names of its outputs.
        """
        inputs = {name: spec for name, spec in self.inputs.items() if name != "noise"}

        def run(*tensors):
            given = dict(zip(inputs, tensors, strict=True))
            if "noise" in self.inputs:
                shape = (tf.shape(tensors[0])[0], values.shape[1])
                given["noise"] = tf.broadcast_to(tf.constant(values), shape)
            made = self.function(*(given[name] for name in self.inputs))
            return {name: made[name] for name in outputs}

        function = tf.function(run, list(inputs.values()), autograph=False)
        return Endpoint(
            function, inputs, {name: self.outputs[name] for name in outputs}, self, values
        )


class Endpoints:
    """The functions of a flow as endpoints, `endpoints[function]`, each traced once.

    Args:
        flow: A `keras_flows.Flow`.
        alpha: The false-positive rate of the flags; see `score.alpha_of`.
    """

    def __init__(self, flow, alpha=None):
        self.flow, self.alpha, self._made = flow, alpha, {}

    def __getitem__(self, function):
        """The `Endpoint` of a `Function`."""
        if function.name not in self._made:
            self._made[function.name] = self._endpoint(function)
        return self._made[function.name]

    def _endpoint(self, function):
        specs = _specs(self.flow, function.direction)
        inputs = {name: specs[name] for name in function.inputs if name in specs}

        def run(*tensors):
            with without_gradients(), with_loops():
                return function.run(self, **dict(zip(inputs, tensors, strict=True)))

        compiled = tf.function(run, list(inputs.values()), autograph=False)
        return Endpoint(compiled, inputs, {name: specs[name] for name in function.outputs})


def _specs(flow, direction):
    """The `tf.TensorSpec` of every input and output that there may be, by name."""
    dtype = flow.compute_dtype
    shapes = {"x": flow.event_shape, "z": flow.latent_shape, "log_prob": (), "log_det": ()}
    noise = flow.noise_shape(direction)
    if noise != (0,):
        shapes["noise"] = noise
    shapes["states"] = (len(list(flattened(flow.transform))), *flow.event_shape)
    shapes["points"] = shapes["g"] = (len(flow.blocks), *flow.event_shape)
    specs = {
        name: tf.TensorSpec((None, *shape), dtype, name=name) for name, shape in shapes.items()
    }
    if flow.context_shape is not None:
        shape = (None, *flow.context_shape)
        specs["context"] = tf.TensorSpec(shape, flow.context_dtype, name="context")
    specs["p_value"] = tf.TensorSpec((None,), tf.float64, name="p_value")
    specs["flag"] = tf.TensorSpec((None,), tf.bool, name="flag")
    specs["count"] = tf.TensorSpec((), tf.int32, name="count")
    specs["seed"] = tf.TensorSpec((2,), tf.int32, name="seed")
    return specs


class FixedTermsNoise(InputNoise):
    """The noise input of an exported graph, which cannot draw how many series terms to sum.

    The shared scalar is the largest number below one: an estimator that draws the number of its
    terms from it then sums the fewest it ever does, a power series with a fixed number of terms.
    """

    def scalar(self, dtype):
        """The largest number below one, shape `()`."""
        numpy_type = tf.as_dtype(dtype).as_numpy_dtype
        return tf.constant(np.nextafter(numpy_type(1), numpy_type(0)))


def cuts_series(flow):
    """Whether an export sums a fixed number of series terms where the flow draws it."""
    return any(isinstance(block.log_det, Unbiased) for block in flow.blocks)


def likelihood(flow):
    """What the exported log_prob is; see `keras_flows.Flow.likelihood`."""
    return "biased" if cuts_series(flow) else flow.likelihood


def has_steps(flow):
    """Whether a flow is a chain of bijections of vectors, whose steps can be told one by one."""
    steps = list(flattened(flow.transform))
    return (
        len(flow.event_shape) == 1
        and all(list(step.innermost()) == [step] for step in steps)
        and all(step.bijective and step.noise_size("encode") == 0 for step in steps)
        and all(step.encoded_shape(flow.event_shape) == flow.event_shape for step in steps)
    )


def has_contractions(flow):
    """Whether a flow has steps, some of them residual blocks."""
    return has_steps(flow) and bool(flow.blocks)


def takes_noise(flow):
    """Whether encoding consumes noise."""
    return flow.noise_shape("encode") != (0,)


def fixed_noise(flow, seed):
    """The noise of graphs that hold it: `(1, n)` standard normal numbers, None if it takes none.

    They are those of `numpy.random.default_rng(seed).standard_normal(n)`, in the flow's dtype.

    Args:
        flow: A `keras_flows.Flow`.
        seed: An integer, 0 or more.

    Raises:
        ValueError: If the seed is anything else.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer, 0 or more; got {seed!r}.")
    if not takes_noise(flow):
        return None
    (size,) = flow.noise_shape("encode")
    return np.random.default_rng(seed).standard_normal((1, size)).astype(flow.compute_dtype)
