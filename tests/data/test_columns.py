import dataclasses
import re

import numpy as np
import pydantic
import pytest

from keras_flows.data.columns import (
    Category,
    Column,
    Integer,
    Interval,
    Kind,
    Periodic,
    Positive,
    Real,
    infer,
    parse,
    warning,
)

KINDS = [Real(), Positive(), Interval(-1.0, 2.5), Periodic(360.0), Integer(), Category(("a", "b"))]
ADAPTER = pydantic.TypeAdapter(Kind)


def random(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_kinds_are_the_same_after_json(kind):
    assert ADAPTER.validate_json(ADAPTER.dump_json(kind)) == kind
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind.kind = "real"


@pytest.mark.parametrize(
    ("kind", "inside", "outside"),
    [
        (Real(), [-1e30, 0.0, 0.5], []),
        (Positive(), [5e-324, 1e30], [0.0, -0.0, -1.0]),
        (Interval(-1.0, 2.0), [np.nextafter(-1, 0), 0.0, np.nextafter(2, 0)], [-1.0, 2.0, 3.0]),
        (Periodic(360.0), [-1.0, 0.0, 360.0, 1e6], []),
        (Integer(), [-3.0, 0.0, 2.0**53 - 1], [0.5, -1e-9, 2.0**53, 1e300]),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_ranges(kind, inside, outside):
    values = np.array([*inside, *outside])
    expected = np.repeat([False, True], [len(inside), len(outside)])
    np.testing.assert_array_equal(kind.outside(values), expected)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("real", Real()),
        ("positive", Positive()),
        ("integer", Integer()),
        ("category", "category"),
        (["real"], Real()),
        (("interval", 0, np.float32(1)), Interval(0.0, 1.0)),
        (["periodic", 24], Periodic(24.0)),
    ],
)
def test_kinds_that_people_give(given, kind):
    assert parse("a", given) == kind


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Column("a", Category(("x", "y"))), "'a' is a category: it must be part"),
        (lambda: Column("a", Integer(), context=True), "'real' or 'category', but it is 'integer'"),
        (lambda: Category(("x",)), "two or more different levels"),
        (lambda: Category(("x", "x")), "two or more different levels"),
        (lambda: Interval(1.0, 1.0), r"low < high; got \(1, 1\)"),
        (lambda: Interval(0.0, float("nan")), "finite bounds"),
        (lambda: Periodic(-1.0), "period must be a positive number; got -1"),
    ],
)
def test_what_a_column_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("kind", "draw"),
    [
        (Integer(), lambda rng: rng.poisson(4.0, 200)),
        (Integer(), lambda rng: rng.integers(-(10**9), 10**9, 200)),
        (Positive(), lambda rng: rng.lognormal(0, 1, 200)),
        (Positive(), lambda rng: rng.exponential(5.0, 200) + 1e-6),
        (Positive(), lambda rng: rng.gamma(0.5, size=200) + 1e-12),
        (Positive(), lambda rng: rng.lognormal(80, 1, 200) * 1e-3),
        # Above 0 in this sample, and yet the next one may be below.
        (Real(), lambda rng: np.abs(rng.normal(3.5, 0.9, 200))),
        (Real(), lambda rng: np.append(rng.gumbel(5.0, size=200), 0.001)),
        (Real(), lambda rng: rng.normal(300.0, 10.0, 200)),
        (Real(), lambda rng: rng.lognormal(0, 1, 200) - 0.2),
        (Real(), lambda rng: rng.lognormal(0, 1, 20)),
        (Real(), lambda rng: rng.uniform(0, 1, 200)),
        (Real(), lambda rng: 1e38 * rng.normal(size=200)),
        (Real(), lambda rng: rng.standard_cauchy(200)),
    ],
)
def test_inference(kind, draw, seed):
    values = np.asarray(draw(random(seed)), np.float64)
    found, why = infer(values)
    assert found == kind
    assert f"from {values.min():.15g} to" in why if kind == Integer() else "numbers from" in why


def test_positive_numbers_near_a_constant_are_no_error():
    found, _ = infer(1.0 + np.finfo(float).eps * random().integers(0, 2, 200))
    assert found == Real()


def test_positive_is_inferred_because_of_the_skewness():
    _, why = infer(random().lognormal(0, 1, 500))
    assert "all above 0, skewness" in why and "of the logarithm" in why


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (np.arange(100), Integer(), "like an index"),
        (random().permutation(100) + 7, Integer(), "like an index"),
        (np.arange(100) * 2, Integer(), ""),
        (np.arange(2).repeat(50), Integer(), "only 2 values: a category, if they are labels"),
        (np.arange(9).repeat(50), Integer(), ""),
        (np.maximum(random().normal(size=100), 0), Real(), r"0 is \d\d of 100 values"),
        (random().normal(size=100), Real(), ""),
        (random().uniform(size=100), Real(), r"all in \[0, 1\]: an interval"),
        (random().uniform(size=100), Interval(0.0, 1.0), ""),
        (random().uniform(size=100) + 0.5, Positive(), ""),
    ],
)
def test_warnings(values, kind, message):
    found = warning(np.asarray(values, np.float64), kind)
    assert found == "" if not message else re.search(message, found)
