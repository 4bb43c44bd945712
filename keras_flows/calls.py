"""The one seam between people and pure functions.

Whatever a flow is asked goes the same way: check what was given, run a pure function of tensors,
compiled once for all batch sizes, and explain a NaN in what it made. A pure function is called as
`function(flow, x, context, noise, training)`; it embeds the context itself.
"""

import copy
from typing import NamedTuple

import tensorflow as tf

from keras_flows import checks
from keras_flows.noise import Noise, ReplayedNoise, SeededNoise, as_seed, fresh_seed
from keras_flows.numerics import fixed_point
from keras_flows.numerics.importance import log_mean_exp
from keras_flows.numerics.tracing import with_functions
from keras_flows.transforms import diagnosis
from keras_flows.transforms.composite import finish

# Pure functions -----------------------------------------------------------------------------------


class Density(NamedTuple):
    """What encoding gives: the latent, the log-det `(batch,)`, and the log_prob `(batch,)`."""

    z: tf.Tensor
    log_det: tf.Tensor
    log_prob: tf.Tensor


def density(flow, x, context=None, noise=None, training=False, observe=None):
    """`ln p(x) = ln p_Z(encode(x)) + log_det(x)`, for training, evaluation and export alike.

    Args:
        flow: A `keras_flows.Flow`.
        x: Tensor `(batch, *event_shape)`.
        context: Tensor `(batch, *context_shape)`, or None.
        noise: A `keras_flows.noise.Noise`, or None where encoding draws nothing.
        training: Whether to run in training mode.
        observe: Called with the name and the tensors of every part as it is made, in order: the
            data, the context, each step; None for nothing.

    Returns:
        A `Density`.
    """
    context = flow.embed(context, training)
    on_step = None
    if observe is not None:
        observe("the data", x)
        if context is not None:
            observe("the context", context)

        def on_step(path, z, log_det):
            observe(f"step {path!r}", z, log_det)

    z, log_det = finish(flow.transform.encode_steps(x, context, noise, training), on_step)
    return Density(z, log_det, flow.base.log_prob(z) + log_det)


def log_prob(flow, x, context, noise, training=False):
    """The log_prob of a `density`."""
    return density(flow, x, context, noise, training).log_prob


def latent_and_log_det(flow, x, context, noise, training=False):
    """The latent and the log-det, in one pass."""
    return flow.transform.encode(x, flow.embed(context, training), noise, training)


def encode(flow, x, context, noise, training=False):
    """Data to latent."""
    return latent_and_log_det(flow, x, context, noise, training)[0]


def decode(flow, z, context, noise, training=False):
    """Latent to data."""
    return flow.transform.decode(z, flow.embed(context, training), noise)


def decode_to(flow, z, context, noise, training, tolerance):
    """Latent to data, by inverses of this tolerance."""
    with fixed_point.tolerance(tolerance):
        return decode(flow, z, context, noise, training)


def draw(flow, n, seed, temperature):
    """Latents of n examples from the base, and the seed of what decoding draws."""
    noise = SeededNoise(seed)
    z = flow.base.sample(n, flow.latent_shape, noise, temperature, flow.compute_dtype)
    return z, noise.next_seed()


def importance_weighted(flow, x, context, noise, training, draws):
    """The importance-weighted bound of many draws, one after the other from the seed of noise."""
    return log_mean_exp(
        lambda seed: log_prob(flow, x, context, SeededNoise(seed)), noise.seed, draws
    )


def check_importance_samples(flow, draws):
    """Checks that the importance-weighted log_prob of a flow is a bound.

    Raises:
        ValueError: If draws is no positive integer, or the log_prob is no lower bound, or its
            noise is in part that of an estimated log-det.
    """
    checks.count(draws, "num_importance_samples")
    if flow.likelihood != "lower_bound":
        raise ValueError(
            "Importance samples tighten the lower bound of a flow that dequantizes or appends "
            f"noise; the log_prob of this flow is {flow.likelihood!r}. Leave "
            "num_importance_samples out."
        )
    if any(step.likelihood == "unbiased" for step in flow.transform.innermost()):
        raise ValueError(
            "This flow estimates log-dets at random, and the importance-weighted mean of such "
            "estimates is no bound. Use exact log-dets, or leave num_importance_samples out."
        )


# The way to them ----------------------------------------------------------------------------------


def in_batches(flow, x, context=None, batch_size=None):
    """Examples in batches of bounded memory.

    Args:
        flow: The `keras_flows.Flow` they are for.
        x: `(n, …)`. Without examples it is one batch, of which a call says what is wrong.
        context: `(n, …)`, or None.
        batch_size: Examples at a time; 10,000 points or 100 images by default.

    Yields:
        `(start, x, context)` of every batch, `start` the index of its first example.
    """
    batch_size = batch_size or (100 if len(flow.event_shape) == 3 else 10_000)
    for start in range(0, max(len(x), 1), batch_size):
        rows = slice(start, start + batch_size)
        yield start, x[rows], None if context is None else context[rows]


