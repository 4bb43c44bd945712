"""Whether exported graphs give the numbers that were recorded of their flow."""

import contextlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_flows.errors import ExportError
from keras_flows.export import graphs

TOLERANCE = 1e-4
# A flow whose own numbers are rounded that much, or more, is given ten times as much.
MOST_ROUNDING = 1e-3
# Of integers: the share of elements that rounding before a floor may move by one level.
LEVEL_SHARE = 0.01
BATCHES = (1, 7, 32)
KINDS = ("samples", "extreme")


class Row(NamedTuple):
    """One check of an export.

    Attributes:
        check: What was checked.
        measured: What was found, a number or words.
        tolerance: The largest number that passes, or the words that do.
        passed: Whether it does.
    """

    check: str
    measured: float | str
    tolerance: float | str
    passed: bool


class Report(NamedTuple):
    """All checks of an export, every one of them passed.

    Attributes:
        rows: A tuple of `Row`.
    """

    rows: tuple


def passed(rows, failure):
    """The report of these checks.

    Args:
        rows: A list of `Row`.
        failure: How the message of the error begins.

    Raises:
        ExportError: If one has failed; the message has the numbers.
    """
    failed = [
        f"{row.check}: {row.measured:g}, tolerance {row.tolerance:g}"
        for row in rows
        if not row.passed
    ]
    if failed:
        raise ExportError(f"{failure}. {len(failed)} of {len(rows)} checks: {'; '.join(failed)}.")
    return Report(tuple(rows))


def check(loaded, manifest, recorded):
    """Runs exported graphs on the recorded inputs and compares.

    Args:
        loaded: Dictionary from name to `keras_flows.export.cost.Loaded`.
        manifest: The `keras_flows.export.manifest.Manifest` of the export.
        recorded: See `record.record`.

    Returns:
        A list of `Row`, failed ones included.

    Raises:
        ExportError: If a graph does not run, or makes arrays of another shape or dtype.
    """
    rows = []
    with full_precision():
        for name in manifest.graphs:
            graph = graphs.named(name)
            for kind in KINDS:
                data = select(recorded, graph.recorded, kind)
                own = select(recorded, graph.recorded, "rounding") if kind == "samples" else {}
                if not data and kind == "samples":
                    raise ExportError(
                        f"The record of the flow's own numbers is damaged: it has no samples of "
                        f"{name}."
                    )
                if data:
                    rows += _check_graph(graph, loaded[name], manifest, kind, data, own)
        if manifest.round_trip is not None:
            rows.append(_check_round_trip(loaded, manifest, recorded))
    return rows


def select(recorded, name, kind):
    """The arrays of a kind that are recorded under a name (see `graphs.Graph`), by their own."""
    start = f"{name}/{kind}/"
    return {key[len(start) :]: value for key, value in recorded.items() if key.startswith(start)}


def _check_graph(graph, loaded, manifest, kind, data, own):
    name = graph.name
    outputs = {tensor.name: ([], []) for tensor in manifest.graphs[name].outputs}
    alpha = manifest.alpha
    # The samples in batches of several sizes, anything else as it is.
    for size in BATCHES if kind == "samples" and not graph.draws else (None,):
        cut = data if size is None else {key: value[:size] for key, value in data.items()}
        made = _run(name, loaded, manifest, cut)
        for output, (got, expected) in outputs.items():
            found, wanted = made.get(output), cut.get(output)
            if wanted is None or (kind == "samples" and not np.isfinite(wanted).all()):
                what = "NaN or infinity" if wanted is not None else "no such thing"
                raise ExportError(
                    f"The record of the flow's own numbers is damaged: in it {name} makes, on its "
                    f"samples, {what} of {output!r}."
                )
            if found is None or found.shape != wanted.shape or found.dtype != wanted.dtype:
                what = "no such thing" if found is None else f"{found.dtype} {found.shape}"
                raise ExportError(
                    f"{name} must make {output!r}, {wanted.dtype} {wanted.shape}; it makes {what}."
                )
            got.append(found)
            # A flag says what the p-value beside it does.
            expected.append(~(made["p_value"] > alpha) if output == "flag" else wanted)
    rows = []
    for output, (got, expected) in outputs.items():
        title, pair = f"{name} on {kind}: {output}", (np.concatenate(got), np.concatenate(expected))
        if manifest.integers and output == "x":
            rows.append(_row(title, *pair, kind, True))
        else:
            rounding, least = _rounding(output, own, manifest), least_scale(output, data)
            rows.append(_row(title, *pair, kind, False, rounding, least))
    return rows


