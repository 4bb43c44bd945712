"""State of layers that follows their weights."""

import contextlib
import contextvars
from collections.abc import Iterator

_to_be_read = contextvars.ContextVar("to_be_read", default=False)


@contextlib.contextmanager
def to_be_read() -> Iterator[None]:
    """Layers built within it have no state of their own yet: it is read afterwards, all of it."""
    token = _to_be_read.set(True)
    try:
        yield
    finally:
        _to_be_read.reset(token)


def is_to_be_read() -> bool:
    """Whether layers are built only for what is read afterwards."""
    return _to_be_read.get()


class Upkeep:
    """A layer with state that has to follow its trained weights, such as power-iteration vectors.

    What trains, saves or evaluates a flow finds such layers by this class, wherever they are.

    Attributes:
        fresh: Whether the state is still the stand-in that the layer started with.
    """

    fresh = False

    def after_update(self) -> None:
        """What follows an update of the weights; part of the compiled training step."""

    def staleness(self) -> float:
        """How far the state is from what belongs to the present weights, relative to it.

        A quick look, not a certificate: what it compares may be a bound from below.
        """
        return 0.0

    def converge(self) -> None:
        """Brings the state to what belongs to the present weights; not in a graph."""
