"""State of layers that follows their weights."""


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