def _rounding(output, own, manifest):
    """The own error of an output: that of the flow, for a p-value at least a tenth of one rank."""
    if output == "p_value":
        return max(own.get(output, 0.0), 0.101 / (manifest.calibration.scores + 1))
    return min(own.get(output, 0.0), MOST_ROUNDING)


def _run(name, loaded, manifest, data):
    try:
        return loaded.run(
            {tensor.name: data[tensor.name] for tensor in manifest.graphs[name].inputs}
        )
    except Exception as error:  # whatever the runtime raises
        raise ExportError(f"{name} does not run: {error}") from error


def _check_round_trip(loaded, manifest, recorded):
    data = select(recorded, "encode", "samples")
    z = _run("encode", loaded["encode"], manifest, data)["z"]
    x = _run("decode", loaded["decode"], manifest, {**data, "z": z})["x"]
    own = manifest.round_trip
    return _row("decode after encode: x", x, data["x"], "samples", manifest.integers, own)


def _row(title, got, expected, kind, levels, own=0.0, least=1.0):
    """Compares `got` with `expected`; `own` is the flow's own error where it has one."""
    if levels:
        title += ", share of other levels"
        measured = level_error(got, expected)
        share = max(LEVEL_SHARE, TOLERANCE * float(np.max(np.abs(expected))), 10.0 * own)
        # Of a few extreme inputs, such as zeros, all may lie on the edge between two levels.
        tolerance = min(share, 1.0) if kind == "samples" else 1.0
    else:
        measured, tolerance = relative_error(got, expected, least), tolerance_of(own)
    passed = bool(measured <= tolerance)
    return Row(title, float(f"{measured:.3g}"), float(f"{tolerance:.3g}"), passed)


def tolerance_of(own):
    """The `relative_error` that numbers may have where the flow's own, by rounding, is this."""
    return max(TOLERANCE, 10.0 * own)


@contextlib.contextmanager
def full_precision():
    """Without TensorFlow-32, which keeps three digits of a product on recent GPUs."""
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(enabled)


def least_scale(output, inputs):
    """What the difference of an output is relative to, at least; see `relative_error`.

    A log-density and a log-det are sums over the dimensions, of terms that may cancel: their
    rounding is that of as many numbers, whatever the sum is.

    Args:
        output: Its name.
        inputs: Dictionary of the inputs of the graph.
    """
    if output in ("log_prob", "log_det") and "x" in inputs:
        return float(np.prod(inputs["x"].shape[1:]))
    return 1.0


def relative_error(got, expected, least=1.0):
    """The largest difference of two batches, relative to the size of each example.

    The error of an example is `max |got - expected| / max(least, max |expected|)` over its
    elements: a flow mixes the elements of an example, and with them their rounding errors. Equal
    infinities and two NaNs agree; any other number that is not finite is an infinite error.

    Args:
        got: Array `(batch, …)`.
        expected: Array of the same shape.
        least: See `least_scale`.

    Returns:
        A float.
    """
    got, expected = _flat(got), _flat(expected)
    scale = np.max(np.abs(expected), axis=1, initial=least, where=np.isfinite(expected))
    return float(np.max(_difference(got, expected) / scale[:, None], initial=0.0))


def level_error(got, expected):
    """The share of integers that differ, infinite where one does by more than a level.

    For flows whose decoding ends in a floor, which makes a whole level of a difference of
    rounding. More than a level is one level and `TOLERANCE` relative.

    Args:
        got: Array `(batch, …)`.
        expected: Array of the same shape.

    Returns:
        A float.
    """
    got, expected = _flat(got), _flat(expected)
    difference = _difference(got, expected)
    allowed = 1.0 + TOLERANCE * np.fmax(1.0, np.abs(expected))
    return float("inf") if np.any(~(difference <= allowed)) else float(np.mean(difference > 0.0))


def _flat(array):
    return np.asarray(array, "float64").reshape(len(array), -1)


def _difference(got, expected):
    with np.errstate(invalid="ignore"):
        difference = np.abs(got - expected)
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    return np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))
