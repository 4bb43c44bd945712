"""Bad tables and calls: each is one clear error that names columns and counts."""

import datetime
import decimal
import gzip
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keras_flows.data import table

NAN, INF = float("nan"), float("inf")
N = 40
AGE = np.random.default_rng(0).normal(size=N)


def text(content, suffix=".csv", encoding="utf-8"):
    """A file of text, or of bytes as they are."""
    content = content if isinstance(content, bytes) else content.encode(encoding)

    def write(folder):
        path = folder / f"t{suffix}"
        path.write_bytes(content)
        return path

    return write


def saved(save, suffix, *values, **named):
    def write(folder):
        save(folder / f"t{suffix}", *values, **named)
        return folder / f"t{suffix}"

    return write


def frame(*bad, name="b", start=AGE):
    """Column "age" of good numbers, and one whose first cells are bad."""
    cells = [*bad, *start[len(bad) :]]
    dtype = object if any(not isinstance(cell, float) for cell in bad) else float
    return pd.DataFrame({"age": AGE, name: pd.Series(cells, dtype=dtype)})


def whole(values, **more):
    return pd.DataFrame({"age": AGE, "b": values} | more)


GOOD = pd.DataFrame({"age": AGE, "dose": AGE**2 + 0.1, "sex": ["f", "m"] * (N // 2)})
NUMBERS = GOOD[["age", "dose"]]
DATES = pd.date_range("2020-01-01", periods=N)
LINES = "".join(f"{i}.5,{i * i}.5\n" for i in range(9))


def kinds(**given):
    return {"kinds": given}


# Files and sources ------------------------------------------------------------------------------

FILES = [
    ("no file", lambda folder: folder / "no.csv", {}, "There is no file .*no.csv"),
    ("a folder", lambda folder: folder, {}, "is a folder; name a file"),
    ("unknown suffix", text("a,b\n", ".xlsx"), {}, r"must end in one of \.csv, .*\.npz"),
    ("an empty file", text(""), {}, "is empty"),
    ("blank lines only", text("\n\n"), {}, "is empty"),
    ("a header only", text("a,b\n"), {}, "is empty: it holds no rows"),
    ("one row", text("a,b\n1.5,2\n"), {}, "one row, and no density .* add rows"),
    (
        "header of numbers",
        text("1,2\n" + LINES),
        {},
        r"names of the columns, but has numbers: 1, 2",
    ),
    ("header with numbers", text("a,2020\n" + LINES), {}, "has numbers: a, 2020"),
    ("two names alike", text("a,a\n" + LINES), {}, r"same name: a \(2 times\). Rename"),
    ("pandas's index", text(",a\n" + LINES), {}, r"column 0 of 2 has no name.*index=False"),
    ("bars between cells", text("a|b\n1|2\n3|4\n"), {}, r"'a\|b', whose name looks like several"),
    ("semicolons in a .tsv", text("a;b\n1;2\n3;4\n", ".tsv"), {}, "must be a tab"),
    ("commas and semicolons", text("a,b;c\n1,2;3\n"), {}, "commas and semicolons"),
    (
        "decimal commas",
        text("a;b\n1,5;2\n2,5;3\n"),
        {},
        r"numbers with commas: 'a' \(2 of 2.*point",
    ),
    ("thousands", text('a,b\n"1,500",2\n"2,500",3\n'), {}, r"'a' \(2 of 2 cells, such as '1,500'"),
    ("a long row", text("a,b\n" + LINES + "1,2,3\n"), {}, "2 cells, but 1 rows .*line 11 has 3"),
    ("short rows", text("a,b\n" + LINES + "1\n2\n"), {}, "2 cells, but 2 rows .*line 11 has 1"),
    ("an open quote", text('a,b\n"1,2\n3,4\n'), {}, "not a well-formed table of text"),
    ("Latin-1", text("größe,b\n1,2\n", encoding="latin-1"), {}, "is not UTF-8.*Save it as UTF-8"),
    ("mixed encodings", text("größe,b\n".encode() + "1,ä\n".encode("latin-1")), {}, "not UTF-8"),
    ("UTF-16", text("a,b\n1,2\n", encoding="utf-16"), {}, "not UTF-8"),
    ("NUL bytes", text(b"a,b\n1,2\n\x00\x00,3\n"), {}, "line 3 holds a NUL byte"),
    ("no gzip", text("a,b\n1,2\n", ".csv.gz"), {}, "not a well-formed table .*gzip"),
    (
        "cut gzip",
        text(gzip.compress(b"a,b\n" + LINES.encode())[:-9], ".csv.gz"),
        {},
        "not a well-formed table",
    ),
    ("no Parquet", text("a,b\n1,2\n", ".parquet"), {}, "cannot be read as a Parquet file"),
    ("no .npy", text("a,b\n", ".npy"), {}, "cannot be read as a NumPy file"),
    ("no .npz", text("a,b\n", ".npz"), {}, "cannot be read as a NumPy file"),
    ("a pickle", saved(np.save, ".npy", np.array([[1, "a"]], object)), {}, "never loaded"),
    ("arrays", saved(np.savez, ".npz", a=AGE, b=AGE), {}, "one array.*it holds 2: a, b"),
    ("a vector", AGE, {}, r"shape \(rows, columns\), but its shape is \(40,\). One column"),
    ("images", np.zeros((9, 2, 2)), {}, r"its shape is \(9, 2, 2\)"),
    ("complex numbers", np.ones((9, 2), complex), {}, "real numbers, but its dtype is complex"),
    ("array of objects", np.array([[1, "a"]], object), {}, "dtype is object. Give a pandas Data"),
    ("uneven lists", [[1.0, 2.0], [3.0]], {}, "rows of the array differ in length"),
    ("no rows", np.zeros((0, 3)), {}, "The array is empty: it holds no rows"),
    ("no columns", np.zeros((3, 0)), {}, "has no columns"),
    ("a series", pd.Series(AGE), {}, r"give a frame: series.to_frame\(\)"),
    (
        "a dictionary",
        {"a": [1, 2]},
        {},
        "a pandas DataFrame, a pyarrow Table or an array; got dict",
    ),
    ("nothing", None, {}, "got NoneType"),
    ("names of two levels", NUMBERS.T.set_index([[1, 2], [3, 4]]).T, {}, "names of 2 levels"),
    ("1 and '1'", pd.DataFrame(np.eye(2), columns=[1, "1"]), {}, r"same name: 1 \(2 times\)"),
    ("pyarrow names", pa.table([AGE, AGE], names=["a", "a"]), {}, r"same name: a \(2 times\)"),
]

# Cells ------------------------------------------------------------------------------------------

CELLS = [
    ("text", GOOD, {}, r"holds text: 'sex' \(40 of 40 cells, such as 'f'\).*'sex': 'category'"),
    ("two of text", GOOD.assign(b="x"), {}, "these 2 columns hold text: 'sex' .*, 'b'"),
    (
        "some text",
        frame("n/a?", "?"),
        {},
        r"numbers and text: 'b' \(2 of 40 cells, such as 'n/a\?'",
    ),
    (
        "text in a file",
        text("a,b\n" + LINES + "x,2\n"),
        {},
        r"numbers and text: 'a' \(1 of 10 cells",
    ),
    (
        "numbers as text",
        whole(AGE.astype(str)),
        {},
        r"written as text.*frame\['b'\].astype\(float\)",
    ),
    ("blank cells", frame(" "), {}, r"numbers and text: 'b' \(1 of 40 cells"),
    ("booleans", whole(AGE > 0), {}, r"true and false: 'b' \(40 of 40.*'b': 'category'"),
    ("nullable booleans", whole(pd.array(AGE > 0, "boolean")), {}, "true and false: 'b'"),
    ("booleans in a file", text("a,b\n1,true\n2,false\n"), {}, r"true and false: 'b' \(2 of 2"),
    ("array of booleans", np.eye(3, dtype=bool), {}, "these 3 columns hold true and false"),
    ("pandas categories", whole(pd.Categorical(["u", "v"] * 20)), {}, "holds text: 'b'"),
    ("dates", whole(DATES), {}, r"dates or times: 'b' \(40 of 40 .*days since a date"),
    ("dates of Python", whole([datetime.date(2020, 1, 2)] * N), {}, "dates or times: 'b'"),
    ("dates in a file", text("a,b\n1,2020-01-01\n2,2020-01-02\n"), {}, "dates or times: 'b'"),
    ("durations", whole(DATES - DATES[0]), {}, "dates or times: 'b'"),
    (
        "lists",
        frame([1, 2]),
        {},
        r"neither numbers nor text: 'b' \(1 of 40 cells, such as \[1, 2\]",
    ),
    ("complex column", whole(AGE + 1j), {}, "neither numbers nor text: 'b'"),
    ("mixed types", frame("x", True, [1]), {}, r"neither numbers nor text: 'b' \(2 of 40 cells"),
    ("text and dates", whole(DATES, c="x"), {}, "dates or times: 'b'.*holds text: 'c'"),
    (
        "missing",
        frame(NAN, NAN),
        {},
        r"missing values: 'b' \(2 of 40\). drop_missing=True drops the 2",
    ),
    ("missing in a file", text("a,b\n1,\n2,3\n"), {}, r"missing values: 'b' \(1 of 2\)"),
    ("missing integers", whole(pd.array([1, None] * 20, "Int64")), {}, r"'b' \(20 of 40\)"),
    ("all missing", whole(NAN), {"drop_missing": True}, r"none is left.*'b' \(40 of 40\)"),
    ("one row left", frame(*[NAN] * 39), {"drop_missing": True}, "one row"),
    ("infinities", frame(INF, -INF), {}, r"infinity or NaN: 'b' \(2 of 40, such as inf\)"),
    (
        "infinity and a gap",
        frame(INF, NAN),
        {"drop_missing": True},
        r"infinity or NaN: 'b' \(1 of 39",
    ),
    (
        "1e300",
        frame(1e300),
        {},
        r"beyond float32, above 3.4e\+38: 'b' \(1 of 40, such as 1e\+300\)",
    ),
    ("1e300 in a file", text("a,b\n1,1e300\n2,3\n"), {}, r"beyond float32.*'b' \(1 of 2"),
    ("1e400 in a file", text("a,b\n1,1e400\n2,3\n"), {}, r"infinity or NaN: 'b' \(1 of 2"),
    ("identifiers", whole(2**60 + np.arange(N)), {}, r"2\^53 or more.*'b' \(40 of 40.*identifiers"),
    ("longer identifiers", whole([2**70 + i for i in range(N)]), {}, r"2\^53 or more.*'b' \(40 of"),
    (
        "text of Arrow",
        whole(pd.array(["u", "v"] * 20, pd.ArrowDtype(pa.string()))),
        {},
        "text: 'b'",
    ),
    ("months", whole(pd.period_range("2020-01", periods=N, freq="M")), {}, "dates or times: 'b'"),
    ("constant", whole(3.0), {}, r"these columns are constant.*'b' \(always 3.0\). Leave"),
    ("constants", whole(3.0, c=0), {}, "constant.*'b' .*, 'c' "),
    (
        "constant but for gaps",
        frame(*[NAN] * 30, start=np.ones(N)),
        {"drop_missing": True},
        "always 1",
    ),
    (
        "one column twice",
        whole(AGE),
        {},
        r"equal one another in all 40 rows.*'age' = 'b'.*Keep one",
    ),
    ("three alike", whole(AGE, c=AGE), {}, "'age' = 'b' = 'c'"),
    ("equal but for signed 0", pd.DataFrame({"a": [0.0, 1], "b": [-0.0, 1]}), {}, "'a' = 'b'"),
]

# Arguments --------------------------------------------------------------------------------------

CALLS = [
    ("unknown column", GOOD, {"columns": ["age", "dos"]}, "no column 'dos'. Did you mean 'dose'?"),
    ("columns of text", GOOD, {"columns": "age"}, "columns must be a list of names"),
    ("no column at all", GOOD, {"columns": []}, "has no columns, or columns names none"),
    ("a column twice", GOOD, {"columns": ["age", "age"]}, "names several times: age"),
    (
        "unknown context",
        GOOD,
        {"context": ["sx"]},
        "context: .* no column 'sx'. Did you mean 'sex'",
    ),
    ("context left out", GOOD, {"columns": ["age"], "context": ["sex"]}, "no column 'sex'"),
    ("context of text", GOOD, {"context": "sex"}, "context must be a list of names"),
    ("all context", NUMBERS, {"context": ["age", "dose"]}, "No column is part of the event"),
    ("context of dates", whole(DATES), {"context": ["b"]}, "dates or times: 'b'"),
    (
        "unknown in kinds",
        NUMBERS,
        kinds(agge="real"),
        "kinds: .* no column 'agge'. Did you mean 'age'",
    ),
    ("kinds of text", NUMBERS, {"kinds": "real"}, "kinds must be a dictionary"),
    (
        "unknown kind",
        NUMBERS,
        kinds(age="normal"),
        "kind of column 'age' must be 'real'.*got 'normal'",
    ),
    ("no kind", NUMBERS, kinds(age=None), "kind of column 'age' must be"),
    ("empty kind", NUMBERS, kinds(age=()), "kind of column 'age' must be"),
    (
        "interval alone",
        NUMBERS,
        kinds(age="interval"),
        r"give \('interval', low, high\) with numbers",
    ),
    ("one bound", NUMBERS, kinds(age=("interval", 0)), r"give \('interval', low, high\)"),
    (
        "bounds of text",
        NUMBERS,
        kinds(age=("interval", "0", "1")),
        r"give \('interval', low, high\)",
    ),
    ("bounds reversed", NUMBERS, kinds(age=("interval", 1, 0)), r"low < high; got \(1, 0\)"),
    ("infinite bound", NUMBERS, kinds(age=("interval", 0, INF)), "finite bounds"),
    ("no period", NUMBERS, kinds(age="periodic"), r"give \('periodic', period\)"),
    ("period of 0", NUMBERS, kinds(age=("periodic", 0)), "period must be a positive number; got 0"),
    ("positive with a number", NUMBERS, kinds(age=("positive", 1)), "give 'positive' alone"),
    (
        "negative positives",
        NUMBERS,
        kinds(age="positive"),
        r"'age' is given as positive, but \d+ of 40",
    ),
    (
        "zero as positive",
        frame(0.0, start=AGE**2 + 1),
        kinds(b="positive"),
        "1 of 40 .*such as 0, are",
    ),
    ("outside of an interval", NUMBERS, kinds(dose=("interval", 0, 1)), r"not in \(0, 1\)"),
    (
        "at a bound",
        whole(np.linspace(0, 1, N)),
        kinds(b=("interval", 0, 1)),
        "2 of 40.*bounds excluded",
    ),
    ("halves as integers", NUMBERS, kinds(age="integer"), "40 of 40 values.* not an integer"),
    ("text as real", GOOD, kinds(sex="real"), "holds text: 'sex'"),
    (
        "positive context",
        NUMBERS,
        kinds(dose="positive") | {"context": ["dose"]},
        "'real' or 'category'",
    ),
    (
        "category of names",
        whole([f"p{i}" for i in range(N)]),
        kinds(b="category"),
        "40 levels in 40",
    ),
    ("one level", whole("x"), kinds(b="category"), r"constant.*'b' \(always x\)"),
    ("category of lists", frame([1, 2]), kinds(b="category"), "text, numbers or booleans, but 'b'"),
    ("missing labels", frame(None, None), kinds(b="category"), r"missing values: 'b' \(2 of 40\)"),
    ("labels twice", GOOD.assign(b=GOOD.sex), {"context": ["sex", "b"]}, "'sex' = 'b'"),
    ("drop_missing of text", NUMBERS, {"drop_missing": "no"}, "must be True or False"),
]

CASES = [*FILES, *CELLS, *CALLS]


def test_there_are_enough_and_their_names_differ():
    names = [name for name, *_ in CASES]
    assert len(set(names)) == len(names) >= 100


@pytest.mark.parametrize(
    ("source", "arguments", "message"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_bad_table(tmp_path, source, arguments, message):
    source = source(tmp_path) if callable(source) else source
    with pytest.raises((TypeError, ValueError, FileNotFoundError)) as caught:
        table(source, **arguments)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert type(caught.value) in (TypeError, ValueError, FileNotFoundError)


def test_decimals_of_python_are_numbers():
    values = [decimal.Decimal(i * i) / 4 for i in range(N)]
    read = table(whole(values))
    np.testing.assert_array_equal(read.x[:, 1], np.arange(N) ** 2 / 4)
