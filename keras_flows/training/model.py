"""Training of flows by maximum likelihood, on `keras.Model.fit`.

Longer than other files, so that all that Keras calls on a flow in training stands in one place.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_flows.errors import NonFiniteError
from keras_flows.noise import SeededNoise
from keras_flows.numerics import replicas
from keras_flows.numerics.events import bits_per_dim
from keras_flows.numerics.tracing import with_functions
from keras_flows.training import batches, distributed, graph_optimizer, upkeep, workers
from keras_flows.training.callbacks import KeepTogether, StopOnNonFinite, WithUpdates
from keras_flows.training.guard import Guard
from keras_flows.training.step import update
from keras_flows.transforms.actnorm import ActNorm

if TYPE_CHECKING:
    from keras_flows.calls import Caller
    from keras_flows.detect.calibration import Calibration

# Updates from which XLA saves more than it takes to compile: for the toy flows 37 s on the clock,
# against 0.09 s a step.
COMPILED_FROM = 400
# Updates from which TensorFlow's optimizer of graphs does: it takes 2 to 5 s for the flows of the
# zoo without batch normalisation, and saves 6 to 20 ms a step (docs/performance.md).
OPTIMIZED_FROM = 200


def _gpu():
    return bool(tf.config.list_logical_devices("GPU"))


class MaximumLikelihood(keras.Model):
    """A Keras model that is trained by its log-likelihood: compile, fit, evaluate, predict.

    A subclass implements `density`, and has the attributes below when it calls
    `_prepare_training`.

    Attributes:
        event_shape: Shape of one example.
        context_shape: Shape of one example's context; None without one.
        labels: Number of labels where the context is one; None for any other.
        calls: What checks the data of a step: a `keras_flows.calls.Caller`.
        calibration: Of the weights as they are, for p-values; None where there is none, as after
            every fit.
        seed: Seed of the random draws of training.
    """

    event_shape: tuple[int, ...]
    context_shape: tuple[int, ...] | None = None
    labels: int | None = None
    calls: "Caller"
    calibration: "Calibration | None" = None
    seed = 0

    def density(self, x, context=None, noise=None, training=False, observe=None):
        """The density of a batch; see `keras_flows.calls.density`.

        Returns:
            A `keras_flows.calls.Density`.
        """
        raise NotImplementedError

    def _prepare_training(self, dequantizes):
        """Creates what training keeps track of; the last part of a model's construction."""
        self._nll = distributed.mean("nll_nats", self.distribute_strategy)
        self._bits = None
        if dequantizes:
            self._bits = distributed.mean("bits_per_dim", self.distribute_strategy)
        self._guard = Guard()
        self._may_choose_xla = False
        # Of a model that is trained by several replicas: XLA cannot compile what they exchange.
        self._inner_jit_compile = False
        self._first_batch = False

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "adam",
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        """Prepares for training; see `keras.Model.compile`.

        Args:
            optimizer: A Keras optimizer or its name.
            jit_compile: Whether XLA compiles the training step. `"auto"`: on a GPU; and on a CPU
                where it pays, which is in a `fit` of many updates of a flow on vectors (CPU
                convolutions are faster without).
            **kwargs: `steps_per_execution`, `run_eagerly` and the like. A loss is an error: it
                is built in.

        Raises:
            ValueError: If an argument does not fit; or if the model was made under a strategy of
                several replicas, and the optimizer was not, or does what they cannot.
        """
        if kwargs.pop("loss", None) is not None:
            raise ValueError("A flow's loss is its negative log-likelihood; compile takes no loss.")
        for name in ("metrics", "weighted_metrics", "loss_weights"):
            if kwargs.pop(name, None):
                raise ValueError(
                    f"A flow is measured by its log-likelihood, which training and evaluation "
                    f"report: compile takes no {name}."
                )
        automatic = jit_compile == "auto"
        if automatic:
            jit_compile = _gpu() and not kwargs.get("run_eagerly") and distributed.compiles(self)
        several = self.distribute_strategy.num_replicas_in_sync > 1
        if jit_compile and not distributed.compiles(self):
            raise ValueError(
                "XLA cannot compile a step in which replicas exchange the statistics of batch "
                "normalisation: leave jit_compile out, or freeze it by "
                "kf.training.frozen_normalization."
            )
        super().compile(optimizer=optimizer, jit_compile=jit_compile and not several, **kwargs)
        self._inner_jit_compile = bool(several and jit_compile)
        self._may_choose_xla = automatic and not kwargs.get("run_eagerly")
        if several:
            distributed.prepare(self.optimizer, self.distribute_strategy)
            # Not as a metric of our own: Keras lists it beside those.
            object.__setattr__(self, "_loss_tracker", distributed.JointMean(name="loss"))

    def get_compile_config(self) -> dict:
        config = super().get_compile_config() or {}
        config = {name: config[name] for name in ("optimizer", "jit_compile") if name in config}
        if self._inner_jit_compile:
            config["jit_compile"] = True
        return {**config, "jit_compile": "auto"} if self._may_choose_xla else config

    def _choose_optimizers(self, updates):
        """Settles what optimises the step of a `fit` of so many updates, None where unknown."""
        self._choose_xla(updates)
        if updates is not None and updates < OPTIMIZED_FROM:
            graph_optimizer.switch_off()

    def _choose_xla(self, updates):
        """Settles `jit_compile="auto"`."""
        if not self._may_choose_xla:
            return
        many = updates is not None and updates >= COMPILED_FROM
        jit_compile = _gpu() or (len(self.event_shape) == 1 and many)
        jit_compile = jit_compile and distributed.compiles(self)
        several = self.distribute_strategy.num_replicas_in_sync > 1
        name = "_inner_jit_compile" if several else "jit_compile"
        if jit_compile != getattr(self, name):
            setattr(self, name, jit_compile)
            self.train_function = None

    def compile_from_config(self, config: dict) -> None:
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**config)
        if hasattr(self, "optimizer") and self.built:
            self.optimizer.build(self.trainable_variables)

    def after_update(self) -> None:
        """What follows a weight update in training, power iterations above all.

        `fit` does this by itself; a training loop of one's own calls it after every step.
        """
        upkeep.after_update(self)

    def converge(self) -> None:
        """Brings the stored spectral norms to convergence.

        `fit`, `evaluate`, saving and exporting do this by themselves.
        """
        upkeep.converge(self)

    @property
    def training_failure(self) -> tuple[int, str] | None:
        """`(step, part)` of the present fit's first NaN or infinity; None without one."""
        return self._guard.failure

    # The steps --------------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict:
        x, context, weights = batches.unpack(data, self)
        rows = replicas.rows(tf.shape(x)[0])
        noise = self._keyed_noise(self.optimizer.iterations, rows)
        # A function would hold what was traced for one replica.
        functions = not self.jit_compile and rows is None
        with with_functions(functions), replicas.first_batch(self._first_batch):
            log_prob, loss = update(
                lambda observe: self.density(x, context, noise, True, observe).log_prob,
                lambda log_prob: self._loss(log_prob, weights, rows),
                self.optimizer,
                self.trainable_variables,
                self._guard,
                self._inner_jit_compile and not self._first_batch,
            )
            self.after_update()
        return self._track(loss, log_prob, weights, rows)

    def test_step(self, data: Any) -> dict:
        x, context, weights = batches.unpack(data, self)
        rows = replicas.rows(tf.shape(x)[0])
        # Keyed by the number of examples seen, so that an evaluation repeats exactly.
        log_prob = self.density(x, context, self._keyed_noise(self._nll.count, rows)).log_prob
        (loss,) = replicas.total(self._loss(log_prob, weights, rows))
        return self._track(loss, log_prob, weights, rows)

    def predict_step(self, data: Any) -> tf.Tensor:
        x, context, _ = batches.unpack(data, self)
        return self((x, context))

    def _keyed_noise(self, number, rows):
        """The noise of a step: it depends on the seed, the number and the example only."""
        seed = tf.constant(self.seed, tf.int32)
        return SeededNoise(tf.stack([seed, tf.cast(number, tf.int32)]), rows=rows)

    def _loss(self, log_prob, weights, rows):
        """The loss of a batch; of a replica's rows, what they add to that of the joint batch."""
        loss = -log_prob if weights is None else -log_prob * tf.cast(weights, log_prob.dtype)
        others = [tf.cast(term, loss.dtype) for term in self.losses]
        if rows is None:
            return tf.add_n([tf.reduce_mean(loss), *others])
        mean = tf.reduce_sum(loss) / tf.cast(rows[1], loss.dtype)
        return tf.add_n([mean, *(term / replicas.count() for term in others)])

    def _track(self, loss, log_prob, weights, rows):
        nll, examples = -log_prob, tf.shape(log_prob)[0]
        if rows is not None:
            examples = rows[1]
            nll, weights = distributed.joint_mean(nll, weights)
        self._loss_tracker.update_state(loss, sample_weight=examples)
        self._nll.update_state(nll, sample_weight=weights)
        if self._bits is not None:
            bits = bits_per_dim(nll, self.event_shape)
            self._bits.update_state(bits, sample_weight=weights)
        return distributed.results(self.get_metrics_result(), self.distribute_strategy)

    # What people call -------------------------------------------------------------------------

    def fit(
        self,
        x: Any = None,
        y: ArrayLike | None = None,
        *args: Any,
        callbacks: Sequence[keras.callbacks.Callback] | keras.callbacks.CallbackList | None = None,
        sample_weight: ArrayLike | None = None,
        validation_data: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
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
            ConnectionError: If another worker of a `MultiWorkerMirroredStrategy` is gone.
            ValueError: If the data do not fit, the flow was made outside of the strategy that it
                is fitted under, or its workers have not the same weights and data.
        """
        distributed.check_scope(self)
        batches.check(self, x, y, sample_weight)
        if kwargs.pop("class_weight", None) is not None:
            raise ValueError(
                "A flow has no classes to weigh: give a sample_weight for each example."
            )
        if not self.trainable_variables:
            raise ValueError(
                "All weights of this flow are frozen: there is nothing to train. Set `trainable` "
                "to True on the flow or on a layer in it."
            )
        x, y, sample_weight = batches.keep_weights(x, y, sample_weight)
        if isinstance(validation_data, (tuple, list)):
            validation_data = batches.keep_weights(
                *keras.utils.unpack_x_y_sample_weight(tuple(validation_data))
            )
        self.calibration = None  # it is of other weights
        if self.optimizer is not None and not self.optimizer.built:
            # Or its variables are created while the step is traced, which is then traced again.
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        self._guard.reset()
        upkeep.converge(self, only_fresh=True)
        ours = [StopOnNonFinite(self._guard), WithUpdates(self._choose_optimizers), KeepTogether()]
        if isinstance(callbacks, keras.callbacks.CallbackList):
            # Another list: what a list has to call is settled when it is made.
            params, callbacks = callbacks.params, [*callbacks.callbacks, *ours]
            callbacks = keras.callbacks.CallbackList(callbacks, model=self, **(params or {}))
        else:
            callbacks = [*batches.callback_list(callbacks), *ours]
        with workers.lost(self.distribute_strategy), graph_optimizer.restored():
            workers.check_fit(self, (x, y, sample_weight))
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

    def evaluate(
        self,
        x: Any = None,
        y: ArrayLike | None = None,
        *args: Any,
        sample_weight: ArrayLike | None = None,
        **kwargs: Any,
    ) -> float | list[float] | dict[str, float]:
        """Mean negative log-likelihood; see `keras.Model.evaluate`, and `fit` for the data.

        Spectral norms are brought to convergence for it; all weights are put back afterwards.

        Raises:
            NonFiniteError: If the result is NaN.
        """
        batches.check(self, x, y, sample_weight)
        x, y, sample_weight = batches.keep_weights(x, y, sample_weight)
        # Keras's fit calls this for validation, too: training must not see it.
        with upkeep.restored(self):
            self.converge()
            results = super().evaluate(x, y, *args, sample_weight=sample_weight, **kwargs)
        values = results.values() if isinstance(results, dict) else [results]
        if any(np.isnan(value).any() for value in values):
            raise NonFiniteError(
                "The negative log-likelihood of these data is NaN. `log_prob` on them names the "
                "examples that hold NaN, or the step that makes it."
            )
        return results

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> np.ndarray:
        """The log_prob of every example, an array `(n,)`; see `keras.Model.predict`.

        A conditional flow takes `(x, context)`.

        Raises:
            NonFiniteError: If a log_prob is NaN.
        """
        batches.check(self, x)
        scores = super().predict(x, *args, **kwargs)
        bad = np.flatnonzero(np.isnan(scores))
        if len(bad):
            raise NonFiniteError(
                f"The log_prob of {len(bad)} of {len(scores)} examples is NaN, the first at index "
                f"{bad[0]}. `log_prob` on them names the step that makes it."
            )
        return scores

    def make_train_function(self, force: bool = False) -> Callable:
        if self.train_function is not None and not force:
            return self.train_function
        super().make_train_function(True)
        if self.distribute_strategy.num_replicas_in_sync > 1:
            later = self.train_function
            super().make_train_function(True)
            self.train_function = self._first_then(self.train_function, later)
        return self.train_function

    def _first_then(self, first, later):
        """The training function: one as long as steps wait for their first batch, then another."""
        waiting = [step for step in self._flatten_layers() if isinstance(step, ActNorm)]

        def function(iterator):
            nonlocal waiting
            waiting = [step for step in waiting if not step.initialized.numpy()]
            self._first_batch = bool(waiting)
            return (first if waiting else later)(iterator)

        return function

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: a flow is built when it is made. Keras would add up the parts of a batch."""

    def make_test_function(self, force: bool = False) -> Callable:
        with self._interpreted():
            super().make_test_function(force)
        return self.test_function

    def make_predict_function(self, force: bool = False) -> Callable:
        with self._interpreted():
            super().make_predict_function(force)
        return self.predict_function

    @contextlib.contextmanager
    def _interpreted(self):
        """Without XLA on a CPU: it would compile again for every batch size."""
        jit_compile = self.jit_compile
        self.jit_compile = jit_compile and _gpu()
        try:
            yield
        finally:
            self.jit_compile = jit_compile
