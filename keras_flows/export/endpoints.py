"""What an exported flow offers: pure functions of named tensors."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_flows import calls
from keras_flows.errors import ExportError
from keras_flows.noise import InputNoise, SeededNoise
from keras_flows.numerics.log_det import Unbiased

DTYPES = ("float32", "float64")


class Endpoint(NamedTuple):
    """A function of an exported flow.

    Attributes:
        function: A `tf.function` from its inputs, in their order, to a dictionary of tensors.
        inputs: Dictionary from the name of every input to its `tf.TensorSpec`.
        outputs: The same of the outputs.
    """

    function: Callable
    inputs: dict
    outputs: dict

    def only(self, names):
        """A `tf.function` like the endpoint's that returns the outputs with these names."""

        def run(*inputs):
            made = self.function(*inputs)
            return {name: made[name] for name in names}

        return tf.function(run, list(self.inputs.values()), autograph=False)


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


def fixed_noise(flow, seed):
    """The noise of `fixed`: `(1, n)` standard normal numbers, None for a flow that takes none.

    They are those of `numpy.random.default_rng(seed).standard_normal(n)`, in the flow's dtype.

    Args:
        flow: A `keras_flows.Flow`.
        seed: An integer, 0 or more.

    Raises:
        ValueError: If the seed is anything else.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer, 0 or more; got {seed!r}.")
    (size,) = flow.noise_shape("encode")
    if not size:
        return None
    return np.random.default_rng(seed).standard_normal((1, size)).astype(flow.compute_dtype)


def of(flow, noise_values=None):
    """The endpoints `encode` (with log_prob), `decode` and `sample` of a flow, and `fixed`.

    `fixed` is log_prob where `encode` has the input `noise`, without that input: the noise is the
    same for every example and every call.

    Args:
        flow: A `keras_flows.Flow`.
        noise_values: See `fixed_noise`; there is no `fixed` without them.

    Returns:
        Dictionary from name to `Endpoint`. Inputs are `x` or `z` (`count` and `seed` of
        `sample`), `context` of a conditional flow, and `noise`, `(batch, n)` standard normal
        numbers, where `flow.noise_shape(direction)` is `(n,)` with n above 0. `sample` draws what
        `flow.sample` draws, as long as decoding draws nothing; one context may serve for all.

    Raises:
        ExportError: If the flow computes in neither float32 nor float64.
    """
    dtype = flow.compute_dtype
    if dtype not in DTYPES:
        raise ExportError(
            f"This flow computes in {dtype}; exports are in {' or '.join(DTYPES)}. Rebuild it with "
            "such a dtype and set its weights."
        )

    def specs(**shapes):
        return {
            name: tf.TensorSpec((None, *shape), dtype, name=name) for name, shape in shapes.items()
        }

    context = {}
    if flow.context_shape is not None:
        shape = (None, *flow.context_shape)
        context["context"] = tf.TensorSpec(shape, flow.context_dtype, name="context")

    def noise(direction):
        size = flow.noise_shape(direction)
        return {} if size == (0,) else specs(noise=size)

    def endpoint(function, inputs, outputs):
        def run(*tensors):
            return function(**dict(zip(inputs, tensors, strict=True)))

        signature = list(inputs.values())
        return Endpoint(tf.function(run, signature, autograph=False), inputs, outputs)

    def encode(x, context=None, noise=None):
        source = None if noise is None else FixedTermsNoise(noise)
        made = flow.density(x, context, source)
        return {"log_prob": made.log_prob, "z": made.z, "log_det": made.log_det}

    def fixed(x, context=None):
        shape = (tf.shape(x)[0], noise_values.shape[1])
        made = encode(x, context, tf.broadcast_to(tf.constant(noise_values), shape))
        return {"log_prob": made["log_prob"]}

    def decode(z, context=None, noise=None):
        source = None if noise is None else FixedTermsNoise(noise)
        return {"x": calls.decode(flow, z, context, source)}

    decoder = endpoint(
        decode,
        {**specs(z=flow.latent_shape), **context, **noise("decode")},
        specs(x=flow.event_shape),
    )

    def sample(count, seed, context=None):
        source = SeededNoise(seed)
        inputs = {"z": flow.base.sample(count, flow.latent_shape, source, 1.0, dtype)}
        if context is not None:
            shape = tf.concat([[count], tf.shape(context)[1:]], axis=0)
            inputs["context"] = tf.broadcast_to(context, shape)
        if "noise" in decoder.inputs:
            inputs["noise"] = source.normal(count, flow.noise_shape("decode"), dtype)
        return decoder.function(*(inputs[name] for name in decoder.inputs))

    made = {
        "encode": endpoint(
            encode,
            {**specs(x=flow.event_shape), **context, **noise("encode")},
            specs(log_prob=(), z=flow.latent_shape, log_det=()),
        ),
        "decode": decoder,
        "sample": endpoint(
            sample,
            {
                "count": tf.TensorSpec((), tf.int32, name="count"),
                "seed": tf.TensorSpec((2,), tf.int32, name="seed"),
                **context,
            },
            specs(x=flow.event_shape),
        ),
    }
    if noise_values is not None:
        inputs = {**specs(x=flow.event_shape), **context}
        made["fixed"] = endpoint(fixed, inputs, specs(log_prob=()))
    return made


def labels(flow):
    """How many integer labels the flow's context may be, None if it is not a label."""
    return flow.labels
