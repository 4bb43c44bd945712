"""How a flow is trained, as data: typed parts that check themselves, and their JSON."""

import dataclasses
import inspect
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import keras

from keras_flows import checks
from keras_flows.training import schedules

# Data ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ToyData:
    """Fresh draws from a toy density.

    Attributes:
        name: One of `keras_flows.data.names()`.
    """

    key: ClassVar[str] = "toy"
    name: str


@dataclass(frozen=True)
class ImageData:
    """A set of images.

    Attributes:
        name: See `source` of `keras_flows.data.images`.
        resize: See there, like `bits`, `flip` and `shift`, which are for training images only.
        bits: See there.
        flip: See there.
        shift: See there.
        train: The split to train on.
        test: The split to validate and test on.
        labels: Whether the flow is conditional on the labels of the images; the recipe's model then
            has a `context_embedding` among its arguments.
    """

    key: ClassVar[str] = "images"
    name: str
    resize: int | tuple[int, int] | None = None
    bits: int | None = None
    flip: bool = False
    shift: float = 0.0
    train: str = "train"
    test: str = "test"
    labels: bool = False

    def __post_init__(self):
        checks.flag(self.flip, "flip")
        checks.flag(self.labels, "labels")
        checks.number(self.shift, "shift", 0.0, 0.5 - checks.EPSILON, "in [0, 0.5)")


DATA = {kind.key: kind for kind in (ToyData, ImageData)}

