import numpy as np
import pytest

import keras_flows as kf
from keras_flows.errors import ExportError
from keras_flows.export import compare

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    "got, expected, error",
    [
        ([[1.0, 2.0]], [[1.0, 2.0]], 0.0),
        ([0.1, 0.0], [0.0, 0.0], 0.1),
        ([1010.0], [1000.0], 0.01),
        # Relative to the largest element of the example, not to each of them.
        ([[1000.0, 0.1]], [[1000.0, 0.0]], 1e-4),
        ([[1000.0, 0.0], [0.0, 0.1]], [[1000.0, 0.0], [0.0, 0.0]], 0.1),
        ([NAN, INF, -INF], [NAN, INF, -INF], 0.0),
        ([NAN], [0.0], INF),
        ([0.0], [NAN], INF),
        ([INF], [-INF], INF),
        ([INF], [1.0], INF),
        ([1.0], [INF], INF),
        ([[INF, 0.1]], [[INF, 0.0]], 0.1),
    ],
)
def test_relative_error(got, expected, error):
    assert compare.relative_error(np.array(got), np.array(expected)) == pytest.approx(error)


@pytest.mark.parametrize(
    "got, expected, share",
    [
        ([[3.0, 4.0]], [[3.0, 4.0]], 0.0),
        ([[3.0, 4.0, 5.0, 6.0]], [[3.0, 3.0, 5.0, 6.0]], 0.25),
        ([[3.0, 4.0]], [[3.0, 2.0]], INF),
        ([[NAN]], [[2.0]], INF),
        ([[NAN]], [[NAN]], 0.0),
        # In 16 bits, 1e-4 relative is several levels.
        ([[60001.0 + 6.0]], [[60000.0]], 1.0),
        ([[60001.0 + 7.0]], [[60000.0]], INF),
    ],
)
def test_level_error(got, expected, share):
    assert compare.level_error(np.array(got), np.array(expected)) == share


def test_sums_over_the_dimensions_are_compared_by_how_many_they_are():
    x = np.zeros((2, 4, 4, 3))
    assert (
        compare.least_scale("log_det", {"x": x}) == compare.least_scale("log_prob", {"x": x}) == 48
    )
    assert compare.least_scale("z", {"x": x}) == compare.least_scale("log_prob", {"z": x}) == 1
    # Terms of thousands that cancel, but for 1e-3; a number beyond 48 is its own scale.
    pair = np.array([0.001, 480.0]), np.array([0.0, 480.0])
    assert compare.relative_error(*pair, 48.0) == pytest.approx(0.001 / 48)
    assert compare.relative_error(pair[1] + 0.48, pair[1], 48.0) == pytest.approx(0.01)


def test_a_failed_check_is_an_error_with_its_numbers():
    rows = [compare.Row("good", 1e-6, 1e-4, True), compare.Row("bad", 0.25, 1e-4, False)]
    with pytest.raises(ExportError, match=r"Wrong\. 1 of 2 checks: bad: 0\.25, tolerance 0\.0001"):
        compare.passed(rows, "Wrong")
    assert compare.passed(rows[:1], "Wrong").rows == tuple(rows[:1])


@pytest.mark.parametrize(
    ("shift", "tolerance"), [(0.0, 1e-4), (1000.0, 10 * 2.0**-13), (1e5, 1e-2)]
)
def test_the_tolerance_follows_the_rounding_of_the_flow(shift, tolerance, tmp_path):
    # z = x - shift of x about shift: 1000 is nudged by 1000 · 2⁻²³, which is rounded to 2⁻¹³.
    flow = kf.Flow(kf.transforms.Affine(shift, 1.0), (1,))
    report = kf.export.to_saved_model(flow, tmp_path / "export")
    verified = kf.export.verify(tmp_path / "export")
    for rows in (report.rows, verified.rows):
        tolerances = {row.check: row.tolerance for row in rows}
        assert tolerances["encode on samples: z"] == pytest.approx(tolerance, rel=0.01)
        assert tolerances["decode on samples: x"] == 1e-4
        assert tolerances["encode on extreme: z"] == 1e-4
