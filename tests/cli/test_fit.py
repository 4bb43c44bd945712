"""keras-flows fit, and the three commands of the main job one after the other."""

import json

import numpy as np
import pandas as pd
import pytest
import typer.testing

import keras_flows as kf
from keras_flows.cli.app import app
from keras_flows.cli.fit import _kinds
from keras_flows.fitting import defaults


def run(*arguments, code=0):
    result = typer.testing.CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


def patients(n, seed):
    rng = np.random.default_rng(seed)
    age, sex = rng.normal(40.0, 10.0, n), rng.choice(["f", "m"], n)
    dose = np.exp(0.05 * age + rng.normal(size=n) + 3.0 * (sex == "m"))
    return pd.DataFrame({"age": age, "sex": sex, "dose": dose})


def test_kinds():
    given = ["age=real", " share = interval:0:1", "a=b=periodic:360"]
    expected = {"age": "real", "share": ("interval", 0.0, 1.0), "a=b": ("periodic", 360.0)}
    assert _kinds(given) == expected
    assert _kinds(None) is None and _kinds([]) is None


def test_errors_name_the_options(tmp_path):
    patients(40, 0).assign(site=1.0).to_csv(tmp_path / "t.csv", index=False)
    told = run("fit", tmp_path / "t.csv", tmp_path / "flow", code=1).stderr.replace("\n", " ")
    assert "make it a category of the context: --kind 'sex=category'" in told
    assert "leave the column out by --columns." in told
    told = run("fit", tmp_path / "t.csv", tmp_path / "flow", "--context", "sex", code=1).stderr
    assert "'site' (always 1.0)" in told and "Leave them out by --columns." in told


def test_warnings_of_many_columns_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(defaults, "FEWEST_ROWS", 10**6)
    shares = np.random.default_rng(0).uniform(size=(40, 3))
    pd.DataFrame(shares, columns=list("abc")).to_csv(tmp_path / "t.csv", index=False)
    told = run("fit", tmp_path / "t.csv", tmp_path / "flow", code=1)
    assert "look at a, b, c: all in [0, 1]: an interval, if they are fractions\n" in told.stderr
    assert "real" in told.stdout and "40 rows, 3 columns" in told.stdout


@pytest.mark.slow
def test_fit_detect_export(tmp_path, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(defaults, "MOST_STEPS", 40)
    small = {"layers": 1, "bins": 4, "width": 8, "blocks": 1}
    monkeypatch.setattr(defaults, "arguments", lambda *_: small)
    frame = patients(600, 0)
    frame.loc[:4, "age"] = np.nan
    frame.to_csv(tmp_path / "patients.csv", index=False)
    table, folder = tmp_path / "patients.csv", tmp_path / "flow"
    arguments = ("--context", "sex", "--kind", "age=real", "--drop-missing")
    told = run("fit", table, folder, *arguments[:-1], code=1).stderr
    assert "missing values: 'age' (5 of 600). --drop-missing drops the 5 of 600 rows" in told
    told = run("fit", table, folder, *arguments)
    assert "category: f, m" in told.stdout and "positive" in told.stdout
    assert "5 rows with missing values are left out" in told.stderr
    assert "step 40 of 40: training" in told.stderr and "held out" in told.stderr
    assert "test NLL" in told.stdout and "nats" in told.stdout
    flow = kf.zoo.load(folder)
    assert flow.schema.names == ("age", "sex", "dose")

    new = patients(50, 1)[["dose", "sex", "age"]]
    new.loc[0, "dose"] = 1e9
    new.loc[1, "dose"] = -1.0
    new.to_csv(tmp_path / "new.csv", index=False)
    run("detect", folder, tmp_path / "new.csv", "-o", tmp_path / "flagged.csv", "--alpha", 0.01)
    flagged = pd.read_csv(tmp_path / "flagged.csv")
    assert flagged["flag"][:2].all() and flagged["flag"].sum() < 6

    run("export", folder, tmp_path / "deployed")
    manifest = json.loads((tmp_path / "deployed" / "manifest.json").read_text())
    assert [column["name"] for column in manifest["columns"]] == ["age", "sex", "dose"]
    assert manifest["alpha"] == 0.01
    session = onnxruntime.InferenceSession(str(tmp_path / "deployed" / "score.onnx"))
    rows = flow.schema.arrange(tmp_path / "new.csv")
    given = {"x": rows.x.astype("float32"), "context": rows.context.astype("float32")}
    p_value, flag = session.run(["p_value", "flag"], given)
    np.testing.assert_array_equal(p_value, flagged["p_value"])
    np.testing.assert_array_equal(flag, flagged["flag"] == 1)

    machine = run("fit", table, tmp_path / "b", *arguments, "--steps", 20, "--json")
    report = json.loads(machine.stdout)
    assert report["steps"] == 20 and report["dropped_rows"] == 5
    assert [row["kind"] for row in report["columns"]] == ["real", "category: f, m", "positive"]
