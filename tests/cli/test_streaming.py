"""score, detect and encode into folders, and with onnxruntime alone, from the command line."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import typer.testing

import keras_flows as kf
from keras_flows import stream
from keras_flows.cli.app import app
from keras_flows.data.columns import Column, Interval, Real
from keras_flows.stream import takes
from keras_flows.transforms import Affine

SCHEMA = kf.data.Schema((Column("age", Real()), Column("dose", Interval(-50.0, 50.0))))


def run(*arguments, code=0):
    result = typer.testing.CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


def table(n, seed):
    values = np.random.default_rng(seed).normal([1.0, 2.0], [2.0, 1.0], size=(n, 2))
    return pd.DataFrame(values, columns=["age", "dose"])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A calibrated preset, its export, and rows of which one is out of range."""
    root = tmp_path_factory.mktemp("cli")
    flow = kf.Flow(Affine([1.0, 2.0], [2.0, 1.0]), (2,))
    flow.schema = SCHEMA
    flow.calibration = kf.detect.calibrate(flow, table(199, 1).to_numpy(), "held out")
    flow.save_to_preset(root / "preset")
    kf.export.to_onnx(flow, root / "exported")
    rows = pd.concat([table(50, 2), pd.DataFrame({"age": [40.0, 1.0], "dose": [2.0, 60.0]})])
    rows[["dose", "age"]].to_parquet(root / "new.parquet", index=False, row_group_size=9)
    return root


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Four rows at a time, and what a command sets for its process is undone."""
    monkeypatch.setattr(takes.Takes, "batch", 4)
    monkeypatch.setenv("KERAS_FLOWS_RUNTIME", "")


def test_score_into_a_folder(root, tmp_path):
    out = tmp_path / "scores"
    told = run("score", root / "preset", root / "new.parquet", "-o", out, "--part-rows", 20)
    assert "row 51 (counted from 0) is out of range, its log_prob -inf" in told.stderr
    assert f"52 rows in 3 parts: {out}" in told.stderr and told.stdout == ""
    run("score", root / "preset", root / "new.parquet", "-o", tmp_path / "one.parquet")
    one, parts = pd.read_parquet(tmp_path / "one.parquet"), pd.read_parquet(out)
    pd.testing.assert_frame_equal(one, parts)
    expected = kf.zoo.load(root / "preset").log_prob(table(50, 2).to_numpy())
    np.testing.assert_allclose(parts["log_prob"][:50], expected, rtol=1e-5)
    refused = run("score", root / "preset", root / "new.parquet", "-o", out, code=1)
    assert "--resume" in refused.stderr
    (out / "part-00001.parquet").unlink()
    again = run("score", root / "preset", root / "new.parquet", "-o", out, "--resume")
    assert "part-00001.parquet is gone. It is written again." in again.stderr
    assert "resuming: 32 rows in 2 parts are there" in again.stderr
    pd.testing.assert_frame_equal(one, pd.read_parquet(out))


def test_verify_a_folder_of_scores(root, tmp_path):
    out = tmp_path / "scores"
    run("score", root / "preset", root / "new.parquet", "-o", out, "--part-rows", 20)
    assert "52 in 3 parts" in run("verify", out).stdout
    assert json.loads(run("verify", out, "--json").stdout)["complete"] is True
    (out / "part-00001.parquet").write_bytes(b"PAR1")
    assert "part-00001.parquet has another SHA-256" in run("verify", out, code=1).stderr


def test_detect_into_a_folder(root, tmp_path):
    new = root / "new.parquet"
    shared = ("--alpha", 0.05, "--fdr", 0.2, "--json")
    one = run("detect", root / "preset", new, "-o", tmp_path / "one.parquet", *shared)
    many = run("detect", root / "preset", new, "-o", tmp_path / "out", *shared, "--part-rows", 8)
    one, many = json.loads(one.stdout), json.loads(many.stdout)
    assert {**one, "output": ""} == {**many, "output": ""}
    assert (many["rows"], many["out_of_range"], many["discoveries"]) == (52, 1, 2)
    made = pd.read_parquet(tmp_path / "out")
    whole = pd.read_parquet(tmp_path / "one.parquet")
    pd.testing.assert_frame_equal(made, whole[["score", "p_value", "flag"]])
    found = stream.read_manifest(tmp_path / "out").discoveries
    np.testing.assert_array_equal(made["p_value"] <= found["p_value"], whole["discovery"])


def test_encode(root, tmp_path):
    x = table(50, 2)
    x.to_csv(tmp_path / "x.csv", index=False)
    run("encode", root / "preset", tmp_path / "x.csv", "-o", tmp_path / "z.npy")
    expected = kf.zoo.load(root / "preset").encode(x.to_numpy())
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), expected, rtol=1e-5, atol=1e-6)
    printed = run("encode", root / "preset", tmp_path / "x.csv").stdout
    assert printed.startswith("z_0,z_1\n") and len(printed.splitlines()) == 51
    run("encode", root / "preset", tmp_path / "x.csv", "-o", tmp_path / "out")
    z = pd.read_parquet(tmp_path / "out")[["z_0", "z_1"]]
    np.testing.assert_array_equal(z, np.load(tmp_path / "z.npy"))
    wrong = run("encode", root / "preset", root / "new.parquet", code=1)
    assert "Row 51 (counted from 0) is out of range, and has no latent" in wrong.stderr


@pytest.mark.parametrize("task", ["score", "detect", "encode"])
def test_onnxruntime_gives_the_same(root, tmp_path, task):
    table(50, 2).to_csv(tmp_path / "x.csv", index=False)
    run(task, root / "preset", tmp_path / "x.csv", "-o", tmp_path / "a.csv")
    run(task, root / "exported", tmp_path / "x.csv", "-o", tmp_path / "b.csv", "--runtime", "onnx")
    ours, theirs = (pd.read_csv(tmp_path / f"{name}.csv") for name in "ab")
    assert list(ours) == list(theirs)
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(["tensorflow", "keras", "tensorflow_probability", "tf_keras"]))
sys.argv = ["keras-flows", *{arguments!r}]
from keras_flows.cli import app
app(prog_name="keras-flows")
"""


