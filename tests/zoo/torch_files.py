"""PyTorch files, written without PyTorch: as it names and lays out what it saves."""

import contextlib
import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from unittest import mock

import numpy as np

KINDS = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "bool": "BoolStorage",
    "uint16": "BFloat16Storage",  # for which NumPy has no name
}


class Numbers:
    """The storage of an array, which a pickle only refers to."""

    def __init__(self, array):
        self.array = array


def script_class(name):
    """A class of a module of the training script, which whoever reads the file does not have."""
    return type(name, (), {"__module__": "lib.utils", "__qualname__": name})


class _Pickler(pickle.Pickler):
    def __init__(self, file, torch, legacy):
        super().__init__(file, protocol=2)
        self.torch, self.legacy, self.storages = torch, legacy, []

    def reducer_override(self, value):
        if not isinstance(value, np.ndarray):
            return NotImplemented
        strides = tuple(step // value.itemsize for step in value.strides)
        arguments = (Numbers(value.base if value.base is not None else value), 0, value.shape)
        hooks = OrderedDict()
        return self.torch._utils._rebuild_tensor_v2, (*arguments, strides, False, hooks)

    def persistent_id(self, value):
        if not isinstance(value, Numbers):
            return None
        self.storages.append(value.array)
        kind = getattr(self.torch, KINDS[value.array.dtype.name])
        view = (None,) if self.legacy else ()
        return ("storage", kind, str(len(self.storages) - 1), "cpu", value.array.size, *view)


@contextlib.contextmanager
def _torch(*classes):
    """Modules of the names that a pickle of PyTorch refers to."""
    names = ("torch", "torch._utils", "lib", "lib.utils")
    torch, utils, _, script = modules = [types.ModuleType(name) for name in names]
    torch._utils = utils

    def rebuild():
        pass

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    rebuild.__name__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild
    for kind in KINDS.values():
        setattr(torch, kind, type(kind, (), {"__module__": "torch", "__qualname__": kind}))
    for one in classes:
        setattr(script, one.__name__, one)
    with mock.patch.dict(sys.modules, dict(zip(names, modules, strict=True))):
        yield torch


def save(content, path, *classes, legacy=False):
    """Writes what `torch.save` does: the format of today, or that of before 2020.

    Args:
        content: Containers of arrays, which become tensors, and of other objects.
        path: Of the file.
        *classes: Those of `script_class` whose objects are in it.
        legacy: Which of the formats.
    """
    file = io.BytesIO()
    with _torch(*classes) as torch:
        pickler = _Pickler(file, torch, legacy)
        pickler.dump(content)
    storages = [np.ascontiguousarray(array) for array in pickler.storages]
    if legacy:
        head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
        keys = [str(i) for i in range(len(storages))]
        with open(path, "wb") as out:
            out.write(b"".join(pickle.dumps(part, protocol=2) for part in head))
            out.write(file.getvalue() + pickle.dumps(keys, protocol=2))
            for array in storages:
                out.write(struct.pack("<q", array.size) + array.tobytes())
        return
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("state/data.pkl", file.getvalue())
        archive.writestr("state/byteorder", "little")
        for i, array in enumerate(storages):
            archive.writestr(f"state/data/{i}", array.tobytes())
