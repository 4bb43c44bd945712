"""calibrate and detect, and score of flows that know their columns, from the command line."""

import json

import numpy as np
import pandas as pd
import pytest
import typer.testing

import keras_flows as kf
from keras_flows.cli.app import app
from keras_flows.data.columns import Category, Column, Interval, Real
from keras_flows.files import sha256
from keras_flows.transforms import Affine

SCHEMA = kf.data.Schema((Column("age", Real()), Column("dose", Interval(-50.0, 50.0))))


def run(*arguments, code=0):
    result = typer.testing.CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


def table(n, seed):
    values = np.random.default_rng(seed).normal([1.0, 2.0], [2.0, 1.0], size=(n, 2))
    return pd.DataFrame(values, columns=["age", "dose"])


@pytest.fixture
def preset(tmp_path):
    flow = kf.Flow(Affine([1.0, 2.0], [2.0, 1.0]), (2,))
    flow.schema = SCHEMA
    flow.save_to_preset(tmp_path / "preset", summary="Two columns.")
    table(199, 1).to_csv(tmp_path / "held_out.csv", index=False)
    return tmp_path / "preset"


@pytest.fixture
def calibrated(preset):
    run("calibrate", preset, preset.parent / "held_out.csv")
    return preset


@pytest.fixture
def new(tmp_path):
    rows = pd.concat([table(50, 2), pd.DataFrame({"age": [40.0, 1.0], "dose": [2.0, 60.0]})])
    rows[["dose", "age"]].to_csv(tmp_path / "new.csv", index=False)  # in another order
    return tmp_path / "new.csv"


def test_calibrate_in_place(preset):
    held_out = preset.parent / "held_out.csv"
    shown = run("calibrate", preset, held_out)
    assert "199 (held_out.csv)" in shown.stdout and "0.005 (1/200)" in shown.stdout
    described = kf.zoo.show(preset)
    assert (described.summary, described.calibration.scores) == ("Two columns.", 199)
    assert described.calibration.data == "held_out.csv"
    assert described.calibration.data_sha256 == sha256(held_out)
    flow = kf.zoo.load(preset)
    expected = np.sort(-flow.log_prob(table(199, 1).to_numpy()).numpy())
    np.testing.assert_allclose(flow.calibration.scores, expected, rtol=1e-5)


def test_calibrate_elsewhere(preset, tmp_path):
    held_out = preset.parent / "held_out.csv"
    told = json.loads(run("calibrate", preset, held_out, "-o", tmp_path / "b", "--json").stdout)
    assert (told["folder"], told["scores"]) == (str(tmp_path / "b"), 199)
    assert kf.zoo.show(preset).calibration is None
    assert kf.zoo.show(tmp_path / "b").name == "b"


@pytest.mark.slow
def test_calibrate_an_entry_of_the_zoo(tmp_path):
    name = "idensenet_lc_two_moons"
    x = kf.data.toy("two_moons").sample(120, seed=7)
    np.save(tmp_path / "x.npy", x)
    failed = run("calibrate", name, tmp_path / "x.npy", code=1)
    assert "name one to write by --output FOLDER" in failed.stderr
    run("calibrate", name, tmp_path / "x.npy", "-o", tmp_path / "moons")
    entry = kf.zoo.show(tmp_path / "moons")
    assert (entry.calibration.scores, entry.test) == (120, kf.zoo.show(name).test)
    assert "density.png" in entry.files and "density.png" in kf.zoo.card(tmp_path / "moons")
    run("detect", tmp_path / "moons", tmp_path / "x.npy", "-o", tmp_path / "out.csv")
    flags = pd.read_csv(tmp_path / "out.csv")["flag"]
    assert flags.sum() == 0  # of the held-out rows themselves none is below 2/121


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_detect_writes_score_p_value_and_flag(calibrated, new, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    told = run("detect", calibrated, new, "-o", path, "--alpha", 0.01, "--fdr", 0.2)
    assert "row 51 (counted from 0) is out of range" in told.stderr
    assert "2 of 52 rows flagged at alpha = 0.01 (0.5 expected" in told.stderr
    assert "2 discoveries at a false-discovery rate of 0.2" in told.stderr
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".npz": np.load}[suffix]
    made = dict(read(path))
    assert list(made) == ["score", "p_value", "flag", "discovery"]
    expected = kf.detect.decide(kf.zoo.load(calibrated), new, 0.01, 0.2)
    for name, values in made.items():
        wanted = getattr(expected, name)
        np.testing.assert_array_equal(np.asarray(values).astype(wanted.dtype), wanted)
    assert list(np.flatnonzero(made["flag"])) == [50, 51]
    assert np.isinf(np.asarray(made["score"])[51])
    assert np.asarray(made["p_value"])[51] == 1 / 200


