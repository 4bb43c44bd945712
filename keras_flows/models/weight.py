"""What a variable of a flow is made of in a published checkpoint."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Weight(NamedTuple):
    """A variable of a flow, and the published arrays it is made of.

    Attributes:
        variable: The Keras variable.
        shapes: Dictionary from the name of each array to its shape.
        convert: Function of the arrays, in that order, that gives the variable's value.
    """

    variable: Any
    shapes: dict
    convert: Callable = lambda array: array
