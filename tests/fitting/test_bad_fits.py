"""Bad tables and calls, from fit to detect: each is one clear error, and none gives a number.

Every bad table goes the three ways that a table comes in: kf.fit, `keras-flows fit`, and detection
with a flow that knows its columns. No flow is trained.
"""

import datetime
import gzip
import re

import numpy as np
import pandas as pd
import pytest
import typer.testing

import keras_flows as kf
from keras_flows.cli.app import app
from keras_flows.data.columns import Category, Column, Integer, Interval, Real
from keras_flows.detect import FlowDetector, calibrate, decide
from keras_flows.fitting import training
from keras_flows.transforms import Affine

N = 60
RNG = np.random.default_rng(0)
GOOD = pd.DataFrame({"age": RNG.normal(size=N), "dose": RNG.normal(size=N)})


def text(content, suffix=".csv", encoding="utf-8"):
    content = content if isinstance(content, bytes) else content.encode(encoding)

    def write(folder):
        path = folder / f"bad{suffix}"
        path.write_bytes(content)
        return path

    return write


def changed(**columns):
    """A file of the good table with other columns."""

    def write(folder):
        GOOD.assign(**columns).to_csv(folder / "bad.csv", index=False)
        return folder / "bad.csv"

    return write


def first(value):
    return [value, *GOOD["dose"][1:]]


def saved(array):
    def write(folder):
        np.save(folder / "bad.npy", array)
        return folder / "bad.npy"

    return write


LINES = "".join(f"{i}.5,{i * i}.25\n" for i in range(N))