def test_detect_prints_csv_or_a_summary(calibrated, new, tmp_path):
    printed = run("detect", calibrated, new, "--alpha", 0.05).stdout.splitlines()
    assert printed[0] == "score,p_value,flag" and len(printed) == 53
    told = run("detect", calibrated, new, "-o", tmp_path / "a.csv", "--json")
    counts = json.loads(told.stdout)
    assert counts["rows"] == 52 and counts["flagged"] == 2 and counts["out_of_range"] == 1
    assert "by --output" in run("detect", calibrated, new, "--json", code=1).stderr


def test_columns_are_chosen(calibrated, new):
    change(new, lambda table: table.assign(site=3.0))
    told = run("detect", calibrated, new, "--alpha", 0.05, code=1)
    assert "--columns chooses among those of a file" in told.stderr
    run("detect", calibrated, new, "--alpha", 0.05, "--columns", "dose,age")


def test_score_knows_the_columns(preset, new, tmp_path):
    told = run("score", preset, new, "-o", tmp_path / "scores.csv")
    assert "row 51 (counted from 0) is out of range, its log_prob -inf" in told.stderr
    scores = pd.read_csv(tmp_path / "scores.csv")["log_prob"].to_numpy()
    x = pd.read_csv(new)[["age", "dose"]].to_numpy()
    np.testing.assert_allclose(scores[:51], kf.zoo.load(preset).log_prob(x[:51]), rtol=1e-5)
    assert scores[51] == -np.inf
    assert "1 of 52 rows are out of range" in run("evaluate", preset, new, code=1).stderr
    assert run("sample", preset, "-n", 3, "--seed", 1).stdout.startswith("age,dose\n")


def change(path, make):
    make(pd.read_csv(path)).to_csv(path, index=False)
    return path


