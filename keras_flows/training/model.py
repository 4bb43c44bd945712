"""Training of flows by maximum likelihood, on `keras.Model.fit`."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from keras_flows import checks
from keras_flows.errors import NonFiniteError
from keras_flows.noise import SeededNoise
from keras_flows.training.callbacks import StopOnNonFinite


class MaximumLikelihood(keras.Model):
    """The training half of `keras_flows.Flow`: compile, fit, evaluate, predict.

    It builds on the flow's `transform`, `base`, shapes and pure functions.
    """

    def _prepare_training(self):
        """Creates what training keeps track of; the last part of a flow's construction."""
        self._nll = keras.metrics.Mean(name="nll_nats")
        dequantizes = self.transform.dequantizes
        self._bits = keras.metrics.Mean(name="bits_per_dim") if dequantizes else None
        # Not a weight of the model: where the present fit met its first NaN, and in which part.
        self._failure = tf.Variable([-1, -1], dtype=tf.int64, trainable=False)

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

    def _converge_fresh(self):
        """The same for norms that only have the bound they started with, before training."""
        for layer in self._flatten_layers(include_self=False):
            if getattr(layer, "fresh", False):
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
        finite, total = [_all_finite(x)], 0.0
        z = x
        context = self._embed(context, training=True)
        if context is not None:
            finite.append(_all_finite(context))
        for _, z, log_det in self.transform.encode_steps(x, context, noise, training=True):
            total += log_det
            finite.append(_all_finite(z) & _all_finite(log_det))
        log_prob = self.base.log_prob(z) + total
        return log_prob, [*finite, _all_finite(log_prob)]

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
        # One check for all: a check for each gradient takes XLA a quarter of its time to compile.
        flat = [tf.reshape(g, [-1]) for g in gradients if g is not None]
        finite.append(_all_finite(tf.concat(flat, axis=0)))
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
        bad = tf.logical_not(tf.stack(finite))
        part = tf.where(tf.reduce_any(bad), tf.argmax(bad, output_type=tf.int64), -1)
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
        self._converge_fresh()
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
        """Mean negative log-likelihood; see `keras.Model.evaluate`, and `fit` for the data.

        Raises:
            NonFiniteError: If the result is NaN.
        """
        self._check_arrays(x)
        self.converge()
        x, y, sample_weight = _keep_weights(x, y, sample_weight)
        results = super().evaluate(x, y, *args, sample_weight=sample_weight, **kwargs)
        values = results.values() if isinstance(results, dict) else [results]
        if any(np.isnan(value).any() for value in values):
            raise NonFiniteError(
                "The negative log-likelihood of these data is NaN. `log_prob` on them names the "
                "examples that hold NaN, or the step that makes it."
            )
        return results

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


def _all_finite(x):
    """Whether a tensor holds neither NaN nor infinity, a scalar bool tensor."""
    return tf.reduce_all(tf.math.is_finite(x))


def _keep_weights(x, y, sample_weight):
    """Puts sample weights beside the data where there are no targets: Keras would drop them."""
    if sample_weight is None or y is not None:
        return x, y, sample_weight
    return {"x": x, "sample_weight": sample_weight}, None, None
