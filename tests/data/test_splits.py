"""Splits of tables: no row in two parts."""

import re

import numpy as np
import pandas as pd
import pytest

from keras_flows.data import table

N = 60
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "height": RNG.normal(170.0, 10.0, N),
        "income": RNG.lognormal(8.0, 1.0, N),
        "children": RNG.poisson(1.5, N),
        "sex": np.array(["m", "f", "x"])[np.arange(N) % 3],
        "dose": RNG.normal(size=N),
    }
)


def read(frame=FRAME):
    return table(frame, context=["dose", "sex"])


def keys(data):
    return set(map(tuple, np.concatenate([data.x, data.context], axis=1) + 0.0))


def test_split_divides_the_rows():
    data = read()
    parts = data.split(holdout=0.2, seed=1)
    assert [len(part) for part in parts[:3]] == [N - 12, 6, 6] and parts.repeated == 0
    rows = [keys(part) for part in parts[:3]]
    assert set.union(*rows) == keys(data) and sum(map(len, rows)) == N
    for part in parts[:3]:
        assert part.schema is data.schema and part.describe() == data.describe()


def test_split_is_by_the_seed():
    data = read()
    one, same, other = data.split(seed=1), data.split(seed=1), data.split(seed=(1, 2))
    np.testing.assert_array_equal(one.test.x, same.test.x)
    assert keys(one.test) != keys(other.test)


@pytest.mark.parametrize("seed", range(20))
def test_equal_rows_stay_together(seed):
    frame = pd.concat([FRAME, FRAME.head(30), FRAME.head(10), FRAME.tail(1).loc[[N - 1] * 25]])
    frame.iloc[0, 4], frame.iloc[N, 4], frame.iloc[N + 30, 4] = 0.0, -0.0, 0.0
    data = read(frame)
    parts = data.split(holdout=0.3, seed=seed)
    assert parts.repeated == 65
    train, validation, test = (keys(part) for part in parts[:3])
    assert not train & validation and not train & test and not validation & test
    assert sum(map(len, parts[:3])) == len(data) == 125
    assert len(parts.validation) == len(parts.test) == round(125 * 0.15)


def test_every_level_has_a_row_in_training():
    frame = FRAME.assign(sex=["rare", *["m", "f"] * 29, "m"])
    for seed in range(20):
        parts = read(frame).split(holdout=0.5, seed=seed)
        assert set(parts.train.context_columns["sex"]) == {0, 1, 2}
        again = parts.validation.split(holdout=0.5, seed=seed)
        assert len(again.train) + len(again.validation) + len(again.test) == 15


FEW = pd.DataFrame({"a": [0.5, 1.5, 2.5], "b": [1.0, 2.0, 4.5]})


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        (FRAME.height.to_frame(), {"holdout": 0}, r"holdout must be in \(0, 1\)"),
        (FRAME.height.to_frame(), {"holdout": 1.0}, "but it is 1.0"),
        (FRAME.height.to_frame(), {"holdout": float("nan")}, "but it is nan"),
        (FRAME.height.to_frame(), {"holdout": "0.2"}, "must be a number"),
        (FRAME.height.to_frame(), {"holdout": True}, "must be a number"),
        (FRAME.height.to_frame(), {"seed": -1}, "at least 0"),
        (FRAME.height.to_frame(), {"seed": 1.5}, "must be an integer"),
        (
            FRAME.height.to_frame(),
            {"holdout": 0.001},
            r"60 of them different: too few .* 60 \+ 0 \+ 0",
        ),
        (FEW, {}, r"3 rows, 3 of them different: too few"),
        (FEW.loc[[0, 1] * 50], {}, r"100 rows, 2 of them different: too few"),
    ],
)
def test_bad_splits(source, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        table(source).split(**arguments)


def test_a_column_that_training_has_no_two_values_of_is_an_error():
    data = table(FRAME[["height"]].assign(b=[1.5, *[2.5] * (N - 1)]))
    outcomes = set()
    for seed in range(20):
        try:
            data.split(holdout=0.5, seed=seed)
            outcomes.add("split")
        except ValueError as error:
            outcomes.add("error")
            assert re.search("constant in training: 'b'. Leave them out", str(error))
    assert outcomes == {"split", "error"}


def test_many_rows_are_no_matter():
    data = table(np.random.default_rng(0).normal(size=(100_000, 5)))
    assert len(data.split().test) == 10_000