# Schedules ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CosineDecay:
    """A rate that falls to 0 as a half cosine after a linear rise, and so again at restarts.

    Source: Loshchilov and Hutter 2017, *SGDR: Stochastic gradient descent with warm restarts*.

    Attributes:
        learning_rate: The highest rate.
        warmup_steps: Steps of the rise.
        restarts: Pairs of the step and the highest rate of every further cycle.
    """

    learning_rate: float
    warmup_steps: int
    restarts: tuple[tuple[int, float], ...] = ()

    def __post_init__(self):
        checks.positive(self.learning_rate, "learning_rate")
        checks.count(self.warmup_steps, "warmup_steps", least=0)
        object.__setattr__(self, "restarts", tuple(map(tuple, self.restarts)))
        for step, rate in self.restarts:
            checks.count(step, "The step of a restart")
            checks.positive(rate, "The learning rate of a restart")
        steps = [step for step, _ in self.restarts]
        if any(a >= b for a, b in itertools.pairwise(steps)):
            raise ValueError(f"The steps of restarts must rise; got {steps}.")

    def make(self, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
        """The Keras schedule of a run of so many steps."""
        restarts = [pair for pair in self.restarts if pair[0] < steps]
        starts, rates = zip((0, self.learning_rate), *restarts, strict=True)
        ends = (*starts[1:], steps)
        cycles = [
            _cosine(rate, end - start, self.warmup_steps)
            for rate, start, end in zip(rates, starts, ends, strict=True)
        ]
        return cycles[0] if len(cycles) == 1 else schedules.Cycles(cycles, starts)

    def until(self, steps: int) -> "CosineDecay | None":
        """The schedule up to a restart at that step; None where there is none."""
        if steps not in dict(self.restarts):
            return None
        earlier = tuple(pair for pair in self.restarts if pair[0] < steps)
        return dataclasses.replace(self, restarts=earlier)


def _cosine(rate, steps, warmup):
    warmup = min(warmup, steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=steps - warmup,
        warmup_target=rate,
        warmup_steps=warmup,
    )


@dataclass(frozen=True)
class WarmUp:
    """The rate of `keras_flows.training.WarmUp`; the attributes are its arguments."""

    learning_rate: float
    warmup_steps: int
    decay: float = 1.0
    decay_steps: float = 1
    final_rate: float | None = None
    final_start: int | None = None

    def __post_init__(self):
        self.make(1)  # raises where a number does not fit

    def make(self, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
        """The Keras schedule of a run of so many steps."""
        return schedules.WarmUp(**dataclasses.asdict(self))

    def until(self, steps: int) -> None:
        """None: there are no restarts."""
        return None


SCHEDULES = {kind.__name__: kind for kind in (CosineDecay, WarmUp)}

# What an optimizer is given by the recipe.
_OF_THE_RECIPE = ("learning_rate", "clipnorm", "global_clipnorm", "use_ema", "ema_momentum")

# The whole ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Optimizer:
    """An optimizer of Keras.

    Attributes:
        class_name: Its class in `keras.optimizers`.
        arguments: Those of the class but for the rate, the clipping and the averages.
    """

    class_name: str = "Adam"
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        kinds = {n for n, v in vars(keras.optimizers).items() if isinstance(v, type)}
        checks.known(self.class_name, dict.fromkeys(sorted(kinds - {"Optimizer"})), "optimizer")
        own = [name for name in self.arguments if name in _OF_THE_RECIPE]
        if own:
            raise ValueError(
                f"The recipe sets the {own[0]} of the optimizer, by its schedule, clip_norm and "
                "ema: leave it out of the arguments."
            )
        parameters = inspect.signature(getattr(keras.optimizers, self.class_name)).parameters
        checks.known_names(self.arguments, parameters, self.class_name)

    def make(self, **arguments: Any) -> keras.optimizers.Optimizer:
        """The Keras optimizer."""
        return getattr(keras.optimizers, self.class_name)(**arguments, **self.arguments)


@dataclass(frozen=True)
class Recipe:
    """How a flow is trained.

    Attributes:
        summary: One sentence for lists and the model card.
        model: A class in `keras_flows.models`, or a configuration for `models.from_name`.
        data: `ToyData` or `ImageData`.
        steps: Training steps.
        batch_size: Examples in a batch.
        schedule: The learning rate: `CosineDecay` or `WarmUp`.
        arguments: Arguments of the model, the shapes of events and labels aside, as JSON has them.
            A `context_embedding` is `{"class_name": …, "config": {…}}`, as of `keras.layers`.
        optimizer: An `Optimizer`.
        jit_compile: See `Flow.compile`.
        clip_norm: The gradient is scaled down to this norm; None for no such limit.
        ema: Momentum of the average of the weights, which is what is evaluated and saved; None for
            the weights themselves.
        weight_bits: Significant bits that the trained weights are rounded to before they are
            tested and saved, for a smaller file; None for all that they have.
        report_every: Steps between reports: validation, a row of the history, the learning state
            saved.
        samples_every: Reports between pictures of samples.
        validation_examples: How many test examples a report looks at.
        importance_samples: Draws of the importance-weighted bound that the final test is made with,
            for a flow whose likelihood is a lower bound; None for the bound of one draw.
        seed: Seed of the first weights, the order of the data, and the random draws of training.

    Raises:
        ValueError: If a part is of another kind, or a number out of its range.
    """

    summary: str
    model: str
    data: ToyData | ImageData
    steps: int
    batch_size: int
    schedule: CosineDecay | WarmUp
    arguments: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Optimizer = field(default_factory=Optimizer)
    jit_compile: bool | str = "auto"
    clip_norm: float | None = 1.0
    ema: float | None = None
    weight_bits: int | None = None
    report_every: int = 500
    samples_every: int = 10
    validation_examples: int = 1000
    importance_samples: int | None = None
    seed: int = 0

    def __post_init__(self):
        checks.instance(self.data, tuple(DATA.values()), "data")
        checks.instance(self.schedule, tuple(SCHEDULES.values()), "schedule")
        checks.instance(self.optimizer, Optimizer, "optimizer")
        for name in ("steps", "batch_size", "report_every", "samples_every", "validation_examples"):
            checks.count(getattr(self, name), name)
        checks.count(self.seed, "seed", least=0)
        if self.seed >= 2**31:
            raise ValueError(f"seed must be below 2^31; got {self.seed}.")
        if self.jit_compile != "auto":
            checks.flag(self.jit_compile, "jit_compile, where it is not 'auto',")
        if self.clip_norm is not None:
            checks.positive(self.clip_norm, "clip_norm")
        if self.ema is not None:
            checks.number(self.ema, "ema", checks.TINY, 1.0 - checks.EPSILON, "in (0, 1)")
        if self.weight_bits is not None:
            checks.count(self.weight_bits, "weight_bits")
        if self.importance_samples is not None:
            checks.count(self.importance_samples, "importance_samples")

    def to_json(self) -> dict[str, Any]:
        """The recipe as a dictionary of what JSON has."""
        parts = {
            "data": {self.data.key: self.data.name, **_changed(self.data, "name")},
            "schedule": {
                "class_name": type(self.schedule).__name__,
                **_changed(self.schedule),
            },
            "optimizer": {
                "class_name": self.optimizer.class_name,
                **self.optimizer.arguments,
            },
        }
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return _plain({**plain, **parts})

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The recipe from `to_json`, or from what an earlier version wrote.

        Raises:
            ValueError: If it is none.
        """
        try:
            content = dict(content)
            data, schedule = dict(content["data"]), dict(content["schedule"])
            optimizer = dict(content.get("optimizer", {"class_name": "Adam"}))
            key = next((key for key in DATA if key in data), None)
            of_data = checks.known(key, DATA, "kind of data")
            content["data"] = of_data(data.pop(key), **data)
            kind = checks.known(schedule.pop("class_name", None), SCHEDULES, "schedule")
            content["schedule"] = kind(**schedule)
            content["optimizer"] = Optimizer(optimizer.pop("class_name", None), optimizer)
            return cls(**content)
        except (TypeError, KeyError) as error:
            raise ValueError(f"This is no recipe: {error}.") from error


def _changed(part, *without):
    """The attributes of a part that are not their defaults, and those that have none."""
    return {
        f.name: getattr(part, f.name)
        for f in dataclasses.fields(part)
        if f.name not in without and getattr(part, f.name) != f.default
    }


def _plain(value):
    """Mappings and sequences as JSON has them."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def check_name(name: str) -> None:
    """Checks that the name of a run is that of a folder, not a path.

    Raises:
        ValueError: If it is anything else.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError(
            "The name of a run is that of its folder: letters, digits, '_', '.' and '-', and no "
            f"path; got {name!r}."
        )
