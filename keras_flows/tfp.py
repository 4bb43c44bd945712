"""The TensorFlow Probability view of a flow: a distribution, and a bijector.

Both are made by the flow, `flow.as_distribution()` and `flow.as_bijector()`. They hold no numbers
of their own: they see every change of the flow's weights at once.
"""

import itertools

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow.python.eager import record  # says whether a gradient tape listens
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from keras_flows import checks
from keras_flows.noise import SeededNoise


class FlowDistribution(tfd.Distribution):
    """A flow as a `tfp.distributions.Distribution`.

    `log_prob` takes `(*sample, *batch, *event_shape)` and returns `(*sample, *batch)`, in nats;
    `likelihood` says what kind of number it is. Where it is random (an estimated log-det,
    dequantization), each call draws anew; `log_prob(x, seed=)` with an integer or a pair of
    integers repeats. Samples carry gradients to the weights, except those of a flow on integers.

    Args:
        flow: A `keras_flows.Flow`.
        context: For a conditional flow, `(*batch, *context_shape)`: the batch shape of the
            distribution is `batch`. None for a flow without context.

    Raises:
        ValueError: If the context is missing, unwanted or does not fit.
    """

    def __init__(self, flow, context=None, name="FlowDistribution"):
        context = _checked_context(flow, context)
        parameters = dict(locals())
        self._flow = flow
        self._context = context
        # TFP finds no Keras variables by itself.
        self._weights = [variable.value for variable in flow.trainable_variables]
        super().__init__(
            dtype=tf.as_dtype(flow.compute_dtype),
            reparameterization_type=(
                tfd.NOT_REPARAMETERIZED if flow.transform.dequantizes else tfd.FULLY_REPARAMETERIZED
            ),
            validate_args=False,
            allow_nan_stats=False,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        rank = tfp.util.ParameterProperties(
            event_ndims=lambda self: len(self.flow.context_shape or ())
        )
        return {"context": rank}

    @property
    def flow(self):
        """The flow."""
        return self._flow

    @property
    def context(self):
        """The context, None for a flow without one."""
        return self._context

    @property
    def likelihood(self):
        """What `log_prob` is: `"exact"`, `"unbiased"`, `"lower_bound"` or `"biased"`."""
        return self.flow.likelihood

    def _event_shape(self):
        return tf.TensorShape(self.flow.event_shape)

    def _event_shape_tensor(self):
        return tf.constant(self.flow.event_shape, tf.int32)

    def _log_prob(self, x, seed=None):
        x, context, leading = _flatten(self.flow, x, self.flow.event_shape, self.context)
        return tf.reshape(self.flow.log_prob(x, context, seed=seed), leading)

    def _sample_n(self, n, seed=None):
        flow, noise = self.flow, SeededNoise(tfp.random.sanitize_seed(seed))
        leading = tf.concat([[n], self.batch_shape_tensor()], axis=0)
        count = tf.reduce_prod(leading)
        z = flow.base.sample(count, flow.latent_shape, noise, 1.0, self.dtype)
        context = None
        if self.context is not None:
            shape = tf.concat([leading, flow.context_shape], axis=0)
            context = tf.broadcast_to(tf.convert_to_tensor(self.context), shape)
            context = tf.reshape(context, (-1, *flow.context_shape))
        x = flow.decode(z, context, seed=noise.next_seed())
        return tf.reshape(x, tf.concat([leading, flow.event_shape], axis=0))

    def _sample_and_log_prob(self, sample_shape, seed):
        seed = tfp.random.sanitize_seed(seed)
        x = self.sample(sample_shape, seed)
        random = self.flow.noise_shape("encode") != (0,)
        return x, self.log_prob(x, seed=tfp.random.split_seed(seed, 1)[0] if random else None)

    def _default_event_space_bijector(self):
        # As TFP has it for discrete distributions.
        return None if self.flow.transform.dequantizes else FlowBijector(self.flow, self.context)


class FlowBijector(tfb.Bijector):
    """A flow as a `tfp.bijectors.Bijector`: `forward` is decode, `inverse` is encode.

    `tfd.TransformedDistribution(base, flow.as_bijector())` is then a density on data, and
    `tfp.mcmc.TransformedTransitionKernel(kernel, flow.as_bijector())` samples in the latent space.
    Gradients of `forward` are those of the implicit function theorem, with and without XLA.
    Inside a `tf.function`, an example whose decoding did not converge is NaN; outside, that is a
    `ConvergenceError`.

    TFP's cache is not used, neither here nor by a `tfb.Chain` around this: it would return
    results from before a weight update, and results without their gradients. A value and its
    log-det still take one pass together inside a `tf.function` (without a gradient tape), and
    everywhere in the log_prob of a `TransformedDistribution` with this bijector. With a `tfb.Chain`
    around it, that log_prob decodes as well; fixed affine maps are better put into the flow.

    Args:
        flow: A `keras_flows.Flow` that is a bijection with an exact log-det.
        context: For a conditional flow, `(*batch, *context_shape)`.

    Raises:
        ValueError: If the flow is not a bijection, or its log-det draws random numbers; or if
            the context is missing, unwanted or does not fit.
    """

    def __init__(self, flow, context=None, name="flow_bijector"):
        _check_bijective(flow)
        context = _checked_context(flow, context)
        parameters = dict(locals())
        self._flow = flow
        self._context = context
        self._weights = [variable.value for variable in flow.trainable_variables]
        super().__init__(
            dtype=tf.as_dtype(flow.compute_dtype),
            forward_min_event_ndims=len(flow.latent_shape),
            inverse_min_event_ndims=len(flow.event_shape),
            parameters=parameters,
            name=name,
        )
        self._fused = tf.function(self._encode_flat, autograph=False, reduce_retracing=True)
        self._encode_once = _Once(self._encode)
        self._decode_once = _Once(self._decode)

    @classmethod
    def _parameter_properties(cls, dtype):
        def rank(self, x_event_ndims):
            more = x_event_ndims - self.forward_min_event_ndims
            return len(self.flow.context_shape or ()) + more

        return {"context": tfp.util.ParameterProperties(event_ndims=rank)}

    @property
    def flow(self):
        """The flow."""
        return self._flow

    @property
    def context(self):
        """The context, None for a flow without one."""
        return self._context

    # The two passes ---------------------------------------------------------------------------

    def _decode(self, z):
        flat, context, leading = _flatten(self.flow, z, self.flow.latent_shape, self.context)
        x = self.flow.decode(flat, context)
        return tf.reshape(x, tf.concat([leading, self.flow.event_shape], axis=0))

    def _encode_flat(self, x, context):
        return self.flow.transform.encode(x, self.flow._embed(context))

    def _encode(self, x):
        """The latent and the log-det, in one pass."""
        flow = self.flow
        flat, context, leading = _flatten(flow, x, flow.event_shape, self.context)
        if tf.executing_eagerly():
            flat = checks.batch(flat, flow.event_shape, flow.compute_dtype, "x")
            z, log_det = self._fused(flat, context)
            if any(bool(tf.reduce_any(tf.math.is_nan(part))) for part in (z, log_det)):
                flow.log_prob(flat, context)  # raises, and names the step
        else:
            z, log_det = self._encode_flat(flat, context)
        z = tf.reshape(z, tf.concat([leading, flow.latent_shape], axis=0))
        return z, tf.reshape(log_det, leading)

    # What TFP calls ---------------------------------------------------------------------------

    def _forward(self, z):
        return self._decode_once(z)

    def _inverse(self, x):
        z, log_det = self._encode_once(x)
        z._keras_flows_log_det = log_det  # see _experimental_compute_density_correction
        return z

    def _inverse_log_det_jacobian(self, x):
        return self._encode_once(x)[1]

    def _forward_log_det_jacobian(self, z):
        return -self._encode_once(self._decode_once(z))[1]

    def _experimental_compute_density_correction(
        self, z, tangent_space, backward_compat=False, event_ndims=None, **kwargs
    ):
        # A TransformedDistribution asks for this just after `z = inverse(x)`: the log-det of
        # that pass is the answer. TFP's own way leads through forward_log_det_jacobian, which
        # would solve for x again.
        log_det = getattr(z, "_keras_flows_log_det", None)
        if log_det is None or not isinstance(
            tangent_space, tfp.experimental.tangent_spaces.FullSpace
        ):
            return super()._experimental_compute_density_correction(
                z, tangent_space, backward_compat, event_ndims=event_ndims, **kwargs
            )
        more = int(event_ndims) - self.forward_min_event_ndims
        return -tf.reduce_sum(log_det, axis=list(range(-more, 0))), tangent_space

    def _forward_event_shape(self, shape):
        return shape[: shape.rank - len(self.flow.latent_shape)] + self.flow.event_shape

    def _forward_event_shape_tensor(self, shape):
        return tf.concat([shape[: -len(self.flow.latent_shape)], self.flow.event_shape], axis=0)

    def _inverse_event_shape(self, shape):
        return shape[: shape.rank - len(self.flow.event_shape)] + self.flow.latent_shape

    def _inverse_event_shape_tensor(self, shape):
        return tf.concat([shape[: -len(self.flow.event_shape)], self.flow.latent_shape], axis=0)

    # No cache ---------------------------------------------------------------------------------

    @property
    def _cache(self):
        return _NoCache(self)

    def __hash__(self):
        # TFP caches what a bijector returned by the bijector's hash, and a composed bijector's
        # hash is made of those of its parts: with a new one each time, none finds old results.
        return hash(("FlowBijector", next(_HASHES)))


_HASHES = itertools.count()


class _NoCache:
    """In the place of TFP's cache: every call is made."""

    def __init__(self, bijector):
        self._bijector = bijector

    def forward(self, z):
        return self._bijector._forward(z)

    def inverse(self, x):
        return self._bijector._inverse(x)

    def forward_attributes(self, z):
        return {}

    def inverse_attributes(self, x):
        return {}


class _Once:
    """A function of one tensor that is not run twice where the result must be the same.

    That is inside a `tf.function`: for the same tensor, in the same graph, with no variable
    written since. And with no gradient tape on, which would not know what was computed before
    it. Everywhere else the function is run.
    """

    def __init__(self, function):
        self._function = function
        self._last = None

    def __call__(self, x):
        if tf.executing_eagerly() or record.could_possibly_record():
            return self._function(x)
        graph = tf.compat.v1.get_default_graph()
        if self._last is not None:
            argument, made_in, size, result = self._last
            if argument is x and made_in is graph and not _writes(graph.get_operations()[size:]):
                return result
        result = self._function(x)
        self._last = x, graph, len(graph.get_operations()), result
        return result


def _writes(operations):
    """Whether any of the operations may write a variable."""
    return any(
        tensor.dtype == tf.resource
        for operation in operations
        if operation.type != "ReadVariableOp"
        for tensor in operation.inputs
    )


def _flatten(flow, x, event_shape, context):
    """Brings x and the context to the one batch axis of a flow.

    Args:
        flow: The flow.
        x: `(*leading, *event_shape)`.
        event_shape: The event shape of x.
        context: `(*batch, *context_shape)`, or None; `batch` and `leading` broadcast.

    Returns:
        x as `(n, *event_shape)`, the context as `(n, *context_shape)` or None, and the
        broadcast leading shape, an int32 tensor.

    Raises:
        ValueError: If x does not end in the event shape.
    """
    x = tf.convert_to_tensor(x)
    rank = len(event_shape)
    if x.shape.rank is None or not x.shape[-rank:].is_compatible_with(event_shape):
        raise ValueError(
            f"The last axes must be the event shape {event_shape}; got a tensor of shape {x.shape}."
        )
    leading = tf.shape(x)[: x.shape.rank - rank]
    if context is not None:
        context = tf.cast(context, flow._context_dtype())
        batch = tf.shape(context)[: len(context.shape) - len(flow.context_shape)]
        leading = tf.broadcast_dynamic_shape(leading, batch)
        x = tf.broadcast_to(x, tf.concat([leading, event_shape], axis=0))
        context = tf.broadcast_to(context, tf.concat([leading, flow.context_shape], axis=0))
        context = tf.reshape(context, (-1, *flow.context_shape))
    return tf.reshape(x, (-1, *event_shape)), context, leading


def _checked_context(flow, context):
    """The context as a tensor or variable, or None for a flow without one."""
    if flow.context_shape is None:
        if context is not None:
            raise ValueError("This flow has no context; got one. Leave `context` out.")
        return None
    shape = tuple(flow.context_shape)
    needed = f"(*batch, {', '.join(map(str, shape))})" if shape else "(*batch)"
    if context is None:
        raise ValueError(
            f"This flow is conditional: give a `context` of shape {needed}, where batch becomes "
            "the batch shape."
        )
    if not isinstance(context, tf.Variable):
        context = tf.cast(context, flow._context_dtype())
    rank = context.shape.rank
    if rank is None or rank < len(shape) or not context.shape[rank - len(shape) :] == shape:
        raise ValueError(f"context must have shape {needed}; got {context.shape}.")
    return context


def _check_bijective(flow):
    """Raises a ValueError that says why a flow is not a bijector, if it is not."""
    steps = getattr(flow.transform, "steps", [flow.transform])

    def named(bad):
        return ", ".join(sorted({type(step).__name__ for step in steps if bad(step)}))

    instead = "Use flow.as_distribution(), which takes any flow."
    if flow.transform.dequantizes:
        raise ValueError(
            "A flow on integers is no bijector: "
            f"{named(lambda step: step.dequantizes)} adds random numbers to the data, and decoding "
            f"rounds them away. {instead}"
        )
    if not flow.transform.bijective:
        raise ValueError(
            f"This flow is no bijector: {named(lambda step: not step.bijective)} does not invert "
            f"its encoding exactly. {instead}"
        )
    if flow.noise_shape("encode") != (0,) or flow.noise_shape("decode") != (0,):
        random = named(lambda s: s.noise_size("encode") > 0 or s.noise_size("decode") > 0)
        raise ValueError(
            f"A bijector needs the exact log-det; in this flow {random} estimates it with random "
            f"numbers (likelihood {flow.likelihood!r}). Build the flow with log_det='exact', or: "
            f"{instead}"
        )
