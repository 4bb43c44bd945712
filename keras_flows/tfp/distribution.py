"""A flow as a distribution of TensorFlow Probability."""

from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tensorflow_probability as tfp
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from keras_flows.noise import SeededNoise
from keras_flows.tfp.batches import checked_context, flatten
from keras_flows.tfp.bijector import FlowBijector, obstacle

if TYPE_CHECKING:
    from keras_flows.flow import Flow


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

    def __init__(
        self,
        flow: "Flow",
        context: ArrayLike | None = None,
        name: str = "FlowDistribution",
    ):
        context = checked_context(flow, context)
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

    def __getitem__(self, slices: Any) -> "FlowDistribution":
        # TFP would return what it was given, with no axis where one was asked for.
        if self.context is None and slices is not Ellipsis and slices not in ((), (Ellipsis,)):
            raise ValueError(
                "A flow without a context has no batch axes to slice; "
                "tfd.BatchBroadcast(distribution, [n]) gives it one."
            )
        return super().__getitem__(slices)

    @property
    def flow(self) -> "Flow":
        """The flow."""
        return self._flow

    @property
    def context(self) -> tf.Tensor | None:
        """The context, None for a flow without one."""
        return self._context

    @property
    def likelihood(self) -> str:
        """What `log_prob` is: `"exact"`, `"unbiased"`, `"lower_bound"` or `"biased"`."""
        return self.flow.likelihood

    def _event_shape(self):
        return tf.TensorShape(self.flow.event_shape)

    def _event_shape_tensor(self):
        return tf.constant(self.flow.event_shape, tf.int32)

    def _log_prob(self, x, seed=None):
        x, context, leading = flatten(self.flow, x, self.flow.event_shape, self.context)
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
        # None as TFP has it for discrete distributions, and where the flow is no bijector.
        return FlowBijector(self.flow, self.context) if obstacle(self.flow) is None else None

    def _experimental_tangent_space(self, x):
        # Integers have no volume that a map of them could change, as with TFP's own distributions.
        spaces = tfp.experimental.tangent_spaces
        return spaces.ZeroSpace() if self.flow.transform.dequantizes else spaces.FullSpace()
