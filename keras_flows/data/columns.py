"""What the columns of a table can be: kinds, their ranges, and what a column is taken for.

A kind says which numbers a density has to cover. Interval and periodic columns are never inferred,
since no data tell their bounds; they, and every other kind, can be given.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pydantic

from keras_flows.checks import is_real
from keras_flows.data.sources import some

# Beyond it float64 has no place for all integers.
LARGEST_INTEGER = 2.0**53

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Real:
    """Any number."""

    __pydantic_config__ = _STRICT
    needed: ClassVar[str] = "a number"
    kind: Literal["real"] = "real"

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Whether each value is outside the range, a boolean array."""
        return np.zeros(values.shape, bool)


@dataclass(frozen=True)
class Positive:
    """A number above 0."""

    __pydantic_config__ = _STRICT
    needed: ClassVar[str] = "above 0"
    kind: Literal["positive"] = "positive"

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Whether each value is outside the range, a boolean array."""
        return ~(values > 0)


@dataclass(frozen=True)
class Interval:
    """A number in the open interval (low, high)."""

    __pydantic_config__ = _STRICT
    low: float
    high: float
    kind: Literal["interval"] = "interval"

    def __post_init__(self):
        finite = math.isfinite(self.low) and math.isfinite(self.high)
        if not finite or not self.low < self.high:
            raise ValueError(
                f"An interval needs finite bounds, low < high; got ({self.low:g}, {self.high:g})."
            )

    @property
    def needed(self) -> str:
        """What its values must be."""
        return f"in ({self.low:g}, {self.high:g}), the bounds excluded"

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Whether each value is outside the range, a boolean array."""
        return ~((values > self.low) & (values < self.high))


@dataclass(frozen=True)
class Periodic:
    """A number on a circle: values that differ by the period are the same, any number will do."""

    __pydantic_config__ = _STRICT
    needed: ClassVar[str] = "a number"
    period: float
    kind: Literal["periodic"] = "periodic"

    def __post_init__(self):
        if not math.isfinite(self.period) or self.period <= 0:
            raise ValueError(f"A period must be a positive number; got {self.period:g}.")

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Whether each value is outside the range, a boolean array."""
        return np.zeros(values.shape, bool)


@dataclass(frozen=True)
class Integer:
    """An integer, which a flow dequantizes."""

    __pydantic_config__ = _STRICT
    needed: ClassVar[str] = "an integer of less than 2^53"
    kind: Literal["integer"] = "integer"

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Whether each value is outside the range, a boolean array."""
        return (values != np.floor(values)) | (np.abs(values) >= LARGEST_INTEGER)


