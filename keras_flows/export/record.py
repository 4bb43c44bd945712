"""Inputs for a comparison, with the flow's own outputs on them.

They are recorded when a flow is exported; the same comparison with them then checks a new export
and, without the flow, an old one.
"""

import numpy as np
import tensorflow as tf

from keras_flows.errors import ExportError
from keras_flows.export import endpoints, graphs, score
from keras_flows.export.compare import (
    BATCHES,
    KINDS,
    MOST_ROUNDING,
    TOLERANCE,
    full_precision,
    least_scale,
    level_error,
    relative_error,
    select,
    tolerance_of,
)
from keras_flows.files import UNREADABLE

# How often an input is changed in its last bit, to see which outputs that changes visibly. Half of
# the changes may not be seen where all hangs on a sign, as of extreme inputs it can.
NUDGES = {"samples": 3, "extreme": 10}

# By how many last bits of 1 latents of integers are moved: what rounding makes of their edges, as
# logits are up to some tens.
_EDGE = 32


def record(flow, exported, noise_values):
    """Inputs of every kind, with the flow's outputs on them.

    The kinds are `samples` (latents that are standard normal, and data decoded from them) and
    `extreme` (zeros, and numbers from 1e-30 to ±1e3, contexts included). Noise is standard normal,
    in encoding extreme data that of the graphs that hold theirs, and labels are uniform. Extreme
    inputs are left out where the flow's own numbers hang on their last bit: they are no right
    answer to compare with. So are samples of integers where a latent lies on the edge between two
    of them, and the rest of the image hangs on which it is; others are there twice instead.

    A third kind, `rounding`, has for each output on the samples how far a change of the inputs in
    their last bit takes it, as a `relative_error`. An export adds its numbers up in another order,
    and cannot be nearer to the flow than that. For a p-value it is a tenth of how far it moves
    where log_prob is off by its tolerance: so many ranks lie between.

    Args:
        flow: A `keras_flows.Flow`.
        exported: Its graphs; see `graphs.of`.
        noise_values: The noise of graphs that hold it; see `endpoints.fixed_noise`.

    Returns:
        Dictionary from `recorded/kind/name` to array: where `graphs.Graph` says that it is
        recorded, and the name of an input or output.

    Raises:
        ConvergenceError: If the flow cannot decode a standard normal latent.
        ExportError: If its outputs on samples are not finite.
    """
    made = {one.graph.recorded: one for one in exported.values()}
    recorded = {}
    with full_precision():
        given, decoded = _inputs(flow, exported, noise_values, np.random.default_rng(0))
        for name in sorted(made):
            graph, endpoint = made[name]
            for kind in KINDS:
                inputs = select(given, name, kind)
                if not inputs:
                    continue
                known = (name, kind) == ("decode", "samples")
                outputs = decoded[0] if known else call(endpoint, inputs)
                bad = [output for output, value in outputs.items() if not np.isfinite(value).all()]
                if bad and kind == "samples":
                    raise ExportError(
                        f"The flow is not exported: on its own samples it makes NaN or infinity "
                        f"in {name}: {', '.join(bad)}."
                    )
                for key, value in {**inputs, **outputs}.items():
                    recorded[f"{name}/{kind}/{key}"] = value
                if kind == "samples" and not graph.draws:
                    rng = np.random.default_rng(1)
                    nudges = (
                        decoded[1] if known else _nudges(flow, endpoint, inputs, outputs, rng, kind)
                    )
                    rounding = {key: np.max(errors) for key, errors in nudges.items()}
                    if "p_value" in outputs:
                        rounding["p_value"] = _p_value_rounding(
                            flow, inputs, outputs["log_prob"], rounding["log_prob"]
                        )
                    for key, error in rounding.items():
                        recorded[f"{name}/rounding/{key}"] = error
    return recorded


def _p_value_rounding(flow, inputs, log_prob, rounding):
    """A tenth of how far p-values move where log_prob is off by its tolerance."""
    scale = np.maximum(np.abs(log_prob), least_scale("log_prob", inputs))
    off = tolerance_of(min(rounding, MOST_ROUNDING)) * scale
    return 0.1 * score.p_value_spread(flow.calibration, log_prob, off)