def without_tensorflow(*arguments, program=WITHOUT):
    program = program.format(arguments=[str(a) for a in arguments])
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_FLOWS_RUNTIME"}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )


def test_a_machine_without_tensorflow(root, tmp_path):
    new, out = root / "new.parquet", tmp_path / "out"
    done = without_tensorflow("detect", root / "exported", new, "-o", out, "--runtime", "onnx")
    assert done.returncode == 0, done.stderr
    run("detect", root / "preset", new, "-o", tmp_path / "one.parquet")
    one = pd.read_parquet(tmp_path / "one.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(out), one, rtol=1e-4, atol=1e-5)
    failed = without_tensorflow("score", root / "preset", new)
    assert failed.returncode == 1 and "with --runtime onnx" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_process_that_scores_loads_no_tensorflow(root, tmp_path):
    """Where TensorFlow is installed, too."""
    arguments = ["score", str(root / "exported"), str(root / "new.parquet"), "--runtime", "onnx"]
    arguments += ["-o", str(tmp_path / "out")]
    program = WITHOUT.replace(
        'sys.modules.update(dict.fromkeys(["tensorflow", "keras", "tensorflow_probability", '
        '"tf_keras"]))',
        "",
    ).replace(
        'app(prog_name="keras-flows")',
        'try:\n    app(prog_name="keras-flows")\nfinally:\n'
        '    assert "tensorflow" not in sys.modules and "scipy" not in sys.modules',
    )
    done = without_tensorflow(*arguments, program=program)
    assert done.returncode == 0, done.stderr
    assert stream.verify(tmp_path / "out").rows == 52


BAD_CALLS = {
    "resume of a file": (["-o", "x.csv", "--resume"], "are for parts in a folder"),
    "parts of a file": (["--part-rows", 8], "are for parts in a folder"),
    "size of parts": (["-o", "out", "--part-rows", 7], "a multiple of 4 rows"),
    "no export": (["--runtime", "onnx"], "is no export"),
    "no folder": (["-o", "nowhere/out"], "There is no folder nowhere"),
    "a split of a file": (["--split", "test"], "--split is for data sets and folders"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls(root, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD_CALLS[name]
    told = run("score", root / "preset", root / "new.parquet", *arguments, code=1)
    assert message in told.stderr.replace("\n", " ") and not told.stdout
    assert not list(tmp_path.glob("out/*")) and not list(tmp_path.glob("x.csv"))


def test_lines_have_the_rate_and_the_time_left():
    from keras_flows.cli.console import _Lines

    lines = _Lines("scoring", 10_000, "rows")
    lines.skip(2_000)
    lines.advance(3_000)
    expected = "scoring: 5,000 of 10,000 rows, 300 rows/s, 17 s left, after 10 s"
    assert lines.line(10.0) == expected
    unknown = _Lines("scoring", None, "rows")
    unknown.advance(50)
    assert unknown.line(5.0) == "scoring: 50 rows, 10 rows/s, after 5 s"
    assert _Lines("saving", None, None).line(5.0) == "saving, after 5 s"
