"""A training run that is killed, or resumed; test_resume.py starts it as a process of its own.

    python resume_run.py KIND FOLDER kill      trains to the end; then anew, and is killed
    python resume_run.py KIND FOLDER resume    goes on from the last saved state

Each run that gets to its end leaves its weights in FOLDER.
"""

import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np

from keras_flows.data import toy
from keras_flows.models import IDenseNet
from keras_flows.training import SaveState, report
from keras_flows.training import run as runner
from keras_flows.training.recipe import ImageData, Recipe, WarmUp

STEPS, EPOCH_STEPS, KILLED_AT = 12, 3, 8
KINDS = {
    # With a concatenation that starts to learn after the resume, in a step compiled by XLA.
    "exact": {"log_det": "exact", "actnorm": True, "concatenation_start": 7},
    "unbiased": {"log_det": "unbiased"},
}
# Shuffled and augmented images, averaged weights, validation.
RECIPE = Recipe(
    summary="",
    model="IDenseNet",
    arguments={"blocks": (1,), "depth": 1, "growth": 2, "fully_connected": None, "bits": 5},
    data=ImageData("digits", flip=True, shift=0.1),
    steps=STEPS,
    batch_size=300,  # an epoch of the data is five steps
    schedule=WarmUp(0.01, 10),
    ema=0.8,
    report_every=EPOCH_STEPS,
    validation_examples=20,
)


class Kill(keras.callbacks.Callback):
    """Ends the process the hard way, in the middle of an epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)


class Killer(report.Report, Kill):
    """The report of a recipe's run that is killed."""

    on_train_batch_end = Kill.on_train_batch_end


def start(kind):
    """A compiled flow, always the same."""
    keras.utils.set_random_seed(3)
    flow = IDenseNet((2,), blocks=1, depth=1, growth=4, seed=5, **KINDS[kind])
    flow.compile(keras.optimizers.Adam(0.01), jit_compile=kind == "exact")
    return flow


def train(flow, state, *callbacks):
    """Trains to the end, from wherever the flow stands."""
    done = int(flow.optimizer.iterations)
    flow.fit(
        toy("two_moons").dataset(32, STEPS, seed=0, start=done),
        initial_epoch=done // EPOCH_STEPS,
        epochs=STEPS // EPOCH_STEPS,
        steps_per_epoch=EPOCH_STEPS,
        callbacks=[SaveState(state), *callbacks],
        verbose=0,
    )
    return flow


def write_weights(flow, path):
    """Every number that training changes, the moments of the optimizer among them."""
    variables = [*flow.weights, *flow.optimizer.variables]
    np.savez(path, *[keras.ops.convert_to_numpy(variable) for variable in variables])


def run_recipe(folder, mode):
    """The same for a recipe: the presets `whole` and `killed`."""
    runner.SAVE_MINUTES = 0.0
    if mode == "kill":
        runner.train("whole", RECIPE, folder)
        report.Report = Killer
    runner.train("killed", RECIPE, folder, resume=mode == "resume")
    for name in ("whole", "killed"):
        flow = keras.models.load_model(folder / f"{name}.training" / "state.keras")
        write_weights(flow, folder / f"{'whole' if name == 'whole' else 'resumed'}.npz")


def main(kind, folder, mode):
    """Does what the module says."""
    if kind == "recipe":
        run_recipe(folder, mode)
    elif mode == "kill":
        write_weights(train(start(kind), folder / "whole.keras"), folder / "whole.npz")
        train(start(kind), folder / "state.keras", Kill())
    else:
        flow = keras.models.load_model(folder / "state.keras")
        assert int(flow.optimizer.iterations) == KILLED_AT - KILLED_AT % EPOCH_STEPS
        write_weights(train(flow, folder / "state.keras"), folder / "resumed.npz")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
