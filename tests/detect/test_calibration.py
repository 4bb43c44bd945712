"""Conformal p-values, what they flag, and discoveries."""

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from keras_flows.detect import Calibration, benjamini_hochberg, fingerprint, rows_needed


def calibration(scores, **fields):
    given = {
        "statistic": "log_prob",
        "likelihood": "exact",
        "data": "held out",
        "data_sha256": "0" * 64,
    }
    return Calibration(scores=scores, **{**given, **fields})


def by_definition(held_out, scores):
    return [(1 + sum(h >= s for h in held_out)) / (len(held_out) + 1) for s in scores]


@pytest.mark.parametrize("scores", [[3, 1, 2, 2], [2, 2, 3, 1], [1.0, 2.0, 2.0, 3.0]])
def test_values_by_hand(scores):
    c = calibration(scores)
    found = c.p_values([0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0])
    np.testing.assert_array_equal(found, [1.0, 1.0, 0.8, 0.8, 0.4, 0.4, 0.2])
    np.testing.assert_array_equal(c.scores, np.float32([1, 2, 2, 3]))
    assert c.scores.dtype == np.float32
    assert len(c) == 4
    assert c.smallest_p_value == 0.2


def test_one_held_out_row():
    c = calibration([5.0])
    np.testing.assert_array_equal(c.p_values([4.0, 5.0, 6.0]), [1.0, 1.0, 0.5])
    assert rows_needed(0.5) == 1


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_values_by_definition(n):
    rng = np.random.default_rng(n)
    held_out, scores = rng.integers(0, 10, n), rng.integers(-1, 11, 50)
    expected = by_definition(held_out, scores)
    np.testing.assert_array_equal(calibration(held_out).p_values(scores), expected)
    shuffled = calibration(rng.permutation(held_out))
    np.testing.assert_array_equal(shuffled.p_values(scores), expected)
    np.testing.assert_array_equal(shuffled.p_values(scores.reshape(5, 10)).ravel(), expected)


def test_ties_do_not_depend_on_the_precision():
    values = np.random.default_rng(0).normal(size=200)
    for held_out in (values, values.astype("float32")):
        c = calibration(held_out)
        expected = by_definition(values, values)
        np.testing.assert_array_equal(c.p_values(values), expected)
        np.testing.assert_array_equal(c.p_values(values.astype("float32")), expected)


def test_infinite_scores_are_scores():
    c = calibration([0.0, 1.0, np.inf])
    # 1e300 is infinite in float32, in which scores are compared.
    np.testing.assert_array_equal(c.p_values([np.inf, 1e300, 2.0, -np.inf]), [0.5, 0.5, 0.5, 1.0])


def test_rounding_does_not_change_a_rank():
    rng = np.random.default_rng(4)
    held_out = rng.normal(scale=300.0, size=500).astype("float32")
    c = calibration(held_out)
    expected = by_definition(held_out, held_out)
    for factor in (1.0 - 1e-5, 1.0 + 1e-7):
        found = c.p_values(held_out.astype("float64") * factor)
        assert np.mean(found != expected) < 0.05  # few scores are that near to one another
    np.testing.assert_array_equal(c.p_values(held_out), expected)
    # A rank may only rise, and where it does, a held-out score is as near as rounding.
    other = rng.normal(scale=300.0, size=2000)
    by_hand = np.array(by_definition(held_out, other.astype("float32")))
    found = c.p_values(other)
    assert np.all(found >= by_hand)
    near = np.abs(held_out[None] - other[:, None]).min(axis=1) < 4e-5 * np.maximum(np.abs(other), 1)
    assert np.all(near[found > by_hand])


def test_steps_are_ascending_and_between_the_scores():
    held_out = np.float32([-np.inf, -5.0, 0.0, 1e-7, 1.0, 1.0, 1.0000001, 7e5, 7e5, np.inf, np.inf])
    c = calibration(held_out)
    assert np.all(np.diff(c.steps[1:-2]) >= 0) and not np.isnan(c.steps).any()
    assert np.all(c.steps >= c.scores)
    np.testing.assert_array_equal(c.p_values(held_out), by_definition(held_out, held_out))