@dataclass(frozen=True)
class Category:
    """A label, part of the context and never of the event.

    Attributes:
        levels: What the labels 0, 1, … stand for, as text, at least two.
    """

    __pydantic_config__ = _STRICT
    levels: tuple[str, ...]
    kind: Literal["category"] = "category"

    def __post_init__(self):
        if len(self.levels) < 2 or len(set(self.levels)) < len(self.levels):
            raise ValueError(f"A category needs two or more different levels; got {self.levels!r}.")

    @property
    def needed(self) -> str:
        """What its labels must be."""
        return f"a label from 0 to {len(self.levels) - 1}"

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Whether each label is of no level, a boolean array."""
        return ~np.isin(values, np.arange(len(self.levels)))


Kind = Annotated[
    Real | Positive | Interval | Periodic | Integer | Category,
    pydantic.Field(discriminator="kind"),
]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its name.
        kind: Its kind.
        context: Whether it is part of the context instead of the event. Context columns are
            categories, or real numbers that are taken as they are.

    Raises:
        ValueError: A category in the event, or a context column of another kind.
    """

    __pydantic_config__ = _STRICT
    name: str
    kind: Kind
    context: bool = False

    def __post_init__(self):
        kind = self.kind.kind
        if self.context and kind not in ("real", "category"):
            raise ValueError(
                f"{self.name!r} is part of the context, which has no density: its kind must be "
                f"'real' or 'category', but it is {kind!r}."
            )
        if not self.context and kind == "category":
            raise ValueError(f"{self.name!r} is a category: it must be part of the context.")

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels of a category, none of any other column."""
        return self.kind.levels if isinstance(self.kind, Category) else ()


def in_words(kind: Kind) -> str:
    """Return a kind with its parameters for people: `"interval (0, 1)"`."""
    match kind:
        case Interval(low, high):
            return f"interval ({low:g}, {high:g})"
        case Periodic(period):
            return f"periodic ({period:g})"
        case Category(levels):
            return f"category: {some(levels)}"
        case _:
            return kind.kind


_PLAIN: dict[str, Kind] = {"real": Real(), "positive": Positive(), "integer": Integer()}
_NUMBERS: dict[str, tuple[Callable[..., Kind], tuple[str, ...]]] = {
    "interval": (Interval, ("low", "high")),
    "periodic": (Periodic, ("period",)),
}
_FORMS = (
    "'real', 'positive', 'integer', 'category', ('interval', low, high) or ('periodic', period)"
)


def parse(name: str, given: str | Sequence) -> Kind | Literal["category"]:
    """Return the kind that someone gives a column.

    Args:
        name: The column's, for the messages.
        given: `"real"`, `"positive"`, `"integer"`, `"category"`, `("interval", low, high)` or
            `("periodic", period)`.

    Returns:
        The kind; of a category its name, since its levels come from the data.

    Raises:
        ValueError: It is none of these, or its numbers are no bounds or no period.
    """
    kind, *numbers = (given or [None]) if isinstance(given, (tuple, list)) else [given]
    if not isinstance(kind, str) or kind not in (*_PLAIN, *_NUMBERS, "category"):
        raise ValueError(f"The kind of column {name!r} must be {_FORMS}; got {given!r}.")
    made, needs = _NUMBERS.get(kind, (None, ()))
    if len(numbers) != len(needs) or not all(is_real(number) for number in numbers):
        form = f"({', '.join([repr(kind), *needs])})" if needs else repr(kind)
        what = "with numbers " if needs else "alone "
        raise ValueError(f"Column {name!r}: give {form} {what}as its kind; got {given!r}.")
    if made is None:
        return "category" if kind == "category" else _PLAIN[kind]
    try:
        return made(*map(float, numbers))
    except ValueError as error:
        raise ValueError(f"Column {name!r}: {error}") from None


# ------------------------------------------------------------------- inference

_SKEWED = 1.0
# The logarithm of gamma variables has a skewness between −2 and 0, whatever their shape.
_SKEWED_LOGARITHM = 2.0
_ENOUGH_ROWS = 30
_ATOM = 0.1


def infer(values: np.ndarray) -> tuple[Kind, str]:
    """Return what a column of numbers is taken for, and why.

    Whole numbers are integers. Numbers above 0 are positive if they are skewed to the right, by a
    skewness of 1 or more in at least 30 rows, unless their logarithms are skewed more and by 2 or
    more: that is what a few values near 0 do, of a tail that has not reached it. All others are
    real.

    Args:
        values: float64 array `(n,)`, finite and not constant.

    Returns:
        The kind, and the reason in words.
    """
    low, high = values.min(), values.max()
    if not Integer().outside(values).any():
        return Integer(), f"whole numbers from {low:.15g} to {high:.15g}"
    spread = f"numbers from {low:.6g} to {high:.6g}"
    if low > 0 and len(values) >= _ENOUGH_ROWS:
        skewness, of_log = _skewness(values), _skewness(np.log(values))
        if skewness >= _SKEWED and abs(of_log) < max(skewness, _SKEWED_LOGARITHM):
            return Positive(), (
                f"{spread}, all above 0, skewness {skewness:.1f}, {of_log:.1f} of the logarithm"
            )
    return Real(), spread


def warning(values: np.ndarray, kind: Kind) -> str:
    """Return what a user should look at in a column of numbers; empty if there is nothing.

    Args:
        values: float64 array `(n,)`, finite and not constant.
        kind: The column's.
    """
    different, counts = np.unique(values, return_counts=True)
    whole = not Integer().outside(values).any()
    if whole and 3 <= len(values) == len(different) == different[-1] - different[0] + 1:
        return "consecutive integers, each once, like an index: leave it out if it is one"
    if whole and len(different) <= 5:
        return f"only {len(different)} values: a category, if they are labels"
    if isinstance(kind, Integer):
        return ""
    most = counts.argmax()
    if counts[most] > max(1, _ATOM * len(values)):
        return (
            f"{different[most]:.6g} is {counts[most]} of {len(values)} values: no density has room "
            "for so many equal ones"
        )
    if isinstance(kind, (Real, Positive)) and different[0] >= 0 and different[-1] <= 1:
        return "all in [0, 1]: an interval, if they are fractions"
    return ""


def _skewness(values: np.ndarray) -> float:
    scale = np.abs(values).max()
    # Scaled first: cubes of large numbers overflow. A spread below rounding counts as none.
    centred = values / scale - np.mean(values / scale) if scale else values
    deviation = np.sqrt(np.mean(centred**2))
    return float(np.mean((centred / deviation) ** 3)) if deviation > 1e-15 else 0.0
