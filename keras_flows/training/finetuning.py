"""Fine-tuning: a trained flow goes on with other data, and never ends worse than it began."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_flows import checks
from keras_flows.measure import evaluation
from keras_flows.training import normalization, upkeep

if TYPE_CHECKING:
    from keras_flows.flow import Flow

# The part of the data that is held out where no validation data are given, and at most how many.
HELD_OUT = 0.2
MOST_HELD_OUT = 1000
# The highest rate, relative to the typical weight: 2e-4 for the MNIST DenseFlow, for example.
RELATIVE_RATE = 0.001
# What the default rate is multiplied by for further attempts, where those before failed; the last
# is for flows on vectors only, whose attempts take seconds.
SLOWER, FASTER = 0.25, 10.0
# By how many standard errors an epoch must be better than the start. The best of some epochs is
# better on a few held-out examples by chance alone, and worse on others.
CLEARLY = 2.0


class FineTuning(NamedTuple):
    """What a fine-tuning did.

    Attributes:
        before: `keras_flows.measure.evaluation.Evaluation` of the held-out examples at the start.
        after: The same for the weights that the flow has now.
        epoch: The epoch after which these were reached; 0 if none was clearly better than the
            start.
        history: By name the values of every epoch, as of `keras.Model.fit`, of the last attempt;
            `val_nll_nats` and, for flows on integers, `val_bits_per_dim` are of the held-out
            examples.
        settings: `examples` trained on, `held_out`, `epochs`, `batch_size`, `learning_rate` (of the
            last attempt) and `seed`.
    """

    before: evaluation.Evaluation
    after: evaluation.Evaluation
    epoch: int
    history: dict
    settings: dict


def finetune(
    flow: "Flow",
    x: ArrayLike,
    context: ArrayLike | None = None,
    validation: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
    epochs: int = 5,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
) -> FineTuning:
    """Goes on training a flow on new data; keeps the best weights by held-out likelihood.

    It is `flow.compile` and `flow.fit` with what a trained flow needs:

    * Batch normalisation is frozen, so that what is trained is what is evaluated.
    * Adam starts anew: the rate rises linearly over the first tenth of the steps, and falls to zero
      along a cosine over the others; the norm of a gradient is limited to 1.
    * After every epoch the held-out examples are scored, all with the same draws. The weights in
      the end are those of the best score among the epochs that are clearly better than the start,
      by two standard errors of the difference, example by example; without one, those of the start.
    * Where no epoch at the default rate was clearly better, all of it is done once more at a
      quarter of that rate; of a flow on vectors then also at ten times that rate.

    What was frozen before stays frozen. The flow is compiled anew, in the end with a fresh Adam of
    that rate.

    Args:
        flow: A `keras_flows.Flow`, as loaded from the zoo or trained before. It is changed.
        x: Array `(n, *event_shape)`.
        context: Array `(n, *context_shape)` for a conditional flow, else None.
        validation: Held-out examples, an array, or `(examples, contexts)` for a conditional flow.
            By default a fifth of `x`, drawn by the seed, at least two and at most 1000 examples, is
            held out.
        epochs: How often every example is seen.
        batch_size: Examples in a step; by default what `batch_size_of` says.
        learning_rate: The highest rate of Adam; by default what `learning_rate_of` says.
        seed: Of the order of the examples and what is held out.
        callbacks: Keras callbacks; they find the held-out score in the logs of an epoch.

    Returns:
        A `FineTuning`.

    Raises:
        NonFiniteError: If the held-out score is NaN, or training meets NaN or infinity. The weights
            are the best so far.
        ValueError: If there are too few examples, or an argument does not fit.
    """
    checks.count(epochs, "epochs")
    examples, contexts = _arrays(flow, x, context, "x")
    if validation is None:
        (examples, contexts), held_out = _split(examples, contexts, seed)
    else:
        pair = validation if isinstance(validation, tuple) else (validation, None)
        held_out = _arrays(flow, pair[0], pair[1], "validation")
    number = len(examples)
    batch_size = batch_size_of(flow, number) if batch_size is None else batch_size
    checks.count(batch_size, "batch_size")
    batch_size = min(batch_size, number)
    if learning_rate is None:
        highest = learning_rate_of(flow)
        rates = [highest, SLOWER * highest]
        rates += [FASTER * highest] if len(flow.event_shape) == 1 else []
    else:
        checks.positive(learning_rate, "learning_rate")
        rates = [learning_rate]
    steps = epochs * (number // batch_size)

    upkeep.converge(flow, only_fresh=True)
    best = _Best(flow, *held_out)
    with normalization.frozen_normalization(flow):
        for rate in rates:
            flow.compile(keras.optimizers.Adam(_schedule(rate, steps), global_clipnorm=1.0))
            try:
                history = flow.fit(
                    _batches(examples, contexts, batch_size, seed),
                    epochs=epochs,
                    callbacks=[best, *(callbacks or ())],
                    shuffle=False,
                    verbose=0,
                )
            finally:
                best.restore()
            if best.epoch:
                break
    # The optimizer above knows nothing of the weights that are frozen no longer.
    flow.compile(keras.optimizers.Adam(rate))
    settings = {
        "examples": number,
        "held_out": len(held_out[0]),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": rate,
        "seed": seed,
    }
    return FineTuning(best.before, best.after, best.epoch, history.history, settings)


def batch_size_of(flow, examples):
    """The batch size for so many examples: an epoch has ten steps, or larger batches than these.

    At most 64 images or 500 points, which is what the flows of the zoo were trained with, and at
    most a tenth of the examples.
    """
    return max(1, min(64 if len(flow.event_shape) == 3 else 500, examples // 10))


def learning_rate_of(flow):
    """The highest learning rate for fine-tuning: 0.001 times the typical weight of the flow.

    One step of Adam changes every weight by about the rate, whatever the optimizer before was and
    however large the gradient is; so it is the weights that say what a small step is. The typical
    weight is the median, over the trained matrices and kernels, of the root mean square of their
    entries.

    Args:
        flow: A `keras_flows.Flow`.

    Raises:
        ValueError: If the flow has no such weights, or they are zero.
    """
    kernels = [w for w in flow.trainable_variables if len(w.shape) >= 2]
    sizes = [float(tf.sqrt(tf.reduce_mean(tf.cast(w, "float64") ** 2))) for w in kernels]
    typical = float(np.median(sizes)) if sizes else 0.0
    if not typical:
        raise ValueError(
            "The default learning rate follows the size of the trained matrices, and this flow has "
            "none but zeros: give a learning_rate."
        )
    return RELATIVE_RATE * typical


def _arrays(flow, x, context, name):
    """Examples and contexts as arrays, checked."""
    checked, context = flow.calls.checked(x, context, name=name)
    if len(checked) < 2:
        raise ValueError(f"Fine-tuning needs at least two examples in {name}; got {len(checked)}.")
    return np.asarray(x), None if context is None else context.numpy()


def _split(x, context, seed):
    """The data in two: what is trained on, and what is held out."""
    held_out = max(2, min(MOST_HELD_OUT, math.ceil(HELD_OUT * len(x))))
    if len(x) - held_out < 1:
        raise ValueError(
            f"There are {len(x)} examples, of which two are held out: give more, or `validation`."
        )
    order = np.random.default_rng(seed).permutation(len(x))
    parts = order[held_out:], order[:held_out]
    return [(x[part], None if context is None else context[part]) for part in parts]


def _batches(x, context, batch_size, seed):
    """An epoch in another order every time; examples that fill no batch have their turn later."""
    data = tf.data.Dataset.from_tensor_slices(x if context is None else (x, context))
    shuffled = data.shuffle(len(x), seed=seed, reshuffle_each_iteration=True)
    return shuffled.batch(batch_size, drop_remainder=True).prefetch(2)


def _schedule(rate, steps):
    warm_up = max(1, steps // 10)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=rate / (warm_up + 1),
        warmup_target=rate,
        warmup_steps=warm_up,
        decay_steps=max(1, steps - warm_up),
    )


class _Best(keras.callbacks.Callback):
    """Scores held-out examples at the start and after every epoch, and keeps the best weights."""

    def __init__(self, flow, x, context):
        super().__init__()
        self._flow, self._data = flow, (x, context)
        self.epoch = 0
        with upkeep.restored(flow):
            flow.converge()
            self._start = self._scores()
        self.before = self.after = evaluation.summary(flow, self._start)
        self._keep()

    def _scores(self):
        return evaluation.log_probs(self._flow, *self._data).astype("float64")

    def on_epoch_end(self, epoch, logs=None):
        # Spectral norms as they are evaluated are those that are kept.
        with upkeep.restored(self._flow):
            self._flow.converge()
            scores = self._scores()
            result = evaluation.summary(self._flow, scores)
            if result.nll < self.after.nll and _clearly_better(scores, self._start):
                self.after, self.epoch = result, epoch + 1
                self._keep()
        logs["val_nll_nats"] = result.nll
        if result.bits_per_dim is not None:
            logs["val_bits_per_dim"] = result.bits_per_dim

    def _keep(self):
        self._weights = upkeep.copies(self._flow)

    def restore(self):
        """Puts the best weights into the flow."""
        upkeep.put_back(self._flow, self._weights)


def _clearly_better(scores, start):
    gain = scores - start
    return gain.mean() > CLEARLY * gain.std(ddof=1) / math.sqrt(len(gain))
