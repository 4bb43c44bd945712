"""Reading of PyTorch files, without PyTorch and without running what they ask for.

PyTorch itself either refuses a file that holds more than weights, as those of the published
training scripts do (their moving averages are an object of a class of the script), or imports and
calls whatever the file names. Here numbers and containers are read, and everything else becomes a
`StandIn` that holds its attributes and does nothing.
"""

import collections
import functools
import math
import pickle
import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np

# What the files of before 2020 begin with, and the version of their format.
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",  # the upper half of a float32
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class StandIn:
    """In the place of an object of a class, or of the result of a function, that is not run.

    It takes whatever a pickle does to an object, and keeps the attributes.
    """

    def __new__(cls, *args, **kwargs):  # noqa: D102
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update(part)

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        """Of a list: nothing."""

    def extend(self, values):
        """Of a list: nothing."""


class _Storage(NamedTuple):
    """Where the numbers of tensors are."""

    source: Any
    key: str
    kind: str
    start: int


class Tensor(NamedTuple):
    """A tensor that is read when it is asked for: a file holds many that nobody needs."""

    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple

    def numpy(self):
        """The numbers, an array of its own.

        Raises:
            ValueError: If the file does not have them.
        """
        kind = self.storage.kind
        dtype = np.dtype(_DTYPES[kind]).newbyteorder(self.storage.source.order)
        flat = np.frombuffer(self.storage.source.read(self.storage.key), dtype)
        first = self.storage.start + self.offset
        last = first + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if math.prod(self.shape) and not 0 <= first <= last < flat.size:
            raise ValueError(f"a tensor of shape {self.shape} reaches beyond its numbers")
        strides = [stride * dtype.itemsize for stride in self.strides]
        array = np.lib.stride_tricks.as_strided(flat[first:], self.shape, strides)
        if kind == "BFloat16Storage":
            return (array.astype("uint32") << 16).view("float32")
        return array.astype(dtype.newbyteorder("="))


def _rebuilt(storage, offset, shape, strides, *_):
    return Tensor(storage, int(offset), tuple(shape), tuple(strides))


# All that a file can have called. A parameter is its tensor.
_CALLABLE = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): _rebuilt,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *_: data,
    ("torch._tensor", "_rebuild_from_type_v2"): lambda function, kind, args, state: function(*args),
}


class _Unpickler(pickle.Unpickler):
    """Makes what is described above."""

    def __init__(self, file, source):
        super().__init__(file, encoding="utf-8")
        self._source, self.kinds = source, {}

    def find_class(self, module, name):
        if module.partition(".")[0] == "torch" and name in _DTYPES:
            return name
        known = _CALLABLE.get((module, name))
        # Objects of their own, on which a file may set what it likes.
        return type(name, (StandIn,), {}) if known is None else functools.partial(known)

    def persistent_load(self, pid):
        if pid[0] == "module":
            return pid[1]  # a class, with the text of its source
        _, kind, key, _, _, *view = pid
        if kind not in _DTYPES:
            raise pickle.UnpicklingError(f"numbers of an unknown kind, {kind!r}")
        self.kinds[str(key)] = kind
        return _Storage(self._source, str(key), kind, view[0][1] if view and view[0] else 0)


class _Zip:
    """A file of today: an archive of a pickle and of the numbers of every storage."""

    def __init__(self, path):
        self._path = path
        with zipfile.ZipFile(path) as archive:
            (pickled,) = (n for n in archive.namelist() if n.rpartition("/")[2] == "data.pkl")
            self._root = pickled.removesuffix("data.pkl")
            order = f"{self._root}byteorder"
            big = order in archive.namelist() and archive.read(order) == b"big"
            self.order = ">" if big else "<"
            with archive.open(pickled) as file:
                self.content = _Unpickler(file, self).load()

    def read(self, key):
        """The bytes of a storage."""
        with zipfile.ZipFile(self._path) as archive:
            return archive.read(f"{self._root}data/{key}")


class _Legacy:
    """A file of before 2020: pickles one after the other, and then the numbers."""

    order = "<"

    def __init__(self, path):
        self._path, self._places = path, {}
        with open(path, "rb") as file:
            magic, protocol, _ = (_Unpickler(file, self).load() for _ in range(3))
            if (magic, protocol) != (_MAGIC, _PROTOCOL):
                raise pickle.UnpicklingError("neither format of PyTorch")
            unpickler = _Unpickler(file, self)
            self.content = unpickler.load()
            for key in _Unpickler(file, self).load():
                (count,) = struct.unpack("<q", file.read(8))
                size = count * np.dtype(_DTYPES[unpickler.kinds[str(key)]]).itemsize
                self._places[str(key)] = file.tell(), size
                file.seek(size, 1)

    def read(self, key):
        """The bytes of a storage."""
        start, size = self._places[key]
        with open(self._path, "rb") as file:
            file.seek(start)
            return file.read(size)


def read(path):
    """The content of a PyTorch file, with a `Tensor` in the place of every tensor.

    Args:
        path: A `pathlib.Path`.

    Raises:
        ValueError: If it is no such file.
    """
    try:
        with open(path, "rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
        return (_Zip(path) if is_zip else _Legacy(path)).content
    except Exception as error:  # a broken pickle can fail in any way
        raise ValueError(f"{path} is not a readable PyTorch file: {error}.") from error