TABLES = {
    "no file": (lambda folder: folder / "gone.csv", "There is no file"),
    "a folder": (lambda folder: folder, "is a folder; name a file"),
    "a sheet": (text("age,dose\n", ".xlsx"), "must end in one of"),
    "empty": (text(""), "is empty"),
    "blank": (text("\n\n"), "is empty"),
    "header only": (text("age,dose\n"), "it holds no rows"),
    "numbers for names": (text(LINES), "names of the columns, but has numbers"),
    "two names alike": (text("age,age\n" + LINES), "same name"),
    "an index": (text(",age\n" + LINES), "has no name|unknown columns|lacks"),
    "bars": (text("age|dose\n1|2\n"), "looks like several"),
    "mixed separators": (text("age,dose;a\n1,2;3\n"), "commas and semicolons"),
    "decimal commas": (text("age;dose\n1,5;2\n2,5;3\n"), "numbers with commas"),
    "long rows": (text("age,dose\n" + LINES + "1,2,3\n"), "have more or fewer"),
    "short rows": (text("age,dose\n" + LINES + "1\n"), "have more or fewer"),
    "open quote": (text('age,dose\n"1,2\n'), "not a well-formed table"),
    "Latin-1": (text("age,größe\n1,2\n", encoding="latin-1"), "is not UTF-8"),
    "UTF-16": (text("age,dose\n1,2\n", encoding="utf-16"), "not UTF-8"),
    "mixed encodings": (text(b"age,dose\n1,\xc3\xa4\n2,\xe4\n"), "not UTF-8"),
    "NUL": (text(b"age,dose\n1,2\n\x00,3\n"), "NUL byte"),
    "no gzip": (text("age,dose\n1,2\n", ".csv.gz"), "not a well-formed table"),
    "cut gzip": (
        text(gzip.compress(("age,dose\n" + LINES).encode())[:-9], ".csv.gz"),
        "not a well-formed table",
    ),
    "no Parquet": (text("age,dose\n", ".parquet"), "cannot be read as a Parquet"),
    "no .npy": (text("age,dose\n", ".npy"), "cannot be read as a NumPy"),
    "a vector": (saved(np.zeros(N)), r"must have shape \(rows, columns\)"),
    "images": (saved(np.zeros((N, 2, 2))), r"must have shape \(rows, columns\)"),
    "complex": (saved(np.zeros((N, 2), complex)), "must hold real numbers"),
    "a gap": (changed(dose=first(None)), "missing values: 'dose'"),
    "all gaps": (changed(dose=[None] * N), "missing values|constant|none is left|hold"),
    "NaN in words": (changed(dose=first("n.d.")), "numbers and text"),
    "text": (changed(dose=["high"] * N), "holds text"),
    "numbers as text": (changed(dose=[f"{x:.3f} mg" for x in GOOD.dose]), "holds text"),
    "booleans": (changed(dose=[True, False] * (N // 2)), "holds true and false"),
    "dates": (changed(dose=pd.date_range("2020-01-01", periods=N)), "holds dates or times"),
    "infinity": (changed(dose=first(np.inf)), "infinity or NaN"),
    "minus infinity": (changed(dose=first(-np.inf)), "infinity or NaN"),
    "1e300": (changed(dose=first(1e300)), "beyond float32"),
    "identifiers": (changed(dose=[2**60 + i for i in range(N)]), r"integers of 2\^53 or more"),
}
# These are bad to learn from, and not to judge: a file of new rows may be so.
TO_LEARN = {
    "one row": (text("age,dose\n1.5,2.5\n"), "one row, and no density"),
    "nineteen rows": (
        text("age,dose\n" + "".join(LINES.splitlines(True)[:19])),
        "19 rows; a fit needs at least 20",
    ),
    "constant": (changed(dose=3.5), "are constant"),
    "twice the same": (changed(dose=GOOD.age), "equal one another"),
    "large integers": (changed(dose=range(2**24, 2**24 + N)), "Integers of 8,388,608 and more"),
    "far from 0": (changed(dose=1e12 + GOOD.dose * 1e5), "hardly tells apart"),
    "rows that repeat": (
        text("age,dose\n" + "1.5,2.5\n2.5,1.5\n" * 30),
        "too few to hold out|constant in training",
    ),
}
# And these are good to learn from, and not what the flow knows.
TO_JUDGE = {
    "a column more": (changed(weight=1.0), "1 unknown columns: weight"),
    "a column less": (text("age\n1\n2\n"), "lacks 1 columns: dose"),
    "misspelt": (text("age,doze\n" + LINES), "Did you mean 'doze'"),
    "other case": (text("Age,Dose\n" + LINES), "lacks 2 columns"),
    "no names": (saved(np.zeros((N, 2))), "lacks 2 columns: age, dose"),
    "three columns": (saved(np.zeros((N, 3))), "lacks 2 columns"),
}


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    def train(*_, **__):
        raise AssertionError("a bad table came as far as training")

    monkeypatch.setattr(training, "train", train)


def command(*arguments):
    result = typer.testing.CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 1, (result.output, result.exception)
    assert result.stderr.count("error:") == 1 and "Traceback" not in result.stderr
    return result.stderr.replace("\n", " ")


@pytest.mark.parametrize("name", [*TABLES, *TO_LEARN])
def test_fit(name, tmp_path):
    make, message = {**TABLES, **TO_LEARN}[name]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        kf.fit(make(tmp_path), tmp_path / "flow", model="SplineFlow", arguments={"layers": 1})
    assert not (tmp_path / "flow").exists()


@pytest.mark.parametrize("name", [*TABLES, *list(TO_LEARN)[:4]])
def test_the_command_fit(name, tmp_path):
    make, message = {**TABLES, **TO_LEARN}[name]
    assert re.search(message, command("fit", make(tmp_path), tmp_path / "flow"))
    assert not (tmp_path / "flow").exists()


@pytest.fixture(scope="module")
def flow():
    flow = kf.Flow(Affine(0.0, 2.0), (2,))
    flow.schema = kf.data.Schema((Column("age", Real()), Column("dose", Real())))
    flow.calibration = calibrate(flow, GOOD.to_numpy(), "good rows")
    return flow


@pytest.mark.parametrize("name", [*TABLES, *TO_JUDGE])
def test_decide(flow, name, tmp_path):
    make, message = {**TABLES, **TO_JUDGE}[name]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        decide(flow, make(tmp_path), alpha=0.05)


# Calls --------------------------------------------------------------------------------------------

FIT_CALLS = {
    "no table": ({"data": 3}, "A table is read from a file"),
    "nothing": ({"data": None}, "A table is read from a file"),
    "a dictionary": ({"data": {"age": [1, 2]}}, "A table is read from a file"),
    "dates": ({"data": [[datetime.date(2020, 1, 1)]] * N}, "real numbers"),
    "no model": ({"model": "Spline"}, "Unknown model 'Spline'. Did you mean 'SplineFlow'"),
    "images": ({"model": "DenseFlow"}, "DenseFlow is for images"),
    "model": ({"model": 3}, "Unknown model 3"),
    "arguments": ({"arguments": ["bins"]}, "arguments must be a dictionary"),
    "bins": ({"arguments": {"bins": 0}}, "bins must be an integer"),
    "steps of 0": ({"steps": 0}, "steps must be an integer, at least 1; got 0"),
    "half a step": ({"steps": 1.5}, "steps must be an integer"),
    "minutes": ({"minutes": 0}, "minutes must be a positive number"),
    "minutes of NaN": ({"minutes": float("nan")}, "minutes must be"),
    "holdout of 0": ({"holdout": 0.0}, r"holdout must be in \(0, 1\)"),
    "holdout of 1": ({"holdout": 1.0}, r"holdout must be in \(0, 1\)"),
    "holdout in words": ({"holdout": "a fifth"}, "holdout must be"),
    "hardly held out": ({"holdout": 0.01}, "too few to hold out"),
    "one row each": ({"holdout": 0.04}, "leaves 1 for the"),
    "seed": ({"seed": -1}, "seed must be an integer, at least 0"),
    "no seed": ({"seed": None}, "seed must be"),
    "resume": ({"resume": "yes"}, "resume must be True or False"),
    "resume nothing": ({"resume": True, "folder": None}, "resume needs the folder"),
    "validation": ({"validation": GOOD[["age"]]}, "lacks 1 columns: dose"),
    "no validation": ({"validation": "gone.csv"}, "There is no file gone.csv"),
    "validation of one row": ({"validation": GOOD[:1]}, "leaves 1 for the validation"),
    "a file for a folder": ({"folder": __file__}, "is a file; a preset is a folder"),
}


@pytest.mark.parametrize("name", FIT_CALLS)
def test_calls_of_fit(name, tmp_path):
    arguments, message = FIT_CALLS[name]
    given = {"data": GOOD, "folder": tmp_path / "flow", **arguments}
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        kf.fit(**given)
    assert not (tmp_path / "flow").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(kf.PresetError, match="is not a preset"):
        kf.fit(GOOD, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


COMMAND_CALLS = {
    "kind without column": (["--kind", "real"], "--kind is COLUMN=KIND"),
    "kind of nothing": (["--kind", "=real"], "--kind is COLUMN=KIND"),
    "no kind": (["--kind", "age=number"], "The kind of column 'age' must be"),
    "kind of no column": (["--kind", "size=real"], "has no column 'size'"),
    "half an interval": (["--kind", "age=interval:0"], "give ('interval', low, high)"),
    "interval in words": (["--kind", "age=interval:0:one"], "what follows a colon must be"),
    "a turned interval": (["--kind", "age=interval:1:0"], "low < high"),
    "out of the interval": (["--kind", "age=interval:0:1"], "are not in (0, 1)"),
    "not positive": (["--kind", "age=positive"], "are not above 0"),
    "no integers": (["--kind", "age=integer"], "are not an integer"),
    "no period": (["--kind", "age=periodic"], "give ('periodic', period)"),
    "twice": (["--kind", "age=real", "--kind", "age=real"], "names 'age' twice"),
    "context": (["--context", "sex"], "context: "),
    "all context": (["--context", "age,dose"], "No column is part of the event"),
    "columns": (["--columns", "age,doze"], "Did you mean 'dose'"),
    "columns twice": (["--columns", "age,age"], "several times: age"),
    "levels": (["--kind", "age=category"], "too few rows of each level"),
    "model": (["--model", "Spline"], "Did you mean 'SplineFlow'"),
    "holdout": (["--holdout", "2"], "holdout must be in (0, 1)"),
    "minutes": (["--minutes", "-1"], "minutes must be a positive number"),
    "validation": (["--validation", "gone.csv"], "There is no file gone.csv"),
}


@pytest.mark.parametrize("name", COMMAND_CALLS)
def test_calls_of_the_command_fit(name, tmp_path):
    arguments, message = COMMAND_CALLS[name]
    GOOD.to_csv(tmp_path / "good.csv", index=False)
    assert message in command("fit", tmp_path / "good.csv", tmp_path / "flow", *arguments)
    assert not (tmp_path / "flow").exists()


LEVELS = (0.0, -0.1, 1.1, float("nan"), float("inf"), "0.1", None, True, 1e-4)


@pytest.mark.parametrize("level", LEVELS)
def test_levels(flow, level):
    with pytest.raises(ValueError, match=r"alpha must be in|alpha = 0\.0001 is out of reach"):
        decide(flow, GOOD, alpha=level)
    if level is not None:
        with pytest.raises(ValueError, match=r"fdr must be in|fdr = 0\.0001 .*least 9999 rows"):
            decide(flow, GOOD, alpha=0.1, fdr=level)


def test_no_calibration(flow):
    plain = kf.Flow(Affine(), (2,))
    with pytest.raises(ValueError, match="has no calibration, and no p-values without one"):
        decide(plain, GOOD.to_numpy())
    with pytest.raises(ValueError, match="its context is among the columns"):
        decide(flow, GOOD, alpha=0.1, context=np.zeros((N, 1)))


DETECTOR = {
    "few rows": ({}, GOOD[:12], "n_samples=12; a contamination of 0.1 needs at least 13"),
    "constant": ({}, GOOD.assign(dose=1.0), "density on constant columns .* dose is"),
    "text": ({}, GOOD.assign(dose="a"), "could not convert|dtype"),
    "a gap": ({}, GOOD.assign(dose=first(np.nan)), "NaN"),
    "infinity": ({}, GOOD.assign(dose=first(np.inf)), "infinity"),
    "one column alone": ({}, GOOD["dose"].to_numpy(), "Expected 2D array"),
    "flow": ({"flow": 3}, GOOD, "flow must be None, or a function"),
    "epochs": ({"epochs": 0}, GOOD, "epochs must be an integer"),
    "contamination": ({"contamination": 0.0}, GOOD, r"contamination must be in \(0, 0\.5\]"),
    "too rare": ({"contamination": 0.001}, GOOD, "needs at least 1003 rows"),
}


@pytest.mark.parametrize("name", DETECTOR)
def test_detector(name):
    arguments, rows, message = DETECTOR[name]
    with pytest.raises(ValueError, match=message):
        FlowDetector(**arguments).fit(rows)


def test_a_detector_of_other_columns(flow):
    with pytest.raises(ValueError, match="must have the columns of the flow in their order: age"):
        FlowDetector(flow).fit(GOOD[["dose", "age"]])
    FlowDetector(flow).fit(GOOD)


SCHEMA = kf.data.Schema(
    (
        Column("n", Integer()),
        Column("p", Interval(0.0, 1.0)),
        Column("s", Category(("a", "b")), True),
    )
)
CELLS = {
    "a level": ({"s": "c"}, "levels that the flow has never seen: 's'"),
    "a missing level": ({"s": None}, "missing values: 's'"),
    "text": ({"n": "many"}, "holds text|numbers and text"),
    "too large": ({"p": 1e39}, "beyond float32"),
}


@pytest.mark.parametrize("name", CELLS)
def test_cells(name):
    cells, message = CELLS[name]
    rows = pd.DataFrame([{"n": 1, "p": 0.5, "s": "a", **cells}])
    with pytest.raises(ValueError, match=message):
        SCHEMA.arrange(rows)


def test_there_are_at_least_120():
    tables = 3 * len(TABLES) + len(TO_LEARN) + 4 + len(TO_JUDGE)
    calls = sum(map(len, (FIT_CALLS, COMMAND_CALLS, LEVELS, LEVELS, DETECTOR, CELLS)))
    assert tables + calls >= 200
