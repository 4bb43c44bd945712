"""Files that were cut, emptied, exchanged or replaced: one clear error, and no wait or number."""

import io
import os
import re
import shutil

import keras
import numpy as np
import pytest
import typer.testing

import keras_flows as kf
from keras_flows.cli.app import app
from keras_flows.data import tables
from keras_flows.training import state
from tests.faults import jobs


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """Two presets, of different flows."""
    folder = tmp_path_factory.mktemp("presets")
    jobs.flow().save_to_preset(folder / "one", summary="one")
    chain = [kf.transforms.ActNorm(), kf.transforms.Affine([1.0, 2.0], [2.0, 1.0])]
    kf.Flow(kf.transforms.Chain(chain), (2,)).save_to_preset(folder / "other", summary="other")
    return folder


@pytest.fixture
def damaged(presets, tmp_path):
    return shutil.copytree(presets / "one", tmp_path / "one")


def cut(path, other):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path, other):
    path.write_bytes(b"")


def exchanged(path, other):
    shutil.copy(other / path.name, path)


def removed(path, other):
    path.unlink()


def a_folder(path, other):
    path.unlink()
    path.mkdir()


def a_pipe(path, other):
    path.unlink()
    os.mkfifo(path)


def a_link_to_nothing(path, other):
    path.unlink()
    path.symlink_to("nowhere")


DAMAGES = (cut, emptied, exchanged, removed, a_folder, a_pipe, a_link_to_nothing)
FILES = ("config.json", "model.weights.h5", "README.md", "metadata.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_preset(presets, damaged, name, damage):
    damage(damaged / name, presets / "other")
    # Metadata of another preset are found out by the checksums in them.
    named = "config.json has SHA" if (damage, name) == (exchanged, FILES[-1]) else name
    with pytest.raises(kf.PresetError, match=re.escape(named)) as error:
        kf.zoo.load(damaged)
    assert "Errno" not in str(error.value)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
@pytest.mark.parametrize("damage", [cut, emptied, exchanged], ids=lambda damage: damage.__name__)
def test_a_preset_with_its_checksums_computed_anew(presets, damaged, name, damage):
    damage(damaged / name, presets / "other")
    jobs.rehash(damaged)
    with pytest.raises(kf.PresetError, match=name.replace(".", r"\.")):
        kf.zoo.load(damaged)


KINDS = (jobs.KerasFile, jobs.Calibrations, jobs.RecipeFile, jobs.Scores, jobs.Samples)


READERS = {
    "state.keras": state.load,
    "flow.keras": state.load,
    "calibration.npz": kf.detect.load_calibration,
    "recipe.json": state.read_recipe,
    "scores.csv": lambda path: tables.read(path, (1,)),
    "samples.npy": lambda path: tables.read(path, (1,)),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_file(kind, damage, tmp_path):
    job = kind()
    job.write(tmp_path, new=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / job.name).write_bytes(b"\x93NUMPY is all that there is")
    path = tmp_path / job.name
    damage(path, tmp_path / "other")
    if damage is cut and job.name == "scores.csv":
        # Text that ends on a whole row is a table: that is why none is left by a kill.
        assert len(tables.read(path, (1,))) < job.rows
        return
    with pytest.raises(
        (ValueError, FileNotFoundError), match=job.name.replace(".", r"\.")
    ) as error:
        READERS[job.name](path)
    assert "Errno" not in str(error.value)


def header(rows):
    """A .npy file that claims so many rows, and has one."""
    file = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": (rows, 2)}
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue() + bytes(8)


@pytest.mark.parametrize("rows", [2, 10**6, 10**13])
def test_an_array_that_claims_more_rows_than_it_has(rows, tmp_path):
    path = tmp_path / "x.npy"
    path.write_bytes(header(rows))
    with pytest.raises(ValueError, match=r"x\.npy (cannot be read|claims to hold more)"):
        tables.read(path, (2,))


def test_an_array_in_an_archive_that_claims_more_rows_than_it_has(tmp_path):
    import zipfile

    for name in ("scores", "x"):
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w") as file:
            file.writestr(f"{name}.npy", header(10**13))
    with pytest.raises(ValueError, match=r"x\.npz (cannot be read|claims to hold more)"):
        tables.read(tmp_path / "x.npz", (2,))
    with pytest.raises(kf.PresetError, match=r"scores\.npz is no calibration"):
        kf.detect.load_calibration(tmp_path / "scores.npz")
    with pytest.raises(ValueError, match=r"x\.npz is not a readable"):
        kf.zoo.import_checkpoint(tmp_path / "x.npz", {})


DEEP = "[" * 100_000 + "]" * 100_000


def test_thousands_of_brackets_in_a_configuration(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros(1))
    (tmp_path / "config.json").write_text(DEEP)
    with pytest.raises(ValueError, match="is not a JSON file: maximum recursion"):
        kf.zoo.import_checkpoint(tmp_path / "x.npz", tmp_path / "config.json")
    with pytest.raises(ValueError, match="This is not the JSON of a schema"):
        kf.data.Schema.from_json(DEEP)


def test_what_the_system_says_comes_without_its_number(tmp_path, monkeypatch):
    def fail(*_):
        raise PermissionError(13, "Permission denied", "/some/where")

    monkeypatch.setattr(kf.zoo, "list", fail)
    result = typer.testing.CliRunner().invoke(app, ["list"])
    assert result.exit_code == 1 and result.stderr == "error: Permission denied: /some/where\n"


def test_a_state_in_the_place_of_another_run(tmp_path):
    """With the recipe of this one: what it holds is no flow in training."""
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "state.keras")
    with pytest.raises(ValueError, match="holds no flow in training, but a Sequential"):
        state.load(tmp_path / "state.keras")
