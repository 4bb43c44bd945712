"""What writes something, on a flow that takes no time, and whether what is left is complete."""

import json

import keras
import numpy as np

import keras_flows as kf
from keras_flows.data import tables
from keras_flows.detect import Calibration, load_calibration, save_calibration
from keras_flows.files import read_json
from keras_flows.training import SaveState, state
from keras_flows.training.recipe import CosineDecay, Recipe, ToyData
from keras_flows.zoo import preset
from keras_flows.zoo.metadata import FORMAT, Metadata

RECIPE = Recipe(
    summary="A tiny flow.",
    model="IDenseNet",
    arguments={"blocks": 1, "depth": 1, "growth": 2},
    data=ToyData("two_moons"),
    steps=8,
    batch_size=10,
    schedule=CosineDecay(0.01, 2),
    report_every=2,
    validation_examples=10,
    jit_compile=False,
)


def flow(scale=1.0):
    """A flow without residual blocks: it is saved in no time."""
    made = kf.Flow(kf.transforms.ActNorm(), (2,), name="flow")
    made.transform.bias.assign([scale, scale])
    return made


def large():
    """One with 400 kB of weights."""
    embedding = keras.layers.Embedding(1000, 100)
    return kf.Flow(kf.transforms.ActNorm(), (2,), (), embedding)


class Job:
    """Writes one thing.

    Attributes:
        name: What it is called in its folder.
    """

    name = "flow"

    def write(self, folder, new):
        """Writes the old or the new one of two contents."""
        raise NotImplementedError

    def content(self, folder):
        """Which of the two is there, complete: `"old"` or `"new"`; None where there is nothing.

        Raises:
            Exception: If it is neither.
        """
        if not (folder / self.name).exists():
            return None
        return self.read(folder / self.name)


class Preset(Job):
    """A preset folder, in which somebody keeps notes."""

    def write(self, folder, new):
        if not new:
            flow().save_to_preset(folder / self.name, summary="old")
            (folder / self.name / "notes.txt").write_text("mine")
        else:
            flow(2.0).save_to_preset(folder / self.name, summary="new")

    def read(self, path):
        described = read_json(path / "metadata.json", Metadata, FORMAT, "preset", kf.PresetError)
        preset.check_files(path, described)
        assert (path / "notes.txt").read_text() == "mine"
        return described.summary


class NewPreset(Preset):
    """A preset in a new folder."""

    def write(self, folder, new):
        if new:
            flow().save_to_preset(folder / self.name, summary="new")

    def read(self, path):
        described = read_json(path / "metadata.json", Metadata, FORMAT, "preset", kf.PresetError)
        preset.check_files(path, described)
        return described.summary


class KerasFile(Job):
    """A `.keras` file."""

    name = "flow.keras"

    def write(self, folder, new):
        flow(2.0 if new else 1.0).save(folder / self.name)

    def read(self, path):
        bias = float(keras.models.load_model(path).transform.bias[0])
        return {1.0: "old", 2.0: "new"}[bias]


class State(KerasFile):
    """The state of a training."""

    name = "state.keras"

    def write(self, folder, new):
        saver = SaveState(folder / self.name)
        model = flow(2.0 if new else 1.0)
        model.compile("sgd")
        saver.set_model(model)
        saver.save()


class Scores(Job):
    """A table of numbers, in text."""

    name = "scores.csv"
    rows = 2000

    def write(self, folder, new):
        tables.write(folder / self.name, {"x": np.full((self.rows, 1), 2.0 if new else 1.0)})

    def read(self, path):
        values = tables.read(path, (1,))
        assert values.shape == (self.rows, 1) and (values == values[0]).all()
        return {1.0: "old", 2.0: "new"}[float(values[0, 0])]


class Samples(Scores):
    """An array of numbers."""

    name = "samples.npy"


class Calibrations(Job):
    """A calibration."""

    name = "calibration.npz"

    def write(self, folder, new):
        made = Calibration(
            scores=np.arange(9.0),
            statistic="likelihood",
            constants={},
            likelihood="exact",
            seed=0,
            draws=1,
            data="new" if new else "old",
            data_sha256="0" * 64,
        )
        save_calibration(made, folder / self.name)

    def read(self, path):
        return load_calibration(path).data


class RecipeFile(Job):
    """The recipe of a run, which a resume begins by writing again."""

    name = "recipe.json"

    def write(self, folder, new):
        content = {**RECIPE.to_json(), "summary": "new" if new else "old"}
        state.write_recipe(folder / self.name, Recipe.from_json(content))

    def read(self, path):
        return state.read_recipe(path).summary


class History(Job):
    """The history of a run, of which a resume drops the last rows."""

    name = "history.csv"

    def write(self, folder, new):
        if not new:
            (folder / self.name).write_text("epoch,loss\n0,1.0\n1,2.0\n")
        else:
            state.drop_rows(folder / self.name, 1)

    def read(self, path):
        contents = {"epoch,loss\n0,1.0\n1,2.0\n": "old", "epoch,loss\n0,1.0\n": "new"}
        return contents[path.read_text()]


class Export(Job):
    """An export in a new folder."""

    name = "exported"
    to = "onnx"

    def write(self, folder, new):
        if new:
            getattr(kf.export, f"to_{self.to}")(flow(), folder / self.name)

    def read(self, path):
        kf.export.verify(path)
        return "new"


class SavedModel(Export):
    """The same as a SavedModel."""

    to = "saved_model"


QUICK = (Preset, NewPreset, KerasFile, State, Scores, Samples, Calibrations, RecipeFile, History)


def hidden(folder):
    """What is left of writers that were killed."""
    return [path for path in folder.rglob("*") if path.name.endswith(".partial")]


def rehash(folder, change=lambda metadata: None):
    """Computes the checksums of a preset anew, as a forger would."""
    from keras_flows.files import sha256

    path = folder / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["files"] = {name: sha256(folder / name) for name in metadata["files"]}
    change(metadata)
    path.write_text(json.dumps(metadata))