def _inputs(flow, exported, noise_values, rng):
    """The inputs of every name and kind, keyed as in `record`, and what decoding makes of samples.

    The latter are its outputs and its `_nudges`, None where nothing asks for them.
    """
    dtype, inputs, decoded = flow.compute_dtype, {}, None
    integers = flow.transform.dequantizes
    encode, decode = (_endpoint(flow, exported, name) for name in ("encode", "decode"))

    def put(kind, data):
        """Those of these arrays that a graph takes, if it takes the first of them."""
        for graph, endpoint in exported.values():
            if data and next(iter(data)) in endpoint.inputs:
                for name in endpoint.inputs:
                    inputs[f"{graph.recorded}/{kind}/{name}"] = data[name]

    def noise(endpoint, n):
        if "noise" not in endpoint.inputs:
            return {}
        (size,) = endpoint.inputs["noise"].shape[1:]
        return {"noise": rng.standard_normal((n, size)).astype(dtype)}

    for kind in KINDS:
        if kind == "samples":
            z = rng.standard_normal((BATCHES[-1], *flow.latent_shape)).astype(dtype)
        else:
            z = _extremes(flow.latent_shape).astype(dtype)
        n = len(z)
        context = _context(flow, encode, rng, n, kind)
        to_decode = {"z": z, **context, **noise(decode, n)}
        outputs = call(decode, to_decode)
        x = outputs["x"]
        if kind == "samples":
            if np.isnan(x).any():
                flow.decode(z, context.get("context"), seed=0)  # raises, and says why
            if integers or "decode" in exported:
                nudges = _nudges(flow, decode, to_decode, outputs, np.random.default_rng(1), kind)
                kept = np.flatnonzero(_steady(flow, nudges)) if integers else []
                if len(kept):
                    rows = kept[np.arange(n) % len(kept)]
                    to_decode, outputs, nudges, context = (
                        _rows(data, rows) for data in (to_decode, outputs, nudges, context)
                    )
                    x = outputs["x"]
                decoded = outputs, nudges
            points = rng.standard_normal((n, len(flow.blocks), *flow.event_shape)).astype(dtype)
            put(kind, {"points": points, **context})
            seed = np.array([1, 2], np.int32)
            put(kind, {"count": np.int32(n), "seed": seed, **context})
        elif not integers:  # a flow may refuse other numbers than its integers
            x = _extremes(flow.event_shape).astype(dtype)
        to_encode = {"x": x, **context, **noise(encode, n)}
        if kind == "extreme":
            if noise_values is not None:
                to_encode["noise"] = noise_values.repeat(n, axis=0)
            encoded = call(encode, to_encode)
            nudges = _nudges(flow, encode, to_encode, encoded, rng, kind)
            to_encode = _rows(to_encode, _steady(flow, nudges))
            nudges = _nudges(flow, decode, to_decode, outputs, rng, kind)
            to_decode = _rows(to_decode, _steady(flow, nudges))
        put(kind, to_encode)
        put(kind, to_decode)
    return inputs, decoded


def _endpoint(flow, exported, name):
    """The endpoint of a graph, whether it is among those exported or not."""
    if name in exported:
        return exported[name].endpoint
    return endpoints.Endpoints(flow)[graphs.GRAPHS[name].function]


def _rows(data, kept):
    """Those rows of every array, by booleans or indices; nothing if there are none."""
    chosen = {name: value[kept] for name, value in data.items()}
    return chosen if all(len(value) for value in chosen.values()) else {}


def _steady(flow, nudges):
    """Of which examples the outputs do not hang on the last bit of the inputs: booleans `(n,)`.

    Integers may be one level off, below the `relative_error` of two: decoding can end in a floor.
    """
    limits = {"x": 1.9 / (2.0**flow.bits - 1.0)} if flow.transform.dequantizes else {}
    return np.all(
        [error <= limits.get(name, 0.1 * TOLERANCE) for name, error in nudges.items()], axis=0
    )


