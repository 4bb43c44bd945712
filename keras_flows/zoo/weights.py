"""What is in a weight file, and flows that are built no larger than that."""

import contextlib
import math
import threading
from typing import NamedTuple

import h5py
import keras
import numpy as np

from keras_flows.errors import PresetError
from keras_flows.files import check_room

# Bytes that HDF5 adds for an array, its group and its name, at most; measured are 2,100.
_OVERHEAD = 4096
# Layers of a flow for each array that it has; measured are 1.6.
_LAYERS = 4


class Contents(NamedTuple):
    """What a weight file holds.

    Attributes:
        arrays: How many arrays.
        numbers: How many numbers are in all of them.
    """

    arrays: int
    numbers: int


def write(flow, path):
    """Writes the weights of a flow.

    Raises:
        OSError: If there is no room for them.
    """
    size = sum(math.prod(v.shape) * np.dtype(v.dtype).itemsize + _OVERHEAD for v in flow.weights)
    check_room(path.parent, size)
    flow.save_weights(path)


def contents(path):
    """Counts what a weight file holds, without reading its arrays.

    Raises:
        PresetError: If it is no HDF5 file, or claims to hold more than its size.
    """
    found = []

    def visit(_, item):
        if isinstance(item, h5py.Dataset):
            found.append((math.prod(item.shape), item.dtype.itemsize))

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except (OSError, RuntimeError, TypeError) as error:
        raise PresetError(f"{path} is damaged: it is no HDF5 file of arrays: {error}") from error
    claimed = sum(numbers * size for numbers, size in found)
    if claimed > path.stat().st_size:
        raise PresetError(
            f"{path} is damaged: it has {path.stat().st_size:,} bytes, and claims to hold arrays "
            f"of {claimed:,}."
        )
    return Contents(len(found), sum(numbers for numbers, _ in found))


def check(flow, path, held):
    """Checks that a weight file holds the arrays of a flow, no more and no fewer.

    Raises:
        PresetError: If it does not.
    """
    needed = Contents(len(flow.weights), sum(math.prod(w.shape) for w in flow.weights))
    if held != needed:
        raise PresetError(
            f"The weights in {path} are of another flow: it holds {held.arrays:,} arrays of "
            f"{held.numbers:,} numbers in all, and the flow of this configuration has "
            f"{needed.arrays:,} of {needed.numbers:,}."
        )


@contextlib.contextmanager
def no_larger_than(held, described):
    """Ends the building of a flow that gets larger than the file of its weights.

    Else a number in a configuration could take all memory before anything is compared. Keras calls
    these two methods for every layer and every weight, whatever the model: here they count.

    Args:
        held: The `Contents` of the weight file.
        described: How many layers the configuration names by itself.

    Raises:
        PresetError: Where the flow has more weights than the file, or more layers than that can be.
    """
    layer, thread = keras.layers.Layer, threading.get_ident()
    init, add_weight = layer.__init__, layer.add_weight
    most = described + _LAYERS * held.arrays + 100
    counted = {"layers": 0, "arrays": 0, "numbers": 0}
    too_large = PresetError(
        f"it describes a flow that is larger than the {held.arrays:,} arrays of {held.numbers:,} "
        "numbers in its weight file."
    )

    def count(**more):
        if threading.get_ident() != thread:  # another one builds something else
            return
        for name, number in more.items():
            counted[name] += number
        if counted["layers"] > most or counted["arrays"] > held.arrays:
            raise too_large
        if counted["numbers"] > held.numbers:
            raise too_large

    def counting_init(self, *args, **kwargs):
        count(layers=1)
        init(self, *args, **kwargs)

    def counting_add_weight(self, *args, **kwargs):
        shape = args[0] if args else kwargs.get("shape")
        count(arrays=1, numbers=math.prod(shape or ()))
        return add_weight(self, *args, **kwargs)

    layer.__init__, layer.add_weight = counting_init, counting_add_weight
    try:
        yield
    finally:
        layer.__init__, layer.add_weight = init, add_weight
