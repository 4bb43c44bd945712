import builtins
import dataclasses
import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import keras_flows as kf
from keras_flows.data import Schema, Table, table
from keras_flows.data.columns import Category, Column, Integer, Interval, Periodic, Positive, Real

N = 60
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "height": RNG.normal(170.0, 10.0, N),
        "income": RNG.lognormal(8.0, 1.0, N),
        "children": RNG.poisson(1.5, N),
        "direction": RNG.uniform(0, 360, N),
        "share": RNG.uniform(0, 1, N),
        "sex": np.array(["m", "f", "x"])[np.arange(N) % 3],
        "dose": RNG.normal(size=N),
        "id": np.arange(N) + 5,
    }
)
KINDS = {"direction": ("periodic", 360.0), "share": ("interval", 0, 1)}


def read(frame=FRAME, **arguments):
    return table(frame, **{"kinds": KINDS, "context": ["dose", "sex"], **arguments})


# Reading ----------------------------------------------------------------------------------------


def test_every_column_is_what_it_is():
    assert read().schema.columns == (
        Column("height", Real()),
        Column("income", Positive()),
        Column("children", Integer()),
        Column("direction", Periodic(360.0)),
        Column("share", Interval(0.0, 1.0)),
        Column("sex", Category(("f", "m", "x")), context=True),
        Column("dose", Real(), context=True),
        Column("id", Integer()),
    )


def test_arrays_are_in_the_units_of_the_table():
    data = read()
    names = ["height", "income", "children", "direction", "share", "id"]
    assert data.x.dtype == np.float64 and len(data) == N
    np.testing.assert_array_equal(data.x, FRAME[names].to_numpy(np.float64))
    np.testing.assert_array_equal(data.schema.integer, [False, False, True, False, False, True])
    sex = data.context_columns["sex"]
    assert sex.dtype == np.int32
    np.testing.assert_array_equal(np.array(["f", "m", "x"])[sex], FRAME["sex"])
    np.testing.assert_array_equal(data.context[:, :3], np.eye(3)[sex])
    np.testing.assert_array_equal(data.context[:, 3], FRAME["dose"])
    assert data.context.shape == (N, data.schema.context_size) == (N, 4)


def test_one_category_alone_is_labels():
    alone = read(context=["sex"])
    np.testing.assert_array_equal(alone.labels, alone.context_columns["sex"])
    assert read().labels is None
    without = table(FRAME[["height", "income"]])
    assert without.labels is None and without.context is None and without.schema.context_size == 0


def test_describe_says_what_and_why():
    rows = {row["column"]: row for row in read().describe()}
    assert list(rows) == list(FRAME.columns)
    assert all(set(r) == {"column", "part", "kind", "why", "warning"} for r in rows.values())
    assert rows["income"]["kind"] == "positive" and "skewness" in rows["income"]["why"]
    assert rows["direction"]["kind"] == "periodic (360)" and rows["direction"]["why"] == "given"
    assert rows["share"]["kind"] == "interval (0, 1)" and rows["share"]["part"] == "event"
    assert rows["sex"]["kind"] == "category: f, m, x" and rows["sex"]["part"] == "context"
    assert "like an index" in rows["id"]["warning"] and rows["height"]["warning"] == ""


SAVE = {
    ".csv": lambda frame: frame.to_csv(index=False).encode(),
    ".csv.gz": lambda frame: gzip.compress(frame.to_csv(index=False).encode()),
    ".tsv": lambda frame: frame.to_csv(index=False, sep="\t").encode(),
    ".tsv.gz": lambda frame: gzip.compress(frame.to_csv(index=False, sep="\t").encode()),
    ".parquet": lambda frame: frame.to_parquet(index=False),
}


@pytest.mark.parametrize("suffix", SAVE)
def test_files_are_what_the_frame_is(tmp_path, suffix):
    (tmp_path / f"t{suffix}").write_bytes(SAVE[suffix](FRAME))
    same(read(str(tmp_path / f"t{suffix}")), read())


@pytest.mark.parametrize("separator", [";", "\t"])
def test_csv_files_of_other_separators(tmp_path, separator):
    path = tmp_path / "t.csv"
    text = FRAME.to_csv(index=False, sep=separator)
    path.write_text("\ufeff" + text.replace("height", '" height "'), encoding="utf-8")
    same(read(path), read())


def same(data, expected):
    assert data.schema == expected.schema
    # Some versions of pandas read the last digit of text differently.
    np.testing.assert_allclose(data.x, expected.x, rtol=1e-15)
    np.testing.assert_allclose(data.context, expected.context, rtol=1e-15)


def test_arrow_tables_and_frames_with_an_index():
    same(read(pa.Table.from_pandas(FRAME)), read())
    same(read(FRAME.set_axis(range(N, 0, -1), axis=0)), read())
    same(read(FRAME.astype({"sex": "category", "children": "Int64"})), read())


def test_arrays_are_named_by_number(tmp_path):
    x = FRAME[["height", "income"]].to_numpy()
    np.save(tmp_path / "t.npy", x)
    np.savez(tmp_path / "t.npz", y=np.zeros(3), x=x)
    for source in (x, x.tolist(), tmp_path / "t.npy", tmp_path / "t.npz"):
        data = table(source, columns=[1, 0])
        assert data.schema.names == ("1", "0")
        np.testing.assert_array_equal(data.x, x[:, ::-1])


def test_categories_are_text_whatever_they_were():
    labels = np.arange(N) % 12
    frame = FRAME[["height"]].assign(a=labels, b=labels + 1.0, c=labels > 5)
    data = table(frame, kinds={"a": "category", "b": "category", "c": "category"})
    a, b, c = (column.kind.levels for column in data.schema.context)
    assert a == tuple(map(str, range(12))) and b == tuple(map(str, range(1, 13)))
    assert c == ("False", "True")
    np.testing.assert_array_equal(data.context_columns["a"], labels)


