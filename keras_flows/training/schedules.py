"""Learning rates by step."""

import itertools
from collections.abc import Sequence
from typing import Self

import keras
import tensorflow as tf

from keras_flows import checks


@keras.saving.register_keras_serializable("keras_flows")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly, then stays or falls by a factor from epoch to epoch.

    `rate(t) = learning_rate · min(1, (t + 1) / warmup_steps) · decay^⌊t / decay_steps⌋` at step
    t = 0, 1, …; from step `final_start` on, it is `final_rate`.

    Sources: the schedules of Chen et al. 2019, *Residual Flows* (no decay), and of Grcić et al.
    2021, *Densely connected normalizing flows*.

    Args:
        learning_rate: The highest rate.
        warmup_steps: Steps of the rise.
        decay: Factor from epoch to epoch.
        decay_steps: Steps in an epoch.
        final_rate: The rate at the end, None for no such part.
        final_start: The step at which that part begins.
    """

    def __init__(
        self,
        learning_rate: float,
        warmup_steps: float,
        decay: float = 1.0,
        decay_steps: float = 1,
        final_rate: float | None = None,
        final_start: int | None = None,
    ):
        for value, name in (
            (learning_rate, "learning_rate"),
            (warmup_steps, "warmup_steps"),
            (decay, "decay"),
            (decay_steps, "decay_steps"),
        ):
            checks.positive(value, name)
        if (final_rate is None) != (final_start is None):
            raise ValueError("final_rate and final_start go together: give both, or neither.")
        self._config = {
            "learning_rate": learning_rate,
            "warmup_steps": warmup_steps,
            "decay": decay,
            "decay_steps": decay_steps,
            "final_rate": final_rate,
            "final_start": final_start,
        }

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        config = self._config
        t = tf.cast(step, "float32")
        rate = config["learning_rate"] * tf.minimum((t + 1.0) / config["warmup_steps"], 1.0)
        rate *= tf.pow(config["decay"], tf.floor(t / config["decay_steps"]))
        if config["final_rate"] is None:
            return rate
        return tf.where(t >= config["final_start"], config["final_rate"], rate)

    def get_config(self) -> dict:
        return dict(self._config)


@keras.saving.register_keras_serializable("keras_flows")
class Cycles(keras.optimizers.schedules.LearningRateSchedule):
    """Schedules one after the other: warm restarts.

    `rate(t) = schedule_i(t - start_i)` with the last i of which `start_i ≤ t`.

    Source: Loshchilov and Hutter 2017, *SGDR: Stochastic gradient descent with warm restarts*.

    Args:
        schedules: A `keras.optimizers.schedules.LearningRateSchedule` for each cycle.
        starts: The step at which each begins: 0, and then ever later ones.
    """

    def __init__(
        self,
        schedules: Sequence[keras.optimizers.schedules.LearningRateSchedule],
        starts: Sequence[int],
    ):
        starts = [int(start) for start in starts]
        rising = all(a < b for a, b in itertools.pairwise(starts))
        if len(schedules) != len(starts) or not starts or starts[0] != 0 or not rising:
            raise ValueError(
                "Each schedule needs the step at which it begins: 0, and then ever later ones; got "
                f"{len(schedules)} schedules, and the steps {starts}."
            )
        self.schedules, self.starts = list(schedules), starts

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        t = tf.cast(step, "float32")
        rate = self.schedules[0](t)
        for schedule, start in zip(self.schedules[1:], self.starts[1:], strict=True):
            rate = tf.where(t >= start, schedule(t - start), rate)
        return rate

    def get_config(self) -> dict:
        schedules = [keras.saving.serialize_keras_object(x) for x in self.schedules]
        return {"schedules": schedules, "starts": list(self.starts)}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        schedules = [keras.saving.deserialize_keras_object(x) for x in config["schedules"]]
        return cls(schedules, config["starts"])
