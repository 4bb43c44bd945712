"""What the library knows of a family of flows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras_flows.flow import Flow
from keras_flows.models.weight import Weight
from keras_flows.training.recipe import Recipe


@dataclass(frozen=True)
class Published:
    """How the published checkpoints of a family are read.

    Attributes:
        describes: Whether a configuration, a dictionary, is one of this family's training script.
        flow: From such a configuration, a dtype and the shapes of the arrays by name to the flow,
            built, with fresh weights.
        weights: From a flow of the family to its `Weight`s, what a checkpoint holds for it.
        contradicted: From a configuration and the shapes of the arrays by name to the options that
            the arrays contradict: dictionary from name to a tuple of the values that would fit.
        ignored: The last parts of the names of arrays that a density does not need.
    """

    describes: Callable[[dict], bool]
    flow: Callable[[dict, str, dict], Flow]
    weights: Callable[[Flow], list[Weight]]
    contradicted: Callable[[dict, dict], dict[str, tuple]]
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """A family of flows: a folder in `keras_flows.models`, and a line in the registry.

    Attributes:
        models: Its classes.
        configurations: The published configurations: dictionary from name to class and arguments.
        recipes: Its training recipes by name.
        published: How its published checkpoints are read, None where there are none.
    """

    models: tuple[type[Flow], ...]
    configurations: dict[str, tuple[type[Flow], dict[str, Any]]]
    recipes: dict[str, Recipe]
    published: Published | None = None