def test_missing_values_are_dropped_and_counted():
    frame = FRAME.copy()
    frame.loc[3, "height"] = np.nan
    frame.loc[[3, 7], "sex"] = None
    data = read(frame, drop_missing=True)
    assert data.dropped == 2 and len(data) == N - 2
    np.testing.assert_array_equal(data.x, np.delete(read().x, [3, 7], axis=0))
    assert read().dropped == 0


def test_without_pandas_the_extra_is_named(monkeypatch):
    original = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "pandas":
            raise ImportError("No module named 'pandas'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"pip install 'keras-flows\[data\]'"):
        table(np.eye(3))


def test_the_public_name():
    assert kf.data.table is table and isinstance(kf.data.table(np.random.rand(5, 2)), Table)


# Schema -----------------------------------------------------------------------------------------


def test_schema_is_the_same_after_json():
    schema = read().schema
    text = schema.to_json()
    assert Schema.from_json(text) == schema
    assert Schema.from_json(json.dumps(json.loads(text), indent=2)) == schema
    with pytest.raises(dataclasses.FrozenInstanceError):
        schema.columns = ()


def edited(**changes):
    content = json.loads(read().schema.to_json())
    content["columns"][4].update(changes)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not the JSON of a schema"),
        ("[]", "not the JSON of a schema"),
        ("{}", "columns: Field required"),
        ('{"columns": []}', "No column is part of the event"),
        ('{"columns": [], "more": 1}', "more: Unexpected keyword argument"),
        (edited(name=3), "columns.4.name: Input should be a valid string"),
        (edited(name="height"), "same name: height"),
        (edited(unit="m"), "columns.4.unit: Unexpected keyword argument"),
        (edited(context="yes"), "columns.4.context: Input should be a valid boolean"),
        (edited(context=True), "'share' is part of the context.* 'interval'"),
        (edited(kind={"low": 0.0, "high": 1.0}), "Unable to extract tag"),
        (edited(kind={"kind": "normal"}), "tag 'normal'"),
        (edited(kind={"kind": "interval", "low": 0.0}), "interval.high: Field required"),
        (edited(kind={"kind": "interval", "low": 1.0, "high": 0.0}), "low < high"),
        (
            edited(kind={"kind": "interval", "low": "0", "high": 1.0}),
            "low: Input should be a valid",
        ),
        (edited(kind={"kind": "periodic", "period": float("inf")}), "finite"),
        (edited(kind={"kind": "real", "low": 0.0}), "real.low: Unexpected keyword"),
    ],
)
def test_json_that_is_no_schema(text, message):
    with pytest.raises(ValueError, match=message):
        Schema.from_json(text)


def test_arrange_puts_columns_in_order_by_name(tmp_path):
    data = read()
    path = tmp_path / "t.csv"
    FRAME.iloc[7:9, ::-1].to_csv(path, index=False)
    rows = Schema.from_json(data.schema.to_json()).arrange(path)
    np.testing.assert_allclose(rows.x, data.x[7:9], rtol=1e-15)
    np.testing.assert_allclose(rows.context, data.context[7:9], rtol=1e-15)
    assert rows.inside.tolist() == [True, True] and rows.reasons == {}


def test_rows_outside_of_a_range_come_with_reasons():
    new = FRAME.astype({"children": float}).head(6)
    new.loc[1, "income"] = 0.0
    new.loc[3, ["share", "children"]] = [1.0, 2.5]
    new.loc[4, "direction"] = -725.0
    rows = read().schema.arrange(new)
    assert rows.inside.tolist() == [True, False, True, False, True, True]
    assert rows.reasons == {
        1: "income is 0 and must be above 0",
        3: "children is 2.5 and must be an integer of less than 2^53; "
        "share is 1 and must be in (0, 1), the bounds excluded",
    }
    assert rows.x[1, 1] == 0.0 and rows.x[4, 3] == -725.0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (FRAME.drop(columns=["height", "sex"]), r"lacks 2 columns: height, sex\. It needs exactly"),
        (
            FRAME.rename(columns={"height": "heigth"}),
            "lacks 1 .* Did you mean 'heigth'.* 1 unknown",
        ),
        (FRAME.assign(more=1.0, b=2), "has 2 unknown columns: more, b"),
        (FRAME.drop(columns="sex").to_numpy(), "lacks 8 columns: .*has 7 unknown columns: 0, 1"),
        (FRAME.head(0), "is empty: it holds no rows"),
        (FRAME.assign(sex="d"), r"never seen: 'sex' \(60 of 60 cells: 'd'; known: 'f', 'm', 'x'\)"),
        (FRAME.assign(sex=1), "'sex' .*: '1'; known"),
        (FRAME.assign(sex=pd.Series(["m"])), r"missing values: 'sex' \(59 of 60\)"),
        (FRAME.assign(height=np.nan), r"missing values: 'height' \(60 of 60\)"),
        (FRAME.assign(height="tall"), "holds text: 'height'"),
        (FRAME.assign(height=FRAME.height > 170), "true and false: 'height'"),
        (FRAME.assign(share=np.inf), r"infinity or NaN: 'share' \(60 of 60"),
        (FRAME.assign(share=1e300), "beyond float32"),
        (pd.concat([FRAME, FRAME[["sex"]]], axis=1), r"same name: sex \(2 times\)"),
        (FRAME.to_dict(), "got dict"),
        ("no.csv", "There is no file no.csv"),
    ],
)
def test_tables_that_cannot_be_arranged(source, message):
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match=message):
        read().schema.arrange(source)
