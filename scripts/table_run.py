"""One row of scripts/reproduce_table.py: the search, the training and the test of one flow."""

import dataclasses
import importlib.metadata
import math
import time
from typing import NamedTuple

import numpy as np
from benchmarks.serving import peak
from table_families import FAMILIES

RATES = 5e-4, 2e-3, 8e-3
# Of the budget: that of the search for each rate, then those of the longer runs.
SHARES = 0.05, 0.25, 1.0
MOMENTS = 5
BATCH, HELD_OUT, SAMPLES = 32, 300, 16
MOST_PARAMETERS = 2_000_000


def cosine(share):
    """The rate after a share of the budget, in parts of the highest: a short rise, a cosine."""
    return min(share / 0.02, 1.0) * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))


class Trained(NamedTuple):
    """A moment of a run: its held-out bits/dim, what it has then, and what it took."""

    bits_per_dim: float
    weights: list
    rate: float
    updates: int
    seconds: float


class Run:
    """One family on one data set: what is trained, searched and tested.

    Args:
        family: A key of `FAMILIES`.
        data: `"mnist"` or `"digits"`.
        seed: Of the weights, the order of the images, and which of them are held out.
        data_dir: See `keras_flows.data.images`.
    """

    def __init__(self, family, data, seed, data_dir):
        import keras_flows as kf
        from keras_flows.training.recipe import ImageData, Recipe, WarmUp
        from keras_flows.training.run import build

        train = kf.data.images(data, data_dir=data_dir)
        self.test_images = kf.data.images(data, "test", data_dir=data_dir).pixels
        pixels = np.asarray(train.pixels)
        order = np.random.default_rng((seed, 0)).permutation(len(pixels))
        self.held_out = pixels[order[:HELD_OUT]]
        self.images = dataclasses.replace(train, pixels=pixels[order[HELD_OUT:]])
        self.seed = seed
        _, model, arguments = FAMILIES[family]
        recipe = Recipe(
            summary=family,
            model=model,
            arguments={**arguments[data], "bits": train.bits},
            data=ImageData(data),
            steps=1,
            batch_size=BATCH,
            schedule=WarmUp(RATES[0], 1),
            seed=seed,
        )
        self.flow = build(recipe, self.images)
        import keras

        # The rate is set before every update.
        self.flow.compile(
            keras.optimizers.Adam(RATES[0], global_clipnorm=1.0), jit_compile=recipe.jit_compile
        )
        self.flow.optimizer.build(self.flow.trainable_variables)
        self.parameters = sum(math.prod(w.shape) for w in self.flow.trainable_weights)
        if self.parameters > MOST_PARAMETERS:
            raise ValueError(f"{family} has {self.parameters:,} parameters on {data}.")
        self.compile_seconds = self._first_update()

    def _state(self):
        return [*self.flow.variables, *self.flow.optimizer.variables]

    def _first_update(self):
        """Compiles the update; the flow is what it was. Returns processor seconds."""
        start = [v.numpy() for v in self._state()]
        before = time.process_time()
        data = self.images.dataset(BATCH, 1, self.seed)
        self.flow.fit(data, steps_per_epoch=1, shuffle=False, verbose=0)
        seconds = time.process_time() - before
        for variable, value in zip(self._state(), start, strict=True):
            variable.assign(value)
        self.start = start
        return seconds

    def score(self):
        """Mean bits/dim of the held-out images, averages of batch normalisation taken anew."""
        from keras_flows import training
        from keras_flows.measure import evaluation

        with training.averaged(self.flow):
            training.recalibrate(self.flow, self.images.pixels[:1000], batch_size=BATCH)
            result = evaluation.evaluate(self.flow, self.held_out, batch_size=BATCH)
            weights = [w.numpy() for w in self.flow.weights]
        return result.bits_per_dim, weights

    def train(self, rate, seconds, moments):
        """From the start, for so many processor seconds; the best of some moments, a `Trained`."""
        import keras

        for variable, value in zip(self._state(), self.start, strict=True):
            variable.assign(value)
        run, seen, clock = self, [], _Clock(seconds)

        class Budget(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                clock.go()
                run.flow.optimizer.learning_rate = rate * cosine(clock.share)

            def on_train_batch_end(self, batch, logs=None):
                clock.stop()
                if clock.share >= (len(seen) + 1) / moments:
                    updates = int(run.flow.optimizer.iterations)
                    seen.append(Trained(*run.score(), rate, updates, clock.spent))
                if clock.share >= 1.0:
                    self.model.stop_training = True

        steps = 10**7
        self.flow.fit(
            self.images.dataset(BATCH, steps, self.seed),
            steps_per_epoch=steps,
            callbacks=[Budget()],
            shuffle=False,
            verbose=0,
        )
        return min(seen, key=lambda trained: trained.bits_per_dim)

    def test(self, weights):
        """Test result and throughputs with such weights, a dictionary."""
        from keras_flows.measure import evaluation

        for variable, value in zip(self.flow.weights, weights, strict=True):
            variable.assign(value)
        evaluation.log_probs(self.flow, self.test_images[:BATCH], batch_size=BATCH)  # compiles
        before = time.process_time()
        result = evaluation.evaluate(self.flow, self.test_images, batch_size=BATCH)
        scoring = len(self.test_images) / (time.process_time() - before)
        self.flow.sample(SAMPLES, seed=0)
        before = time.process_time()
        self.flow.sample(SAMPLES, seed=1)
        return {
            "bits_per_dim": result.bits_per_dim,
            "bits_per_dim_standard_error": result.standard_error * result.bits_per_dim / result.nll,
            "test_images": result.examples,
            "images_per_second_scoring": scoring,
            "images_per_second_sampling": SAMPLES / (time.process_time() - before),
        }


class _Clock:
    """Processor time with what is not counted left out, and its share of a budget."""

    def __init__(self, seconds):
        self.seconds, self.spent, self._since = seconds, 0.0, time.process_time()

    def go(self):
        self._since = time.process_time()

    def stop(self):
        self.spent += time.process_time() - self._since

    @property
    def share(self):
        return self.spent / self.seconds


def search(run, seconds):
    """The best of a family's runs on the held-out images, and the scores of the rates.

    Each rate has the shortest run. The best one goes on to longer runs as long as those help: a
    thousand images are soon known by heart.

    Args:
        run: A `Run`.
        seconds: The budget.

    Returns:
        `(trained, scores)`: a `Trained`, and a dictionary from rate to bits/dim, None where it
        diverged.

    Raises:
        ValueError: If every rate diverges.
    """
    from keras_flows.errors import NonFiniteError

    def trained(rate, share, moments):
        try:
            return run.train(rate, share * seconds, moments)
        except NonFiniteError:
            return None

    short, *longer = SHARES
    tried = {rate: trained(rate, short, 1) for rate in RATES}
    finite = [one for one in tried.values() if one is not None]
    if not finite:
        raise ValueError(f"It diverges at every rate of {RATES}.")
    finite.sort(key=lambda one: one.bits_per_dim)
    best = finite[0]
    for share in longer:
        # A rate that is fine for a twentieth of the time may not be so for all of it.
        made = (trained(one.rate, share, MOMENTS) for one in finite)
        longest = next((one for one in made if one is not None), None)
        if longest is None or longest.bits_per_dim >= best.bits_per_dim:
            break
        best = longest
    return best, {rate: one and one.bits_per_dim for rate, one in tried.items()}


def make_row(family, data, seed, minutes, data_dir):
    """Searches, trains and tests one family; a dictionary."""
    run = Run(family, data, seed, data_dir)
    best, scores = search(run, 60.0 * minutes)
    return {
        "family": family,
        "data": data,
        "seed": seed,
        "minutes": minutes,
        "parameters": run.parameters,
        "likelihood": run.flow.likelihood,
        "rate": best.rate,
        "search": {str(rate): score and round(score, 4) for rate, score in scores.items()},
        "held_out_bits_per_dim": best.bits_per_dim,
        "images": best.updates * BATCH,
        "trained_seconds": best.seconds,
        "images_per_second_training": best.updates * BATCH / best.seconds,
        "first_update_seconds": run.compile_seconds,
        **run.test(best.weights),
        # In kilobytes on Linux.
        "peak_memory_gb": peak(),
        "versions": {name: importlib.metadata.version(name) for name in ("tensorflow", "keras")},
    }