BAD_TABLES = {
    "missing column": (lambda t: t[["age"]], "lacks 1 columns: dose. It needs exactly these"),
    "unknown column": (lambda t: t.assign(weight=1.0), "weight. It needs exactly these"),
    "misspelt": (lambda t: t.rename(columns={"dose": "doses"}), "Did you mean 'doses'"),
    "a gap": (lambda t: t.assign(age=[np.nan, *t.age[1:]]), r"missing values: 'age' (1 of 52)"),
    "text": (lambda t: t.assign(age="old"), "this column holds text"),
    "no rows": (lambda t: t[:0], "it holds no rows"),
    "infinity": (lambda t: t.assign(age=np.inf), "hold infinity or NaN"),
    "too large": (lambda t: t.assign(age=1e300), "beyond float32"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
@pytest.mark.parametrize("command", ["detect", "score", "calibrate"])
def test_bad_tables(calibrated, new, name, command):
    make, message = BAD_TABLES[name]
    told = run(command, calibrated, change(new, make), code=1)
    assert message in told.stderr and "new.csv" in told.stderr
    assert not told.stdout and "nan" not in told.stderr


BAD_CALLS = {
    "alpha out of reach": (["--alpha", 0.001], "alpha = 0.001 is out of reach: with 199 held-out"),
    "how many it takes": (["--alpha", 0.001], "at least 999 rows"),
    "fdr out of reach": (["--fdr", 0.0001], "fdr = 0.0001 is out of reach"),
    "alpha of 0": (["--alpha", 0], "alpha must be in (0, 1]; got 0"),
    "alpha of 2": (["--alpha", 2], "alpha must be in (0, 1]; got 2"),
    "a NaN": (["--alpha", "nan"], "alpha must be in (0, 1]; got nan"),
    "fdr of -1": (["--fdr", -1], "fdr must be in (0, 1]; got -1"),
    "a context": (["--context", "c.csv"], "leave --context out, and give one table"),
    "no header": (["--no-header"], "the table must have a header"),
    "columns": (["--columns", "age,size"], "has no column 'size'"),
    "too few columns": (["--columns", "age"], "lacks 1 columns: dose"),
    "suffix": (["-o", "out.xlsx"], "must end in one of"),
    "no folder": (["-o", "nowhere/out.csv"], "There is no folder nowhere"),
    "one array": (["-o", "out.npy"], "a .npy file holds one array, but there are 3"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls(calibrated, new, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD_CALLS[name]
    told = run("detect", calibrated, new, *arguments, code=1)
    assert message in told.stderr.replace("\n", " ") and not told.stdout
    assert not list(tmp_path.glob("out.*"))


def test_a_flow_without_calibration(preset, new):
    assert "preset has no calibration" in run("detect", preset, new, code=1).stderr
    assert "no zoo entry or folder" in run("detect", "nowhere", new, code=1).stderr


def test_a_file_that_is_not_there(calibrated):
    assert "There is no file gone.csv" in run("detect", calibrated, "gone.csv", code=1).stderr


def test_samples_given_columns_of_the_context_by_name(tmp_path):
    flow = kf.Flow(Affine([1.0], [2.0]), (1,), context_shape=(3,))
    sex, dose = Column("sex", Category(("f", "m")), True), Column("dose", Real(), True)
    flow.schema = kf.data.Schema((Column("age", Real()), sex, dose))
    flow.save_to_preset(tmp_path / "preset")
    given = pd.DataFrame({"dose": [0.5, 2.0], "sex": ["m", "f"]})
    np.testing.assert_array_equal(
        flow.schema.arrange_context(given), [[0.0, 1.0, 0.5], [1.0, 0.0, 2.0]]
    )
    given.to_csv(tmp_path / "two.csv", index=False)
    given[:1].to_parquet(tmp_path / "one.parquet", index=False)
    np.save(tmp_path / "one.npy", np.float32([[0.0, 1.0, 0.5]]))  # as the flow sees it
    for n, name in ((2, "two.csv"), (5, "one.parquet"), (5, "one.npy")):
        told = run("sample", tmp_path / "preset", "-n", n, "--context", tmp_path / name)
        assert told.stdout.startswith("age\n") and len(told.stdout.splitlines()) == n + 1
    given.assign(age=1.0).to_csv(tmp_path / "more.csv", index=False)
    told = run("sample", tmp_path / "preset", "--context", tmp_path / "more.csv", code=1)
    assert "unknown columns: age. It needs exactly these, in any order: sex, dose" in told.stderr
    with pytest.raises(ValueError, match="This flow has no context"):
        SCHEMA.arrange_context(given)


@pytest.mark.slow
def test_levels_never_seen(tmp_path):
    flow = kf.models.ResidualFlow((1,), blocks=1, widths=(2,), context_shape=(2,))
    flow.schema = kf.data.Schema((Column("age", Real()), Column("sex", Category(("f", "m")), True)))
    flow.save_to_preset(tmp_path / "preset")
    pd.DataFrame({"age": [1.0, 2.0], "sex": ["f", "x"]}).to_csv(tmp_path / "new.csv", index=False)
    told = run("score", tmp_path / "preset", tmp_path / "new.csv", code=1)
    assert "levels that the flow has never seen: 'sex' (1 of 2 cells: 'x'" in told.stderr
