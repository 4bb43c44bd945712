"""A flow as a bijector of TensorFlow Probability."""

import itertools
import sys
from typing import TYPE_CHECKING

import tensorflow as tf
import tensorflow_probability as tfp
from numpy.typing import ArrayLike
from tensorflow.python.eager import record  # says whether a gradient tape listens
from tensorflow_probability import bijectors as tfb

from keras_flows import calls
from keras_flows.tfp.batches import checked_context, flatten

if TYPE_CHECKING:
    from keras_flows.flow import Flow


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

    def __init__(
        self,
        flow: "Flow",
        context: ArrayLike | None = None,
        name: str = "flow_bijector",
    ):
        _check_bijective(flow)
        context = checked_context(flow, context)
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
        self._encode_once = _Once(self._encode)
        self._decode_once = _Once(self._decode)

    @classmethod
    def _parameter_properties(cls, dtype):
        def rank(self, x_event_ndims):
            more = x_event_ndims - self.forward_min_event_ndims
            return len(self.flow.context_shape or ()) + more

        return {"context": tfp.util.ParameterProperties(event_ndims=rank)}

    @property
    def flow(self) -> "Flow":
        """The flow."""
        return self._flow

    @property
    def context(self) -> tf.Tensor | None:
        """The context, None for a flow without one."""
        return self._context

    # The two passes ---------------------------------------------------------------------------

    def _decode(self, z):
        flat, context, leading = flatten(self.flow, z, self.flow.latent_shape, self.context)
        x = self.flow.decode(flat, context)
        return tf.reshape(x, tf.concat([leading, self.flow.event_shape], axis=0))

    def _encode(self, x):
        """The latent and the log-det, in one pass."""
        flow = self.flow
        flat, context, leading = flatten(flow, x, flow.event_shape, self.context)
        z, log_det = flow.calls.run(calls.latent_and_log_det, flat, context)
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
        # TFP's cache keeps what a bijector returned under its hash, and a composed bijector's hash
        # is made of those of its parts: for the cache it is a new one each time, so that none finds
        # results from before an update of the weights. For everyone else it stays.
        return hash((type(self), next(_HASHES) if _asked_by_cache() else id(self.flow)))


_HASHES = itertools.count()
_CACHE = "tensorflow_probability.python.internal.cache_util"


def _asked_by_cache():
    """Whether TFP's cache asks for a hash, directly or through bijectors made of others."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name == _CACHE:
            return True
        if not name.startswith("tensorflow_probability."):
            return False
        frame = frame.f_back
    return False


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


def obstacle(flow: "Flow") -> str | None:
    """Why a flow has no bijector, a message; None for a bijection with an exact log-det."""
    steps = list(flow.transform.innermost())

    def named(bad):
        return ", ".join(sorted({type(step).__name__ for step in steps if bad(step)}))

    instead = "Use flow.as_distribution(), which takes any flow."
    if flow.transform.dequantizes:
        return (
            "A flow on integers is no bijector: "
            f"{named(lambda step: step.dequantizes)} adds random numbers to the data, and decoding "
            f"rounds them away. {instead}"
        )
    if not flow.transform.bijective:
        return (
            f"This flow is no bijector: {named(lambda step: not step.bijective)} does not invert "
            f"its encoding exactly. {instead}"
        )
    if flow.noise_shape("encode") != (0,) or flow.noise_shape("decode") != (0,):
        random = named(lambda s: s.noise_size("encode") > 0 or s.noise_size("decode") > 0)
        return (
            f"A bijector needs the exact log-det; in this flow {random} estimates it with random "
            f"numbers (likelihood {flow.likelihood!r}). Build the flow with log_det='exact', or: "
            f"{instead}"
        )
    return None


def _check_bijective(flow):
    reason = obstacle(flow)
    if reason is not None:
        raise ValueError(reason)
