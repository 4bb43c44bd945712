"""Training: the step, learning rates, callbacks, recipes and runs of them, fine-tuning."""

from keras_flows.training.adaptation import adapt as adapt
from keras_flows.training.averages import averaged as averaged
from keras_flows.training.callbacks import SaveState as SaveState
from keras_flows.training.callbacks import StopOnNonFinite as StopOnNonFinite
from keras_flows.training.callbacks import TensorBoardScalars as TensorBoardScalars
from keras_flows.training.normalization import frozen_normalization as frozen_normalization
from keras_flows.training.normalization import recalibrate as recalibrate
from keras_flows.training.recipe import Recipe as Recipe
from keras_flows.training.schedules import Cycles as Cycles
from keras_flows.training.schedules import WarmUp as WarmUp


def __getattr__(name):
    if name == "finetune":  # it measures, and what measures needs this package
        from keras_flows.training import finetuning

        return finetuning.finetune
    # Runs need models, data and the zoo, which need this package.
    if name in ("build", "train"):
        from keras_flows.training import run

        return getattr(run, name)
    raise AttributeError(f"module 'keras_flows.training' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), "build", "finetune", "train"])
