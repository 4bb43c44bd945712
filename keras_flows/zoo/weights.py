"""What is in a weight file, and flows that are built no larger than that."""

import collections
import contextlib
import functools
import math
import re
import threading
from typing import NamedTuple

import h5py
import keras
import numpy as np
import tensorflow as tf

from keras_flows.errors import PresetError
from keras_flows.files import check_room
from keras_flows.layers.upkeep import to_be_read

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


def read(flow, path):
    """Reads the weights of a flow from a file that Keras wrote.

    Keras looks at every attribute of every layer for what may have weights, which takes seconds;
    this follows the names in the file. `check` comes first: the file holds as many arrays as the
    flow has weights.

    Raises:
        ValueError: If the file names what the flow does not have, or has arrays of other shapes.
    """
    done = set()
    with h5py.File(path, "r") as file:
        groups = []

        def visit(name, item):
            if isinstance(item, h5py.Group) and name.split("/")[-1] == "vars" and len(item):
                groups.append(name)

        file.visititems(visit)
        for name in groups:
            owner = flow
            for part in name.split("/")[:-1]:
                owner = _part(owner, part)
            if not hasattr(owner, "load_own_variables"):
                raise ValueError(f"{name} is of no part of the flow.")
            if id(owner) in done:
                raise ValueError(f"{name} is of a layer that another group is of, too.")
            done.add(id(owner))
            owner.load_own_variables(file[name])


def _part(owner, name):
    """A part of a layer or of a container, by the name that Keras gives it; None for none."""
    if not isinstance(owner, (list, tuple, dict)):
        return getattr(owner, name, None)
    used = collections.Counter()
    for member in owner.values() if isinstance(owner, dict) else owner:
        own = "container" if isinstance(member, (list, tuple, dict)) else _snake(type(member))
        if name == (f"{own}_{used[own]}" if used[own] else own):
            return member
        used[own] += 1
    return None


@functools.cache
def _snake(kind):
    """The name of a class as Keras writes it."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind.__name__)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


@contextlib.contextmanager
def no_larger_than(held, described):
    """Builds a flow for the weights in a file, and ends that where it gets larger than the file.

    Else a number in a configuration could take all memory before anything is compared. Keras calls
    these two methods for every layer and every weight, whatever the model: here they count. Weights
    start at zero, and layers without a state of their own, since `read` gives them all.

    Args:
        held: The `Contents` of the weight file.
        described: How many layers the configuration names by itself.

    Raises:
        PresetError: Where the flow has more weights than the file, or more layers than that can be.
    """
    layer, thread = keras.layers.Layer, threading.get_ident()
    zeros = functools.cache(tf.zeros)  # most weights have the shape of others
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
        if threading.get_ident() == thread and len(args) < 2:
            kwargs["initializer"] = zeros
        return add_weight(self, *args, **kwargs)

    layer.__init__, layer.add_weight = counting_init, counting_add_weight
    try:
        with to_be_read():
            yield
    finally:
        layer.__init__, layer.add_weight = init, add_weight
