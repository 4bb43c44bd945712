"""The examples in export/, run where the libraries they do without cannot be imported."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import keras_flows as kf
from keras_flows.export import endpoints
from keras_flows.noise import InputNoise
from tests.conftest import REPOSITORY

EXAMPLES = REPOSITORY / "export/examples"
KERAS = ["keras_flows", "keras", "tf_keras"]
ABSENT = {
    "onnx": [*KERAS, "tensorflow", "tensorflow_probability", "onnx", "tf2onnx", "pydantic"],
    "saved_model": [*KERAS, "tensorflow_probability", "onnx", "onnxruntime", "pydantic"],
}
TO = {"onnx": kf.export.to_onnx, "saved_model": kf.export.to_saved_model}
# Python imports it before a script: no finder finds these modules, as where they are not installed.
BLOCKER = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        absent = name.split(".")[0] in {absent}
        return None if absent else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


@pytest.fixture
def python(tmp_path):
    """Runs Python without some modules: `python(kind, *arguments)`."""

    def python(kind, *arguments):
        place = tmp_path / f"without_{kind}"
        place.mkdir(exist_ok=True)
        blocker = BLOCKER.format(absent=set(ABSENT[kind]))
        (place / "sitecustomize.py").write_text(blocker, encoding="utf-8")
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(place)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return python


@pytest.fixture
def score(python):
    """Runs an example: `score(kind, *arguments)` gives its columns by name, and what it says."""

    def score(kind, *arguments):
        done = python(kind, EXAMPLES / f"score_{kind}.py", *arguments)
        assert done.returncode == 0, done.stderr
        names, *lines = done.stdout.splitlines()
        columns = np.array([line.split(",") for line in lines], "float64").T
        return dict(zip(names.split(","), columns, strict=True)), done.stderr

    return score


@pytest.mark.parametrize("kind", TO)
def test_what_is_absent_cannot_be_imported(python, kind):
    for name in ABSENT[kind]:
        assert f"No module named {name!r}" in python(kind, "-c", f"import {name}").stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", TO)
def test_a_conditional_flow(exported, fresh, score, tmp_path, kind):
    flow, folder, _ = exported(TO[kind], "conditional")
    x, _, context, _ = fresh[0](flow, 9, seed=1)
    np.savetxt(tmp_path / "x.csv", x, delimiter=",", header="first,second", comments="")
    np.save(tmp_path / "context.npy", context)
    columns, said = score(kind, folder, tmp_path / "x.csv", "--context", tmp_path / "context.npy")
    assert list(columns) == ["log_prob"]
    np.testing.assert_allclose(columns["log_prob"], flow.log_prob(x, context), 2e-5, 2e-5)
    assert f"log_prob of {flow.name} in nats, exact." in said


@pytest.mark.parametrize("kind", ["onnx", pytest.param("saved_model", marks=pytest.mark.slow)])
def test_a_flow_with_noise(exported, fresh, score, tmp_path, kind):
    flow, folder, _ = exported(TO[kind], "integers")
    x = fresh[0](flow, 1030, seed=1)[0]  # more than a batch
    np.save(tmp_path / "x.npy", x)
    columns, said = score(kind, folder, tmp_path / "x.npy")
    noise = endpoints.fixed_noise(flow, 0).repeat(len(x), axis=0)
    expected = flow.log_prob(x, noise=InputNoise(noise))
    np.testing.assert_allclose(columns["log_prob"], expected, 2e-5, 2e-5)
    assert "log_prob_fixed of" in said and "lower_bound. The noise of log_prob_fixed" in said
    # A CSV has the elements of an example in C order.
    np.savetxt(tmp_path / "x.csv", x[:3].reshape(3, -1), delimiter=",")
    again, _ = score(kind, folder, tmp_path / "x.csv")
    np.testing.assert_allclose(again["log_prob"], columns["log_prob"][:3], rtol=1e-5)
    # Draws: the mean is that of the flow's own draws, within their standard errors.
    np.save(tmp_path / "few.npy", x[:100])
    drawn, _ = score(kind, folder, tmp_path / "few.npy", "--draws", 64, "--seed", 5)
    mine = np.stack([flow.log_prob(x[:100], seed=seed) for seed in range(64)])
    error = np.hypot(drawn["standard_error"], mine.std(axis=0, ddof=1) / 8.0)
    assert (error > 0.0).all()
    assert (np.abs(drawn["log_prob"] - mine.mean(axis=0)) < 5.0 * error).all()


@pytest.mark.parametrize("kind", ["onnx", pytest.param("saved_model", marks=pytest.mark.slow)])
def test_a_calibrated_flow_on_a_table(score, fails, tmp_path, kind):
    rows = np.random.default_rng(0).standard_normal((50, 2)) * [1.0, 2.0]
    table = kf.data.table(pd.DataFrame(rows, columns=["first, of all", "second"]))
    flow = kf.Flow(kf.transforms.Affine(0.1, 1.5), (2,))
    flow.schema = table.schema
    flow.calibration = kf.detect.calibrate(flow, table.x, "these")
    TO[kind](flow, tmp_path / "out", alpha=0.1)
    new = rows[:9] + 0.5
    names = '"first, of all"', "second"
    np.savetxt(tmp_path / "x.csv", new, delimiter=",", header=",".join(names), comments="")
    turned = tmp_path / "turned.csv"
    np.savetxt(turned, new[:, ::-1], delimiter=",", header=",".join(names[::-1]), comments="")
    expected = kf.detect.decide(flow, tmp_path / "x.csv", alpha=0.1)
    for path in (tmp_path / "x.csv", turned):
        columns, said = score(kind, tmp_path / "out", path)
        assert list(columns) == ["log_prob", "p_value", "flag"]
        np.testing.assert_allclose(columns["p_value"], expected.p_value, rtol=1e-8)
        np.testing.assert_array_equal(columns["flag"], expected.flag)
        assert "flag: p_value at most 0.1." in said
    np.savetxt(tmp_path / "other.csv", new, delimiter=",", header="second,third", comments="")
    message = "missing: first, of all, unknown: third"
    assert message in fails(kind, tmp_path / "out", tmp_path / "other.csv")


@pytest.mark.slow
def test_float64_is_read_and_printed_in_full(score, tmp_path):
    flow = kf.Flow(kf.transforms.Affine(0.1, 3.0, dtype="float64"), (2,), dtype="float64")
    kf.export.to_saved_model(flow, tmp_path / "1")
    x = np.random.default_rng(0).standard_normal((4, 2))
    np.savetxt(tmp_path / "x.csv", x, "%.17g", delimiter=",")
    columns, _ = score("saved_model", tmp_path / "1", tmp_path / "x.csv")
    np.testing.assert_allclose(columns["log_prob"], flow.log_prob(x), rtol=1e-14)


@pytest.fixture
def fails(python):
    def fails(kind, *arguments):
        done = python(kind, EXAMPLES / f"score_{kind}.py", *arguments)
        assert done.returncode != 0 and done.stdout == "" and "Traceback" not in done.stderr
        return done.stderr

    return fails


ROW = np.full((2, 3), 0.5)


@pytest.mark.parametrize(
    "rows, arguments, message",
    [
        (ROW[:, :2], [], "holds float64 (2, 2); x must be numbers of shape (rows, 3)"),
        (ROW[:0], [], "at least one row"),
        (np.array([[0.5, np.nan, 0.5]]), [], "row 0 has an element that is not finite"),
        (np.array([ROW[0], [0.5, 0.5, 1e300]]), [], "row 1 has an element that is not finite"),
        (np.array([["a", "b", "c"]]), [], "must be numbers"),
        (ROW, ["--draws", 4], "takes no noise: leave --draws out"),
        (ROW, ["--draws", 1], "--draws must be 2 or more; got 1"),
        (ROW, ["--context", "x.npy"], "not conditional: leave --context out"),
        (ROW + 1.0, [], "log_prob of 2 rows is NaN, the first of them row 0"),
        (None, [], "x.npy"),
    ],
)
def test_rows_that_are_wrong(exported, fails, tmp_path, rows, arguments, message):
    _, folder, _ = exported(kf.export.to_onnx, "chain")
    if rows is not None:
        np.save(tmp_path / "x.npy", rows)
    assert message in fails("onnx", folder, "x.npy", *arguments)


def test_integers_that_are_none(exported, fails, tmp_path):
    _, folder, _ = exported(kf.export.to_onnx, "integers")
    np.save(tmp_path / "x.npy", np.full((2, 2, 3), 0.5))
    assert "x must be integers" in fails("onnx", folder, "x.npy")
    (tmp_path / "x.csv").write_text("1,2,3\n4,5,6\n", encoding="utf-8")
    assert "(rows, 2, 3), at least one row; in a .csv, 6 columns" in fails("onnx", folder, "x.csv")


@pytest.mark.slow
def test_a_folder_that_was_changed(build, fails, tmp_path):
    kf.export.to_onnx(build("chain"), tmp_path / "deployed")
    np.save(tmp_path / "x.npy", ROW)
    assert "no saved_model export" in fails("saved_model", "deployed", "x.npy")
    path = tmp_path / "deployed/decode.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    assert "decode.onnx has SHA-256" in fails("onnx", "deployed", "x.npy")
    path.unlink()
    assert "decode.onnx is missing" in fails("onnx", "deployed", "x.npy")
