"""Flow: the keras.Model that people hold.

Longer than other files, so that all that people call on a flow stands in one place.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import keras
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_flows import calls, checks
from keras_flows.bases import Base, StandardNormal
from keras_flows.files import complete_file
from keras_flows.measure.certificate import Certificate, certify
from keras_flows.noise import Noise, ScaledNoise, Seed, SeededNoise, as_seed, fresh_seed
from keras_flows.numerics import events, fixed_point
from keras_flows.training.model import MaximumLikelihood
from keras_flows.transforms.base import Transform
from keras_flows.transforms.residual import ResidualBlock

if TYPE_CHECKING:
    from keras_flows.data.schema import Schema
    from keras_flows.tfp import FlowBijector, FlowDistribution
    from keras_flows.zoo.metadata import Metadata


@keras.saving.register_keras_serializable("keras_flows")
class Flow(MaximumLikelihood):
    """A normalizing flow: a transform of the data, and a base density on its latent.

    `ln p(x) = ln p_Z(encode(x)) + log_det(x)`. As a Keras model, a flow maps a batch to its
    log_prob, is trained by its negative log-likelihood (`compile` takes no loss), and a
    conditional flow takes the pair `(x, context)`, or the context in the place of targets:
    `flow.fit(x, context)`.

    >>> flow = kf.models.IDenseNet((2,), blocks=4, growth=32)
    >>> flow.compile(keras.optimizers.Adam(1e-3))
    >>> flow.fit(x, epochs=10)
    >>> flow.log_prob(x), flow.sample(100, seed=0)

    Args:
        transform: A `keras_flows.transforms.Transform`, often a `Chain`.
        event_shape: Shape of one example.
        context_shape: Shape of one example's context; None for a flow without context.
        context_embedding: A Keras layer that maps the context to the vector the transform sees;
            None where the context is that vector. It is trained with the flow.
        base: The density on the latent, a layer of `keras_flows.bases`; a `StandardNormal` by
            default.
        seed: Seed of the random draws of training, an integer. A draw depends on the seed and
            the number of the training step only. Calls without a seed draw anew every time, in
            every process; `keras.utils.set_random_seed` makes them repeat.

    Attributes:
        schema: What the columns of its table are, a `keras_flows.data.Schema`; None for any other
            data. A preset and every export hold it.
        calibration: Scores of held-out data, a `keras_flows.detect.Calibration`; None for a flow
            without, and after every fit. A preset holds it, and exports give p-values by it.

    Raises:
        ValueError: If the transform cannot take the event or context shape.
    """

    schema: "Schema | None" = None

    def __init__(
        self,
        transform: Transform,
        event_shape: tuple[int, ...],
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        base: Base | None = None,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.event_shape = checks.event_shape(event_shape)
        checks.precision(self)
        self.context_shape = None
        if context_shape is not None:
            self.context_shape = checks.shape(context_shape, "context_shape")
        if context_embedding is not None:
            checks.instance(context_embedding, keras.layers.Layer, "context_embedding")
            if context_shape is None:
                raise ValueError("A context_embedding needs a context_shape.")
        self.context_embedding = context_embedding
        checks.count(seed, "seed", least=0)
        if seed >= 2**31:
            raise ValueError(f"seed must be from 0 to 2^31 - 1; got {seed}.")
        self.seed = int(seed)
        checks.instance(transform, Transform, "transform")
        self.transform = transform
        checks.build_once(self.transform, (None, *self.event_shape))
        self.latent_shape = tuple(transform.encoded_shape(self.event_shape))
        self.base = StandardNormal(dtype=self.dtype_policy) if base is None else base
        checks.instance(self.base, Base, "base")
        if self.context_embedding is not None and self.context_shape is not None:
            checks.build_once(self.context_embedding, (None, *self.context_shape))
        checks.build_once(self.base, (None, *self.latent_shape))
        self.calls = calls.Caller(self)
        self._prepare_training(self.transform.dequantizes)
        self.built = True

    # What the flow is ---------------------------------------------------------------------

    @property
    def likelihood(self) -> str:
        """What `log_prob` is: `"exact"`, `"unbiased"`, `"lower_bound"` or `"biased"`."""
        return self.transform.likelihood

    @property
    def bits(self) -> int | None:
        """How many bits the integers have that the flow is on; None for continuous data."""
        return next((step.bits for step in self.transform.innermost() if step.dequantizes), None)

    @property
    def blocks(self) -> list[ResidualBlock]:
        """The residual blocks, in the order of encoding."""
        return [step for step in self.transform.innermost() if isinstance(step, ResidualBlock)]

    def noise_shape(self, direction: str) -> tuple[int]:
        """How many standard normal numbers an example consumes, as the shape `(n,)`.

        Args:
            direction: `"encode"` (also what log_prob consumes) or `"decode"`.
        """
        if direction not in ("encode", "decode"):
            raise ValueError(f"direction must be 'encode' or 'decode'; got {direction!r}.")
        return (self.transform.noise_size(direction),)

    def certify(self) -> Certificate:
        """Certified Lipschitz bounds of all residual blocks; see `keras_flows.measure`."""
        return certify(self)

    # Density, latent, samples ---------------------------------------------------------------

    def log_prob(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        noise: Noise | Sequence[ArrayLike] | None = None,
        seed: Seed | None = None,
        training: bool = False,
        num_probes: int = 1,
        num_importance_samples: int | None = None,
    ) -> tf.Tensor:
        """Log-density of examples, in nats.

        Args:
            x: `(batch, *event_shape)`, array or tensor.
            context: `(batch, *context_shape)` or one context for all, for a conditional flow.
            noise: Recorded arrays to replay, in the order of consumption, or a
                `keras_flows.noise.Noise`; only where `noise_shape("encode")` is not `(0,)`.
            seed: An integer or pair of integers to draw that noise from; fresh draws by default.
            training: Whether to run in training mode, for a training loop of one's own, which
                then calls `after_update()` after every step.
            num_probes: Independent draws of a random log_prob to average, as in
                `log_prob_draws`, which gives them one by one.
            num_importance_samples: The number k of draws of the importance-weighted bound
                `ln(mean_k exp(log_prob_k))`, for a flow whose likelihood is `"lower_bound"`: in
                expectation it is above the bound of one draw and below the truth. The draws are
                made one after the other, from the seed.

        Returns:
            Tensor `(batch,)`. `likelihood` says what kind of number it is.

        Raises:
            ValueError: If a shape or dtype does not fit, the batch is empty or holds NaN.
            NonFiniteError: If the result is NaN; the message names the step it comes from.
        """
        checks.count(num_probes, "num_probes")
        if num_importance_samples is not None:
            if noise is not None or training or num_probes != 1:
                raise ValueError(
                    "num_importance_samples goes with a seed, without num_probes and outside of "
                    "training."
                )
            calls.check_importance_samples(self, num_importance_samples)
            draws = (tf.constant(num_importance_samples),)
            return self.calls.run(calls.importance_weighted, x, context, seed=seed, extra=draws)
        if num_probes == 1:
            return self.calls.run(calls.log_prob, x, context, noise, seed, training)
        if noise is not None:
            raise ValueError("Recorded noise is for one draw; leave num_probes out.")
        return tf.reduce_mean(self.log_prob_draws(x, num_probes, context, seed, training), axis=0)

    def log_prob_draws(
        self,
        x: ArrayLike,
        num_probes: int,
        context: ArrayLike | None = None,
        seed: Seed | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Independent draws of a log_prob that is random.

        Their mean over the first axis is `log_prob(x, num_probes=num_probes)` with the same seed,
        and their deviation divided by `sqrt(num_probes)` is its standard error, for each example.

        Args:
            x: As in `log_prob`, like the other arguments.
            num_probes: How many, at least 1.
            context: See `log_prob`.
            seed: See `log_prob`.
            training: See `log_prob`.

        Returns:
            Tensor `(num_probes, batch)`.

        Raises:
            ValueError: If this flow's log_prob is not random.
        """
        checks.count(num_probes, "num_probes")
        if self.transform.noise_size("encode") == 0:
            raise ValueError(
                "The log_prob of this flow draws no random numbers: there is nothing to average. "
                "Leave num_probes out."
            )
        source = SeededNoise(fresh_seed() if seed is None else seed)
        return tf.stack(
            [
                self.log_prob(x, context, seed=source.next_seed(), training=training)
                for _ in range(num_probes)
            ]
        )

    def encode(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        noise: Noise | Sequence[ArrayLike] | None = None,
        seed: Seed | None = None,
    ) -> tf.Tensor:
        """Data to latent: `(batch, *event_shape)` to `(batch, *latent_shape)`.

        Arguments and errors are those of `log_prob`.
        """
        return self.calls.run(calls.encode, x, context, noise, seed)

    def decode(
        self,
        z: ArrayLike,
        context: ArrayLike | None = None,
        noise: Noise | Sequence[ArrayLike] | None = None,
        seed: Seed | None = None,
        tolerance: float | None = None,
    ) -> tf.Tensor:
        """Latent to data: `(batch, *latent_shape)` to `(batch, *event_shape)`.

        The other arguments are those of `log_prob`. Inside a `tf.function`, an example whose
        inverse did not converge is NaN.

        Args:
            z: `(batch, *latent_shape)`, array or tensor.
            context: See `log_prob`, like `noise` and `seed`.
            noise: See `log_prob`.
            seed: See `log_prob`.
            tolerance: Of the inverses of the residual blocks, absolute and relative, in the place
                of their own: the larger, the fewer steps they take. What it makes of the result,
                `keras_flows.measure.round_trip` measures.

        Returns:
            Tensor `(batch, *event_shape)`.

        Raises:
            ConvergenceError: If an inverse did not converge; the message has the residual.
            ValueError: If the tolerance is not positive, or no step of the flow has one.
        """
        if tolerance is None:
            return self.calls.run(calls.decode, z, context, noise, seed, direction="decode")
        checks.tolerance(tolerance, self.blocks)
        extra = (tf.constant(tolerance, self.compute_dtype),)
        with fixed_point.tolerance(tolerance):  # of the call, and of what explains its NaN
            return self.calls.run(
                calls.decode_to, z, context, noise, seed, direction="decode", extra=extra
            )

    def sample(
        self,
        n: int,
        seed: Seed | None = None,
        temperature: float | tf.Tensor = 1.0,
        context: ArrayLike | None = None,
        tolerance: float | None = None,
    ) -> tf.Tensor:
        """Draws from the flow.

        Args:
            n: Number of samples, at least 1.
            seed: An integer or pair of integers; the same seed gives the same samples. Fresh
                draws by default.
            temperature: Factor on the deviation of the base density, and of the normal numbers
                that decoding draws; 0 or more.
            context: `(n, *context_shape)` or one context for all, for a conditional flow.
            tolerance: See `decode`.

        Returns:
            Tensor `(n, *event_shape)`.

        Raises:
            ValueError: If an argument does not fit.
            ConvergenceError: If an inverse did not converge.
        """
        checks.count(n, "n")
        if (
            tf.get_static_value(temperature) is not None
            and not 0.0 <= float(temperature) < math.inf
        ):
            raise ValueError(f"temperature must be a finite number, 0 or more; got {temperature}.")
        seed = fresh_seed() if seed is None else as_seed(seed)
        temperature = tf.cast(temperature, self.compute_dtype)
        z, seed = self.calls.draw(n, seed, temperature)
        if self.transform.noise_size("decode") and tf.get_static_value(temperature) != 1.0:
            noise = ScaledNoise(seed, temperature)
            return self.decode(z, context, noise=noise, tolerance=tolerance)
        return self.decode(z, context, seed=seed, tolerance=tolerance)

    def bits_per_dim(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        noise: Noise | Sequence[ArrayLike] | None = None,
        seed: Seed | None = None,
    ) -> tf.Tensor:
        """`-log_prob / (D ln 2)`, for flows on integers; arguments are those of `log_prob`.

        Raises:
            ValueError: If the flow does not dequantize: for continuous data the number would
                depend on the unit of measurement.
        """
        if not self.transform.dequantizes:
            raise ValueError(
                "bits_per_dim is defined for dequantized integers; this flow has a density on "
                "continuous data. Use log_prob, in nats."
            )
        return events.bits_per_dim(-self.log_prob(x, context, noise, seed), self.event_shape)

    # What the pure functions of `keras_flows.calls` are made of --------------------------------

    def embed(self, context: tf.Tensor | None, training: bool = False) -> tf.Tensor | None:
        """The vector that the transform sees of a context; None for a flow without."""
        if self.context_embedding is None:
            return context
        labels = self.labels
        if labels is None:
            return self.context_embedding(context, training=training)
        given: tf.Tensor = context  # a flow with an embedding has one
        valid = (given >= 0) & (given < labels)
        vector = self.context_embedding(tf.clip_by_value(given, 0, labels - 1))
        return tf.where(valid[..., None], vector, tf.constant(float("nan"), vector.dtype))

    @property
    def labels(self) -> int | None:
        """How many integer labels the context may be; None where it is no label."""
        embedding = self.context_embedding
        return embedding.input_dim if isinstance(embedding, keras.layers.Embedding) else None

    @property
    def context_dtype(self) -> str:
        """The dtype of the context: labels are integers."""
        return self.compute_dtype if self.labels is None else "int32"

    def density(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
        observe: Callable[..., object] | None = None,
    ) -> calls.Density:
        return calls.density(self, x, context, noise, training, observe)

    def call(
        self, inputs: tf.Tensor | tuple[tf.Tensor, tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        x, context = inputs if isinstance(inputs, (tuple, list)) else (inputs, None)
        if tf.executing_eagerly() and not tf.is_symbolic_tensor(x):
            return self.log_prob(x, context, training=training)
        noise = SeededNoise(fresh_seed()) if self.transform.noise_size("encode") else None
        return self.density(x, context, noise, training).log_prob

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        data = input_shape[0] if isinstance(input_shape[0], (tuple, list)) else input_shape
        return (data[0],)

    def export(self, *args: Any, **kwargs: Any) -> None:
        """Refuses Keras's export, which would leave the checks out: see `keras_flows.export`."""
        raise NotImplementedError(
            "A flow is exported by kf.export.to_saved_model(flow, folder) or "
            "kf.export.to_onnx(flow, folder), which compare the files with the flow."
        )

    # Saving ---------------------------------------------------------------------------------------

    def save(self, filepath: str | Path, **kwargs: Any) -> None:
        """Saves a `.keras` file, complete or not at all; see `keras.Model.save`.

        Raises:
            LipschitzError: If a residual block cannot be certified invertible.
            OSError: If it cannot be written. A file that is there stays as it was.
        """
        self.converge()
        self.certify()
        local = str(filepath).endswith(".keras") and "://" not in str(filepath)
        asks = kwargs.get("overwrite") is False and Path(filepath).exists()
        if not local or asks or kwargs.get("zipped") is False:
            return super().save(filepath, **kwargs)
        with complete_file(filepath) as partial:
            super().save(partial, **kwargs)

    def save_to_preset(self, folder: str | Path, **metadata: Any) -> "Metadata":
        """Writes a preset folder; see `keras_flows.zoo.save`."""
        from keras_flows import zoo

        return zoo.save(self, folder, **metadata)

    @classmethod
    def from_preset(cls, handle: str | Path) -> Self:
        """Loads a flow by zoo name, folder or address; see `keras_flows.zoo.load`."""
        from keras_flows import zoo

        flow = zoo.load(handle)
        if not isinstance(flow, cls):
            raise ValueError(f"{handle!r} is a {type(flow).__name__}, not a {cls.__name__}.")
        return flow

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "transform": keras.saving.serialize_keras_object(self.transform),
            "base": keras.saving.serialize_keras_object(self.base),
            **self._common_config(),
        }

    def _common_config(self):
        embedding = self.context_embedding
        return {
            "event_shape": list(self.event_shape),
            "context_shape": None if self.context_shape is None else list(self.context_shape),
            "context_embedding": embedding and keras.saving.serialize_keras_object(embedding),
            "seed": self.seed,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        parts = {
            name: keras.saving.deserialize_keras_object(value)
            for name, value in config.items()
            if isinstance(value, dict) and "registered_name" in value
        }
        return cls(**{**config, **parts})

    # Views ----------------------------------------------------------------------------------------

    def as_distribution(self, context: ArrayLike | None = None) -> "FlowDistribution":
        """The flow as a `tfp.distributions.Distribution`; see `keras_flows.tfp`."""
        from keras_flows.tfp import FlowDistribution

        return FlowDistribution(self, context)

    def as_bijector(self, context: ArrayLike | None = None) -> "FlowBijector":
        """The flow as a `tfp.bijectors.Bijector`; see `keras_flows.tfp`."""
        from keras_flows.tfp import FlowBijector

        return FlowBijector(self, context)