@pytest.mark.parametrize("ties", [False, True])
def test_super_uniform_under_exchangeability(ties):
    rng = np.random.default_rng(1)
    n, repeats = 19, 5000
    scores = rng.standard_cauchy((repeats, n + 1))
    if ties:
        scores = np.floor(scores)
    p = np.array([calibration(row[:n]).p_values(row[n:])[0] for row in scores])
    for alpha in (0.05, 0.1, 0.5, 0.77, 0.9):
        count = int(np.count_nonzero(p <= alpha))
        reachable = np.floor(alpha * (n + 1) + 1e-9) / (n + 1)
        assert stats.binomtest(count, repeats, reachable, alternative="greater").pvalue > 1e-3
        if not ties:  # exactly uniform on its values
            assert stats.binomtest(count, repeats, reachable).pvalue > 1e-3


def test_dependent_rows_that_are_exchangeable():
    # A shift that all rows share leaves the ranks as they are.
    rng = np.random.default_rng(2)
    shared = rng.normal(scale=10.0, size=(4000, 1))
    scores = shared + rng.normal(size=(4000, 10))
    p = np.array([calibration(row[:9]).p_values(row[9:])[0] for row in scores])
    assert stats.binomtest(int(np.sum(p <= 0.1)), 4000, 0.1).pvalue > 1e-3


def test_flags_at_the_level():
    c = calibration(np.arange(9.0))
    p = c.p_values([7.5, 8.0, 8.5])
    np.testing.assert_array_equal(c.flags(p, 0.1), [False, False, True])
    np.testing.assert_array_equal(c.flags(p, 0.2), [True, True, True])


@pytest.mark.parametrize("n", [1, 9, 29, 99, 100, 147])
def test_threshold_is_where_flags_begin(n):
    held_out = np.random.default_rng(n).integers(0, 40, n).astype(float)
    c = calibration(held_out)
    scores = np.arange(-1.0, 41.5, 0.5)
    for alpha in [*np.linspace(c.smallest_p_value, 1.0, 83), 0.29 if n == 99 else 0.5]:
        flagged = c.flags(c.p_values(scores), alpha)
        np.testing.assert_array_equal(scores > c.threshold(alpha), flagged)


def test_a_level_out_of_reach_says_how_many_rows_it_takes():
    c = calibration(np.zeros(50))
    with pytest.raises(ValueError, match=r"alpha = 0\.01 .* 50 held-out .* at least 99 rows"):
        c.flags([0.5], 0.01)
    with pytest.raises(ValueError, match="at least 999 rows"):
        c.threshold(0.001)
    with pytest.raises(ValueError, match=r"fdr = 0\.01"):
        c.check_level(0.01, "fdr")
    assert c.flags(c.p_values([1.0]), c.smallest_p_value).all()


def test_rows_needed_is_the_least_number():
    alphas = [1.0, 0.5, 0.1, 0.05, 0.01, 0.07, 0.003, 0.29]
    alphas += [1 / n for n in range(2, 500)]
    for alpha in alphas:
        n = rows_needed(alpha)
        assert 1 / (n + 1) <= alpha
        assert n == 1 or 1 / n > alpha
    assert [rows_needed(a) for a in (0.1, 0.05, 0.01, 0.001)] == [9, 19, 99, 999]


def bh_by_definition(ranks, denominator, fdr):
    """Benjamini & Hochberg's step-up procedure on p = rank / denominator, in exact numbers."""
    m = len(ranks)
    p = sorted(Fraction(int(r), denominator) for r in ranks)
    passed = [i for i in range(1, m + 1) if p[i - 1] <= i * fdr / m]
    largest = p[passed[-1] - 1] if passed else Fraction(-1)
    return [Fraction(int(r), denominator) <= largest for r in ranks]


def test_discoveries_by_definition():
    rng = np.random.default_rng(3)
    some = 0
    for _ in range(500):
        n, m = int(rng.integers(1, 60)), int(rng.integers(1, 40))
        ranks = np.minimum(1 + rng.geometric(0.2, m) - 1, n + 1)
        for fdr in (Fraction(1, 10), Fraction(1, 20), Fraction(3, 10), Fraction(1)):
            expected = bh_by_definition(ranks, n + 1, fdr)
            np.testing.assert_array_equal(benjamini_hochberg(ranks / (n + 1), float(fdr)), expected)
            some += any(expected) and not all(expected)
    assert some > 50


