"""Normalizing flows for Keras 3 on TensorFlow: pretrained, trainable, exportable."""

import importlib
import os

if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    raise ImportError(
        f"keras-flows runs on TensorFlow, and KERAS_BACKEND is {os.environ['KERAS_BACKEND']!r}. "
        "Leave it out, or set it to tensorflow, before Keras is imported."
    )

from keras_flows import _moved
from keras_flows import layers as layers
from keras_flows import models as models
from keras_flows import training as training
from keras_flows import transforms as transforms
from keras_flows._version import __version__ as __version__
from keras_flows.errors import ConvergenceError as ConvergenceError
from keras_flows.errors import ExportError as ExportError
from keras_flows.errors import LipschitzError as LipschitzError
from keras_flows.errors import NonFiniteError as NonFiniteError
from keras_flows.errors import PresetError as PresetError
from keras_flows.flow import Flow as Flow

_moved.install()

# Imported when first used: they bring TFP, tf2onnx, matplotlib or data libraries.
_LAZY = ("data", "export", "measure", "numerics", "plot", "tfp", "zoo")


def __getattr__(name):
    if name in _LAZY:
        return importlib.import_module(f"keras_flows.{name}")
    if _moved.new_name(name) is not None:
        return importlib.import_module(f"keras_flows.{name}")
    raise AttributeError(f"module 'keras_flows' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_LAZY])
