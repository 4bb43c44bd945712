"""Whether exported graphs give the numbers of their flow.

The flow's own inputs and outputs are recorded when it is exported; the same comparison with them
then checks a new export and, without the flow, an old one.
"""

import contextlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_flows.errors import ExportError
from keras_flows.export import endpoints

TOLERANCE = 1e-4
# At most so much more is given to a flow whose own numbers are rounded that much.
ROUNDING_TOLERANCE = 1e-2
# Of integers: the share of elements that rounding before a floor may move by one level.
LEVEL_SHARE = 0.01
BATCHES = (1, 7, 32)
KINDS = ("samples", "extreme")
# How often an input is changed in its last bit, to see which outputs that changes visibly.
NUDGES = 3
# The endpoint that a graph is of.
DIRECTIONS = {
    "log_prob": "encode",
    "log_prob_fixed": "fixed",
    "encode": "encode",
    "decode": "decode",
    "sample": "sample",
}


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


def record(flow, made, graphs, fixed_noise):
    """Inputs of every kind, with the flow's outputs on them.

    The kinds are `samples` (latents that are standard normal, and data decoded from them) and
    `extreme` (zeros, and numbers from 1e-30 to ±1e3, contexts included). Noise is standard normal,
    in encoding extreme data that of `fixed`, and labels are uniform. Extreme inputs are left out
    where the flow's own numbers hang on their last bit: they are no right answer to compare with.

    A third kind, `rounding`, has for each output on the samples how far a change of the inputs in
    their last bit takes it, as a `relative_error`. An export adds its numbers up in another order,
    and cannot be nearer to the flow than that.

    Args:
        flow: A `keras_flows.Flow`.
        made: Its endpoints; see `keras_flows.export.endpoints.of`.
        graphs: The names of the graphs to record for.
        fixed_noise: The noise of `fixed`, `(1, n)`; None for a flow that takes none.

    Returns:
        Dictionary from `direction/kind/name` to array; `name` is that of an input or output.

    Raises:
        ConvergenceError: If the flow cannot decode a standard normal latent.
        ExportError: If its outputs on samples are not finite.
    """
    directions = {DIRECTIONS[graph] for graph in graphs}
    recorded = {}
    with full_precision():
        given = _inputs(flow, made, fixed_noise, np.random.default_rng(0))
        for direction in sorted(directions):
            for kind in KINDS:
                inputs = select(given, direction, kind)
                if not inputs:
                    continue
                outputs = call(made[direction], inputs)
                bad = [name for name, value in outputs.items() if not np.isfinite(value).all()]
                if bad and kind == "samples":
                    raise ExportError(
                        f"The flow is not exported: on its own samples it makes NaN or infinity "
                        f"in {direction}: {', '.join(bad)}."
                    )
                for name, value in {**inputs, **outputs}.items():
                    recorded[f"{direction}/{kind}/{name}"] = value
                if kind == "samples" and direction != "sample":
                    rng, exact = np.random.default_rng(1), _exact(flow, direction)
                    for name, errors in _nudges(made[direction], inputs, rng, exact).items():
                        recorded[f"{direction}/rounding/{name}"] = np.max(errors)
    return recorded


def _exact(flow, direction):
    """The names of the inputs that are integers, and are not changed."""
    return ("x",) if flow.transform.dequantizes and direction != "decode" else ()


def _inputs(flow, made, fixed_noise, rng):
    """The inputs of every direction and kind, keyed as in `record`."""
    dtype, inputs = flow.compute_dtype, {}

    def put(direction, kind, data):
        inputs.update({f"{direction}/{kind}/{name}": value for name, value in data.items()})

    def noise(direction, n):
        size = flow.noise_shape(direction)
        return {} if size == (0,) else {"noise": rng.standard_normal((n, *size)).astype(dtype)}

    for kind in KINDS:
        if kind == "samples":
            z = rng.standard_normal((BATCHES[-1], *flow.latent_shape)).astype(dtype)
        else:
            z = _extremes(flow.latent_shape).astype(dtype)
        n = len(z)
        context = _context(flow, rng, n, kind)
        to_decode = {"z": z, **context, **noise("decode", n)}
        x = call(made["decode"], to_decode)["x"]
        integers = flow.transform.dequantizes
        if kind == "samples":
            if np.isnan(x).any():
                flow.decode(z, context.get("context"), seed=0)  # raises, and says why
            seed = np.array([1, 2], np.int32)
            put("sample", kind, {"count": np.int32(n), "seed": seed, **context})
        elif not integers:  # a flow may refuse other numbers than its integers
            x = _extremes(flow.event_shape).astype(dtype)
        fixed = {"x": x, **context}
        to_encode = {**fixed, **noise("encode", n)}
        if kind == "extreme":
            if fixed_noise is not None:
                to_encode["noise"] = fixed_noise.repeat(n, axis=0)
            steady = _steady(made["encode"], to_encode, rng, _exact(flow, "encode"))
            to_encode, fixed = (_rows(data, steady) for data in (to_encode, fixed))
            to_decode = _rows(to_decode, _steady(made["decode"], to_decode, rng, ()))
        put("decode", kind, to_decode)
        put("encode", kind, to_encode)
        if "fixed" in made:
            put("fixed", kind, fixed)
    return inputs