class Caller:
    """Runs pure functions of a flow on what people pass in.

    Args:
        flow: The `keras_flows.Flow`.
    """

    def __init__(self, flow):
        self._flow = flow
        self._compiled = {}

    def checked(self, x, context, direction="encode", finite=True, name=None):
        """What was given as tensors of the flow's dtype and shapes, the context not embedded.

        Args:
            x: Data, or latents to decode.
            context: Its context, or None.
            direction: `"encode"` or `"decode"`.
            finite: Whether NaN and infinity are errors.
            name: What x is called in messages; `"x"`, or `"z"` for latents, by default.

        Returns:
            `(x, context)`.

        Raises:
            ValueError: If anything does not fit.
        """
        flow = self._flow
        shape, own = (flow.event_shape, "x") if direction == "encode" else (flow.latent_shape, "z")
        x = checks.batch(x, shape, flow.compute_dtype, name or own, finite)
        return x, checks.context(
            context, flow.context_shape, x, flow.context_dtype, finite, flow.labels
        )

    def run(
        self,
        function,
        x,
        context=None,
        noise=None,
        seed=None,
        training=False,
        direction="encode",
        extra=(),
        explain=True,
    ):
        """Checks the arguments, runs a pure function, and explains a NaN.

        Args:
            function: A pure function of this module, or one like them: not a closure, for it is
                compiled once for all calls.
            x: See `checked`, like `context` and `direction`.
            context: See there.
            noise: Recorded arrays, or a `Noise`; None to draw from the seed.
            seed: An integer or pair of integers; None for fresh draws.
            training: Passed on.
            direction: See `checked`.
            extra: More tensors for the function, behind the others: numbers, or one row an example.
            explain: Whether a NaN in the result is an error.

        Returns:
            What the function returns, a nest of tensors.

        Raises:
            ValueError: If an argument does not fit.
            NonFiniteError: If the result is NaN; the message names the step it comes from.
            ConvergenceError: If that step is an inverse that did not converge.
        """
        x, context = self.checked(x, context, direction)
        if noise is not None and seed is not None:
            raise ValueError("Give either noise or a seed, not both.")
        draws = self._flow.transform.noise_size(direction) > 0
        if noise is None and (draws or seed is not None):
            seed = fresh_seed() if seed is None else as_seed(seed)
        source = _source(noise, seed if draws else None)
        if noise is None and tf.executing_eagerly() and not tf.is_symbolic_tensor(x):
            result = self._run_compiled(function, x, context, source, training, extra)
        else:
            drawn = copy.copy(source)
            result = function(self._flow, x, context, drawn, training, *extra)
            if isinstance(drawn, ReplayedNoise):
                drawn.finish()
        if explain and tf.executing_eagerly() and _any_nan(result):
            flow, drawn = self._flow, copy.copy(source)
            diagnosis.explain(flow.transform, direction, x, flow.embed(context), drawn)
        return result

    def draw(self, n, seed, temperature):
        """What `draw` gives, in one call where it is not part of a graph already."""
        flow = self._flow
        if not tf.executing_eagerly():
            return draw(flow, n, seed, temperature)
        if draw not in self._compiled:
            number, dtype = tf.TensorSpec((), tf.int32), flow.compute_dtype
            signature = [number, tf.TensorSpec((2,), tf.int32), tf.TensorSpec((), dtype)]
            traced = tf.function(
                lambda *given: draw(flow, *given), input_signature=signature, autograph=False
            )
            self._compiled[draw] = traced.get_concrete_function()
        return self._compiled[draw](tf.constant(n, tf.int32), seed, temperature)

    def _run_compiled(self, function, x, context, source, training, extra):
        """The function, compiled for any batch size."""
        seed = () if source is None else (source.seed,)
        given = (x, *seed, *(() if context is None else (context,)), *extra)
        key = function, training, len(given)
        if key not in self._compiled:
            flow, with_context = self._flow, context is not None

            def compiled(x, *rest):
                rest = list(rest)
                noise = SeededNoise(rest.pop(0)) if seed else None
                context = rest.pop(0) if with_context else None
                return function(flow, x, context, noise, training, *rest)

            # Of any number of examples, but for the seed and for single numbers.
            signature = [
                tf.TensorSpec(
                    t.shape
                    if t.shape.rank == 0 or any(t is s for s in seed)
                    else (None, *t.shape[1:]),
                    t.dtype,
                )
                for t in given
            ]
            traced = tf.function(compiled, input_signature=signature, autograph=False)
            # The concrete function: TensorFlow takes functions of one line of code for one that is
            # traced again and again, and warns.
            with with_functions():
                self._compiled[key] = traced.get_concrete_function()
        return self._compiled[key](*given)


def _source(noise, seed):
    """The source of randomness of a call, None where there is none."""
    if noise is None:
        return None if seed is None else SeededNoise(seed)
    return noise if isinstance(noise, Noise) else ReplayedNoise(noise)


def _any_nan(nest):
    tensors = [t for t in tf.nest.flatten(nest) if t.dtype.is_floating]
    return any(bool(tf.reduce_any(tf.math.is_nan(tensor))) for tensor in tensors)
