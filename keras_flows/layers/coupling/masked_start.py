"""How masked weights start."""

from collections.abc import Callable

import keras
import numpy as np


def masked_start(start: Callable, mask: np.ndarray | None) -> Callable:
    """An initializer whose weights are zero where a mask is, and stay so: nothing reaches them.

    Zeros take no room in a compressed file.

    Args:
        start: An initializer.
        mask: Array of zeros and ones, of the shape of the weights; None for the initializer itself.
    """
    if mask is None:
        return start
    return lambda shape, dtype=None: start(shape, dtype) * keras.ops.cast(mask, dtype)