def _rows(data, kept):
    """Those rows of every array; nothing if there are none."""
    return {name: value[kept] for name, value in data.items()} if kept.any() else {}


def _steady(endpoint, inputs, rng, exact):
    """Of which examples the outputs do not hang on the last bit of the inputs: booleans `(n,)`.

    Args:
        endpoint: An endpoint.
        inputs: Its inputs, floating-point numbers except for labels.
        rng: A NumPy generator.
        exact: The names of inputs that are not changed, such as integers.
    """
    errors = _nudges(endpoint, inputs, rng, exact).values()
    return np.max(list(errors), axis=0) <= 0.1 * TOLERANCE


def _nudges(endpoint, inputs, rng, exact):
    """How far a change of the inputs in their last bit takes the outputs.

    Args:
        endpoint: An endpoint.
        inputs: See `_steady`.
        rng: A NumPy generator.
        exact: See `_steady`.

    Returns:
        Dictionary from output to the largest `relative_error` of each example, `(n,)`.
    """
    expected = call(endpoint, inputs)
    errors = {name: np.zeros(len(value)) for name, value in expected.items()}
    for _ in range(NUDGES):
        nudged = {name: x if name in exact else _nudged(x, rng) for name, x in inputs.items()}
        for name, got in call(endpoint, nudged).items():
            pairs = zip(got, expected[name], strict=True)
            found = [relative_error(a[None], b[None]) for a, b in pairs]
            errors[name] = np.maximum(errors[name], found)
    return errors


def _nudged(x, rng):
    """Floating-point numbers changed by one part in the precision of their type, up or down."""
    if not np.issubdtype(x.dtype, np.floating):
        return x
    return x * (1.0 + np.finfo(x.dtype).eps * rng.choice([-1.0, 1.0], x.shape)).astype(x.dtype)


def call(endpoint, inputs):
    """An endpoint on a dictionary of arrays."""
    # A concrete function, or TensorFlow would warn of retracing after several exports.
    function = endpoint.function.get_concrete_function()
    made = function(*(tf.constant(inputs[name]) for name in endpoint.inputs))
    return {name: value.numpy() for name, value in made.items()}


def _context(flow, rng, n, kind):
    """The context input of n examples: a dictionary, empty for a flow without context."""
    if flow.context_shape is None:
        return {}
    shape, dtype = flow.context_shape, flow.context_dtype
    count = endpoints.labels(flow)
    if count is not None:
        context = rng.integers(count, size=(n, *shape))
    elif kind == "samples":
        context = rng.standard_normal((n, *shape))
    else:
        context = _extremes(shape)
    return {"context": context.astype(dtype)}


def _extremes(shape):
    """Examples of extreme size, `(8, *shape)`."""
    signs = np.ones(int(np.prod(shape)))
    signs[1::2] = -1.0
    first = np.zeros(len(signs))
    first[0] = 1.0
    rows = [
        0.0 * signs,
        1e-30 * signs,
        1e3 * np.abs(signs),
        -1e3 * np.abs(signs),
        1e3 * signs,
        1e3 * first,
        -1e3 * first,
        30.0 * signs,
    ]
    return np.stack(rows).reshape(-1, *shape)


@contextlib.contextmanager
def full_precision():
    """Without TensorFlow-32, which keeps three digits of a product on recent GPUs."""
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(enabled)


def relative_error(got, expected):
    """The largest difference of two batches, relative to the size of each example.

    The error of an example is `max |got - expected| / max(1, max |expected|)` over its elements:
    a flow mixes the elements of an example, and with them their rounding errors. Equal infinities
    and two NaNs agree; any other number that is not finite is an infinite error.

    Args:
        got: Array `(batch, …)`.
        expected: Array of the same shape.

    Returns:
        A float.
    """
    got, expected = _flat(got), _flat(expected)
    scale = np.max(np.abs(expected), axis=1, initial=1.0, where=np.isfinite(expected))
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


