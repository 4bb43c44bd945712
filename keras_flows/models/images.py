"""What the flows on images share."""

from typing import Any

import keras

from keras_flows import checks
from keras_flows.models.arguments import named
from keras_flows.transforms import Transform, UniformDequantization, VariationalDequantization

# Those of the families that have none of their own, by name.
DEQUANTIZATIONS = {
    "uniform": UniformDequantization,
    "variational": VariationalDequantization,
}


def divisible_shape(given: Any, factor: int | tuple[int, int], what: str) -> tuple[int, ...]:
    """The shape of images whose sides are divisible by a factor, as a tuple.

    Args:
        given: What was given for it.
        factor: Of both sides, or one of the height and one of the width.
        what: The flow, for the message.

    Raises:
        ValueError: If it is none.
    """
    shape = checks.event_shape(given)
    rows, columns = factor if isinstance(factor, tuple) else (factor, factor)
    if len(shape) != 3 or shape[0] % rows or shape[1] % columns:
        raise ValueError(
            f"{what} takes images (height, width, channels) whose height is divisible by {rows} "
            f"and whose width by {columns}; got {shape}."
        )
    return shape


def dequantization_of(
    given: str | dict | Transform, kinds: dict, bits: int | None, dtype: keras.DTypePolicy
) -> Transform:
    """The dequantization of a model, one of its own.

    Args:
        given: See `keras_flows.models.arguments.named`.
        kinds: Dictionary from name to class.
        bits: Number of bits of an integer; None for that of the dequantization.
        dtype: Dtype policy.

    Raises:
        ValueError: If there is none of that name, or it is of other bits.
    """
    own_bits = {} if bits is None else {"bits": bits}
    made = named(given, kinds, "dequantization", dtype, **own_bits)
    if bits is not None and made.bits != bits:
        raise ValueError(
            f"The dequantization is one of {made.bits} bits, but bits={bits}: leave bits out."
        )
    return made


def positions_first(channels: int, places: tuple[int, ...] = (0, 1, 2, 3)) -> list[int]:
    """The order of the channels after a squeeze in which the place in a square varies slowest.

    Args:
        channels: Before the squeeze.
        places: The places of a square, row by row, in the order in which they are to come.
    """
    return [4 * c + place for place in places for c in range(channels)]