def _nudges(flow, endpoint, inputs, expected, rng, kind):
    """How far a change of the inputs in their last bit takes the outputs.

    Args:
        flow: The flow, whose data, where they are integers, are not changed.
        endpoint: An endpoint.
        inputs: Its inputs, floating-point numbers except for labels.
        expected: The outputs on the inputs.
        rng: A NumPy generator.
        kind: That of the inputs.

    Returns:
        Dictionary from output to the largest `relative_error` of each example, `(n,)`.
    """
    errors = {name: np.zeros(len(value)) for name, value in expected.items()}
    integers = flow.transform.dequantizes
    for i in range(NUDGES[kind]):
        nudged = {name: _nudged(x, rng) for name, x in inputs.items()}
        if integers and "x" in inputs:
            nudged["x"] = inputs["x"]
            if "noise" in inputs and kind == "samples":
                noise = inputs["noise"]
                nudged["noise"] = _moved(noise, rng.choice([-1.0, 1.0], noise.shape))
        if integers and "z" in inputs:
            z = inputs["z"]  # all up, all down, then each its own way
            nudged["z"] = _moved(z, (1.0, -1.0)[i] if i < 2 else rng.choice([-1.0, 1.0], z.shape))
        for name, got in call(endpoint, nudged).items():
            pairs, least = zip(got, expected[name], strict=True), least_scale(name, inputs)
            found = [relative_error(a[None], b[None], least) for a, b in pairs]
            errors[name] = np.maximum(errors[name], found)
    return errors


def _nudged(x, rng):
    """Floating-point numbers changed by one part in the precision of their type, up or down."""
    if not np.issubdtype(x.dtype, np.floating):
        return x
    return x * (1.0 + np.finfo(x.dtype).eps * rng.choice([-1.0, 1.0], x.shape)).astype(x.dtype)


def _moved(z, sign):
    """Latents or noise of integers moved by a few last bits of 1, up (sign 1) or down (-1).

    Between which edges a latent lies is a comparison with a number of the network, whose rounding
    is of this size wherever the latent is, at zero too. Noise is added to integers of up to 255,
    and rounded with them.
    """
    step = _EDGE * np.finfo(z.dtype).eps * np.maximum(np.abs(z), 1.0)
    return (z + sign * step).astype(z.dtype)


def call(endpoint, inputs):
    """An endpoint on a dictionary of arrays."""
    # A concrete function, or TensorFlow would warn of retracing after several exports.
    function = endpoint.function.get_concrete_function()
    made = function(*(tf.constant(inputs[name]) for name in endpoint.inputs))
    return {name: value.numpy() for name, value in made.items()}


def _context(flow, endpoint, rng, n, kind):
    """The context input of n examples: a dictionary, empty for a flow without context."""
    if "context" not in endpoint.inputs:
        return {}
    spec = endpoint.inputs["context"]
    shape, dtype = tuple(spec.shape[1:]), spec.dtype.as_numpy_dtype
    count = flow.labels
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


def own_round_trip(flow, exported, recorded):
    """The error of the flow itself in decoding its latents of the recorded samples.

    Args:
        flow: A `keras_flows.Flow`.
        exported: Its graphs; see `graphs.of`.
        recorded: See `record`.

    Returns:
        A float as `relative_error` (`level_error` for a flow on integers); None for a flow that
        does not decode to what was encoded, and where not both graphs are there.
    """
    both = {"encode", "decode"} <= exported.keys()
    invertible = flow.transform.bijective or flow.transform.dequantizes
    if not both or not invertible or flow.noise_shape("decode") != (0,):
        return None
    data = select(recorded, "encode", "samples")
    error = level_error if flow.transform.dequantizes else relative_error
    return error(call(exported["decode"].endpoint, data)["x"], data["x"])


def read(path):
    """Reads a record that was written with `numpy.savez_compressed`.

    Raises:
        ExportError: If that cannot be done.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except UNREADABLE as error:
        raise ExportError(f"{path} cannot be read: {error}") from error
