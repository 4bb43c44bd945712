"""Normalizing flows for Keras 3 on TensorFlow: pretrained, trainable, exportable."""

import importlib
import importlib.util
import os
import pathlib
import sys

from keras_flows import _moved

__version__ = "0.1.0"

if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    raise ImportError(
        f"keras-flows runs on TensorFlow, and KERAS_BACKEND is {os.environ['KERAS_BACKEND']!r}. "
        "Leave it out, or set it to tensorflow, before Keras is imported."
    )

_moved.install()


def _without_tensorflow():
    """Whether this process does without TensorFlow: it is not installed, or not to be loaded.

    `KERAS_FLOWS_RUNTIME=onnx` says so of a process that scores by onnxruntime alone.
    """
    if os.environ.get("KERAS_FLOWS_RUNTIME") == "onnx":
        return True
    return importlib.util.find_spec("tensorflow") is None


# Imported when first used: some bring TFP, tf2onnx, matplotlib or data libraries.
_PACKAGES = (
    "bases",
    "data",
    "detect",
    "export",
    "fitting",
    "layers",
    "measure",
    "models",
    "noise",
    "numerics",
    "plot",
    "stream",
    "tfp",
    "training",
    "transforms",
    "zoo",
)
_NAMES = {
    "Flow": "flow",
    "fit": "fitting",
    "ConvergenceError": "errors",
    "ExportError": "errors",
    "LipschitzError": "errors",
    "NonFiniteError": "errors",
    "PresetError": "errors",
    "StreamError": "errors",
}


def __getattr__(name):
    if name in _NAMES:
        return getattr(importlib.import_module(f"keras_flows.{_NAMES[name]}"), name)
    if name in _PACKAGES or _moved.new_name(name) is not None:
        return importlib.import_module(f"keras_flows.{name}")
    raise AttributeError(f"module 'keras_flows' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PACKAGES, *_NAMES])


def _is_command():
    """Whether this process is `keras-flows` or `python -m keras_flows`."""
    return pathlib.Path(sys.argv[0]).stem == "keras-flows" or getattr(sys, "orig_argv", [])[
        1:3
    ] == ["-m", "keras_flows"]


# A command does without TensorFlow where it can. Everywhere else all classes are imported at once:
# Keras reads from files only what is registered.
if not _is_command() and not _without_tensorflow():
    importlib.import_module("keras_flows.models")
    importlib.import_module("keras_flows.training")
