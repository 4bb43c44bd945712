"""Flow: the keras.Model that people hold."""

import contextlib
import copy
import math

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.bases import StandardNormal
from keras_flows.errors import ConvergenceError, NonFiniteError
from keras_flows.lipschitz import certify
from keras_flows.noise import Noise, ReplayedNoise, SeededNoise, as_seed
from keras_flows.training import StopOnNonFinite, all_finite, first_failure


@keras.saving.register_keras_serializable("keras_flows")
class Flow(keras.Model):
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
        seed: Seed of the random draws of training, an integer. A draw depends on the seed and
            the number of the training step only.

    Raises:
        ValueError: If the transform cannot take the event or context shape.
    """

    def __init__(
        self,
        transform,
        event_shape,
        context_shape=None,
        context_embedding=None,
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.event_shape = checks.event_shape(event_shape)
        self.context_shape = None if context_shape is None else tuple(context_shape)
        if context_embedding is not None and context_shape is None:
            raise ValueError("A context_embedding needs a context_shape.")
        self.context_embedding = context_embedding
        if not 0 <= seed < 2**31:
            raise ValueError(f"seed must be from 0 to 2^31 - 1; got {seed}.")
        self.seed = int(seed)
        self.transform = transform
        checks.build_once(self.transform, (None, *self.event_shape))
        self.latent_shape = tuple(transform.encoded_shape(self.event_shape))
        self.base = StandardNormal(dtype=self.dtype_policy)
        if self.context_embedding is not None:
            checks.build_once(self.context_embedding, (None, *self.context_shape))
        self.base.build((None, *self.latent_shape))
        self._nll = keras.metrics.Mean(name="nll_nats")
        self._bits = keras.metrics.Mean(name="bits_per_dim") if transform.dequantizes else None
        self._draws = keras.random.SeedGenerator(self.seed)
        # Not a weight of the model: where the present fit met its first NaN, and in which part.
        self._failure = tf.Variable([-1, -1], dtype=tf.int64, trainable=False)
        self._functions = {}
        self.built = True

    # What the flow is ---------------------------------------------------------------------

    @property
    def likelihood(self):
        """What `log_prob` is: `"exact"`, `"unbiased"`, `"lower_bound"` or `"biased"`."""
        return self.transform.likelihood

    def noise_shape(self, direction):
        """How many standard normal numbers an example consumes, as the shape `(n,)`.

        Args:
            direction: `"encode"` (also what log_prob consumes) or `"decode"`.
        """
        if direction not in ("encode", "decode"):
            raise ValueError(f"direction must be 'encode' or 'decode'; got {direction!r}.")
        return (self.transform.noise_size(direction),)

    def certify(self):
        """Certified Lipschitz bounds of all residual blocks; see `keras_flows.lipschitz`."""
        return certify(self)

    # Density, latent, samples ---------------------------------------------------------------

    def log_prob(self, x, context=None, noise=None, seed=None, training=False):
        """Log-density of examples, in nats.

        Args:
            x: `(batch, *event_shape)`, array or tensor.
            context: `(batch, *context_shape)` or one context for all, for a conditional flow.
            noise: Recorded arrays to replay, in the order of consumption, or a
                `keras_flows.noise.Noise`; only where `noise_shape("encode")` is not `(0,)`.
            seed: An integer or pair of integers to draw that noise from; fresh draws by default.
            training: Whether to run in training mode, for a training loop of one's own, which
                then calls `after_update()` after every step.

        Returns:
            Tensor `(batch,)`. `likelihood` says what kind of number it is.

        Raises:
            ValueError: If a shape or dtype does not fit, the batch is empty or holds NaN.
            NonFiniteError: If the result is NaN; the message names the step it comes from.
        """
        return self._run("log_prob", x, self.event_shape, context, noise, seed, training)

    def encode(self, x, context=None, noise=None, seed=None):
        """Data to latent: `(batch, *event_shape)` to `(batch, *latent_shape)`.

        Arguments and errors are those of `log_prob`.
        """
        return self._run("encode", x, self.event_shape, context, noise, seed)

    def decode(self, z, context=None, noise=None, seed=None):
        """Latent to data: `(batch, *latent_shape)` to `(batch, *event_shape)`.

        Arguments are those of `log_prob`. Inside a `tf.function`, an example whose inverse did
        not converge is NaN.

        Raises:
            ConvergenceError: If an inverse did not converge; the message has the residual.
        """
        return self._run("decode", z, self.latent_shape, context, noise, seed)

    def sample(self, n, seed=None, temperature=1.0, context=None):
        """Draws from the flow.

        Args:
            n: Number of samples, at least 1.
            seed: An integer or pair of integers; the same seed gives the same samples. Fresh
                draws by default.
            temperature: Factor on the deviation of the base density, 0 or more.
            context: `(n, *context_shape)` or one context for all, for a conditional flow.

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
        noise = SeededNoise(self._seed(seed))
        dtype = self.compute_dtype
        temperature = tf.cast(temperature, dtype)
        z = self.base.sample(n, self.latent_shape, noise, temperature, dtype)
        return self._run("decode", z, self.latent_shape, context, None, noise.next_seed())

    def bits_per_dim(self, x, context=None, noise=None, seed=None):
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
        return self._bits_per_dim(self.log_prob(x, context, noise, seed))

    def _bits_per_dim(self, log_prob):
        return -log_prob / (math.prod(self.event_shape) * math.log(2.0))

    # The same as pure functions of tensors ----------------------------------------------------

    def _embed(self, context, training=False):
        if self.context_embedding is None:
            return context
        return self.context_embedding(context, training=training)

    def _log_prob(self, x, context, noise, training=False):
        context = self._embed(context, training)
        z, log_det = self.transform.encode(x, context, noise, training)
        return self.base.log_prob(z) + log_det

    def _encode(self, x, context, noise, training=False):
        return self.transform.encode(x, self._embed(context), noise)[0]

    def _decode(self, z, context, noise, training=False):
        return self.transform.decode(z, self._embed(context), noise)

    def call(self, inputs, training=False):
        x, context = inputs if isinstance(inputs, (tuple, list)) else (inputs, None)
        noise = SeededNoise(self._seed(None)) if self.transform.noise_size("encode") else None
        return self._log_prob(x, context, noise, training)

    def _seed(self, seed):
        return as_seed(self._draws.next() if seed is None else seed)

    def _run(self, name, x, shape, context, noise, seed, training=False):
        """Checks the arguments, runs a pure function compiled once for all batch sizes."""
        x = checks.batch(x, shape, self.compute_dtype, "x" if name != "decode" else "z")
        context = checks.context(context, self.context_shape, x, self._context_dtype())
        direction = "decode" if name == "decode" else "encode"
        if noise is not None and seed is not None:
            raise ValueError("Give either noise or a seed, not both.")
        unused = copy.copy(noise)
        if noise is not None or not tf.executing_eagerly() or tf.is_symbolic_tensor(x):
            source = noise if isinstance(noise, Noise) else None
            if noise is not None and source is None:
                source = ReplayedNoise(noise)
            elif self.transform.noise_size(direction) and source is None:
                source = SeededNoise(self._seed(seed))
            result = getattr(self, f"_{name}")(x, context, source, training)
            if isinstance(source, ReplayedNoise):
                source.finish()
        else:
            stochastic = self.transform.noise_size(direction) > 0
            seed = self._seed(seed) if stochastic else tf.zeros((2,), tf.int32)
            given = (x, seed) if context is None else (x, seed, context)
            result = self._function(name, given, training, stochastic)(*given)
        if tf.executing_eagerly() and bool(tf.reduce_any(tf.math.is_nan(result))):
            self._explain_nan(name, x, context, unused, seed)
        return result

    def _function(self, name, given, training, stochastic):
        """The compiled form of a pure function, for any batch size."""
        key = name, training
        if key not in self._functions:
            function = getattr(self, f"_{name}")

            def run(x, seed, context=None):
                return function(x, context, SeededNoise(seed) if stochastic else None, training)

            x, seed, *context = given
            signature = [
                tf.TensorSpec((None, *x.shape[1:]), x.dtype),
                tf.TensorSpec(seed.shape, seed.dtype),
                *(tf.TensorSpec((None, *c.shape[1:]), c.dtype) for c in context),
            ]
            self._functions[key] = tf.function(run, input_signature=signature, autograph=False)
        return self._functions[key]

    def _context_dtype(self):
        # Labels for an embedding stay integers.
        integers = isinstance(self.context_embedding, keras.layers.Embedding)
        return "int32" if integers else self.compute_dtype

    def _explain_nan(self, name, x, context, noise, seed):
        """Finds the step that made a NaN and raises the error that says so."""
        source = ReplayedNoise(noise) if isinstance(noise, (list, tuple)) else noise
        if source is None and seed is not None:
            source = SeededNoise(seed)
        context = self._embed(context)
        if name == "decode":
            before = x
            for path, after in self.transform.decode_steps(x, context, source):
                bad = int(tf.reduce_sum(tf.cast(_any_nan(after), tf.int32)))
                if bad:
                    step = self._step_at(path)
                    if hasattr(step, "invert"):
                        raise ConvergenceError(_describe_inversion(path, step, before, context))
                    raise NonFiniteError(
                        f"decode made NaN for {bad} of {len(x)} examples in step {path!r}."
                    )
                before = after
        for path, z, log_det in self.transform.encode_steps(x, context, source):
            bad = _any_nan(z) | tf.math.is_nan(log_det)
            if bool(tf.reduce_any(bad)):
                raise NonFiniteError(
                    f"{name} made NaN for {int(tf.reduce_sum(tf.cast(bad, tf.int32)))} of {len(x)} "
                    f"examples in step {path!r}. Is the data in the range that step needs?"
                )
        raise NonFiniteError(f"{name} made NaN after the last step.")

    def _step_at(self, path):
        step = self.transform
        for part in path.split("/"):
            if part.isdigit():
                step = step.steps[int(part)]
        return step

    # Training -----------------------------------------------------------------------------------

    def compile(self, optimizer="adam", jit_compile="auto", **kwargs):
        """Prepares for training; see `keras.Model.compile`.

        Args:
            optimizer: A Keras optimizer or its name.
            jit_compile: Whether XLA compiles the training step. `"auto"`: on a GPU, and on a CPU
                for flows on vectors only (CPU convolutions are faster without).
            **kwargs: `steps_per_execution`, `run_eagerly` and the like. A loss is an error: it
                is built in.
        """
        if kwargs.pop("loss", None) is not None:
            raise ValueError("A flow's loss is its negative log-likelihood; compile takes no loss.")
        if jit_compile == "auto":
            gpu = bool(tf.config.list_logical_devices("GPU"))
            jit_compile = gpu or len(self.event_shape) == 1
            if kwargs.get("run_eagerly"):
                jit_compile = False
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)

    def get_compile_config(self):
        config = super().get_compile_config() or {}
        return {name: config[name] for name in ("optimizer", "jit_compile") if name in config}

    def compile_from_config(self, config):
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**config)
        if hasattr(self, "optimizer") and self.built:
            self.optimizer.build(self.trainable_variables)

    def after_update(self):
        """What follows a weight update in training, power iterations above all.

        `fit` does this by itself; a training loop of one's own calls it after every step.
        """
        for layer in self._flatten_layers(include_self=False):
            if hasattr(layer, "after_update"):
                layer.after_update()

    def converge(self):
        """Brings the stored spectral norms to convergence.

        `fit`, `evaluate`, saving and exporting do this by themselves.
        """
        for layer in self._flatten_layers(include_self=False):
            if hasattr(layer, "converge"):
                layer.converge()

    def _unpack(self, data):
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(x, dict):
            x, weights = x["x"], x.get("sample_weight")
        if isinstance(x, (tuple, list)) and len(x) == 2 and y is None:
            x, y = x
        if (y is None) != (self.context_shape is None):
            raise ValueError(
                "This flow has no context: fit and evaluate take the data alone."
                if self.context_shape is None
                else "This flow is conditional: fit and evaluate take (x, context)."
            )
        # NaN is left to the training step, which says where it met it first.
        x = checks.batch(x, self.event_shape, self.compute_dtype, "x", finite=False)
        y = checks.context(y, self.context_shape, x, self._context_dtype(), finite=False)
        return x, y, weights

    def _training_steps(self, x, context, noise):
        """Encodes step by step: log_prob, and whether each part is finite."""
        finite, total = [all_finite(x)], 0.0
        z = x
        context = self._embed(context, training=True)
        if context is not None:
            finite.append(all_finite(context))
        for _, z, log_det in self.transform.encode_steps(x, context, noise, training=True):
            total += log_det
            finite.append(all_finite(z) & all_finite(log_det))
        log_prob = self.base.log_prob(z) + total
        return log_prob, [*finite, all_finite(log_prob)]

    def train_step(self, data):
        x, context, weights = self._unpack(data)
        step = tf.cast(self.optimizer.iterations, tf.int32)
        noise = SeededNoise(tf.stack([tf.constant(self.seed, tf.int32), step]))
        with tf.GradientTape() as tape:
            log_prob, finite = self._training_steps(x, context, noise)
            loss = self._loss(log_prob, weights)
            scaled = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        gradients = tape.gradient(scaled, variables)
        finite.append(tf.reduce_all(tf.stack([all_finite(g) for g in gradients if g is not None])))
        ok = tf.reduce_all(tf.stack(finite))
        self._note_failure(step, finite)
        # A step with a NaN anywhere leaves no NaN behind: fit stops after it.
        gradients = [None if g is None else tf.where(ok, g, tf.zeros_like(g)) for g in gradients]
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.after_update()
        return self._track(loss, log_prob, weights)

    def test_step(self, data):
        x, context, weights = self._unpack(data)
        # Keyed by the number of examples seen, so that an evaluation repeats exactly.
        seen = tf.cast(self._nll.count, tf.int32)
        noise = SeededNoise(tf.stack([tf.constant(self.seed, tf.int32), seen]))
        log_prob = self._log_prob(x, context, noise)
        return self._track(self._loss(log_prob, weights), log_prob, weights)

    def predict_step(self, data):
        x, context, _ = self._unpack(data)
        return self((x, context))

    def _loss(self, log_prob, weights):
        loss = -log_prob if weights is None else -log_prob * tf.cast(weights, log_prob.dtype)
        return tf.add_n(
            [tf.reduce_mean(loss), *(tf.cast(term, loss.dtype) for term in self.losses)]
        )

    def _track(self, loss, log_prob, weights):
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(log_prob)[0])
        self._nll.update_state(-log_prob, sample_weight=weights)
        if self._bits is not None:
            self._bits.update_state(self._bits_per_dim(log_prob), sample_weight=weights)
        return self.get_metrics_result()

    def _note_failure(self, step, finite):
        part = first_failure(finite)
        known = tf.convert_to_tensor(self._failure)
        here = tf.stack([tf.cast(step, tf.int64), part])
        self._failure.assign(tf.where((known[1] < 0) & (part >= 0), here, known))

    @property
    def training_failure(self):
        """Step and part of the present fit's first NaN or infinity, (-1, -1) without one."""
        return tuple(int(i) for i in self._failure.numpy())

    def part_names(self):
        """The names of the parts a training step checks for NaN, in order."""
        zeros = tf.zeros((1, *self.event_shape), self.compute_dtype)
        context, inputs = None, ["the data"]
        if self.context_shape is not None:
            context = self._embed(tf.zeros((1, *self.context_shape), self._context_dtype()))
            inputs.append("the context")
        steps = self.transform.encode_steps(zeros, context, SeededNoise(0))
        return [*inputs, *(f"step {path!r}" for path, *_ in steps), "log_prob", "the gradients"]

    def fit(
        self,
        x=None,
        y=None,
        *args,
        callbacks=None,
        sample_weight=None,
        validation_data=None,
        **kwargs,
    ):
        """Trains by maximum likelihood; see `keras.Model.fit`.

        Args:
            x: The data: an array, or a `tf.data.Dataset` of batches; for a conditional flow
                `(x, context)`. Weighted examples without context come in a `tf.data.Dataset` as
                dictionaries with the keys `x` and `sample_weight`.
            y: The context of a conditional flow, where it is not in `x`.
            *args: As in `keras.Model.fit`.
            callbacks: Keras callbacks.
            sample_weight: Weights of the examples, `(n,)`.
            validation_data: As in `keras.Model.fit`; here too, y is the context or None.
            **kwargs: As in `keras.Model.fit`.

        Returns:
            The Keras `History`: `loss` and `nll_nats`, in nats per example, and `bits_per_dim`
            for flows on integers.

        Raises:
            NonFiniteError: At the first NaN or infinite loss or gradient, naming the step and
                the part it came from. The weights are finite.
        """
        self._check_arrays(x)
        x, y, sample_weight = _keep_weights(x, y, sample_weight)
        if isinstance(validation_data, (tuple, list)):
            validation_data = _keep_weights(
                *keras.utils.unpack_x_y_sample_weight(tuple(validation_data))
            )
        self._failure.assign([-1, -1])
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = [*(callbacks or []), StopOnNonFinite()]
        history = super().fit(
            x,
            y,
            *args,
            callbacks=callbacks,
            sample_weight=sample_weight,
            validation_data=validation_data,
            **kwargs,
        )
        self.converge()
        return history

    def evaluate(self, x=None, y=None, *args, sample_weight=None, **kwargs):
        """Mean negative log-likelihood; see `keras.Model.evaluate`, and `fit` for the data."""
        self._check_arrays(x)
        self.converge()
        x, y, sample_weight = _keep_weights(x, y, sample_weight)
        return super().evaluate(x, y, *args, sample_weight=sample_weight, **kwargs)

    def predict(self, x, *args, **kwargs):
        """The log_prob of every example, an array `(n,)`; see `keras.Model.predict`.

        A conditional flow takes `(x, context)`.
        """
        self._check_arrays(x)
        return super().predict(x, *args, **kwargs)

    def _check_arrays(self, x):
        """Checks the shape of arrays, before Keras slices them into batches."""
        x = x[0] if isinstance(x, tuple) and x else x
        if hasattr(x, "shape"):
            checks.batch_shape(x.shape, self.event_shape, "x")

    def make_test_function(self, force=False):
        with self._interpreted():
            super().make_test_function(force)
        return self.test_function

    def make_predict_function(self, force=False):
        with self._interpreted():
            super().make_predict_function(force)
        return self.predict_function

    @contextlib.contextmanager
    def _interpreted(self):
        """Without XLA on a CPU: it would compile again for every batch size."""
        jit_compile = self.jit_compile
        self.jit_compile = jit_compile and bool(tf.config.list_logical_devices("GPU"))
        try:
            yield
        finally:
            self.jit_compile = jit_compile

    # Saving ---------------------------------------------------------------------------------------

    def save(self, filepath, **kwargs):
        """Saves a `.keras` file; see `keras.Model.save`.

        Raises:
            LipschitzError: If a residual block cannot be certified invertible.
        """
        self.converge()
        self.certify()
        return super().save(filepath, **kwargs)

    def save_to_preset(self, folder, **metadata):
        """Writes a preset folder; see `keras_flows.zoo.save`."""
        from keras_flows import zoo

        return zoo.save(self, folder, **metadata)

    @classmethod
    def from_preset(cls, handle):
        """Loads a flow by zoo name, folder or address; see `keras_flows.zoo.load`."""
        from keras_flows import zoo

        flow = zoo.load(handle)
        if not isinstance(flow, cls):
            raise ValueError(f"{handle!r} is a {type(flow).__name__}, not a {cls.__name__}.")
        return flow

    def get_config(self):
        return {
            **super().get_config(),
            "transform": keras.saving.serialize_keras_object(self.transform),
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
    def from_config(cls, config):
        names = ("transform", "context_embedding", "activation", "log_det", "dtype")
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in names
            if isinstance(config.get(name), dict)
        }
        return cls(**{**config, **parts})

    # Views ----------------------------------------------------------------------------------------

    def as_distribution(self, context=None):
        """The flow as a `tfp.distributions.Distribution`; see `keras_flows.tfp`."""
        from keras_flows.tfp import FlowDistribution

        return FlowDistribution(self, context)

    def as_bijector(self, context=None):
        """The flow as a `tfp.bijectors.Bijector`; see `keras_flows.tfp`."""
        from keras_flows.tfp import FlowBijector

        return FlowBijector(self, context)


def _keep_weights(x, y, sample_weight):
    """Puts sample weights beside the data where there are no targets: Keras would drop them."""
    if sample_weight is None or y is not None:
        return x, y, sample_weight
    return {"x": x, "sample_weight": sample_weight}, None, None


def _any_nan(x):
    """Which examples hold a NaN, `(batch,)`."""
    return tf.reduce_any(tf.math.is_nan(x), axis=list(range(1, len(x.shape))))


def _describe_inversion(path, block, z, context):
    result = block.invert(z, context)
    failed = tf.boolean_mask(result.residual, ~result.converged).numpy()
    index = int(tf.argmax(~result.converged))
    return (
        f"The inverse of {path!r} did not converge within {block.max_iterations} iterations for "
        f"{len(failed)} of {len(z)} examples (the first at index {index}): the largest residual is "
        f"{failed.max():.3g}, the tolerance {block.tolerance:.3g} absolute and "
        "relative. Allow more `max_iterations`, or a larger `tolerance`; `flow.certify()` says how fast a block must "
        "converge."
    )
