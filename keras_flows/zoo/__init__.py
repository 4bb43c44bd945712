"""Pretrained flows: find, load, save and upload presets, import published checkpoints."""

import typing
from collections.abc import Sequence
from pathlib import Path

from keras_flows.zoo import handles as _handles
from keras_flows.zoo import metadata as _metadata
from keras_flows.zoo.card import card as card
from keras_flows.zoo.upload import upload as upload

if typing.TYPE_CHECKING:
    from keras_flows.flow import Flow


def __getattr__(name):
    # Lists and cards do without TensorFlow, which these need.
    if name == "import_checkpoint":
        from keras_flows.zoo.checkpoint import import_checkpoint

        return import_checkpoint
    if name == "save":
        from keras_flows.zoo.preset import save

        return save
    raise AttributeError(f"module 'keras_flows.zoo' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), "import_checkpoint", "save"})


def list() -> Sequence[_metadata.Metadata]:
    """The metadata of every entry that comes with the package, sorted by name.

    Returns:
        A list of `keras_flows.zoo.metadata.Metadata`.
    """
    return [show(name) for name in _handles.bundled()]


def show(handle: str | Path) -> _metadata.Metadata:
    """The metadata of a preset; arguments and errors as in `load`.

    Returns:
        A `keras_flows.zoo.metadata.Metadata`.
    """
    return _metadata.read(_handles.resolve(handle))


def load(handle: str | Path) -> "Flow":
    """Loads a flow.

    Args:
        handle: The name of an entry of `list()`, a folder, `https://…#sha256=…`, `hf://…` or
            `kaggle://…`; see `keras_flows.zoo.handles.resolve`.

    Returns:
        A `keras_flows.Flow`.

    Raises:
        PresetError: If there is no such preset, or it is corrupt or of a newer version.
    """
    from keras_flows.zoo import preset

    return preset.load(_handles.resolve(handle))