def own_round_trip(flow, made, recorded):
    """The error of the flow itself in decoding its latents of the recorded samples.

    Args:
        flow: A `keras_flows.Flow`.
        made: Its endpoints.
        recorded: See `record`.

    Returns:
        A float as `relative_error` (`level_error` for a flow on integers); None for a flow that
        does not decode to what was encoded.
    """
    if flow.noise_shape("decode") != (0,) or not (
        flow.transform.bijective or flow.transform.dequantizes
    ):
        return None
    data = select(recorded, "encode", "samples")
    error = level_error if flow.transform.dequantizes else relative_error
    return error(call(made["decode"], data)["x"], data["x"])


def check(graphs, manifest, recorded):
    """Runs exported graphs on the recorded inputs and compares.

    Args:
        graphs: Dictionary from name to `keras_flows.export.cost.Loaded`.
        manifest: The `keras_flows.export.manifest.Manifest` of the export.
        recorded: See `record`.

    Returns:
        A list of `Row`, failed ones included.

    Raises:
        ExportError: If a graph does not run, or makes arrays of another shape or dtype.
    """
    rows = []
    with full_precision():
        for name in manifest.graphs:
            for kind in KINDS:
                data = select(recorded, DIRECTIONS[name], kind)
                own = select(recorded, DIRECTIONS[name], "rounding") if kind == "samples" else {}
                if data:
                    rows += _check_graph(name, graphs[name], manifest, kind, data, own)
        if manifest.round_trip is not None:
            rows.append(_check_round_trip(graphs, manifest, recorded))
    return rows


def select(recorded, direction, kind):
    """The recorded arrays of a direction and kind, by name."""
    start = f"{direction}/{kind}/"
    return {key[len(start) :]: value for key, value in recorded.items() if key.startswith(start)}


def _check_graph(name, graph, manifest, kind, data, own):
    outputs = {tensor.name: ([], []) for tensor in manifest.graphs[name].outputs}
    # The samples in batches of several sizes, anything else as it is.
    for size in BATCHES if kind == "samples" and name != "sample" else (None,):
        cut = data if size is None else {key: value[:size] for key, value in data.items()}
        made = _run(name, graph, manifest, cut)
        for output, (got, expected) in outputs.items():
            found, wanted = made.get(output), cut[output]
            if found is None or found.shape != wanted.shape or found.dtype != wanted.dtype:
                what = "no such thing" if found is None else f"{found.dtype} {found.shape}"
                raise ExportError(
                    f"{name} must make {output!r}, {wanted.dtype} {wanted.shape}; it makes {what}."
                )
            got.append(found)
            expected.append(wanted)
    return [
        _row(f"{name} on {kind}: {output}", *map(np.concatenate, pairs), kind, levels, rounding)
        for output, pairs in outputs.items()
        for levels in [manifest.integers and output == "x"]
        for rounding in [0.0 if levels else min(own.get(output, 0.0), 0.1 * ROUNDING_TOLERANCE)]
    ]


def _run(name, graph, manifest, data):
    try:
        return graph.run(
            {tensor.name: data[tensor.name] for tensor in manifest.graphs[name].inputs}
        )
    except Exception as error:  # whatever the runtime raises
        raise ExportError(f"{name} does not run: {error}") from error


def _check_round_trip(graphs, manifest, recorded):
    data = select(recorded, "encode", "samples")
    z = _run("encode", graphs["encode"], manifest, data)["z"]
    x = _run("decode", graphs["decode"], manifest, {**data, "z": z})["x"]
    own = manifest.round_trip
    return _row("decode after encode: x", x, data["x"], "samples", manifest.integers, own)


def _row(title, got, expected, kind, levels, own=0.0):
    """Compares `got` with `expected`; `own` is the flow's own error where it has one."""
    if levels:
        title += ", share of other levels"
        measured = level_error(got, expected)
        share = max(LEVEL_SHARE, TOLERANCE * float(np.max(np.abs(expected))), 10.0 * own)
        # Of a few extreme inputs, such as zeros, all may lie on the edge between two levels.
        tolerance = min(share, 1.0) if kind == "samples" else 1.0
    else:
        measured, tolerance = relative_error(got, expected), max(TOLERANCE, 10.0 * own)
    passed = measured <= tolerance
    return Row(title, float(f"{measured:.3g}"), float(f"{tolerance:.3g}"), passed)