def test_discoveries_by_hand():
    p = [0.5, 0.01, 0.03, 0.02, 0.9]
    # 0.03 <= 3 · 0.05 / 5, though neither is the first below its own line.
    np.testing.assert_array_equal(benjamini_hochberg(p, 0.05), [False, True, True, True, False])
    assert not benjamini_hochberg(p, 0.01).any()
    assert benjamini_hochberg([0.05], 0.05).all()


def test_false_discovery_rate_is_controlled():
    rng = np.random.default_rng(4)
    n, m, outliers, fdr, repeats = 200, 50, 10, 0.2, 800
    shares, found = [], []
    for _ in range(repeats):
        c = calibration(rng.normal(size=n))
        scores = np.concatenate([rng.normal(4.0, size=outliers), rng.normal(size=m - outliers)])
        discoveries = benjamini_hochberg(c.p_values(scores), fdr)
        shares.append(discoveries[outliers:].sum() / max(discoveries.sum(), 1))
        found.append(discoveries[:outliers].mean())
    error = stats.sem(shares)
    # At most fdr times the share of inliers; and close to it, or it would find too little.
    assert np.mean(shares) < fdr * (m - outliers) / m + 3.5 * error
    assert np.mean(shares) > 0.1
    assert np.mean(found) > 0.8


def test_fingerprint_is_that_of_the_saved_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 3))
    np.save(tmp_path / "x.npy", x)
    expected = hashlib.sha256((tmp_path / "x.npy").read_bytes()).hexdigest()
    assert fingerprint(x) == expected
    assert fingerprint(np.asfortranarray(x)) == expected
    assert fingerprint(x.astype("float32")) != expected
    assert fingerprint(x[::-1]) != expected


def test_a_calibration_cannot_be_changed():
    given = np.array([2.0, 1.0])
    c = calibration(given)
    given[:] = 7.0
    np.testing.assert_array_equal(c.scores, [1.0, 2.0])
    with pytest.raises(ValueError, match="read-only"):
        c.scores[0] = 3.0
    with pytest.raises(AttributeError):
        c.seed = 3


BAD = {
    "none": ({"scores": []}, "at least one held-out row"),
    "a number": ({"scores": 3.0}, "at least one held-out row"),
    "a table": ({"scores": np.zeros((3, 2))}, r"shape \(3, 2\)"),
    "NaN": ({"scores": [1.0, np.nan, 2.0]}, "1 of 3 are NaN"),
    "text": ({"scores": ["a"]}, "must be real numbers"),
    "booleans": ({"scores": [True, False]}, "must be real numbers"),
    "likelihood": ({"likelihood": "good"}, "must be one of exact, unbiased"),
    "statistic": ({"statistic": ""}, "statistic must be a name"),
    "data": ({"data": None}, "data must be a name"),
    "checksum": ({"data_sha256": "abc"}, "64 hexadecimal digits"),
    "constant": ({"constants": {"mean": np.inf}}, "'mean' must be a finite number"),
    "seed": ({"seed": -1}, "seed must be an integer"),
    "draws": ({"draws": 0}, "draws must be an integer"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_calibrations(name):
    fields, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        calibration(**{"scores": [1.0], **fields})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.p_values([np.nan]), "1 of 1 are NaN"),
        (lambda c: c.p_values(["x"]), "must be real numbers"),
        (lambda c: c.flags([0.5], 0.0), r"in \(0, 1\]"),
        (lambda c: c.flags([0.5], 1.5), r"in \(0, 1\]"),
        (lambda c: c.flags([0.5], "0.5"), r"in \(0, 1\]"),
        (lambda c: c.flags([1.5], 0.5), "from 0 to 1"),
        (lambda c: c.flags([np.nan], 0.5), "from 0 to 1"),
        (lambda c: c.threshold(np.nan), r"in \(0, 1\]"),
        (lambda c: rows_needed(-0.1), r"in \(0, 1\]"),
        (lambda c: benjamini_hochberg([0.1], 0.0), r"fdr must be in \(0, 1\]"),
        (lambda c: benjamini_hochberg([], 0.1), "at least one"),
        (lambda c: benjamini_hochberg([[0.1]], 0.1), "at least one"),
        (lambda c: benjamini_hochberg([-0.1], 0.1), "from 0 to 1"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(calibration([1.0, 2.0, 3.0]))
